// The journal of a machine's runs: a line for each night, restore point and drill, and for each restore.
import { appendFile, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Interrupted, reason } from '../core/failure.ts'
import { makeFolder } from '../core/folder.ts'
import { oneLine } from '../core/format.ts'
import {
  aBoolean,
  aCount,
  aNumber,
  aText,
  aTimeText,
  atBest,
  oneOf,
  record,
  type Shape,
  tryJson,
} from '../core/outside.ts'
import { isoLocal } from '../core/times.ts'
import { HeldLock } from './lock.ts'
import type { Context } from './main.ts'

const KINDS = [
  'night',
  'accept',
  'restore point',
  'drill',
  'restore',
  'restore --db-only',
  'restore --media-only',
  'restore --rows',
  'restore --undo',
] as const
const OUTCOMES = ['done', 'failed', 'interrupted', 'locked'] as const

/** What is known of a run as it goes on; sizes in bytes. */
interface RunFacts {
  /** The one that was stored, proved, or restored from. */
  archive?: string | undefined
  originalBytes?: number | undefined
  dumpBytes?: number | undefined
  /** What it added to the repository. */
  newBytes?: number | undefined
  /** The whole repository, after pruning; missing when the key may only append: it never shrinks. */
  repositoryBytes?: number | undefined
  /** How many archives. */
  pruned?: number | undefined
  tries?: number | undefined
  /** `borg check` ran, and passed. */
  checked?: boolean | undefined
  /** The kept database that `restore --undo` was to make production. */
  database?: string | undefined
  /** What production's database before is kept as. */
  kept?: string | undefined
  /** How many a restore brought back. */
  rows?: number | undefined
  files?: number | undefined
}

/** Keeps what is known of a run so far. */
export type Note = (facts: RunFacts) => void

/** A line of the journal. */
export interface JournalEntry extends RunFacts {
  /** When it began, ISO 8601 with zone. */
  time: string
  kind: (typeof KINDS)[number]
  /** `locked`: another run held the lock. */
  outcome: (typeof OUTCOMES)[number]
  /** How long it worked: what a question waited for its answer is left out. */
  seconds: number
  /** How many. */
  warnings: number
  /** Why it did not end well. */
  reason?: string
  /** What was so then, in sentences: what was changed, and what was not. */
  state?: string
}

/** The journal beside the notes for the next run. */
export function journalPath(statePath: string): string {
  return statePath.replace(/\.json$/, '.jsonl')
}

/**
 * Does a run, and notes how it ended; of a run that was not agreed to there is nothing to note. That it can't be noted is a
 * warning, never a failure of the run.
 * @param run calls `note` with what is known so far
 * @throws what `run` throws
 */
export async function journaled<T>(
  context: Pick<Context, 'log' | 'shell' | 'ask' | 'closing'>,
  path: string,
  kind: JournalEntry['kind'],
  run: (note: Note) => Promise<T>,
): Promise<T> {
  const { log, shell, ask, closing } = context
  const started = new Date()
  const startedMs = performance.now()
  const { waitedMs } = ask
  let facts: RunFacts = {}
  const clean = (text: string): string => oneLine(log.clean(text), LONGEST_TEXT)
  const end = (outcome: JournalEntry['outcome'], why?: string): Promise<void> =>
    append(context, path, {
      time: isoLocal(started),
      kind,
      outcome,
      seconds: Math.round((performance.now() - startedMs - (ask.waitedMs - waitedMs)) / 100) / 10,
      ...facts,
      warnings: log.warnings.length,
      ...(why === undefined ? {} : { reason: clean(why), state: clean(closing.text()) }),
    })
  try {
    const result = await run((more) => {
      facts = { ...facts, ...more }
    })
    await end('done')
    return result
  } catch (error) {
    if (ask.declined) throw error
    const cause = shell.signal.aborted ? shell.signal.reason : error
    await end(
      cause instanceof Interrupted ? 'interrupted' : cause instanceof HeldLock ? 'locked' : 'failed',
      reason(cause),
    )
    throw error
  }
}

const LONGEST_TEXT = 500
/** Three years of nights, drills and a few restores. */
const MOST_ENTRIES = 1200

async function append({ log }: Pick<Context, 'log'>, path: string, entry: JournalEntry): Promise<void> {
  try {
    await makeFolder(dirname(path))
    const text = await readFile(path, 'utf8').catch(() => '')
    // A line that was cut off, by a full disk, is ended first.
    const begin = text === '' || text.endsWith('\n') ? '' : '\n'
    await appendFile(path, `${begin}${JSON.stringify(entry)}\n`, { mode: 0o600 })
    const lines = text.split('\n').filter(Boolean)
    // Whoever found the lock held must not write the file anew while the holder adds to it.
    if (lines.length < MOST_ENTRIES || entry.outcome === 'locked') return
    const kept = [...lines.slice(-MOST_ENTRIES * 0.8), JSON.stringify(entry)]
    await writeFile(`${path}.new`, `${kept.join('\n')}\n`, { mode: 0o600 })
    await rename(`${path}.new`, path)
  } catch (error) {
    log.warn(`The journal of the runs could not be written: ${reason(error)}`)
  }
}

/** What earlier runs left, oldest first; a line that is none of ours is passed over. */
export async function readJournal(path: string): Promise<JournalEntry[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.split('\n').flatMap(parseEntry)
}

function parseEntry(line: string): JournalEntry[] {
  const entry = tryJson(line, ENTRY)
  return entry ? [entry] : []
}

const ENTRY: Shape<JournalEntry> = record({
  time: aTimeText,
  kind: oneOf(...KINDS),
  outcome: oneOf(...OUTCOMES),
  seconds: aNumber,
  warnings: aCount,
  reason: atBest(aText),
  state: atBest(aText),
  archive: atBest(aText),
  originalBytes: atBest(aCount),
  dumpBytes: atBest(aCount),
  newBytes: atBest(aCount),
  repositoryBytes: atBest(aCount),
  pruned: atBest(aCount),
  tries: atBest(aCount),
  checked: atBest(aBoolean),
  database: atBest(aText),
  kept: atBest(aText),
  rows: atBest(aCount),
  files: atBest(aCount),
})
