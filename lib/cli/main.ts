import { setMaxListeners } from 'node:events'
import { homedir } from 'node:os'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { EXIT, Failure, Interrupted, reason } from '../core/failure.ts'
import { nearest } from '../core/format.ts'
import { createLog, type Log } from '../core/log.ts'
import { createShell, type Env, type Shell } from '../core/shell.ts'
import { VERSION } from '../core/version.ts'
import { DEFAULT_ENV_FILE, type EnvFile, readEnvFile } from './env-file.ts'
import { childEnv, secretValues } from './settings.ts'

/** What a script accepts: the words of its own, beside --help, --version and --env-file. */
export interface Command {
  name: string
  help: string
  /** Flags without a value. */
  switches: readonly string[]
  /** Flags with a value. */
  options?: readonly string[]
  /** Groups of switches of which at most one makes sense. */
  exclusive?: readonly (readonly string[])[]
  /** The name of an argument without a flag, if the script takes one. */
  argument?: string
}

export interface Arguments {
  /** The switches that were given. */
  flags: ReadonlySet<string>
  values: Readonly<Record<string, string>>
  argument: string | undefined
}

/** Everything a script works with. */
export interface Context extends Arguments {
  log: Log
  shell: Shell
  /** Runs what must be done even after an interruption: clearing up. */
  cleanup: Shell
  environment: Env
  envFile: EnvFile
  /** Both ends are a terminal: questions can be asked. */
  interactive: boolean
  /** Writes a result to stdout. */
  print(text: string): void
  ask: Ask
}

/** Questions at the terminal. Without one, and without --yes where that answers, each throws a Failure (exit status 2). */
export interface Ask {
  /**
   * The operator types `word` to agree; --yes agrees beforehand.
   * @throws Failure when anything else is typed: nothing was changed
   */
  confirm(prompt: string, word: string): Promise<void>
  /** One of a numbered list, by number; an empty answer, and --yes, take the first. */
  pick(prompt: string, choices: readonly string[]): Promise<number>
}

const COMMON = ['help', 'version']

/**
 * Reads a command line.
 * @throws Failure (exit status 2) that names an unknown flag and the one it resembles
 */
export function parse(command: Command, argv: readonly string[]): Arguments {
  const switches = [...COMMON, ...command.switches]
  const options = ['env-file', ...(command.options ?? [])]
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: Object.fromEntries([
      ...switches.map((name) => [name, { type: 'boolean' as const }]),
      ...options.map((name) => [name, { type: 'string' as const }]),
    ]),
  })
  const flags = new Set<string>()
  const values: Record<string, string> = {}
  const words: string[] = []
  const refuse = (message: string): never => {
    throw new Failure(message, `See: ${command.name} --help`, EXIT.usage)
  }
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value)
    if (token.kind !== 'option') continue
    const { name, rawName, value } = token
    if (options.includes(name) && rawName.startsWith('--')) {
      // `--url --json`: the value was forgotten, and the next flag would be taken for it.
      if (!value || (!token.inlineValue && value.startsWith('-'))) refuse(`${rawName} needs a value.`)
      else values[name] = value
    } else if (switches.includes(name) && rawName.startsWith('--')) {
      if (value !== undefined) refuse(`${rawName} takes no value.`)
      flags.add(name)
    } else {
      const [near] = nearest(name, [...switches, ...options])
      refuse(`Unknown flag ${rawName}.${near ? ` Did you mean --${near}?` : ''}`)
    }
  }
  if (words.length > (command.argument ? 1 : 0)) refuse(`Unexpected argument: ${words.at(-1)}`)
  for (const group of command.exclusive ?? []) {
    const given = group.filter((name) => flags.has(name) || name in values)
    if (given.length > 1) refuse(`${given.map((name) => `--${name}`).join(' and ')} can't be used together.`)
  }
  return { flags, values, argument: words[0] }
}

/** Runs a script: the only place that reads the process's arguments, environment and signals, prints errors and sets the exit status. */
export async function main(command: Command, script: (context: Context) => Promise<number>): Promise<void> {
  const log = createLog(process.stderr)
  const interruption = new AbortController()
  // Every child listens to it while it runs: more than ten at a time are no leak, and Node's warning would be in the log.
  setMaxListeners(0, interruption.signal)
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (interruption.signal.aborted) return
      log.error(`${name}: cleaning up, wait.`)
      interruption.abort(new Interrupted(name))
    })
  }
  // A reader that has gone (`… | head`) is no reason for a stack trace; the exit status tells what happened.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

  // Should the event loop ever run dry early, that is not a success.
  process.exitCode = EXIT.failed
  process.exitCode = await (async () => {
    try {
      const args = parse(command, process.argv.slice(2))
      if (args.flags.has('help')) return print(command.help.trim())
      if (args.flags.has('version')) return print(VERSION)
      const environment = definedOnly(process.env)
      const named = args.values['env-file'] ?? environment.OPS_ENV_FILE
      const envFile = await readEnvFile(named || DEFAULT_ENV_FILE, Boolean(named))
      log.addSecrets(secretValues(environment, envFile))
      const env = childEnv(environment, homedir())
      const shell = createShell(env, interruption.signal)
      const cleanup = createShell(env, new AbortController().signal)
      const interactive = Boolean(process.stdin.isTTY && process.stderr.isTTY)
      const ask = createAsk(args.flags.has('yes'), interactive, interruption.signal)
      const result: Context['print'] = (text) => {
        log.status('')
        print(text)
      }
      return await script({ ...args, log, shell, cleanup, environment, envFile, interactive, print: result, ask })
    } catch (error) {
      const known = interruption.signal.aborted ? (interruption.signal.reason as Failure) : error
      if (known instanceof Failure) {
        log.error(known.message)
        if (known.hint) log.info(known.hint)
        return known.exitCode
      }
      log.error(`A bug in ${command.name} ${VERSION}: ${error instanceof Error ? error.stack : reason(error)}`)
      return EXIT.failed
    }
  })()
  setInterval(leave, LEAVE_EVERY_MS).unref()
}

const LEAVE_EVERY_MS = 100

/**
 * Ends the process although something holds it that was given up and can't be cut: a TLS connection that fetch is making
 * (10 s), names that nobody looks up (minutes). Children and output are waited for.
 */
function leave(): void {
  const isBusy = process.getActiveResourcesInfo().includes('ProcessWrap')
  if (!isBusy && process.stdout.writableLength + process.stderr.writableLength === 0) process.exit()
}

function print(text: string): number {
  process.stdout.write(`${text}\n`)
  return EXIT.done
}

function createAsk(yes: boolean, interactive: boolean, signal: AbortSignal): Ask {
  return {
    confirm: async (prompt, word) => {
      if (yes) return
      const answer = await askLine(`${prompt}\nType ${word} to go on: `, interactive, signal)
      if (answer !== word) throw new Failure(`The answer was not ${word}: nothing was changed.`)
    },
    pick: async (prompt, choices) => {
      if (yes) return 0
      const lines = choices.map((choice, i) => `${String(i + 1).padStart(4)}  ${choice}`)
      const answer = await askLine(`${lines.join('\n')}\n${prompt} [1] `, interactive, signal)
      const number = answer === '' ? 1 : Number(answer)
      if (!Number.isInteger(number) || number < 1 || number > choices.length)
        throw new Failure(`${answer} is none of 1 to ${choices.length}: nothing was changed.`)
      return number - 1
    },
  }
}

// Not zx's `question`: at end of input or Ctrl-C it never resolves, and the process would end with status 0.
async function askLine(prompt: string, interactive: boolean, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted()
  if (!interactive)
    throw new Failure(
      'This needs an answer, and there is no terminal to ask at.',
      'Add --yes to agree beforehand.',
      EXIT.usage,
    )
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await new Promise<string>((resolve, reject) => {
      terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
      terminal.on('close', () => reject(new Failure('No answer was given: nothing was changed.')))
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      terminal.question(prompt, (answer) => resolve(answer.trim()))
    })
  } finally {
    terminal.close()
  }
}

function definedOnly(environment: NodeJS.ProcessEnv): Env {
  return Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
