// The archives of a repository: which there are, how old, at which release they were taken, what they hold.

import type { DumpMode } from '../cli/settings.ts'
import { age, isoLocal } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import { lines } from '../core/shell.ts'
import type { Borg } from './borg.ts'
import { ITEM_END, itemsArgs, listArgs } from './commands.ts'
import { type Archive, type Item, parseItem, parseList } from './output.ts'

/** What an archive's comment says about it, as JSON. Archives of the bash scripts have none. */
export interface ArchiveComment {
  /** The release that was deployed when it was taken. */
  sha: string | null
  dumpMode: DumpMode
  version: string
}

/** What a comment says; nothing when it is not one of ours. */
export function parseComment(comment: string): Partial<ArchiveComment> {
  try {
    const parsed: unknown = JSON.parse(comment)
    return typeof parsed === 'object' && parsed !== null ? parsed : {}
  } catch {
    return {}
  }
}

/**
 * This prefix's archives, newest first.
 * @param last only so many of the newest
 */
export async function listArchives(borg: Borg, prefix: string, last?: number): Promise<Archive[]> {
  return parseList((await borg.call(listArgs(prefix, last))).stdout).reverse()
}

// A night every day, and two hours for one that took long.
const STALE_HOURS = 26

/** Whether the newest archive is so old that a nightly run was missed. */
export function isStale({ start }: Archive): boolean {
  return Date.now() - start.getTime() > STALE_HOURS * 3_600_000
}

/** A row for the eye: name, age, date, release. */
export function describe(archive: Archive): string[] {
  const sha = parseComment(archive.comment).sha
  return [
    archive.name,
    age(archive.start),
    isoLocal(archive.start),
    sha ? `release ${shortSha(sha)}` : 'release unknown',
  ]
}

/** The same for machines: age in seconds; null is what an archive of the bash scripts does not tell. */
export function archiveJson({ name, start, comment }: Archive) {
  return {
    name,
    start: isoLocal(start),
    ageSeconds: Math.round((Date.now() - start.getTime()) / 1000),
    sha: parseComment(comment).sha ?? null,
    dumpMode: parseComment(comment).dumpMode ?? null,
  }
}

/**
 * Goes through an archive's items as Borg lists them; memory does not grow with their number.
 * @param paths only these, as arguments of Borg; without any of them all
 */
export async function eachItem(
  borg: Borg,
  archive: string,
  paths: readonly string[],
  onItem: (item: Item) => void,
): Promise<void> {
  const listing = borg.stream(itemsArgs(archive, paths), { env: { TZ: 'UTC' } })
  listing.stdin.end()
  for await (const item of lines(listing, ITEM_END)) onItem(parseItem(item))
  await listing.result()
}

/** A path as an archive has it: without the leading `/`. */
export function storedPath(path: string): string {
  return path.replace(/^\//, '')
}

/** Where the dump is in an archive: `db.dump`, or under the folder the bash scripts used. */
export function isDump({ type, path }: Item, mediaPath: string): boolean {
  return type === '-' && /(^|\/)db\.dump$/.test(path) && !path.startsWith(`${mediaPath}/`)
}
