// The restore point of the deploy that brought what a way back crosses.

import { dirname } from 'node:path'
import { age, duration } from '../core/format.ts'
import { quoteAll } from '../core/shell.ts'
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
}

/**
 * What to know of the restore point of the deploy that brought the crossed migrations, and the command that brings its data back.
 * @returns no line where there is none
 */
export async function describeRestorePoint(
  checkout: Checkout,
  { entries, running, opsDir, newest = '' }: Known,
  crossed: readonly ChangedMigration[],
): Promise<string[]> {
  const bringer = await findBringer(checkout, entries, crossed, running)
  if (bringer?.restorePoint === undefined) return []
  // It was taken when that deploy began.
  const taken = new Date(Date.parse(bringer.at) - bringer.seconds * 1000)
  const [, since] = newest.startsWith(`${bringer.restorePoint}, `) ? newest.split('; written since: ') : []
  const written = since === undefined ? '' : ` (rows, by PostgreSQL's counters: ${since})`
  return [
    `Restore point of the deploy that brought them: ${bringer.restorePoint}, ${age(taken)}.`,
    `A restore to it loses all that was written since, in ${duration(Date.now() - taken.getTime())}${written}. The data back, on the server:`,
    `  ${quoteAll([`${dirname(opsDir)}/restore`, '--db-only', bringer.restorePoint])}`,
  ]
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
