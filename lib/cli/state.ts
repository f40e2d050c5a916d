// What one run notes for the next.
import { createHash } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { reason } from '../core/failure.ts'
import { makeFolder } from '../core/folder.ts'
import type { Log } from '../core/log.ts'
import {
  aBoolean,
  aCount,
  aText,
  aTimeText,
  atBest,
  listOf,
  mapOf,
  record,
  type Shape,
  tryJson,
} from '../core/outside.ts'
import type { Env } from '../core/shell.ts'

/** Rows that a database's tables have taken since its counters began. */
export interface WriteCounts {
  /** Whose counters these are: those of another database, or of after a reset, tell nothing about these. */
  of: string
  /** By `schema.table`. */
  tables: Record<string, { inserted: number; updated: number; deleted: number }>
}

export const aWriteCounts: Shape<WriteCounts> = record({
  of: aText,
  tables: mapOf(record({ inserted: aCount, updated: aCount, deleted: aCount })),
})

/** What one run leaves for the next, on this machine. Losing it costs one early `borg check`, and a look into the last archive. */
interface State {
  /** When `borg check` last passed, ISO. */
  checkedAt?: string
  /** Sizes of the archives' dumps, in bytes, by the archive's name. They are known only when its comment is written. */
  dumps?: Record<string, number>
  /** What the last `borg check` found damaged: paths, by archive. */
  damaged?: Record<string, string[]>
  /** What the counters of the database said when a restore point was taken, by its name. */
  writes?: Record<string, WriteCounts>
  /** The archive that the last drill imported, and the rows of its tables, by `schema.table`. */
  drilled?: { archive: string; rows: Record<string, number> }
  /** A restore began to make the test service and has not removed it yet: whatever is under its name is ours. */
  testService?: boolean
}

/** `~/.local/state/book-corners-ops` (XDG_STATE_HOME). */
export function stateFolder(env: Env): string {
  return join(env.XDG_STATE_HOME || join(env.HOME ?? '/', '.local/state'), 'book-corners-ops')
}

/** Per repository and service. */
export function statePath(env: Env, repository: string, service: string): string {
  const key = createHash('sha256').update(`${repository}\0${service}`).digest('hex').slice(0, 16)
  return join(stateFolder(env), `${key}.json`)
}

/** What earlier runs left; nothing when there is no such file, or it can't be read. */
export async function readState(path: string): Promise<State> {
  return tryJson(await readFile(path, 'utf8').catch(() => ''), STATE) ?? {}
}

const STATE = record({
  checkedAt: atBest(aTimeText),
  dumps: atBest(mapOf(aCount)),
  damaged: atBest(mapOf(listOf(aText))),
  writes: atBest(mapOf(aWriteCounts)),
  drilled: atBest(record({ archive: aText, rows: mapOf(aCount) })),
  testService: atBest(aBoolean),
})

/** Adds to what the next run finds. That it can't be written is a warning, never a failure of the run. */
export async function remember(path: string, news: State, log: Log): Promise<void> {
  try {
    const state = { ...(await readState(path)), ...news }
    await makeFolder(dirname(path))
    await writeFile(`${path}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600 })
    await rename(`${path}.new`, path)
  } catch (error) {
    log.warn(`The notes for the next run could not be written: ${reason(error)}`)
  }
}
