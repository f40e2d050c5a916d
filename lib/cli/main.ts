// Runs a command: arguments, settings file, signals, and what becomes of an error.
import { setMaxListeners } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { setDefaultAutoSelectFamilyAttemptTimeout } from 'node:net'
import { dirname } from 'node:path'
import { isatty } from 'node:tty'
import { EXIT, Failure, Interrupted, reason } from '../core/failure.ts'
import { createLog, type Log } from '../core/log.ts'
import { quote, quoteAll } from '../core/quote.ts'
import { createShell, type Env, type Shell } from '../core/shell.ts'
import { VERSION } from '../core/version.ts'
import { type Arguments, type Command, parse } from './arguments.ts'
import { childEnv } from './child-env.ts'
import { type Closing, createClosing } from './closing.ts'
import { DEFAULT_ENV_FILE, type EnvFile, readEnvFile } from './env-file.ts'
import { type Ask, createAsk, type Terminal } from './prompt.ts'
import { secretValues } from './settings.ts'
import { homeFolder } from './user.ts'

/** Everything a script works with. */
export interface Context extends Arguments, Terminal {
  log: Log
  shell: Shell
  /** Runs what must be done even after an interruption: cleaning up. */
  cleanup: Shell
  environment: Env
  envFile: EnvFile
  /** The command that runs this script, without arguments: for another run of it. */
  self: readonly string[]
  /** Writes a result to stdout. */
  print(text: string): void
  /** Writes a result to stdout as one line of JSON. */
  printJson(value: unknown): void
  ask: Ask
  /** How long the run has worked, without the time in which its questions waited for an answer. */
  workedMs(): number
  /** What is so if the run ends here; `main` prints it after a failure. */
  closing: Closing
}

// How long one address of a host may take to connect before the next one is tried. Node's own 250 ms give up every address
// of a host that is far away (nodejs/node#54359); curl waits for all of them.
const CONNECT_MS = 2000

type Script = (context: Context) => Promise<number>

/** Runs a script: the only place that reads the process's arguments, environment and signals, prints errors and sets the exit status. */
export async function main(command: Command, script: Script): Promise<void> {
  const log = createLog(process.stderr, {
    stdout: process.stdout,
    actions: process.env.GITHUB_ACTIONS === 'true',
    launchers: launchersOf(process.env),
  })
  const interrupted = interruption(log)
  const { signal } = interrupted
  const closing = createClosing()
  const told = { json: false }
  let hasEnded = false
  // Thrown where nobody waits for it: Node would end the process at once, and print it as it is. So all is cleaned up.
  process.on('uncaughtException', (error) => {
    if (hasEnded) process.exitCode = tell(refusalOf(error) ?? error, command, log, closing)
    else interrupted.abort(error)
  })
  // A reader that has gone (`… | head`) is no reason for a stack trace; the exit status tells what happened.
  for (const stream of [process.stdin, process.stderr]) stream.on('error', () => {})
  let unwritten = false
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (unwritten || error.code === 'EPIPE' || error.code === 'EIO') return
    unwritten = true
    log.error(`The result could not be written: ${error.message}`)
    if (hasEnded) process.exitCode ||= EXIT.failed
  })
  process.on('exit', letGoOfTerminal)
  setDefaultAutoSelectFamilyAttemptTimeout(CONNECT_MS)
  // If nothing is left to wait for before the script has returned, that is no success.
  process.exitCode = EXIT.failed
  process.exitCode = await run(command, script, { log, signal, closing, told }).catch((error: unknown) => {
    const thrown: unknown = signal.aborted ? signal.reason : error
    const failure = refusalOf(thrown) ?? thrown
    // A program that reads the result is told in its place.
    if (process.argv.includes('--json') && !told.json) log.printJson(failureJson(failure, closing))
    return tell(failure, command, log, closing)
  })
  hasEnded = true
  if (unwritten) process.exitCode ||= EXIT.failed
  setInterval(leave, LEAVE_EVERY_MS).unref()
}

/** Where the launcher is that started this, as it is typed. */
function launchersOf({ OPS_LAUNCHERS: folder, HOME }: NodeJS.ProcessEnv): string | undefined {
  return folder && folder === HOME ? '~' : folder
}

/** Fires with an `Interrupted` when the operator or the system wants the process to end. */
function interruption(log: Log): AbortController {
  const controller = new AbortController()
  const { signal } = controller
  // Every program that runs listens to it. More than ten at a time are no leak; Node's warning would be in the log.
  setMaxListeners(0, signal)
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => {
      if (signal.aborted) return
      log.error(`${name}: cleaning up, wait.`)
      controller.abort(new Interrupted(name))
    })
  return controller
}

/** What `main` makes for a run. */
interface Run {
  log: Log
  /** Whether a result was printed as JSON. */
  told: { json: boolean }
  signal: AbortSignal
  closing: Closing
}

/** @returns the exit status */
async function run(command: Command, script: Script, { log, signal, closing, told }: Run): Promise<number> {
  const args = parse(command, process.argv.slice(2))
  if (args.flags.has('help') || args.flags.has('version')) {
    log.print(args.flags.has('help') ? command.help.trim() : VERSION)
    return EXIT.done
  }
  const environment = definedOnly(process.env)
  const named = args.values['env-file'] ?? environment.OPS_ENV_FILE
  const envFile = await readEnvFile(named || DEFAULT_ENV_FILE, Boolean(named))
  log.addSecrets(secretValues(environment, envFile))
  const env = childEnv(environment, homeFolder())
  const terminal = terminalOf([command.name, ...process.argv.slice(2)])
  const ask = createAsk(args.flags.has('yes'), terminal, signal, log)
  return script({
    ...args,
    log,
    shell: createShell(env, signal),
    cleanup: createShell(env, new AbortController().signal),
    environment,
    envFile,
    // `--`: Node 20 takes an --env-file anywhere on its command line for its own.
    self: [process.execPath, ...process.execArgv.filter((arg) => arg !== '--'), '--', process.argv[1] ?? ''],
    ...terminal,
    print: log.print,
    printJson: (value) => {
      told.json = true
      log.printJson(value)
    },
    ask,
    // Of this process.
    workedMs: () => performance.now() - ask.waitedMs,
    closing,
  })
}

function terminalOf(typed: readonly string[]): Terminal {
  const interactive = Boolean(process.stdin.isTTY && process.stderr.isTTY)
  return { interactive, ...(process.stdin.isTTY && !interactive && { redirected: quoteAll(typed) }) }
}

/** What stands for a result that there is not. */
function failureJson(error: unknown, closing: Closing): unknown {
  return { error: reason(error), next: error instanceof Failure ? error.hint : '', state: closing.text() }
}

/** Says what went wrong, what to type next, and what is so now. @returns the exit status */
function tell(error: unknown, { name }: Command, log: Log, closing: Closing): number {
  if (error instanceof Failure) {
    log.error(error.message)
    if (error.hint) log.info(error.hint)
    log.info(closing.text())
    return error.exitCode
  }
  log.error(`A bug in ${name} ${VERSION}: ${error instanceof Error ? error.stack : reason(error)}`)
  log.info(closing.text())
  return EXIT.failed
}

const NO_ROOM = new Set(['ENOSPC', 'EDQUOT'])
const REFUSALS = new Set([...NO_ROOM, 'EROFS', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'ENOMEM', 'EIO', 'ENOTDIR'])

/** What the machine refuses wherever it is asked for is no bug: it may have no room, or a folder may be another user's. */
function refusalOf(error: unknown): Failure | undefined {
  const { code = '', syscall, path, message } = error as NodeJS.ErrnoException
  if (!(error instanceof Error) || syscall === undefined || !REFUSALS.has(code)) return undefined
  const where = path === undefined ? '' : ` ${quote(dirname(path))}`
  return new Failure(
    `This machine refuses what is needed: ${message}`,
    NO_ROOM.has(code) ? `Free space there: df -h${where}; df -i${where}` : `Look: ls -ld${where}; id; ulimit -n`,
  )
}

/**
 * At its end Node gives the terminal back the state that it had. Where the terminal is gone (the window was closed, the
 * connection lost) that fails, and Node ends by SIGABRT in place of its exit status (20.20).
 */
function letGoOfTerminal(): void {
  for (const stream of [process.stdin, process.stdout, process.stderr]) {
    const { fd } = stream
    if (!stream.isTTY || isatty(fd)) continue
    closeSync(fd)
    // The lowest number that is free: the same.
    openSync('/dev/null', 'r+')
  }
}

const LEAVE_EVERY_MS = 100

/**
 * Ends the process although Node still waits for something that was given up and can't be cancelled: a TLS connection
 * that fetch is making (10 s), a look-up of a name (minutes). Programs that run and output are waited for.
 */
function leave(): void {
  const isBusy = process.getActiveResourcesInfo().includes('ProcessWrap')
  if (!isBusy && process.stdout.writableLength + process.stderr.writableLength === 0) process.exit()
}

function definedOnly(environment: NodeJS.ProcessEnv): Env {
  return Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
