// What a program takes: time, disk and memory, looked at while it runs.
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Output, Running } from '../support/launch.ts'

/** What a program took, its children included where nothing else is said. */
export interface Measured {
  output: Output
  wallMs: number
  /** Most bytes that were in files of the watched folders, or open for writing elsewhere, beside what was there before. */
  diskBytes: number
  /** Most memory of the program itself, without its children (VmHWM). */
  memoryBytes: number
}

export interface Watch {
  /** Where temporary files may appear. */
  folders: readonly string[]
  /** What is not temporary: repositories, caches. */
  ignored: readonly string[]
  /** Files that don't count either. */
  ignoredFiles: RegExp
}

const SAMPLE_MS = 50

/** Runs a program to its end, looking at it every 50 ms. */
export async function measure(start: () => Running, watch: Watch): Promise<Measured> {
  const before = diskBytes(watch, [])
  const startedMs = performance.now()
  const { child, ended } = start()
  const pid = child.pid ?? 0
  const peak = { diskBytes: 0, memoryBytes: 0 }
  const sample = (): void => {
    peak.diskBytes = Math.max(peak.diskBytes, diskBytes(watch, family(pid)) - before)
    peak.memoryBytes = Math.max(peak.memoryBytes, memoryBytes(pid))
  }
  const timer = setInterval(sample, SAMPLE_MS)
  const output = await ended
  clearInterval(timer)
  return { output, wallMs: performance.now() - startedMs, ...peak }
}

function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read()
  } catch {
    // It has gone since it was listed.
    return otherwise
  }
}

function memoryBytes(pid: number): number {
  const status = attempt(() => readFileSync(`/proc/${pid}/status`, 'utf8'), '')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
}

/** A process and everything it started that still has a parent among them. */
function family(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    // The name of the program, in parentheses, may hold anything.
    const stat =
      attempt(() => readFileSync(`/proc/${name}/stat`, 'utf8'), '')
        .split(') ')
        .at(-1) ?? ''
    const parent = Number(stat.split(' ')[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const found = [pid]
  for (const parent of found) found.push(...(children.get(parent) ?? []))
  return found
}

/** Files are counted once, by inode: one may be in a watched folder and open. */
function diskBytes({ folders, ignored, ignoredFiles }: Watch, pids: readonly number[]): number {
  const sizes = new Map<string, number>()
  const isIgnored = (path: string): boolean =>
    ignoredFiles.test(path) || ignored.some((folder) => path === folder || path.startsWith(`${folder}/`))
  const walk = (folder: string): void => {
    for (const entry of attempt(() => readdirSync(folder, { withFileTypes: true }), [])) {
      const path = join(folder, entry.name)
      if (isIgnored(path)) continue
      if (entry.isDirectory()) walk(path)
      else if (entry.isFile()) attempt(() => void remember(lstatSync(path)), undefined)
    }
  }
  const remember = ({ dev, ino, size }: { dev: number; ino: number; size: number }): void => {
    sizes.set(`${dev}:${ino}`, size)
  }
  folders.forEach(walk)
  for (const pid of pids)
    for (const fd of attempt(() => readdirSync(`/proc/${pid}/fd`), []))
      attempt(() => {
        const path = readlinkSync(`/proc/${pid}/fd/${fd}`)
        const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0'
        const writes = (Number.parseInt(flags, 8) & 3) !== 0
        if (!writes || !path.startsWith('/') || isIgnored(path)) return
        // Through the descriptor: the file may have lost its name already.
        const info = statSync(`/proc/${pid}/fd/${fd}`)
        if (info.isFile()) remember(info)
      }, undefined)
  let total = 0
  for (const size of sizes.values()) total += size
  return total
}
