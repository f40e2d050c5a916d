// The ledger on the server: one line for each deploy and rollback.

import { Failure } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import {
  aBoolean,
  aNumber,
  aText,
  aTimeText,
  atBest,
  listOf,
  matching,
  optional,
  orNull,
  record,
  type Shape,
  tryJson,
} from '../core/outside.ts'
import type { Remote } from './ssh.ts'
import { appendToLedger, ledgerPath, readLedgerLines } from './words.ts'

/** One line of OPS_DIR/deploys.jsonl: what a deploy or rollback did to production. */
export interface Entry {
  /** When it ended, ISO. */
  at: string
  kind: 'deploy' | 'rollback' | 'revert' | 'rebuild'
  who: string
  /** What ran before; null on the first deployment. */
  from: string | null
  to: string
  subject: string
  /** `deployed`, `unchanged`, or what kept it from going live (an outcome of a push); `pushed`: a revert that CI is to deploy. */
  outcome: string
  /** What the containers said afterwards that they run; null where they did not say. Missing in a line of an older version. */
  runs?: string | null
  seconds: number
  /** The site passed its checks afterwards; null when they were not made. */
  verified: boolean | null
  /** What should follow when it runs (`sync`, `purge`, `verify`), and was not done: it failed, or the run was interrupted before. */
  notDone?: readonly string[]
  /** The archive that was taken before its push; missing when none was. */
  restorePoint?: string
}

/** Somebody will type it: a line of the ledger can be written by whoever holds CI's key. */
export const anArchiveName = matching(
  /^[A-Za-z0-9][A-Za-z0-9_.-]*-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/,
  'the name of an archive',
)

/** What ends so has started nothing, whatever runs: somebody else has started that, or a container was restarted under its name. */
const STARTED_NOTHING = new Set(['locked', 'stale', 'elsewhere', 'build-failed', 'predeploy-failed', 'pushed'])

/**
 * What went live and stayed until the next: neither failed deploys, nor reverts that only CI was to deploy. A deploy can fail after
 * its release went live: a worker's check, the postdeploy task.
 */
export function wentLive({ outcome, runs, to }: Entry): boolean {
  if (STARTED_NOTHING.has(outcome)) return false
  return typeof runs === 'string' ? runs === to : outcome === 'deployed' || outcome === 'unchanged'
}

/** What may have migrated the database, whatever ran afterwards: the predeploy task comes before the switch. */
export function hasMigrated({ outcome }: Pick<Entry, 'outcome'>): boolean {
  return outcome === 'predeploy-failed' || !STARTED_NOTHING.has(outcome)
}

/** What lost its connection, or was interrupted: Dokku may have gone on, and finished. */
export function wasCutOff({ outcome }: Entry): boolean {
  return outcome === 'lost' || outcome === 'interrupted'
}

/**
 * What changed what runs, oldest first. A run that was cut off went live all the same if what it was to deploy is what runs.
 * @param running what runs
 */
export function movesOf(entries: readonly Entry[], running: string): Entry[] {
  const live = (entry: Entry): boolean => wentLive(entry) || (wasCutOff(entry) && entry.to === running)
  return entries.filter((entry) => live(entry) && entry.from !== entry.to)
}

/** A rebuild goes back, too, where something else ran than what is on the deploy branch. */
export function isWayBack({ kind }: Entry): boolean {
  return kind === 'rollback' || kind === 'rebuild'
}

/**
 * The ways back since the last deploy, oldest first, if they led to what runs: they took back what the first of them came `from`, and
 * origin may still hold that.
 */
export function waysBack(entries: readonly Entry[], running: string): Entry[] {
  const moves = movesOf(entries, running)
  return moves.at(-1)?.to === running ? moves.slice(moves.findLastIndex((entry) => !isWayBack(entry)) + 1) : []
}

/** One line; Dokku's and git's words can't break it, JSON escapes newlines. Without a ' it is also easy to tell what a command line adds. */
export function entryLine(entry: Entry): string {
  return JSON.stringify(entry).replaceAll("'", '\\u0027')
}

const aSha = matching(/^[0-9a-f]{40}$/, 'a SHA')
/** Another version may leave something out, and someone who edits the file may, too. */
const ENTRY = record({
  at: aTimeText,
  kind: aText as Shape<Entry['kind']>,
  who: optional(aText),
  from: optional(orNull(aSha)),
  to: aSha,
  subject: optional(aText),
  outcome: aText,
  runs: atBest(orNull(aText)),
  seconds: optional(aNumber),
  verified: optional(orNull(aBoolean)),
  notDone: atBest(listOf(aText)),
  restorePoint: atBest(anArchiveName),
})

/** Entries, oldest first. A line that is none (a full disk cut it, someone edited it) is passed over. */
export function parseLedger(text: string): Entry[] {
  return text.split('\n').flatMap((line) => {
    const entry = tryJson(line, ENTRY)
    return entry
      ? [
          {
            who: 'unknown',
            subject: '',
            seconds: 0,
            ...entry,
            from: entry.from ?? null,
            verified: entry.verified ?? null,
          },
        ]
      : []
  })
}

/**
 * Adds an entry.
 * @throws Failure when it can't be written
 */
export async function appendEntry(remote: Remote, opsDir: string, entry: Entry): Promise<void> {
  const output = await remote.shell(appendToLedger(opsDir, entryLine(entry)), { timeoutMs: 30_000 })
  if (output.exitCode !== 0) throw new Failure(`${ledgerPath(opsDir)} on the server: ${lastLines(output.stderr)}`)
}

/**
 * The newest entries, oldest of them first; none when nothing was ever deployed with these scripts.
 * @throws Failure when the ledger can't be read
 */
export async function readLedger(remote: Remote, opsDir: string): Promise<Entry[]> {
  const output = await remote.shell(readLedgerLines(opsDir), { timeoutMs: 30_000 })
  if (output.exitCode !== 0) throw new Failure(`${ledgerPath(opsDir)} on the server: ${lastLines(output.stderr)}`)
  return parseLedger(output.stdout)
}
