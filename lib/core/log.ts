// The one place through which text leaves the program: the log, results, and commands to GitHub's runner.
import { randomUUID } from 'node:crypto'
import { printableJson, printableLines } from './format.ts'
import { wrap } from './layout.ts'
import { createRedaction, type Redaction } from './redaction.ts'
import { isoLocal } from './times.ts'
import { chalk } from './zx.ts'

/**
 * The one logger. It writes to stderr: stdout is for results. At a terminal lines fit it and are coloured, and `status`
 * keeps one live line; in a log each line starts with an ISO time with zone, and `status` is silent.
 *
 * Whatever it writes is without secrets and without control characters, and further lines of a message are indented: a
 * name that holds a newline can't look like a line of ours.
 */
export interface Log extends Redaction {
  /** A step begins or ended. */
  info(message: string): void
  /** Something the operator should know although the run goes on; kept for the summary. */
  warn(message: string): void
  error(message: string): void
  /** A line of another program (a build's output). GitHub's runner takes no commands from it. */
  raw(line: string): void
  /** The live line of a long step at a terminal; replaced by the next, cleared by `info`, `warn` and `error`. */
  status(message: string): void
  /** A question: the cursor stays behind it. Unless it was answered, what comes next begins on a line of its own. */
  question(text: string): void
  /** The line of the question has ended, by the operator's Enter. */
  answered(): void
  /** A result, to stdout. Its lines are not cut: it may be a script. */
  print(text: string): void
  /** A result as one line of JSON, to stdout. Its values stay exact, but for secrets. */
  printJson(value: unknown): void
  /** A command to GitHub's runner: a line that begins with `::`. */
  command(line: string, where?: 'stdout' | 'stderr'): void
  /** What may be shown elsewhere: without secrets and control characters, long lines cut. */
  clean(text: string): string
  /** Every warning so far, in order. */
  readonly warnings: readonly string[]
  readonly isTerminal: boolean
  /** How wide the terminal is; undefined where there is none, or it does not say. */
  readonly columns: number | undefined
  /** The same of the terminal that results go to. */
  readonly resultColumns: number | undefined
}

/** A longer line is cut when it is shown. */
const LONGEST_LINE = 4000

interface Target {
  write(text: string): unknown
  isTTY?: boolean
  columns?: number
}

interface LogOptions {
  /** Where results go. */
  stdout?: Target
  /** The folder of the launchers that this was started by: commands are named as they can be typed. */
  launchers?: string | undefined
  /** Whether GitHub's runner reads what is written, and obeys the commands in it. */
  actions?: boolean
}

/** @param stream stderr */
export function createLog(
  stream: NodeJS.WriteStream,
  { stdout = stream, actions = false, launchers }: LogOptions = {},
): Log {
  const isTerminal = Boolean(stream.isTTY)
  const warnings: string[] = []
  const redaction = createRedaction()
  const pause = createPause(stream, actions)
  const unfinished = createUnfinished(stream)

  const clean = (text: string, longest = LONGEST_LINE): string =>
    shown(typeable(redaction.redact(text), launchers), longest, actions)
  const settle = (): void => {
    unfinished.end()
    pause.end()
  }
  const put = (line: string, target: Target = stdout): void => {
    settle()
    target.write(`${line}\n`)
  }
  const write = (message: string, paint: (text: string) => string): void => {
    settle()
    const time = isoLocal(new Date())
    for (const line of indentFurther(clean(message).split('\n')))
      stream.write(isTerminal ? `${paint(wrap(line, widthOf(stream)))}\n` : `${time} ${line}\n`)
  }

  return {
    ...redaction,
    info: (message) => write(message, String),
    warn: (message) => {
      warnings.push(redaction.redact(message))
      write(`Warning: ${message}`, chalk.yellow)
    },
    error: (message) => write(message, chalk.red),
    raw: (line) => {
      unfinished.end()
      pause.begin()
      for (const part of clean(line).split('\n')) stream.write(`  ${part}\n`)
    },
    status: (message) => isTerminal && unfinished.replace(chalk.dim(liveLine(clean(message), stream.columns))),
    question: (text) => {
      settle()
      unfinished.ask(wrap(clean(text), widthOf(stream)))
    },
    answered: unfinished.answered,
    print: (text) => put(clean(text, Number.POSITIVE_INFINITY)),
    printJson: (value) => put(printableJson(value, redaction.redact).replaceAll('##[', '#\\u0023[')),
    command: (line, where = 'stdout') => {
      const text = printableLines(redaction.redact(line)).replaceAll('\n', ' ').replaceAll('##[', '## [')
      put(text, where === 'stdout' ? stdout : stream)
    },
    clean: (text) => clean(text),
    warnings,
    isTerminal,
    columns: widthOf(stream),
    resultColumns: widthOf(stdout),
  }
}

/** Undefined where it is no terminal, or one that was never told its size. */
function widthOf({ isTTY, columns }: Target): number | undefined {
  return (isTTY && columns) || undefined
}

/** One line that fits the terminal; one that was never told its size says 0. */
function liveLine(text: string, columns: number): string {
  return text.replaceAll('\n', ' ').slice(0, (columns || 80) - 1)
}

const CLEAR_LINE = '\r\u001b[K'

/** A line that has no end yet: the live line, which goes when another one comes, or a question, which stays. */
function createUnfinished(stream: Target) {
  let end = ''
  const begin = (text: string, itsEnd: string): void => {
    stream.write(text)
    end = itsEnd
  }
  return {
    end: () => {
      if (end) begin(end, '')
    },
    replace: (line: string) => begin(`${end === '\n' ? end : ''}${CLEAR_LINE}${line}`, CLEAR_LINE),
    ask: (text: string) => begin(text, '\n'),
    answered: () => {
      end = ''
    },
  }
}

/** While other programs' lines are passed on, GitHub's runner is told to take no commands, until it hears a word that nobody can know. */
function createPause(stream: Target, actions: boolean): { begin(): void; end(): void } {
  let word = ''
  return {
    begin: () => {
      if (!actions || word) return
      word = randomUUID()
      stream.write(`::stop-commands::${word}\n`)
    },
    end: () => {
      if (word) stream.write(`::${word}::\n`)
      word = ''
    },
  }
}

/** `restore --list` as it is typed on a server: `~/restore --list`. */
function typeable(text: string, folder: string | undefined): string {
  if (folder === undefined) return text
  return text
    .replace(/(?<![\w~/.-])(backup|restore)(?= --[a-z]| latest\b| ARCHIVE\b| \S*\d\S* --[a-z])/g, `${folder}/$1`)
    .replace(/(?<=script -c '?)(backup|restore)\b/g, `${folder}/$1`)
    .replace(/(?<=: )(backup|restore)(?=$|[.;,])/gm, `${folder}/$1`)
}

/** Text as it is shown: printable, long lines cut, and, where the runner reads it, without a command. */
function shown(text: string, longest: number, actions: boolean): string {
  return printableLines(text)
    .split('\n')
    .map((line) => {
      const cut = line.length > longest ? `${line.slice(0, longest)}… (${line.length} characters)` : line
      // `::` counts at the beginning of a line, `##[` anywhere in it (actions/runner, ActionCommand).
      return actions ? cut.replaceAll('##[', '## [').replace(/^(\s*)::/, '$1: :') : cut
    })
    .join('\n')
}

/** The further lines move together, so that columns stay columns; not at all where each is indented already. */
function indentFurther([first = '', ...further]: readonly string[]): string[] {
  const isIndented = further.every((line) => line.startsWith('  '))
  return [first, ...further.map((line) => (isIndented ? line : `  ${line}`))]
}
