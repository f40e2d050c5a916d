// Runs programs: the only file that starts processes.
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { Failure, reason } from './failure.ts'
import { CUT, duration } from './format.ts'
import { eachLine } from './lines.ts'
import { startPatience } from './patience.ts'
import { quote } from './quote.ts'
import { $ as zx } from './zx.ts'

/** Environment variables for one child: it gets these and nothing else. */
export type Env = Record<string, string>

/** What a finished program left behind. `exitCode` is null when a signal ended it, 127 when it could not be found. */
export interface Output {
  exitCode: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  /** Variables added to the base environment, e.g. the passphrase for Borg alone. */
  env?: Env
  cwd?: string
  /** What the program reads on stdin; without it stdin is /dev/null. */
  input?: string
  /** The descriptor of an open file that the program gets as its stdin. */
  stdin?: number
  /** Without one it is a day. */
  timeoutMs?: number
  /** Each complete line of stdout or stderr as it comes, without its newline. */
  onLine?: (line: string) => void
  /** Keeps all of stderr, for a program that gives its results there; else the last lines. */
  wholeStderr?: boolean
}

export interface StartOptions extends Pick<RunOptions, 'env' | 'cwd' | 'onLine'> {
  /** Ends the program if this process is killed; see `GUARD`. */
  guarded?: boolean
  /** Leaves the program at our terminal, where it can ask for a password although its stdin is streamed. */
  terminal?: boolean
}

/** A program whose stdin and stdout are streamed. */
export interface Child {
  readonly pid: number
  readonly stdin: Writable
  readonly stdout: Readable
  /** Resolves when the program has ended and its output is closed; never rejects. `stdout` is empty: it was streamed. */
  readonly ended: Promise<Output>
  /** SIGTERM to its process group, SIGKILL after ten seconds; resolves when it has ended. */
  stop(): Promise<Output>
}

export interface Shell {
  /** The environment every child starts from: ours, without secrets. */
  readonly env: Env
  readonly signal: AbortSignal
  /** Runs a program to its end. Throws only when interrupted or timed out: an exit status other than 0 is the caller's to judge. */
  run(command: readonly string[], options?: RunOptions): Promise<Output>
  /** Starts a program for streaming. */
  start(command: readonly string[], options?: StartOptions): Child
}

/** No program takes longer, `borg check` of a large repository included. */
const LONGEST_MS = 24 * 3_600_000
/** Between SIGTERM and SIGKILL. */
const GRACE_MS = 10_000
/** How long the pipes of a program that has ended may stay open. */
const PIPE_GRACE_MS = 2000
/** The last lines of a stderr are kept, in characters. */
const KEPT_STDERR = 64 * 1024
/** Of a longer line the beginning is kept. */
const KEPT_LINE = KEPT_STDERR / 2

// A program takes the end of its input for the end of the data: if this process were killed with SIGKILL, Borg would
// commit a dump that is cut short. So the guard, a small shell, holds a copy of the program's stdin open: while the guard
// lives, the program sees no end of its input. It reads a pipe from us. A line means that all went well. The end of that
// pipe means that this process is dead: then the guard ends the program.
const GUARD = `read -r line && exit 0
kill -TERM "$1"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do kill -0 "$1" || exit 0; sleep 0.5; done
kill -KILL "$1"`

/** What every child starts from. */
type Base = Pick<Shell, 'env' | 'signal'>

/**
 * The only place that starts processes. Children run in sessions of their own: a Ctrl-C at the terminal reaches this
 * process alone, which then ends them in order (Borg answers SIGINT by leaving a checkpoint archive, SIGTERM by leaving nothing).
 */
export function createShell(env: Env, signal: AbortSignal): Shell {
  const base: Base = { env, signal }
  return {
    ...base,
    run: (command, options = {}) => run(base, command, options),
    start: (command, options = {}) => start(base, command, options),
  }
}

async function run(base: Base, command: readonly string[], options: RunOptions): Promise<Output> {
  for (let left = MOST_STARTS; ; left--) {
    const startedMs = performance.now()
    const output = await runOnce(base, command, options)
    const isOurs = output.signal === 'SIGHUP' || output.signal === 'SIGINT'
    if (!isOurs || left <= 1 || performance.now() - startedMs > BEGINNING_MS) return output
  }
}

/**
 * A closed window and Ctrl-C are told to our whole group, a closed window even twice. A child that is not yet in a session of
 * its own is ended by that before it is the program: what clears up after the first time is started again.
 */
const MOST_STARTS = 4
/** It has not begun by then on a machine that is very busy. */
const BEGINNING_MS = 1000

async function runOnce({ env, signal }: Base, command: readonly string[], options: RunOptions): Promise<Output> {
  signal.throwIfAborted()
  const running = withoutStack(() => preset(env, options)`${command}`)
  const lastOfStderr = !options.wholeStderr && running.child?.stderr ? keepEnd(running.child.stderr) : undefined
  // A program that ends before it has read its input says why itself.
  running.child?.stdin?.on('error', () => {})
  if (options.onLine) for (const stream of [running.stdout, running.stderr]) eachLine(stream, options.onLine)
  const end = (): void => void kill(-(running.pid ?? 0), running, running.child)
  let timedOut = false
  const onTimeout = (): void => {
    timedOut = true
    end()
  }
  const { timeoutMs = LONGEST_MS } = options
  const patience = startPatience(timeoutMs, onTimeout)
  signal.addEventListener('abort', end, { once: true })
  try {
    const ended = await running
    const { exitCode, signal: by, stdout, cause } = ended
    const stderr = lastOfStderr?.() ?? ended.stderr
    signal.throwIfAborted()
    // The shell itself could not be started (no process left, an argument too long): zx gives no exit status or a negative one.
    if (by === null && (exitCode ?? -1) < 0)
      return { exitCode: 126, signal: null, stdout, stderr: `${command[0]}: ${reason(cause)}` }
    if (timedOut) throw new Failure(`${command[0]} did not answer within ${duration(timeoutMs)}.`, stderr.trim())
    return { exitCode, signal: by, stdout, stderr }
  } finally {
    patience.stop()
    signal.removeEventListener('abort', end)
  }
}

/** zx asks of each call for the place in the code that made it, which nobody reads: to look that up takes longer than the call. */
function withoutStack<T>(call: () => T): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return call()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** Where zx would keep what is kept here, or by nobody. */
const NOTHING: string[] = Object.assign([], { push: () => 0 })

/**
 * zx's `$`, set up for one program. zx's default stdin is an open pipe on which a child can hang. `exec` makes the shell
 * become the program: the secrets of its environment are in no other process, and a signal reaches the program itself.
 * Not bash, which zx prefers: started with Node's pipes it takes itself for a login over the network, and reads the
 * user's .bashrc, which may do anything.
 */
function preset(env: Env, { input, stdin, cwd, env: added, wholeStderr }: RunOptions) {
  return zx({
    store: { stdout: [], stderr: wholeStderr ? [] : NOTHING, stdall: NOTHING },
    env: { ...env, ...added },
    shell: '/bin/sh',
    quote,
    prefix: 'exec ',
    nothrow: true,
    quiet: true,
    detached: true,
    stdio: [stdin ?? (input === undefined ? 'ignore' : 'pipe'), 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
    ...(input === undefined ? {} : { input }),
  })
}

function start({ env, signal }: Base, [file = '', ...args]: readonly string[], options: StartOptions): Child {
  signal.throwIfAborted()
  const child = spawn(file, args, {
    env: { ...env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    detached: !options.terminal,
    stdio: ['pipe', 'pipe', 'pipe'],
  }) as ChildProcessWithoutNullStreams
  const guard = options.guarded && child.pid ? startGuard(child, env) : undefined
  // A child that ends early breaks the pipe: whoever writes sees it in `ended`, with the reason.
  child.stdin.on('error', () => {})
  const ended = endOf(child, file)
  void ended.then(() => guard?.stdin?.end('done\n'))
  if (options.onLine) eachLine(child.stderr, options.onLine)
  const stop = (): Promise<Output> => stopChild(child, options.terminal ? (child.pid ?? 0) : -(child.pid ?? 0), ended)
  const onAbort = (): void => void stop()
  signal.addEventListener('abort', onAbort, { once: true })
  const patience = startPatience(LONGEST_MS, onAbort)
  void ended.then(() => {
    signal.removeEventListener('abort', onAbort)
    patience.stop()
  })
  return {
    pid: child.pid ?? 0,
    stdin: child.stdin,
    stdout: child.stdout,
    ended,
    stop,
  }
}

/** Resolves when a child has ended and its output is closed, or when it could not be started. */
function endOf(child: ChildProcessWithoutNullStreams, file: string): Promise<Output> {
  const stderr = keepEnd(child.stderr)
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT'
      resolve({ exitCode: missing ? 127 : 126, signal: null, stdout: '', stderr: `${file}: ${error.message}` })
    })
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal, stdout: '', stderr: stderr() }))
  })
}

/**
 * Keeps the last lines of what a program says. They are whole, or cut at their end: the redaction knows a secret that has lost
 * its end, and not one that has lost its beginning.
 */
function keepEnd(stream: Readable): () => string {
  let whole = ''
  let rest = ''
  stream.setEncoding('utf8').on('data', (text: string) => {
    const ended = (rest + text)
      .split('\n')
      .map((line) => (line.length > KEPT_LINE ? line.slice(0, KEPT_LINE) + CUT : line))
    rest = ended.pop() ?? ''
    for (const line of ended) whole += `${line}\n`
    if (whole.length > KEPT_STDERR) whole = whole.slice(whole.indexOf('\n', whole.length - KEPT_STDERR - 1) + 1)
  })
  return () => whole + rest
}

async function stopChild(
  child: ChildProcessWithoutNullStreams,
  group: number,
  ended: Promise<Output>,
): Promise<Output> {
  // What nobody reads to its end never closes, and `ended` would wait for ever.
  const close = (): void => void child.stdout.destroy()
  if (child.exitCode !== null || child.signalCode !== null) close()
  else child.once('exit', close)
  if (child.pid) await kill(group, ended, child)
  return ended
}

function startGuard(child: ChildProcess, env: Env): ChildProcess {
  const guard = spawn('/bin/sh', ['-c', GUARD, 'guard', String(-(child.pid ?? 0))], {
    env,
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore', child.stdin],
  })
  guard.stdin?.on('error', () => {})
  return guard
}

/**
 * SIGTERM, then SIGKILL if it has not ended after the grace. What sudo has started as another user can't be killed by
 * us, and keeps the pipes open: they are closed from this side, a little after the program's own end or after the grace.
 */
async function kill(target: number, ended: PromiseLike<unknown>, child: ChildProcess | undefined): Promise<void> {
  const timers: NodeJS.Timeout[] = []
  const close = (): void => {
    for (const stream of child?.stdio ?? []) stream?.destroy()
  }
  const send = (name: NodeJS.Signals): void => {
    try {
      if (target !== 0) process.kill(target, name)
    } catch {
      // It has ended already.
    }
  }
  const closeSoon = (): void => void timers.push(setTimeout(close, PIPE_GRACE_MS))
  if (child && (child.exitCode !== null || child.signalCode !== null)) closeSoon()
  else child?.once('exit', closeSoon)
  send('SIGTERM')
  timers.push(
    setTimeout(() => {
      send('SIGKILL')
      close()
    }, GRACE_MS),
  )
  await ended
  timers.forEach(clearTimeout)
}
