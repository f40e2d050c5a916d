// The restore point of the deploy that brought what a way back crosses.

import { dirname } from 'node:path'
import { duration } from '../core/format.ts'
import { quoteAll } from '../core/quote.ts'
import { isSha } from '../core/sha.ts'
import { age, localTimestamp } from '../core/times.ts'
import type { Checkout } from '../git/checkout.ts'
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
  const movers = entries.flatMap(({ from, to }) => (from && from !== to ? [from, to] : []))
  const paths = crossed.map(({ path }) => path)
  const objectOf = await askObjects(checkout, new Set([running, ...movers]), paths)
  let oldest = entries.length
  for (const path of paths) {
    const blobOf = (sha: string): string | undefined => objectOf(`${sha}:${path}`)
    const brought = blobOf(running)
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i]
      if (!entry?.from || entry.from === entry.to) continue
      const has = blobOf(entry.to) === brought
      if (!has && wentLive(entry)) break
      const mayBring = has && hasMigrated(entry) && objectOf(`${entry.from}^{commit}`) !== undefined
      if (mayBring && blobOf(entry.from) !== brought) oldest = Math.min(oldest, i)
    }
  }
  return entries[oldest]
}

/**
 * Asks for commits and their files, all at once.
 * @returns tells for `SHA^{commit}` and `SHA:PATH` how git names its content; undefined where this checkout has none
 */
async function askObjects(
  checkout: Checkout,
  shas: ReadonlySet<string>,
  paths: readonly string[],
): Promise<(name: string) => string | undefined> {
  const all = [...shas].flatMap((sha) => [`${sha}^{commit}`, ...paths.map((path) => `${sha}:${path}`)])
  // One a line: no module of Python's has a name of two.
  const names = all.filter((name) => !name.includes('\n'))
  const { stdout } = await checkout.git(['cat-file', '--batch-check=%(objectname)'], { input: `${names.join('\n')}\n` })
  const lines = stdout.split('\n')
  const objects = new Map(names.map((name, i) => [name, lines[i]]))
  return (name) => {
    const said = objects.get(name)
    return isSha(said) ? said : undefined
  }
}
