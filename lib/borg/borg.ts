// Borg with its repository and passphrase: runs it, streams through it, and judges how it ended.

import { resolve } from 'node:path'
import { borgEnv } from '../cli/child-env.ts'
import type { Context } from '../cli/main.ts'
import { Failure } from '../core/failure.ts'
import { quote } from '../core/quote.ts'
import type { Child, Env, Output, Shell, StartOptions } from '../core/shell.ts'
import { versionArgs, withVersion } from './commands.ts'
import { explain, isWarningOnly } from './errors.ts'
import { type Message, parseMessages, parseVersion, tellsVersion } from './output.ts'

interface BorgResult {
  stdout: string
  /** Everything Borg said, progress left out. */
  messages: Message[]
  /** Borg ended with warnings (exit 1); what they were is in `messages`. */
  warned: boolean
}

interface StreamOptions extends Pick<StartOptions, 'env' | 'cwd' | 'guarded'> {
  /** Progress, which is not kept among the messages. */
  onProgress?: (message: Message) => void
}

/** A Borg that is fed, or read from, while it runs. */
export interface BorgStream extends Child {
  /**
   * Waits for its end and judges it, like `call`; `stdout` is empty, it was streamed.
   * @throws Failure that says what is wrong and the next command to type
   */
  result(): Promise<BorgResult>
}

/** Borg with its repository and passphrase, which no other program gets. */
export interface Borg {
  /**
   * @param hear gets all that Borg said, also when it failed
   * @throws Failure that says what is wrong and the next command to type
   */
  call(args: readonly string[], hear?: (messages: readonly Message[]) => void): Promise<BorgResult>
  /** The same, and checks the version as `version` does, without a start of Borg for that alone. */
  callChecked(args: readonly string[]): Promise<BorgResult>
  /** All that Borg says, however it ends. */
  say(args: readonly string[]): Promise<Message[]>
  /** Starts Borg for streaming. */
  stream(args: readonly string[], options?: StreamOptions): BorgStream
  /**
   * The version, checked.
   * @throws Failure when Borg is missing or not 1.2 or 1.4
   */
  version(): Promise<string>
  readonly repository: string
}

/** The Borg of the settings: whatever begins with BORG_ in the environment and the env file is for it alone. */
export function openBorg({ shell, environment, envFile }: Context, repository: string): Borg {
  return createBorg(shell, borgEnv(environment, envFile), repository, envFile.path)
}

// A folder of unreadable files warns once for each.
const MOST_MESSAGES = 10_000
const READING: ReadonlySet<string> = new Set(['list', 'extract'])

/**
 * @param env Borg's own variables, which no other program gets
 * @param envFile what the commands for the operator read the settings from
 */
export function createBorg(shell: Shell, env: Env, repository: string, envFile: string): Borg {
  // Borg tests itself at every start (0.07 s). Before it writes, that is needed once a run; what it reads is authenticated.
  let tested = false
  const withRepository = ([verb = '']: readonly string[]): Env => ({
    ...env,
    BORG_REPO: repository,
    ...(tested || READING.has(verb) ? { BORG_SELFTEST: 'disabled' } : {}),
  })
  const judge = ([verb = '']: readonly string[], output: Output, messages: Message[]): BorgResult => {
    if (output.exitCode === 0 && !READING.has(verb)) tested = true
    if (output.exitCode === 0) return { stdout: output.stdout, messages, warned: false }
    if (output.exitCode === 1 && isWarningOnly(messages)) return { stdout: output.stdout, messages, warned: true }
    throw explain(output, messages, repository, envFile)
  }
  // With --log-json what Borg has to say is there, all of it.
  const run = (args: readonly string[]): Promise<Output> =>
    shell.run(['borg', ...args], { env: withRepository(args), wholeStderr: true })
  return {
    repository,
    call: async (args, hear) => {
      const output = await run(args)
      const messages = parseMessages(output.stderr)
      hear?.(messages)
      return judge(args, output, messages)
    },
    callChecked: async (args) => {
      const output = await run(withVersion(args))
      const messages = parseMessages(output.stderr)
      const told = messages.find(tellsVersion)
      // One that does not start, or that does not know these words, tells none.
      if (told) requireKnown(parseVersion(told.message) ?? [])
      else await readVersion(shell)
      return judge(
        args,
        output,
        messages.filter((message) => message !== told),
      )
    },
    say: async (args) => parseMessages((await run(args)).stderr),
    stream: (args, { onProgress, env: extra, ...options } = {}) => {
      const messages: Message[] = []
      const onLine = (line: string): void => {
        for (const message of parseMessages(line)) {
          if (isProgress(message)) onProgress?.(message)
          else if (messages.length < MOST_MESSAGES) messages.push(message)
        }
      }
      const child = shell.start(['borg', ...args], {
        ...options,
        env: { ...(options.cwd === undefined ? withRepository(args) : fromHere(withRepository(args))), ...extra },
        onLine,
      })
      return { ...child, result: async () => judge(args, await child.ended, messages) }
    },
    version: () => readVersion(shell),
  }
}

/** For a Borg that works in another directory: what the settings name by a relative path they name from this one. */
function fromHere(env: Env): Env {
  const here = process.cwd()
  const { BORG_REPO = '', BORG_PASSCOMMAND, BORG_RSH } = env
  const moved = (command: string): string => `sh -c 'cd "$0" && exec "$@"' ${quote(here)} ${command}`
  return {
    ...env,
    ...(/^[./]*[\w-][^:]*$/.test(BORG_REPO) ? { BORG_REPO: resolve(BORG_REPO) } : {}),
    ...(BORG_PASSCOMMAND ? { BORG_PASSCOMMAND: moved(BORG_PASSCOMMAND) } : {}),
    ...(BORG_RSH?.includes('/') ? { BORG_RSH: moved(BORG_RSH) } : {}),
  }
}

function isProgress({ type, name }: Message): boolean {
  return type === 'archive_progress' || type === 'progress_percent' || name === 'borg.output.list'
}

async function readVersion(shell: Shell): Promise<string> {
  const output = await shell.run(['borg', ...versionArgs()])
  const version = parseVersion(output.stdout)
  if (!version)
    throw new Failure(
      output.exitCode === 127
        ? 'Borg is not installed.'
        : `Borg does not run: ${output.stderr.trim() || output.stdout.trim()}`,
      'Install it: sudo apt-get install borgbackup',
    )
  requireKnown(version)
  return version.join('.')
}

function requireKnown(version: readonly number[]): void {
  const [major, minor] = version
  if (major !== 1 || (minor !== 2 && minor !== 4))
    throw new Failure(
      `Borg ${version.join('.')} is not supported: these scripts know 1.2 and 1.4.`,
      'Install one of them: sudo apt-get install borgbackup',
    )
}
