// The engineer's machine: the `ssh` and `scp` that reach the sandbox's sshd, the host key they have pinned, and their git settings.
import { mkdir, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import type { Sshd } from './sshd.ts'

export interface Engineer {
  /** Settings and PATH for a script. */
  readonly env: Record<string, string>
  /** Puts the host's key into the engineer's known_hosts, as it is at the beginning. */
  pinHostKey(): Promise<void>
  /** Takes the host's key out of the engineer's known_hosts. */
  forgetHostKey(): Promise<void>
}

/** What DOKKU_HOST is set to. The engineer's ssh configuration has its port. */
export const HOST = 'vps.test'
/** The same host for somebody whose ssh configuration says nothing of its port: as DOKKU_HOST it needs one. */
export const BARE_HOST = 'bare.test'

export function executable(path: string, text: string): Promise<void> {
  return writeFile(path, text, { mode: 0o755 })
}

/** @param dir the sandbox, in whose folders `near` and `engineer` all of it is */
export async function settleEngineer(dir: string, sshd: Sshd): Promise<Engineer> {
  const [near, home, temporary] = [join(dir, 'near'), join(dir, 'engineer'), join(dir, 'tmp')]
  for (const folder of [near, home, temporary]) await mkdir(folder)
  const knownHosts = join(dir, 'known_hosts')
  const config = join(dir, 'ssh_config')
  const users = ['dokku', 'deploy'].map((user) => sshAlias(user, sshd, knownHosts))
  await writeFile(config, users.join(''))
  for (const program of ['ssh', 'scp']) await executable(join(near, program), sshWrapper(program, config))
  await writeFile(join(home, '.env'), '', { mode: 0o600 })
  await writeFile(
    join(home, '.gitconfig'),
    '[user]\n\tname = Engineer\n\temail = engineer@example.org\n[init]\n\tdefaultBranch = master\n[maintenance]\n\tauto = false\n',
  )
  const pinHostKey = (): Promise<void> =>
    writeFile(knownHosts, `${HOST} ${sshd.hostKey}\n[127.0.0.1]:${sshd.port} ${sshd.hostKey}\n`)
  await pinHostKey()
  return {
    env: {
      HOME: home,
      PATH: `${near}:${dirname(process.execPath)}:/usr/bin:/bin`,
      TMPDIR: temporary,
      DOKKU_HOST: HOST,
      OPS_ENV_FILE: join(home, '.env'),
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_DATE: '2026-02-28T10:00:00Z',
      GIT_COMMITTER_DATE: '2026-02-28T10:00:00Z',
    },
    pinHostKey,
    forgetHostKey: () => writeFile(knownHosts, ''),
  }
}

/** Both users are this account: the wrappers turn them into two names of the host, of which each has its key. */
function sshAlias(user: string, sshd: Sshd, knownHosts: string): string {
  return `Host ${user}.${HOST}
  Port ${sshd.port}
  HostKeyAlias ${HOST}
Host ${user}.${HOST} ${user}.${BARE_HOST}
  HostName 127.0.0.1
  User ${userInfo().username}
  IdentityFile ${sshd.keyOf(user)}
  IdentitiesOnly yes
  UserKnownHostsFile ${knownHosts}
  GlobalKnownHostsFile none
`
}

function sshWrapper(program: string, config: string): string {
  const names = [HOST, BARE_HOST].flatMap((host) => [`dokku@${host}*`, `deploy@${host}*`])
  return `#!/bin/sh
for arg; do
  shift
  case $arg in ${names.join(' | ')}) arg=\${arg%%@*}.\${arg#*@} ;; esac
  set -- "$@" "$arg"
done
exec /usr/bin/${program} -F '${config}' "$@"
`
}
