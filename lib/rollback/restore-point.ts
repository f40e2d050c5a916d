// The restore point of the deploy that brought what a way back crosses.

import { dirname } from 'node:path'
import { duration } from '../core/format.ts'
import { quoteAll } from '../core/quote.ts'
import { age, localTimestamp } from '../core/times.ts'
import { type Checkout, hasCommit } from '../git/checkout.ts'
import type { ChangedMigration } from '../git/migrations.ts'
import { type Entry, hasMigrated, wentLive } from '../server/ledger.ts'

interface Known {
  /** The ledger. */
  entries: readonly Entry[]
  running: string
  opsDir: string
  /** What the server says of its newest restore point: its name, age, and perhaps what was written since. */
  newest?: string | undefined
  /** The archives that are there, newest first; undefined when the server did not tell. */
  archives?: readonly string[] | undefined
}

/**
 * What to know of the restore point of the deploy that brought the crossed migrations, and the command that brings its data back.
 * @returns no line where the ledger does not know that deploy
 */
export async function describeRestorePoint(
  checkout: Checkout,
  { entries, running, opsDir, newest = '', archives }: Known,
  crossed: readonly ChangedMigration[],
): Promise<string[]> {
  const bringer = await findBringer(checkout, entries, crossed, running)
  if (bringer === undefined) return []
  const { restorePoint } = bringer
  const restore = `${dirname(opsDir)}/restore`
  // It was taken when that deploy began.
  const begun = new Date(Date.parse(bringer.at) - bringer.seconds * 1000)
  const isThere = restorePoint !== undefined && archives?.includes(restorePoint) !== false
  const name = isThere ? restorePoint : newestBefore(archives ?? [], restorePoint ?? `-${localTimestamp(begun)}`)
  const what = isThere
    ? `Restore point of the deploy that brought them: ${name}, ${age(begun)}.`
    : restorePoint === undefined
      ? 'The deploy that brought them took no restore point.'
      : `Restore point of the deploy that brought them: ${restorePoint}, which is not there any more.`
  const list = quoteAll([restore, '--list'])
  if (name === undefined) return [`${what} The archives that are there, on the server: ${list}`]
  const taken = isThere ? begun : new Date(timeOf(name))
  const [, since] = newest.startsWith(`${name}, `) ? newest.split('; written since: ') : []
  const written = since === undefined ? '' : ` (rows, by PostgreSQL's counters: ${since})`
  return [
    isThere ? what : `${what} The newest archive of before it: ${name}, ${age(taken)}.`,
    `A restore to it loses all that was written since, in ${duration(Date.now() - taken.getTime())}${written}. The data back, on the server${archives ? '' : ` (if it is still there: ${list})`}:`,
    `  ${quoteAll([restore, '--db-only', name])}`,
    `  Only if that was not done yet: it takes the database to ${timeOf(name)} again.`,
  ]
}

/** The time that ends the name of an archive. */
function timeOf(name: string): string {
  return name.slice(-'2026-02-28T09:15:37'.length)
}

/** @param archives their names. @param other a name, or the end of one with its time */
function newestBefore(archives: readonly string[], other: string): string | undefined {
  return archives
    .filter((name) => timeOf(name) < timeOf(other))
    .sort((a, b) => (timeOf(a) < timeOf(b) ? 1 : -1))
    .at(0)
}

/**
 * The oldest entry that brought one of the crossed migrations, since a release without it ran: a deploy whose migrations failed
 * half-way has left some of them in the database, too.
 */
async function findBringer(
  checkout: Checkout,
  entries: readonly Entry[],
  crossed: readonly ChangedMigration[],
  running: string,
): Promise<Entry | undefined> {
  let oldest = entries.length
  for (const { path } of crossed) {
    const brought = await blobOf(checkout, running, path)
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i]
      if (!entry?.from || entry.from === entry.to) continue
      const has = (await blobOf(checkout, entry.to, path)) === brought
      if (!has && wentLive(entry)) break
      const mayBring = has && hasMigrated(entry) && (await hasCommit(checkout, entry.from))
      if (mayBring && (await blobOf(checkout, entry.from, path)) !== brought) oldest = Math.min(oldest, i)
    }
  }
  return entries[oldest]
}

/** A file of a commit as git names its content; undefined where it has none. */
async function blobOf(checkout: Checkout, sha: string, path: string): Promise<string | undefined> {
  const { exitCode, stdout } = await checkout.git(['rev-parse', '--verify', '--quiet', `${sha}:${path}`])
  return exitCode === 0 ? stdout.trim() : undefined
}
