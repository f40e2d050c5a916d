// What there is now, compared with what the archives held: not with last night's, which may lack it already, and not with
// production, which is what may have lost it.

import {
  type Acceptance,
  type ArchiveComment,
  eachItem,
  isDump,
  isFuture,
  parseComment,
  storedPath,
} from '../borg/archives.ts'
import type { Borg } from '../borg/borg.ts'
import type { Archive } from '../borg/output.ts'
import type { DumpMode } from '../cli/settings.ts'
import { bytes, firstOf, plural } from '../core/format.ts'
import type { TableSurvey } from '../postgres/tables.ts'

/** What there is to store, or what was stored; undefined is what is not known. */
export interface Present {
  mediaFiles: number
  mediaBytes: number
  tables: TableSurvey | undefined
  dump: { mode: DumpMode; bytes: number } | undefined
}

/** An archive, and what is known of what it holds. */
export interface KnownArchive extends Partial<ArchiveComment> {
  name: string
  dumpBytes?: number
}

/** The last time that somebody accepted what there was. One of a clock that was wrong, in the future, does not count. */
export function lastAcceptance(archives: readonly Archive[]): Acceptance | undefined {
  return archives
    .flatMap(({ comment }) => parseComment(comment).accepted ?? [])
    .filter(({ at }) => Date.parse(at) <= Date.now())
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
    .at(-1)
}

/**
 * The archives that count, newest first: all since the last acceptance. The bar is the most that any of them held, so a loss
 * stays one although archives with the loss follow it, and a slow one is noticed when half is gone.
 * @param dumps sizes of dumps by archive, in bytes: Borg has the comment before it has read the dump
 */
export function archivesThatCount(
  archives: readonly Archive[],
  dumps: Readonly<Record<string, number>>,
): KnownArchive[] {
  const since = Date.parse(lastAcceptance(archives)?.at ?? '1970-01-01')
  return archives
    .filter((archive) => archive.start.getTime() >= since && !isFuture(archive))
    .map(({ name, comment }) => {
      const dumpBytes = dumps[name]
      return { ...parseComment(comment), name, ...(dumpBytes === undefined ? {} : { dumpBytes }) }
    })
}

/** What the list of an archive's items tells of it: for those whose comment is silent. */
export async function readKnown(borg: Borg, { name, comment }: Archive, mediaDir: string): Promise<KnownArchive> {
  const media = storedPath(mediaDir)
  const known = { ...parseComment(comment), name, mediaFiles: 0, mediaBytes: 0, dumpBytes: 0 }
  await eachItem(borg, name, [], (item) => {
    if (isDump(item, media)) known.dumpBytes += item.sizeBytes
    if (item.type !== '-' || !item.path.startsWith(`${media}/`)) return
    known.mediaFiles++
    known.mediaBytes += item.sizeBytes
  })
  return known
}

/** What is lacking, a phrase each. */
export function findLosses(now: Present, archives: readonly KnownArchive[]): string[] {
  const losses = [mediaLoss(now, archives), dumpLoss(now, archives), ...tableLosses(now, archives)]
  return losses.filter((loss) => loss !== undefined)
}

function mediaLoss({ mediaFiles, mediaBytes }: Present, archives: readonly KnownArchive[]): string | undefined {
  const had = archives.find(
    (archive) => mediaFiles < (archive.mediaFiles ?? 0) / 2 || mediaBytes < (archive.mediaBytes ?? 0) / 2,
  )
  if (!had) return
  const held = (files = 0, size = 0): string => `${plural(files, 'file')}, ${bytes(size)}`
  const what =
    mediaFiles === 0
      ? 'the media folder is empty'
      : `the media shrank to less than half (${held(mediaFiles, mediaBytes)})`
  return `${what}, ${had.name} has ${held(had.mediaFiles, had.mediaBytes)}`
}

function dumpLoss({ dump }: Present, archives: readonly KnownArchive[]): string | undefined {
  if (!dump) return
  // Sizes of dumps of different modes say nothing about each other.
  const had = archives.find(({ dumpMode, dumpBytes = 0 }) => dumpMode === dump.mode && dump.bytes < dumpBytes / 2)
  return (
    had &&
    `the dump shrank to less than half (${bytes(dump.bytes)}), that of ${had.name} has ${bytes(had.dumpBytes ?? 0)}`
  )
}

function tableLosses({ tables: now }: Present, archives: readonly KnownArchive[]): string[] {
  if (!now) return []
  const there = new Set([...now.filled, ...now.unread])
  const told = new Set<string>()
  const losses = archives.flatMap(({ name, tables = [] }) => {
    const lost = tables.filter((table) => !there.has(table) && !told.has(table))
    for (const table of lost) told.add(table)
    return lost.length === 0
      ? []
      : [
          `${plural(lost.length, 'table')} of which ${name} has rows ${lost.length === 1 ? 'is' : 'are'} empty or gone: ${firstOf(lost)}`,
        ]
  })
  // Of very many tables a comment names only some.
  const had = archives.find(
    ({ tables = [], tableCount = 0 }) => tableCount > tables.length && there.size < tableCount / 2,
  )
  return had ? [...losses, `only ${there.size} tables have rows, in ${had.name} ${had.tableCount} have`] : losses
}
