// The restore point of the deploy that brought what a way back crosses.

import { dirname } from 'node:path'
import { age, duration } from '../core/format.ts'
import { quoteAll } from '../core/shell.ts'
import { type Checkout, hasCommit } from '../git/checkout.ts'
import type { ChangedMigration } from '../git/migrations.ts'
import { type Entry, hasMigrated, wentLive } from '../server/ledger.ts'

/** A file of a commit as git names its content; undefined where it has none. */
type BlobOf = (sha: string, path: string) => Promise<string | undefined>

/**
 * The oldest entry that brought one of the crossed migrations, since a release without it ran: what is in the database of a deploy
 * whose migrations failed half-way counts, too.
 * @param current what runs
 */
async function findBringer(
  entries: readonly Entry[],
  crossed: readonly ChangedMigration[],
  current: string,
  blobOf: BlobOf,
): Promise<Entry | undefined> {
  let oldest = entries.length
  for (const { path } of crossed) {
    const brought = await blobOf(current, path)
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i]
      if (!entry?.from || entry.from === entry.to) continue
      const has = (await blobOf(entry.to, path)) === brought
      if (!has && wentLive(entry)) break
      if (has && hasMigrated(entry) && (await blobOf(entry.from, path)) !== brought) oldest = Math.min(oldest, i)
    }
  }
  return entries[oldest]
}

function createBlobOf(checkout: Checkout): BlobOf {
  return async (sha, path) => {
    const { exitCode, stdout } = await checkout.git(['rev-parse', '--verify', '--quiet', `${sha}:${path}`])
    return exitCode === 0 ? stdout.trim() : undefined
  }
}

/**
 * What to know of the restore point of the deploy that brought the crossed migrations, and the command that brings its data back.
 * @returns no line where there is none
 */
export async function describeRestorePoint(
  checkout: Checkout,
  { entries, running, opsDir }: { entries: readonly Entry[]; running: string; opsDir: string },
  crossed: readonly ChangedMigration[],
): Promise<string[]> {
  const known: Entry[] = []
  for (const entry of entries)
    if ((await hasCommit(checkout, entry.to)) && entry.from && (await hasCommit(checkout, entry.from)))
      known.push(entry)
  const bringer = await findBringer(known, crossed, running, createBlobOf(checkout))
  if (bringer?.restorePoint === undefined) return []
  // It was taken when that deploy began.
  const taken = new Date(Date.parse(bringer.at) - bringer.seconds * 1000)
  return [
    `Restore point of the deploy that brought them: ${bringer.restorePoint}, ${age(taken)}.`,
    `A restore to it loses all that was written since, in ${duration(Date.now() - taken.getTime())}. The data back, on the server:`,
    `  ${quoteAll([`${dirname(opsDir)}/restore`, '--db-only', bringer.restorePoint])}`,
  ]
}
