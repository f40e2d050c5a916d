// A real sshd on loopback. Each of its users is this account behind a key of its own, and gets one command, whatever is asked for.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { copyFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { programs } from './borg.ts'
import { endIfThere, runningProcesses } from './processes.ts'
import { madeOnce } from './run-folder.ts'

export interface Sshd {
  readonly port: number
  /** Its public key, as known_hosts has it after the host's name. */
  readonly hostKey: string
  /** The private key of a user, as a path. */
  keyOf(user: string): string
  /** SSH connections accepted so far. */
  connections(): number
  /** Cuts every open connection, as a network that goes away does; new ones work. */
  cut(): void
  /** Ends it at once. */
  kill(): void
}

const SFTP = ['/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server']

/**
 * @param dir where its files are
 * @param home what its users have as their home
 * @param login the program that runs for each command; its argument is the user
 */
export async function startSshd(
  dir: string,
  home: string,
  login: string,
  users: readonly string[] = ['dokku', 'deploy'],
): Promise<Sshd> {
  const names = ['host_key', ...users.map((user) => `key_${user}`)]
  const keys = madeOnce(`keys-${users.join('-')}`, (folder) => {
    for (const name of names) makeKey(folder, name)
  })
  const at = (name: string): string => join(dir, name)
  const publicKey = (name: string): string => readFileSync(at(`${name}.pub`), 'utf8').trim()
  for (const name of names) for (const file of [name, `${name}.pub`]) await copyFile(join(keys, file), at(file))
  const authorized = users.map((user) => `command="${login} ${user}" ${publicKey(`key_${user}`)}\n`)
  await writeFile(at('authorized_keys'), authorized.join(''), { mode: 0o600 })

  const { sshd, port } = await listen(dir, home)
  const log = (): string => readFileSync(at('sshd.log'), 'utf8')
  return {
    port,
    hostKey: publicKey('host_key').split(' ').slice(0, 2).join(' '),
    keyOf: (user) => at(`key_${user}`),
    connections: () => log().match(/Accepted publickey/g)?.length ?? 0,
    cut: () => {
      for (const pid of sessionsOf(sshd)) endIfThere(pid, 'SIGKILL')
    },
    kill: () => void sshd.kill('SIGKILL'),
  }
}

function makeKey(folder: string, name: string): void {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, name)])
}

/** Starts it at a free port; another program may take that port before sshd does. */
async function listen(dir: string, home: string): Promise<{ sshd: ChildProcess; port: number }> {
  // An sshd of root's insists on its folder, which a machine without a running one does not have.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true })
  const [config, log] = [join(dir, 'sshd_config'), join(dir, 'sshd.log')]
  for (let attempt = 0; attempt < 5; attempt++) {
    const port = await freePort()
    await writeFile(config, configuration(dir, home, port))
    await writeFile(log, '')
    const sshd = spawn('/usr/sbin/sshd', ['-D', '-f', config, '-E', log], { stdio: 'ignore' })
    while (sshd.exitCode === null && !/listening/.test(readFileSync(log, 'utf8'))) await sleep(20)
    if (sshd.exitCode === null) return { sshd, port }
  }
  throw new Error(`The sshd of the sandbox does not start: ${readFileSync(log, 'utf8')}`)
}

function configuration(dir: string, home: string, port: number): string {
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(dir, 'host_key')}`,
    `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`,
    `PidFile ${join(dir, 'sshd.pid')}`,
    // The account's login shell runs the command; what it reads from the account's real home is no part of the sandbox.
    `SetEnv HOME=${home} PATH=${programs()}:/usr/local/bin`,
    // The exchange of keys that is safe from quantum computers costs each connection 70 ms.
    'KexAlgorithms curve25519-sha256',
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin yes',
    'LogLevel VERBOSE',
    `Subsystem sftp ${SFTP.find(existsSync) ?? SFTP[0]}`,
    '',
  ].join('\n')
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
}

/** The processes of its connections. One of another user than root has two: the second outlives the first. */
function sessionsOf(sshd: ChildProcess): number[] {
  const all = runningProcesses().filter(({ command }) => command.startsWith('sshd'))
  const childrenOf = (parents: readonly (number | undefined)[]): number[] =>
    all.filter(({ parent }) => parents.includes(parent)).map(({ pid }) => pid)
  const first = childrenOf([sshd.pid])
  return [...first, ...childrenOf(first)]
}
