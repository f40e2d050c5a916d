import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Settings } from '../cli/settings.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { type Child, createShell, type Env, type Output, quoteAll, type RunOptions, type Shell } from '../core/shell.ts'
import { explainSsh, SshFailure } from './ssh-errors.ts'

export { explainSsh, SshFailure, type SshTrouble } from './ssh-errors.ts'

/** The Dokku host as its two users see it. Every step of a run shares one connection per user, opened by the first that needs it. */
export interface Remote {
  readonly host: string
  /** The ops user, e.g. `deploy`. */
  readonly user: string
  /** Aborted when the run is interrupted. */
  readonly signal: AbortSignal
  /**
   * Runs a command as the ops user; its arguments arrive as they are.
   * @throws SshFailure when the connection could not be made, or broke
   */
  shell(command: readonly string[], options?: RunOptions): Promise<Output>
  /**
   * Runs a Dokku command as user `dokku`.
   * @throws SshFailure as `shell` does
   * @throws Error for an argument that would not arrive as it is
   */
  dokku(args: readonly string[], options?: RunOptions): Promise<Output>
  /** Starts a command as the ops user that is talked to while it runs; its end is judged by `ended`. */
  start(command: readonly string[]): Child
  /** Starts a Dokku command whose output is read while it runs. */
  startDokku(args: readonly string[]): Child
  /**
   * Copies files and folders of this machine into a folder that exists there, as the ops user.
   * @throws SshFailure as `shell` does
   */
  upload(paths: readonly string[], folder: string, options?: RunOptions): Promise<Output>
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
 * The options of every ssh and scp. A host key must be known already, and nothing asks: a question would hang in CI.
 * A dead connection is noticed within a minute; the sshd answers even while a build is silent.
 */
export function sshOptions(controlPath: string): string[] {
  return [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    'ConnectTimeout=15',
    'ServerAliveInterval=15',
    'ServerAliveCountMax=4',
    'ControlMaster=auto',
    `ControlPath=${controlPath}`,
    `ControlPersist=${PERSIST}`,
  ].flatMap((option) => ['-o', option])
}

/**
 * The words of a Dokku command over SSH. Dokku 0.3x splits them with `xargs -n 1`, whose echo swallows -n and -e; quotes and
 * backslashes are read once more, blanks split, and nothing of that is reported.
 * @throws Error for a word that would not arrive
 */
export function dokkuWords(args: readonly string[]): string[] {
  for (const arg of args)
    if (!/^[A-Za-z0-9_/.,:=@%+-]+$/.test(arg) || /^-[neE]+$/.test(arg) || arg === '--help')
      throw new Error(`Dokku would not get this argument over SSH as it is: ${JSON.stringify(arg)}`)
  return [...args]
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
  const base = tmpdir().length > 50 ? '/tmp' : tmpdir()
  const folder = await mkdtemp(join(base, 'bc-ssh-'))
  const optionsFor = (login: string): string[] => sshOptions(join(folder, login === 'dokku' ? 'd' : 's'))
  const used = new Set<string>()

  // The run's own signal may have been aborted: its connections are ended all the same.
  const closing = createShell(shell.env, new AbortController().signal)
  const hangUp = async (logins: Iterable<string> = used): Promise<void> => {
    for (const login of logins)
      await closing
        .run(['ssh', ...optionsFor(login), '-O', 'exit', `${login}@${host}`], { timeoutMs: CLOSE_TIMEOUT_MS })
        .catch(() => {})
  }
  // The shared connection's process holds the pipes of each command that runs over it until the far side ends: to kill the command's
  // own ssh is not enough to be rid of it, whether it was interrupted or took too long.
  const onAbort = (): void => void hangUp()
  shell.signal.addEventListener('abort', onAbort, { once: true })

  const judge = (login: string, program: string | undefined, output: Output): Output => {
    if (output.exitCode === 127 && /\b(ssh|scp): (command )?not found|spawn (ssh|scp) ENOENT/.test(output.stderr))
      throw new Failure('OpenSSH is not installed.', 'Install it: sudo apt-get install openssh-client', EXIT.usage)
    // scp passes ssh's troubles on with an exit status of its own.
    const failed = output.exitCode === 255 || (program === 'scp' && output.exitCode !== 0)
    const trouble = failed ? explainSsh(output.stderr, login, host) : undefined
    if (trouble) throw trouble
    if (output.exitCode === 255 && output.stderr.trim() === '')
      throw new SshFailure('lost', `The connection to ${host} was lost.`, 'Look: deploy --status')
    return output
  }
  const call = async (login: string, command: readonly string[], options?: RunOptions): Promise<Output> => {
    used.add(login)
    const timer = options?.timeoutMs ? setTimeout(() => void hangUp([login]), options.timeoutMs + 500) : undefined
    try {
      return judge(login, command[0], await shell.run(command, options))
    } finally {
      clearTimeout(timer)
    }
  }
  // The second `--` ends ssh's options once more: it goes on reading them after the destination.
  const sshCommand = (login: string, words: string): string[] => [
    'ssh',
    '-T',
    ...optionsFor(login),
    `${login}@${host}`,
    '--',
    words,
  ]

  const start = (login: string, words: string): Child => {
    used.add(login)
    return shell.start(sshCommand(login, words))
  }

  return {
    host,
    user,
    signal: shell.signal,
    shell: (command, options) => call(user, sshCommand(user, quoteAll(command)), options),
    dokku: (args, options) => call('dokku', sshCommand('dokku', dokkuWords(args).join(' ')), options),
    start: (command) => start(user, quoteAll(command)),
    startDokku: (args) => start('dokku', dokkuWords(args).join(' ')),
    upload: (paths, target, options) =>
      call(user, ['scp', '-q', '-r', ...optionsFor(user), ...paths, `${user}@${host}:${target}`], options),
    gitUrl: (app) => `dokku@${host}:${app}`,
    gitEnv: () => {
      used.add('dokku')
      return { GIT_SSH_COMMAND: quoteAll(['ssh', ...optionsFor('dokku')]), GIT_SSH_VARIANT: 'ssh' }
    },
    close: async () => {
      shell.signal.removeEventListener('abort', onAbort)
      await hangUp()
      used.clear()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
