// The Dokku host over SSH, as its two users see it.

import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UNATTENDED_SSH } from '../cli/child-env.ts'
import type { Context } from '../cli/main.ts'
import { readSettings, type SettingName, type Settings } from '../cli/settings.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { makeTemporaryFolder } from '../core/folder.ts'
import { parseHost } from '../core/host.ts'
import { lines } from '../core/lines.ts'
import { quote, quoteAll } from '../core/quote.ts'
import { type Child, createShell, type Env, type Output, type RunOptions, type Shell } from '../core/shell.ts'
import { explainDokku } from '../dokku/errors.ts'
import { ENGLISH, OWN_SETTINGS, plainUrl } from '../git/own-settings.ts'
import { explainSsh, lockedKey, SshFailure } from './ssh-errors.ts'
import { type DokkuWords, GATE_REFUSES, type OpsCommand, withApp } from './words.ts'

/** The Dokku host. Every step of a run shares one connection per user, opened by the first that needs it. */
export interface Remote {
  /** As DOKKU_HOST names it, perhaps with a port. */
  readonly host: string
  /** The ops user, e.g. `deploy`. */
  readonly user: string
  /** Aborted when the run is interrupted. */
  readonly signal: AbortSignal
  /**
   * Runs a command as the ops user; its arguments arrive as they are.
   * @throws SshFailure when the connection could not be made, or broke
   */
  shell(command: OpsCommand, options?: RunOptions): Promise<Output>
  /**
   * Runs a Dokku command as user `dokku`.
   * @throws SshFailure as `shell` does
   */
  dokku(words: DokkuWords, app: string, options?: RunOptions): Promise<Output>
  /** Starts a command as the ops user that is talked to while it runs; its end is judged by `ended`. */
  start(command: OpsCommand): Child
  /**
   * Runs a command as the ops user whose input ends with this run, and whose stderr is passed on line by line.
   * @returns of its stdout the last line
   * @throws SshFailure as `shell` does
   */
  follow(command: OpsCommand, onLine: (line: string) => void): Promise<Output>
  /** Starts a Dokku command whose output is read while it runs. */
  startDokku(words: DokkuWords, app: string): Child
  /**
   * Copies files and folders of this machine into a folder that exists there, as the ops user.
   * @throws SshFailure as `shell` does
   */
  upload(paths: readonly string[], folder: string, options?: RunOptions): Promise<Output>
  /**
   * The commit of a branch of the app's repository there; undefined when it has none.
   * @throws SshFailure, Failure
   */
  headOf(app: string, branch: string): Promise<string | undefined>
  /** The app's repository as git names it. */
  gitUrl(app: string): string
  /** Makes git use the shared connection. */
  gitEnv(): Env
  /** Ends the connections. Safe to call after an interruption, and twice. */
  close(): Promise<void>
}

/** Shared connections outlive the command that opened them by this long, should nobody close them (SIGKILL). */
const PERSIST = '2m'
const CLOSE_TIMEOUT_MS = 5000

/**
 * The options of every ssh and scp. A dead connection is noticed within a minute; the sshd answers even while a build is
 * silent. Why ssh failed is said, also where the user's configuration keeps it silent.
 */
function sshOptions(controlPath: string, port: string | undefined): string[] {
  return [
    ...(port === undefined ? [] : [`Port=${port}`]),
    ...UNATTENDED_SSH,
    'LogLevel=INFO',
    'ConnectTimeout=15',
    'ServerAliveInterval=15',
    'ServerAliveCountMax=4',
    'ControlMaster=auto',
    `ControlPath=${controlPath}`,
    `ControlPersist=${PERSIST}`,
  ].flatMap((option) => ['-o', option])
}

/** One user's shared connection. */
interface Login {
  /** `user@host`. */
  readonly destination: string
  /** The options of an ssh or scp that uses this connection. Whoever asks for them uses it: the others need not be ended. */
  options(): string[]
  /** The command line that runs `words` there. */
  ssh(words: string): string[]
  /** @throws SshFailure */
  run(command: readonly string[], options?: RunOptions): Promise<Output>
  hangUp(): Promise<void>
}

function createLogin(shell: Shell, user: string, host: string, socket: string): Login {
  const { name, port } = parseHost(host)
  const destination = `${user}@${name}`
  const settings = sshOptions(socket, port)
  let used = false
  const options = (): string[] => {
    used = true
    return settings
  }
  // The run's own signal may have been aborted: its connection is ended all the same.
  const closing = createShell(shell.env, new AbortController().signal)
  const hangUp = async (): Promise<void> => {
    const command = ['ssh', ...settings, '-O', 'exit', destination]
    if (used) await closing.run(command, { timeoutMs: CLOSE_TIMEOUT_MS }).catch(() => {})
  }
  return {
    destination,
    options,
    hangUp,
    // The second `--` ends ssh's options once more: it goes on reading them after the destination.
    ssh: (words) => ['ssh', '-T', ...options(), destination, '--', words],
    run: async (command, options) => {
      // The shared connection's process holds the pipes of each command that runs over it until the far side ends. To kill the
      // command's own ssh is not enough to be rid of it.
      const timer = options?.timeoutMs ? setTimeout(() => void hangUp(), options.timeoutMs + 500) : undefined
      try {
        const output = await shell.run(command, options)
        const trouble = troubleOf(output, command[0], user, host)
        if (trouble?.trouble === 'login') throw (await explainLockedKey(shell, settings, destination)) ?? trouble
        if (trouble) throw trouble
        return output
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

/**
 * @returns what kept ssh or scp from its work; undefined when it did it, however the command that it ran has ended
 * @throws Failure (exit status 2) when there is no ssh
 */
function troubleOf(output: Output, program: string | undefined, user: string, host: string): SshFailure | undefined {
  if (output.exitCode === 127 && /\b(ssh|scp): (command )?not found|spawn (ssh|scp) ENOENT/.test(output.stderr))
    throw new Failure('OpenSSH is not installed.', 'Install it: sudo apt-get install openssh-client', EXIT.usage)
  const refused = output.exitCode === GATE_REFUSES ? /^The gate of .*/m.exec(output.stderr)?.[0] : undefined
  if (refused)
    throw new Failure(
      refused,
      'Check DOKKU_APP and OPS_DIR: a gate is for one of each. What a key may say: docs/security.md',
    )
  // scp passes ssh's troubles on with an exit status of its own.
  const failed = output.exitCode === 255 || (program === 'scp' && output.exitCode !== 0)
  const trouble = failed ? explainSsh(output.stderr, user, host) : undefined
  if (trouble || output.exitCode !== 255 || output.stderr.trim() !== '') return trouble
  return new SshFailure('lost', `The connection to ${host} was lost.`, 'Look: deploy --status')
}

/** Of a key with a passphrase ssh says nothing where it may not ask for it: then the server seems not to know the key. */
async function explainLockedKey(
  shell: Shell,
  options: readonly string[],
  destination: string,
): Promise<SshFailure | undefined> {
  const { stdout } = await shell.run(['ssh', ...options, '-G', destination])
  const files = [...stdout.matchAll(/^identityfile (.+)$/gm)].map(([, file = '']) => file)
  for (const file of files) {
    const path = file.replace(/^~(?=\/)/, shell.env.HOME ?? '~')
    const { stderr } = await shell.run(['ssh-keygen', '-y', '-P', '', '-f', path])
    if (!/incorrect passphrase/.test(stderr)) continue
    const fingerprint = /SHA256:\S+/.exec((await shell.run(['ssh-keygen', '-l', '-f', path])).stdout)?.[0]
    const inAgent = fingerprint && (await shell.run(['ssh-add', '-l'])).stdout.includes(fingerprint)
    if (!inAgent) return lockedKey(destination, path)
  }
  return
}

/**
 * Prepares connections to DOKKU_HOST; none is made yet. ssh, scp and the user's own configuration are found as at the prompt.
 * Whoever calls this closes it, in a `finally`.
 */
export async function connectRemote(
  shell: Shell,
  { DOKKU_HOST: host, DEPLOY_USER: user }: Settings<'DOKKU_HOST' | 'DEPLOY_USER'>,
): Promise<Remote> {
  // A socket's path holds 104 bytes at most (macOS), of which ssh wants 17 for a suffix of its own.
  const folder = await makeTemporaryFolder('bc-ssh-', tmpdir().length > 50 ? '/tmp' : undefined)
  const ops = createLogin(shell, user, host, join(folder, 's'))
  const dokku = createLogin(shell, 'dokku', host, join(folder, 'd'))
  const hangUp = async (): Promise<void> => void (await Promise.all([ops.hangUp(), dokku.hangUp()]))
  const onAbort = (): void => void hangUp()
  shell.signal.addEventListener('abort', onAbort, { once: true })
  const gitEnv = (): Env => ({ GIT_SSH_COMMAND: quoteAll(['ssh', ...dokku.options()]), GIT_SSH_VARIANT: 'ssh' })
  return {
    host,
    user,
    signal: shell.signal,
    shell: (command, options) => ops.run(ops.ssh(quoteAll(command)), options),
    dokku: (words, app, options) => dokku.run(dokku.ssh(withApp(words, app)), options),
    start: (command) => shell.start(ops.ssh(quoteAll(command))),
    follow: async (command, onLine) => {
      const child = shell.start(ops.ssh(quoteAll(command)), { onLine })
      let stdout = ''
      for await (const line of lines(child)) stdout = line
      const output = { ...(await child.ended), stdout }
      // An interruption ends ssh as an error of its own would.
      shell.signal.throwIfAborted()
      const trouble = troubleOf(output, 'ssh', user, host)
      if (trouble) throw trouble
      return output
    },
    startDokku: (words, app) => shell.start(dokku.ssh(withApp(words, app))),
    upload: async (paths, target, options) => {
      const scp = (...flags: string[]): Promise<Output> =>
        ops.run(
          ['scp', ...flags, '-q', '-r', ...ops.options(), ...paths, `${ops.destination}:${quote(target)}`],
          options,
        )
      // The far end of the old protocol is a command that names the folder. That of SFTP may write anywhere: no gate could let it in.
      const output = await scp('-O')
      // OpenSSH before 8.7 knows no other protocol, and not the flag.
      return /option -- '?O\b/.test(output.stderr) ? scp() : output
    },
    gitUrl: (app) => gitUrl(host, app),
    gitEnv,
    headOf: async (app, branch) => {
      const output = await lsRemote(shell, gitUrl(host, app), branch, gitEnv())
      if (output.exitCode === 0) return /^[0-9a-f]{40}/.exec(output.stdout)?.[0]
      throw explainSsh(output.stderr, 'dokku', host) ?? explainDokku(output, `git-upload-pack ${app}`, host)
    },
    close: async () => {
      shell.signal.removeEventListener('abort', onAbort)
      await hangUp()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function lsRemote(shell: Shell, url: string, branch: string, env: Env): Promise<Output> {
  const command = ['git', ...OWN_SETTINGS, ...plainUrl(url), 'ls-remote', url, `refs/heads/${branch}`]
  return shell.run(command, { cwd: '/', env: { ...ENGLISH, ...env }, timeoutMs: 60_000 })
}

/** Git's short form of an address has no place for a port. */
function gitUrl(host: string, app: string): string {
  const { name, port } = parseHost(host)
  return port === undefined ? `dokku@${name}:${app}` : `ssh://dokku@${name}:${port}/${app}`
}

/**
 * Reads the settings and works with the server. Its connections are ended, whatever happens.
 * @param names settings beside the host and its user
 * @throws Failure (exit status 2) that lists what is wrong with the settings, and what `work` throws
 */
export async function withRemote<K extends SettingName, T>(
  { shell, environment, envFile }: Pick<Context, 'shell' | 'environment' | 'envFile'>,
  names: readonly K[],
  work: (remote: Remote, settings: Settings<K>) => Promise<T>,
): Promise<T> {
  const settings = readSettings(['DOKKU_HOST', 'DEPLOY_USER', ...names], environment, envFile)
  const remote = await connectRemote(shell, settings)
  try {
    return await work(remote, settings)
  } finally {
    await remote.close()
  }
}
