// What ssh's own complaints mean, with the way out.

import { Failure } from '../core/failure.ts'

/** Why there is no answer from the host. `lost`: the connection was there, and what it carried may still be going on. */
export type SshTrouble = 'host-key' | 'login' | 'unreachable' | 'lost'

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

/** What ssh's exit status 255 means; undefined when the words are not ssh's own. Texts of OpenSSH 8 to 10. */
export function explainSsh(stderr: string, user: string, host: string): SshFailure | undefined {
  const said = (pattern: RegExp): string | undefined =>
    stderr
      .split('\n')
      .find((line) => pattern.test(line))
      ?.trim()
  const scan = `ssh-keyscan ${host} | ssh-keygen -lf -`
  const pin = `Compare its fingerprints with the server's own (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). If they agree: ssh-keyscan ${host} >> ~/.ssh/known_hosts; in CI, put these lines into the secret DOKKU_KNOWN_HOSTS.`
  if (/IDENTIFICATION HAS CHANGED|POSSIBLE DNS SPOOFING/.test(stderr))
    return new SshFailure(
      'host-key',
      `The host key of ${host} is not the one that is pinned: the server was reinstalled, or this is another machine.`,
      `Nothing was sent. See the keys it shows: ${scan}\n${pin}\nThe old one goes with: ssh-keygen -R ${host}`,
    )
  if (/Host key verification failed|host key is known for|Host key .* is revoked/.test(stderr))
    return new SshFailure(
      'host-key',
      `The host key of ${host} is not known here, so it can't be told from an impostor.`,
      `See the keys it shows: ${scan}\n${pin}`,
    )
  const denied = said(
    /Permission denied \(|Too many authentication failures|No supported authentication|no such identity/,
  )
  if (denied)
    return new SshFailure(
      'login',
      `${user}@${host} does not accept this machine's SSH key: ${denied}`,
      user === 'dokku'
        ? `Add the public key there: cat KEY.pub | ssh root@${host} dokku ssh-keys:add NAME. What is offered: ssh -v ${user}@${host}`
        : `Add the public key to ~${user}/.ssh/authorized_keys there. What is offered: ssh -v ${user}@${host}`,
    )
  const away = said(
    /Could not resolve hostname|Connection refused|Connection timed out|Operation timed out|No route to host|Network is unreachable|during banner exchange|kex_exchange_identification|Connection closed by .* port|Connection reset by .* port/,
  )
  if (away) return new SshFailure('unreachable', `${host} can't be reached: ${away}`, `Try: ssh -v ${user}@${host}`)
  const lost = said(
    /client_loop|not responding|Broken pipe|closed by remote host|mux_client|Connection to .* closed|Connection closed|Connection reset|Read from remote host|Shared connection to|lost connection/i,
  )
  if (lost)
    return new SshFailure(
      'lost',
      `The connection to ${host} was lost: ${lost}`,
      'What was going on there may still go on. Look: deploy --status',
    )
  return
}
