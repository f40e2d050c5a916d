// What there is now, compared with what the archives held: not with last night's, which may lack it already, and not with
// production, which is what may have lost it.

import type { DumpMode, Settings } from '../cli/settings.ts'
import { readState } from '../cli/state.ts'
import { bytes, firstOf, oneLine, plural } from '../core/format.ts'
import type { TableSurvey } from '../postgres/tables.ts'
import { isFuture } from './archives.ts'
import type { Borg } from './borg.ts'
import {
  type Acceptance,
  type ArchiveComment,
  lastAcceptance,
  MOST_PATHS,
  parseComment,
  unreadableHole,
} from './comment.ts'
import { eachItem, isDump, storedPath } from './items.ts'
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
  const media = mediaLoss(now, archives)
  const losses = [
    ...(media === undefined ? folderLosses(now, archives) : [media]),
    dumpLoss(now, archives),
    ...tableLosses(now, archives),
  ]
  return losses.filter((loss) => loss !== undefined)
}

/** What a comparison that found no loss looked at, and what it can't see: less than half, and single rows. */
export function describeSound({ mediaFiles }: Pick<Present, 'mediaFiles'>, archives: readonly KnownArchive[]): string {
  const fullest = fullestOf(archives)
  const fewer = mediaFiles === undefined || !fullest ? 0 : filesOf(fullest) - mediaFiles
  return [
    `nothing${mediaFiles === undefined ? ' of the database' : ''} is empty, gone or below half of what ${plural(archives.length, 'archive')} held`,
    ...(fullest && fewer > 0 ? [`${plural(fewer, 'photo')} fewer than the fullest, ${fullest.name}`] : []),
    'single rows are not compared',
  ].join('; ')
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
  // Borg names them in the order of their inodes, which says nothing to a reader.
  const shown = [...paths].sort().slice(0, MOST_PATHS)
  return { unreadable: paths.length, unreadablePaths: shown.map((path) => oneLine(path, 200)) }
}

/** The archive that has the most of something; of several the newest, if they come newest first. */
function mostOf(
  archives: readonly KnownArchive[],
  ...measures: ((archive: KnownArchive) => number)[]
): KnownArchive | undefined {
  const [first] = [...archives].sort(
    (one, other) =>
      measures.map((measure) => measure(other) - measure(one)).find((difference) => difference !== 0) ?? 0,
  )
  return first
}

function filesOf({ mediaFiles = 0 }: KnownArchive): number {
  return mediaFiles
}

function bytesOf({ mediaBytes = 0 }: KnownArchive): number {
  return mediaBytes
}

/** The archive with the most photos: what is missing comes back out of that one. */
function fullestOf(archives: readonly KnownArchive[]): KnownArchive | undefined {
  return mostOf(archives, filesOf, bytesOf)
}

/** What brings it back, as it is typed. */
function typed(part: '--media-only' | '--db-only', { name }: KnownArchive): string {
  return `(restore ${part} ${name})`
}

function isFar(now: number | undefined, then: number): boolean {
  return now !== undefined && now < then / 2
}

function mediaLoss({ mediaFiles, mediaBytes }: Present, archives: readonly KnownArchive[]): string | undefined {
  if (mediaFiles === undefined) return
  const fullest = fullestOf(archives)
  const largest = mostOf(archives, bytesOf, filesOf)
  const had =
    fullest && isFar(mediaFiles, filesOf(fullest))
      ? fullest
      : largest && isFar(mediaBytes, bytesOf(largest))
        ? largest
        : undefined
  if (!had) return
  const held = (files = 0, size = 0): string => `${plural(files, 'file')}, ${bytes(size)}`
  const what =
    mediaFiles === 0
      ? 'the media folder is empty'
      : `the media shrank to less than half (${held(mediaFiles, mediaBytes)})`
  return `${what}, ${had.name} has ${held(had.mediaFiles, had.mediaBytes)} ${typed('--media-only', had)}`
}

/**
 * The archives that hold what is lost, each with what is told of it: first the one that holds the most, then what it lacks.
 * @param lostIn what of an archive is lost
 * @param better of archives that hold as much
 */
function holders(
  archives: readonly KnownArchive[],
  lostIn: (archive: KnownArchive) => readonly string[],
  better: (archive: KnownArchive) => number,
): [KnownArchive, string[]][] {
  const told = new Set<string>()
  const untold = (archive: KnownArchive): string[] => lostIn(archive).filter((one) => !told.has(one))
  const found: [KnownArchive, string[]][] = []
  for (;;) {
    const archive = mostOf(archives, (one) => untold(one).length, better)
    const lost = archive ? untold(archive) : []
    if (!archive || lost.length === 0) return found
    found.push([archive, lost])
    for (const one of lost) told.add(one)
  }
}

/** A folder that was moved away, emptied or not mounted may hold less than half of all. */
function folderLosses({ folders: now }: Present, archives: readonly KnownArchive[]): string[] {
  if (!now) return []
  const lostIn = ({ folders = [] }: KnownArchive): string[] => folders.filter((folder) => !now.has(folder))
  return holders(archives, lostIn, filesOf).map(
    ([had, lost]) =>
      `of the media nothing is left in ${firstOf(lost)}, ${had.name} has files there ${typed('--media-only', had)}`,
  )
}

/** A dump is a little smaller after a purge of sessions: then the newer one loses less of what was written since. */
const NEARLY = 0.9

/** 1 for an archive whose dump is about as large as any of its mode: sizes of other modes say nothing about it. */
function isNearlyFull(archives: readonly KnownArchive[]): (archive: KnownArchive) => number {
  return ({ dumpMode, dumpBytes = 0 }) =>
    archives.every((other) => other.dumpMode !== dumpMode || dumpBytes >= NEARLY * (other.dumpBytes ?? 0)) ? 1 : 0
}

function dumpLoss({ dump }: Present, archives: readonly KnownArchive[]): string | undefined {
  if (!dump) return
  const alike = archives.filter(({ dumpMode }) => dumpMode === dump.mode)
  if (!alike.some(({ dumpBytes = 0 }) => isFar(dump.bytes, dumpBytes))) return
  const had = mostOf(alike, isNearlyFull(alike))
  return (
    had &&
    `the dump shrank to less than half (${bytes(dump.bytes)}), that of ${had.name} has ${bytes(had.dumpBytes ?? 0)} ${typed('--db-only', had)}`
  )
}

function tableLosses({ tables: now }: Present, archives: readonly KnownArchive[]): string[] {
  if (!now) return []
  const there = new Set([...now.filled, ...now.unread])
  const lostIn = ({ tables = [] }: KnownArchive): string[] => tables.filter((table) => !there.has(table))
  const losses = holders(archives, lostIn, isNearlyFull(archives)).map(
    ([had, lost]) =>
      `${plural(lost.length, 'table')} of which ${had.name} has rows ${lost.length === 1 ? 'is' : 'are'} empty or gone: ${firstOf(lost)} ${typed('--db-only', had)}`,
  )
  // Of very many tables a comment names only some.
  const had = mostOf(
    archives.filter(({ tables = [], tableCount = 0 }) => tableCount > tables.length),
    ({ tableCount = 0 }) => tableCount,
  )
  return had && isFar(there.size, had.tableCount ?? 0)
    ? [
        ...losses,
        `only ${there.size} tables have rows, in ${had.name} ${had.tableCount} have ${typed('--db-only', had)}`,
      ]
    : losses
}
