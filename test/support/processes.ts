// What runs on this machine, read from /proc: quicker than ps, of which a test would start many.
import { readdirSync, readFileSync } from 'node:fs'

export interface RunningProcess {
  pid: number
  parent: number
  /** As ps has it: `R`, `S`, `T` stopped, `Z` ended, and its parent has not heard of it. */
  state: string
  /** Its command line, with spaces between the words; empty for one that has ended and waits for its parent. */
  command: string
}

export function runningProcesses(): RunningProcess[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      // The name of the program, in parentheses, may hold anything.
      const [state = '', parent] = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
      return [{ pid: Number(name), parent: Number(parent), state, command }]
    } catch {
      // It has ended since it was listed.
      return []
    }
  })
}

/** Those that have this text in their command line, each as a line: its number, and the command. */
export function processesWith(text: string): string[] {
  return runningProcesses()
    .filter(({ command }) => command.includes(text))
    .map(({ pid, command }) => `${pid} ${command}`)
}

const LONGEST_MS = 20_000

/**
 * Those of `list` that stay. What is just ending, or ends by itself when it notices that its run was killed, is given the time
 * that this takes on a busy machine.
 */
export function processesThatStay(list: () => string[]): string[] {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (const endMs = performance.now() + LONGEST_MS; ; Atomics.wait(pause, 0, 0, 50)) {
    const there = list()
    if (there.length === 0 || performance.now() > endMs) return there
  }
}

/** What runs in the containers of a sandbox beside PostgreSQL's servers: those are known by a variable that only they have. */
export function containerProcesses(dir: string): RunningProcess[] {
  return runningProcesses().filter(({ pid, command }) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
      return environment.includes(`PGHOST=${dir}/services/`) && !/^postgres:|\/postgres( |$)/.test(command)
    } catch {
      return false
    }
  })
}

/** Sends a signal to a process, which may have ended since it was listed. */
export function endIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It went by itself.
  }
}
