// Starts programs for the tests, and keeps what they print.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Output {
  exitCode: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunOptions {
  /** Added to the few variables that cron gives. */
  env?: Record<string, string>
  cwd?: string
  input?: string | Buffer
}

export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Output>
  /** Resolves when stderr or stdout has matched. */
  prints(pattern: RegExp): Promise<void>
  /** Resolves when a file is there, that one of its programs makes. */
  reaches(marker: string): Promise<void>
}

/**
 * Starts a program with this environment and nothing else, and without a terminal.
 * @param running where it is listed until it has ended, so that nothing outlives its sandbox
 */
export function launchIn(
  running: Set<ChildProcess>,
  file: string,
  args: readonly string[],
  options: RunOptions,
): Running {
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  running.add(child)
  const output: Output = { exitCode: null, signal: null, stdout: '', stderr: '' }
  const waiting = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      for (const look of waiting) look()
    })
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input)
  const ended = new Promise<Output>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (exitCode, signal) => {
      running.delete(child)
      resolve(Object.assign(output, { exitCode, signal }))
    })
  })
  const prints = (pattern: RegExp): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!pattern.test(output.stdout + output.stderr)) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
      void ended.then(() => reject(new Error(`ended without printing ${pattern}: ${output.stderr}`)))
    })
  const reaches = async (marker: string): Promise<void> => {
    while (!existsSync(marker)) {
      if (!running.has(child)) throw new Error(`ended before it made ${marker}: ${output.stderr}`)
      await sleep(50)
    }
  }
  return { child, ended, prints, reaches }
}
