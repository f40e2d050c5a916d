// The machine of a Borg repository behind a real sshd, with two keys: deploy's, and that of the operator's other machine.
import { readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import type { Sandbox } from './sandbox.ts'
import { startSshd } from './sshd.ts'

export interface RepositoryHost {
  /** What holds the repository, which is named `book-corners`. */
  readonly folder: string
  /** Writes authorized_keys; DEPLOYS-PUBLIC-KEY and OTHER-MACHINES-PUBLIC-KEY stand for the keys. */
  authorize(lines: string): Promise<void>
  /** What a client sets to reach the repository with one of the keys. */
  env(key: 'deploy' | 'other'): { BORG_REPO: string; BORG_RSH: string }
  stop(): void
}

/** Moves the sandbox's repository to such a machine. */
export async function startRepositoryHost(sandbox: Sandbox): Promise<RepositoryHost> {
  const dir = join(sandbox.dir, 'repository-host')
  const folder = join(dir, 'borg')
  await mkdir(folder, { recursive: true })
  await rename(sandbox.repository, join(folder, 'book-corners'))
  const sshd = await startSshd(dir, sandbox.home, '/bin/false', ['deploy', 'other'])
  const knownHosts = join(dir, 'known_hosts')
  await writeFile(knownHosts, `[127.0.0.1]:${sshd.port} ${sshd.hostKey}\n`)
  const options = [
    'BatchMode=yes',
    'IdentitiesOnly=yes',
    `UserKnownHostsFile=${knownHosts}`,
    'GlobalKnownHostsFile=none',
  ]
  const publicKey = (user: string): string => readFileSync(`${sshd.keyOf(user)}.pub`, 'utf8').trim()
  return {
    folder,
    authorize: (lines) =>
      writeFile(
        join(dir, 'authorized_keys'),
        lines
          .replace('DEPLOYS-PUBLIC-KEY', publicKey('deploy'))
          .replace('OTHER-MACHINES-PUBLIC-KEY', publicKey('other'))
          .replaceAll('/srv/borg', folder),
      ),
    env: (key) => ({
      BORG_REPO: `ssh://${userInfo().username}@127.0.0.1:${sshd.port}${folder}/book-corners`,
      BORG_RSH: ['ssh', '-i', sshd.keyOf(key), ...options.flatMap((option) => ['-o', option])].join(' '),
    }),
    stop: () => {
      sshd.cut()
      sshd.kill()
    },
  }
}
