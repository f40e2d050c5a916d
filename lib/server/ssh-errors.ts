// What ssh's own complaints mean, with the way out.

import { Failure } from '../core/failure.ts'
import { printable } from '../core/format.ts'
import { keyscanLine, knownHostsName, sshLine } from '../core/host.ts'
import { quote } from '../core/quote.ts'

/**
 * Why there is no answer from the host. `key`: the private key of this machine can't be used. `setup`: its ssh can't be. `lost`: the
 * connection was there, and what it carried may still be going on.
 */
export type SshTrouble = 'host-key' | 'key' | 'login' | 'setup' | 'unreachable' | 'lost'

export class SshFailure extends Failure {
  override name = 'SshFailure'

  constructor(
    readonly trouble: SshTrouble,
    message: string,
    hint: string,
  ) {
    super(message, hint)
  }
}

/** Whether another attempt a moment later would end the same way. */
export function isFinal({ trouble }: SshFailure): boolean {
  return trouble !== 'unreachable' && trouble !== 'lost'
}

/**
 * What ssh's exit status 255 means; undefined when the words are not ssh's own. Texts of OpenSSH 8 to 10.
 * @param host as DOKKU_HOST names it
 */
export function explainSsh(stderr: string, user: string, host: string): SshFailure | undefined {
  const lines = stderr.split('\n').map((line) => printable(line.trim()))
  const said = (pattern: RegExp): string | undefined => lines.find((line) => pattern.test(line))
  const login = sshLine(user, host)
  const look = login.replace('ssh ', 'ssh -v ')
  const hostKey = explainHostKey(said, host)
  if (hostKey) return hostKey
  const setup = said(
    /Bad configuration option|bad configuration options|Bad owner or permissions on|^command-line: line/,
  )
  if (setup)
    return new SshFailure(
      'setup',
      `This machine's ssh can't be used: ${setup}`,
      `Fix its configuration, then: ${login}`,
    )
  const denied = said(
    /Permission denied \(|Too many authentication failures|No supported authentication|no such identity/,
  )
  if (denied) return explainDenied(said, denied, user, host)
  const away = said(
    /Could not resolve hostname|Connection refused|Connection timed out|Operation timed out|No route to host|Network is unreachable|during banner exchange|kex_exchange_identification|Unable to negotiate with|Connection (closed|reset) by .{0,200} port/,
  )
  if (away) return new SshFailure('unreachable', `${host} can't be reached: ${away}`, `Try: ${look}`)
  const lost = said(
    /client_loop|not responding|Broken pipe|closed by remote host|mux_client|Connection to .{0,200} closed|Connection closed|Connection reset|Read from remote host|Shared connection to|lost connection/i,
  )
  if (lost)
    return new SshFailure(
      'lost',
      `The connection to ${host} was lost: ${lost}`,
      'What was going on there may still go on. Look: deploy --status',
    )
  return
}

type Said = (pattern: RegExp) => string | undefined

function explainHostKey(said: Said, host: string): SshFailure | undefined {
  const keyscan = keyscanLine(host)
  const scan = `See the keys it shows: ${keyscan} | ssh-keygen -lf -`
  const pin = `Compare its fingerprints with the server's own (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). If they agree: ${keyscan} >> ~/.ssh/known_hosts; in CI, put these lines into the secret DOKKU_KNOWN_HOSTS.`
  if (said(/IDENTIFICATION HAS CHANGED|POSSIBLE DNS SPOOFING/))
    return new SshFailure(
      'host-key',
      `The host key of ${host} is not the one that is pinned: the server was reinstalled, or this is another machine.`,
      `Nothing was sent. ${scan}\n${pin}\nThe old one goes with: ssh-keygen -R '${knownHostsName(host)}'`,
    )
  if (said(/Host key verification failed|host key is known for|Host key .{0,200} is revoked/))
    return new SshFailure(
      'host-key',
      `The host key of ${host} is not known here, so it can't be told from an impostor.`,
      `${scan}\n${pin}`,
    )
  return
}

// A key that ssh can't read is not offered: what the server then says is no word about the key.
function explainDenied(said: Said, denied: string, user: string, host: string): SshFailure {
  const tooOpen = said(/^Permissions \d+ for .* are too open/)
  if (tooOpen)
    return new SshFailure(
      'key',
      `This machine's SSH key was not used: ${tooOpen}`,
      `Only you may read it: chmod 600 ${quote(/'(.+)'/.exec(tooOpen)?.[1] ?? 'KEY')}`,
    )
  const unread = said(/^Load key /)
  if (unread)
    return new SshFailure(
      'key',
      `This machine's SSH key can't be read: ${unread}`,
      `The file is empty, cut, on one line, has Windows line ends, or is no private key. Look: ssh-keygen -y -f ${/^Load key "(.+)"/.exec(unread)?.[1] ?? 'KEY'}. In CI, set the secret from the file itself: gh secret set DOKKU_SSH_PRIVATE_KEY < KEY`,
    )
  const unsigned = said(/agent refused operation|sign_and_send_pubkey: signing failed|contents do not match public/)
  if (unsigned)
    return new SshFailure(
      'key',
      `This machine's SSH key could not sign: ${unsigned}`,
      'Unlock it or add it anew: ssh-add -D; ssh-add KEY. A KEY.pub beside it must be of the same key.',
    )
  const look = `What is offered: ${sshLine(user, host).replace('ssh ', 'ssh -v ')}`
  const add =
    user === 'dokku'
      ? `Add the public key there: cat KEY.pub | ${sshLine('root', host)} dokku ssh-keys:add NAME`
      : `Add the public key to ~${user}/.ssh/authorized_keys there`
  return new SshFailure('login', `${user}@${host} does not accept this machine's SSH key: ${denied}`, `${add}. ${look}`)
}

/** @param destination `user@host` */
export function lockedKey(destination: string, path: string): SshFailure {
  return new SshFailure(
    'key',
    `The SSH key ${path} has a passphrase, and no ssh-agent holds it: ${destination} was not offered it.`,
    `Give it to the agent: ssh-add ${quote(path)}. CI needs one without a passphrase: docs/pipeline.md`,
  )
}
