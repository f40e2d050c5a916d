import { Failure } from '../core/failure.ts'
import type { Child, Env, Output, Shell, StartOptions } from '../core/shell.ts'
import { versionArgs } from './commands.ts'
import { explain, isWarningOnly } from './errors.ts'

/** One line of `--log-json`; of another program's text only `message` is set. */
export interface Message {
  type?: string
  levelname?: string
  msgid?: string
  /** The logger: `borg.output.list` for the lines of `--list`. */
  name?: string
  message: string
}

/** An archive as `borg list --json` gives it. */
export interface Archive {
  name: string
  /** When it was begun. Borg prints local time without a zone. */
  start: Date
  comment: string
}

/** What `borg create --json` reports, in bytes. */
export interface Created {
  originalBytes: number
  /** Deduplicated, compressed: what this archive added to the repository. */
  newBytes: number
  /** Deduplicated, compressed size of all archives of the repository. */
  repositoryBytes: number
  files: number
}

// A folder of unreadable files warns once for each.
const MOST_MESSAGES = 10_000

export function parseList(stdout: string): Archive[] {
  return (JSON.parse(stdout) as { archives: { name: string; start: string; comment?: string }[] }).archives.map(
    ({ name, start, comment = '' }) => ({ name, start: new Date(start), comment }),
  )
}

export function parseCreated(stdout: string): Created {
  const { archive, cache } = JSON.parse(stdout) as {
    archive: { stats: { original_size: number; deduplicated_size: number; nfiles: number } }
    cache: { stats: { unique_csize: number } }
  }
  return {
    originalBytes: archive.stats.original_size,
    newBytes: archive.stats.deduplicated_size,
    repositoryBytes: cache.stats.unique_csize,
    files: archive.stats.nfiles,
  }
}

/** The names in the lines `Pruning archive (1/2): NAME …` of `borg prune --list`. */
export function parsePruned(messages: readonly Message[]): string[] {
  return messages.flatMap(({ message }) => {
    const found = /^(?:Pruning archive|Would prune)[^:]*:\s+(\S+)/.exec(message)
    return found?.[1] ? [found[1]] : []
  })
}

/** Bytes that pruning took from the repository's deduplicated size: the last column of `Deleted data:` (`--stats`). */
export function parseDeletedBytes(messages: readonly Message[]): number {
  const line = messages.find(({ message }) => message.startsWith('Deleted data:'))?.message ?? ''
  const [, amount = '0', unit = 'B'] = /-?([\d.]+) ([kMGT]?B)\s*$/.exec(line) ?? []
  return Math.round(Number(amount) * 1000 ** ['B', 'kB', 'MB', 'GB', 'TB'].indexOf(unit))
}

/** The `--log-json` lines of a stderr; any other line becomes a message without a type. */
export function parseMessages(stderr: string): Message[] {
  return stderr.split('\n').flatMap((line) => {
    if (line.trim() === '') return []
    try {
      const message = JSON.parse(line) as Message
      return typeof message === 'object' && message
        ? [{ ...message, message: String(message.message ?? '') }]
        : [{ message: line }]
    } catch {
      return [{ message: line }]
    }
  })
}

/** `[1, 2, 4]` of `borg 1.2.4`. */
export function parseVersion(stdout: string): number[] | undefined {
  const found = /^borg (\d+)\.(\d+)\.(\d+)/m.exec(stdout)
  return found ? found.slice(1).map(Number) : undefined
}

export interface BorgResult {
  stdout: string
  /** Everything Borg said, progress left out. */
  messages: Message[]
  /** Borg ended with warnings (exit 1); what they were is in `messages`. */
  warned: boolean
}

export interface StreamOptions extends Pick<StartOptions, 'env' | 'cwd' | 'guarded'> {
  /** Progress, and the lines of `--list`; they are not kept among the messages. */
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

function isProgress({ type, name }: Message): boolean {
  return type === 'archive_progress' || type === 'progress_percent' || name === 'borg.output.list'
}

/** Borg with its repository and passphrase, which no other program gets. */
export interface Borg {
  /** @throws Failure that says what is wrong and the next command to type */
  call(args: readonly string[]): Promise<BorgResult>
  /** Starts Borg for streaming. */
  stream(args: readonly string[], options?: StreamOptions): BorgStream
  /**
   * The version, checked.
   * @throws Failure when Borg is missing or not 1.2 or 1.4
   */
  version(): Promise<string>
  readonly repository: string
}

const READING: ReadonlySet<string> = new Set(['list', 'extract'])

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
  return {
    repository,
    call: async (args) => {
      const output = await shell.run(['borg', ...args], { env: withRepository(args) })
      return judge(args, output, parseMessages(output.stderr))
    },
    stream: (args, { onProgress, env: extra, ...options } = {}) => {
      const messages: Message[] = []
      const onLine = (line: string): void => {
        for (const message of parseMessages(line)) {
          if (isProgress(message)) onProgress?.(message)
          else if (messages.length < MOST_MESSAGES) messages.push(message)
        }
      }
      const child = shell.start(['borg', ...args], { ...options, env: { ...withRepository(args), ...extra }, onLine })
      return { ...child, result: async () => judge(args, await child.ended, messages) }
    },
    version: async () => {
      const output = await shell.run(['borg', ...versionArgs()])
      const version = parseVersion(output.stdout)
      if (!version)
        throw new Failure(
          output.exitCode === 127
            ? 'Borg is not installed.'
            : `Borg does not run: ${output.stderr.trim() || output.stdout.trim()}`,
          'Install it: sudo apt-get install borgbackup',
        )
      const [major, minor] = version
      if (major !== 1 || (minor !== 2 && minor !== 4))
        throw new Failure(
          `Borg ${version.join('.')} is not supported: these scripts know 1.2 and 1.4.`,
          'Install one of them: sudo apt-get install borgbackup',
        )
      return version.join('.')
    },
  }
}
