// What there is now, compared with what the archives held: not with last night's, which may lack it already, and not with
// production, which is what may have lost it.

import type { DumpMode, Settings } from '../cli/settings.ts'
import { readState } from '../cli/state.ts'
import { bytes, firstOf, oneLine, plural } from '../core/format.ts'
import type { TableSurvey } from '../postgres/tables.ts'
import {
  type Acceptance,
  type ArchiveComment,
  eachItem,
  isDump,
  isFuture,
  MOST_PATHS,
  parseComment,
  storedPath,
  unreadableHole,
} from './archives.ts'
import type { Borg } from './borg.ts'
import type { Archive } from './output.ts'

/** What there is to store, or what was stored; undefined is what is not known. */
export interface Present {
  mediaFiles: number | undefined
  mediaBytes: number | undefined
  /** How many files are in which folder right below the media folder. */
  folders: ReadonlyMap<string, number> | undefined
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
  const changing = comingAndGoing(archives)
  return archives
    .filter((archive) => archive.start.getTime() >= since && !isFuture(archive))
    .map(({ name, comment }) => {
      const dumpBytes = dumps[name]
      const { tables, ...known } = parseComment(comment)
      return {
        ...known,
        name,
        ...(tables ? { tables: tables.filter((table) => !changing.has(table)) } : {}),
        ...(dumpBytes === undefined ? {} : { dumpBytes }),
      }
    })
}

/** So often it was accepted that a table has no rows any more: from then on it comes and goes, as that of a queue does. */
const TIMES_ACCEPTED = 2

function comingAndGoing(archives: readonly Archive[]): Set<string> {
  const known = archives
    .filter((archive) => !isFuture(archive))
    .map(({ comment }) => parseComment(comment))
    // Of very many tables a comment names only some.
    .filter(({ tables, tableCount = 0 }) => tables && tableCount <= tables.length)
    .map(({ tables, lacks = [] }) => ({ tables: new Set(tables), isGood: lacks.length === 0 }))
    .reverse()
  const all = new Set(known.flatMap(({ tables }) => [...tables]))
  return new Set(
    [...all].filter((table) => {
      let [times, isAway] = [0, true]
      for (const { tables, isGood } of known) {
        if (tables.has(table)) isAway = false
        else if (!isAway && isGood) {
          times++
          isAway = true
        }
      }
      return times >= TIMES_ACCEPTED
    }),
  )
}

/** What the list of an archive's items tells of it: for those whose comment is silent. */
async function readKnown(borg: Borg, { name, comment }: Archive, mediaDir: string | null): Promise<KnownArchive> {
  const media = storedPath(mediaDir ?? '')
  const known = { ...parseComment(comment), name, mediaFiles: 0, mediaBytes: 0, dumpBytes: 0 }
  await eachItem(borg, name, [], (item) => {
    if (isDump(item, media)) known.dumpBytes += item.sizeBytes
    if (item.type !== '-' || !item.path.startsWith(`${media}/`)) return
    known.mediaFiles++
    known.mediaBytes += item.sizeBytes
  })
  return known
}

/** The archives to compare with. Where no comment, and no run of this machine, tells of any, the newest one's list is read. */
export async function knownArchives(
  { settings, borg, statePath }: { settings: Settings<'MEDIA_DIR'>; borg: Borg; statePath: string },
  archives: readonly Archive[],
): Promise<KnownArchive[]> {
  const { dumps = {} } = await readState(statePath)
  const known = archivesThatCount(archives, dumps)
  const [newest] = known
  if (!newest) return known
  const tells =
    known.some(({ mediaFiles }) => mediaFiles !== undefined) && known.some(({ dumpBytes }) => dumpBytes !== undefined)
  if (tells) return known
  const archive = archives.find(({ name }) => name === newest.name)
  return archive ? [{ ...(await readKnown(borg, archive, settings.MEDIA_DIR)), ...newest }, ...known.slice(1)] : known
}

/** What is lacking, a phrase each. */
export function findLosses(now: Present, archives: readonly KnownArchive[]): string[] {
  const losses = [
    mediaLoss(now, archives) ?? folderLoss(now, archives),
    dumpLoss(now, archives),
    ...tableLosses(now, archives),
  ]
  return losses.filter((loss) => loss !== undefined)
}

/** What somebody has to look at, a phrase each: losses, and media files that can't be read beyond as many as were accepted. */
export function lackingWith(
  losses: readonly string[],
  { unreadable, unreadablePaths }: Pick<ArchiveComment, 'unreadable' | 'unreadablePaths'>,
  accepted: Acceptance | undefined,
): string[] {
  const isHole = unreadable > (accepted?.unreadable ?? 0)
  return [...(isHole ? [unreadableHole(unreadable, unreadablePaths)] : []), ...losses]
}

/** What a comment tells of media files that can't be read. @param paths relative to MEDIA_DIR */
export function unreadableFacts(paths: readonly string[]): Pick<ArchiveComment, 'unreadable' | 'unreadablePaths'> {
  return { unreadable: paths.length, unreadablePaths: paths.slice(0, MOST_PATHS).map((path) => oneLine(path, 200)) }
}

function mediaLoss({ mediaFiles, mediaBytes }: Present, archives: readonly KnownArchive[]): string | undefined {
  if (mediaFiles === undefined) return
  const isFar = (now: number | undefined, then = 0): boolean => now !== undefined && now < then / 2
  const had = archives.find((archive) => isFar(mediaFiles, archive.mediaFiles) || isFar(mediaBytes, archive.mediaBytes))
  if (!had) return
  const held = (files = 0, size = 0): string => `${plural(files, 'file')}, ${bytes(size)}`
  const what =
    mediaFiles === 0
      ? 'the media folder is empty'
      : `the media shrank to less than half (${held(mediaFiles, mediaBytes)})`
  return `${what}, ${had.name} has ${held(had.mediaFiles, had.mediaBytes)}`
}

/** A folder that was moved away, emptied or not mounted may hold less than half of all. */
function folderLoss({ folders: now }: Present, archives: readonly KnownArchive[]): string | undefined {
  if (!now) return
  for (const { name, folders = [] } of archives) {
    const lost = folders.filter((folder) => !now.has(folder))
    if (lost.length > 0) return `of the media nothing is left in ${firstOf(lost)}, ${name} has files there`
  }
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
