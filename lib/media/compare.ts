// An archive's media against the disk: what is missing, what differs, what must not be restored.

import { storedPath } from '../borg/items.ts'
import type { Item } from '../borg/output.ts'
import { type Entry, type FileInfo, INBOX, type Listing, list } from './folder.ts'

/** A file or link of an archive, its path relative to MEDIA_DIR. */
export type MediaFile = Item

/** What a restore of the media would do. */
export interface MediaPlan {
  /** The folder that the archive is compared with. */
  mediaDir: string
  missing: MediaFile[]
  /** Size, time or kind differ: what is on the disk may be newer. */
  different: MediaFile[]
  /** Those that differ come back, too, and the disk's are put aside; else they stay as they are. */
  overwrite: boolean
  /** The same already: how many, and some files of them in the archive's order, chosen at random; none is empty. */
  same: { count: number; sample: MediaFile[] }
  /** Only on the disk: kept. */
  onDisk: { count: number; bytes: number; first: string[] }
  /** Never restored, each with the reason: links and paths that lead outside MEDIA_DIR, special files, what something else is in the way of. */
  refused: string[]
  /** In the archive, with zeros in place of what was lost: never restored. */
  damaged: string[]
  /** Folders that the archive has with nothing in them, and the disk has not. */
  folders: string[]
  /** Folders on the disk that could not be looked into, each with the reason. */
  unlisted: string[]
}

/** The files a plan extracts. */
export function wanted(plan: MediaPlan): readonly MediaFile[] {
  return plan.overwrite ? [...plan.missing, ...plan.different] : plan.missing
}

/** The size of files together. */
export function totalBytes(files: readonly MediaFile[]): number {
  return files.reduce((total, { sizeBytes }) => total + sizeBytes, 0)
}

// Borg keeps nanoseconds, its list prints microseconds, JavaScript's dates have milliseconds.
const SAME_TIME_MS = 2
// Borg 1.2 stores no time before 1970 or after this one (2^31 - 1 s, less two days): it takes the nearest.
const LATEST_MS = Date.UTC(2038, 0, 17, 3, 14, 7)

function storedTime(mtimeMs: number): number {
  return Math.min(Math.max(mtimeMs, 0), LATEST_MS)
}

/** Whether a file on the disk is the archive's, by size and time; a hard link's size is not listed, so only its presence counts. */
export function isSame(file: MediaFile, disk: FileInfo): boolean {
  return (
    file.type === 'h' ||
    (file.sizeBytes === disk.size && Math.abs(file.mtimeMs - storedTime(disk.mtimeMs)) <= SAME_TIME_MS)
  )
}

/**
 * Lists the disk, and compares an archive's items with it. Feed it every item, then ask for the plan. Of many files that are the
 * same it keeps few: what it holds is the disk's list, and the items that are not as the disk has them.
 */
export async function createMediaComparison(mediaDir: string, overwrite = false) {
  // First: of what Borg lists meanwhile only so much is kept as eachItem reads ahead.
  const disk = await list(mediaDir)
  const prefix = `${storedPath(mediaDir)}/`
  const same = createSample()
  const others: MediaFile[] = []
  const damaged: string[] = []
  // Those that nothing lies in so far.
  const folders = new Set<string>()

  const sift = (file: MediaFile): void => {
    const found = disk.entries.get(file.path)
    disk.entries.mark(file.path, file.type)
    if (found && file.type === '-' && isUnchanged(file, found)) same.add(file)
    else others.push(ownText(file))
  }
  const add = (item: Item): void => {
    if (!item.path.startsWith(prefix)) return
    const path = item.path.slice(prefix.length)
    if (INBOX.test(path)) return
    // Borg lists a folder before what is in it.
    folders.delete(parentOf(path))
    if (item.type === 'd') return void folders.add(path)
    if (item.isBroken) damaged.push(path)
    const target = item.type === 'h' && item.target.startsWith(prefix) ? item.target.slice(prefix.length) : item.target
    sift({ ...item, path, target })
  }
  const plan = (): MediaPlan => {
    const archived = archivedTypes(others, disk)
    const obstacle = createObstacles(archived, disk)
    const sorted = sort(others, same, { disk, archived, obstacle })
    const lost = [...folders].filter(
      (path) =>
        !disk.entries.has(path) &&
        !path.includes('?') &&
        !path.split('/').includes('..') &&
        obstacle(path) === undefined,
    )
    return { ...sorted, mediaDir, damaged, folders: lost, overwrite }
  }
  return { add, plan }
}

/** A file whose path is a text of its own: what was cut out of Borg's list holds all the list that it was cut out of. */
function ownText(file: MediaFile): MediaFile {
  return { ...file, path: Buffer.from(file.path).toString(), target: Buffer.from(file.target).toString() }
}

/** Files read out of the archive by a drill. */
const SAMPLE = 20

interface Sample {
  add(file: MediaFile): void
  taken(): MediaPlan['same']
}

/** Keeps some files at random, each with the same chance, of however many come. */
function createSample(): Sample {
  const kept: { file: MediaFile; number: number }[] = []
  let count = 0
  let candidates = 0
  return {
    add: (file) => {
      count++
      if (file.type !== '-' || file.sizeBytes === 0 || file.isBroken || file.path.includes('?')) return
      const number = candidates++
      const place = number < SAMPLE ? number : Math.floor(Math.random() * candidates)
      if (place < SAMPLE) kept[place] = { file, number }
    },
    taken: () => ({ count, sample: kept.sort((a, b) => a.number - b.number).map(({ file }) => file) }),
  }
}

type SortedFiles = Omit<MediaPlan, 'mediaDir' | 'overwrite' | 'damaged' | 'folders'>

/** @param files those that are not known to be the same already */
function sort(
  files: readonly MediaFile[],
  same: Sample,
  { disk, archived, obstacle }: { disk: Listing; archived: Archived; obstacle: (path: string) => string | undefined },
): SortedFiles {
  const unlisted = [...disk.unlisted].map(([folder, why]) => `${folder || '.'}: ${why}`)
  const plan: Omit<SortedFiles, 'same'> = {
    missing: [],
    different: [],
    onDisk: { ...NOTHING },
    refused: [],
    unlisted,
  }
  for (const file of files) {
    const found = disk.entries.get(file.path)
    // A pipe that the app has in its folder comes back with the app, if at all.
    if (SPECIAL.test(file.type) && found?.kind === 'special') continue
    const why = refusal(file, archived, disk) ?? obstacle(file.path)
    if (why) plan.refused.push(`${file.path}: ${why}`)
    else if (found && isUnchanged(file, found)) same.add(file)
    else if (file.isBroken) plan.refused.push(`${file.path}: damaged in the archive, a repair has put zeros into it`)
    else if (!found) plan.missing.push(file)
    else plan.different.push(file)
  }
  plan.onDisk = summarize(disk)
  return { ...plan, same: same.taken() }
}

const SPECIAL = /^[^-hl]$/
const OUTSIDE = 'leads outside'

/** The types of an archive's items by their paths, without folders; undefined of a path that is not in it. */
type Archived = (path: string) => string | undefined

/** What the disk has too is marked there. */
function archivedTypes(files: readonly MediaFile[], { entries }: Listing): Archived {
  const others = new Map<string, string>()
  for (const { path, type } of files) if (!entries.has(path)) others.set(path, type)
  return (path) => entries.get(path)?.archived ?? others.get(path)
}

/** Why an item must not be restored, whatever is in its way; undefined when it may. */
function refusal({ path, type, target }: MediaFile, archived: Archived, disk: Listing): string | undefined {
  if (path.split('/').some((part) => part === '..' || part === '.' || part === '')) return OUTSIDE
  if (SPECIAL.test(type)) return 'neither a file nor a link'
  // Borg would link to whatever is under that name, wherever it extracts to.
  if (type === 'h' && archived(target) !== '-') return `a hard link to ${target}`
  return type === 'l' ? refusalOfLink(path, target, archived, disk) : undefined
}

/** A link is judged by its words. They say where it leads only as long as it does not walk through another link. */
function refusalOfLink(path: string, target: string, archived: Archived, disk: Listing): string | undefined {
  const at = path.split('/').slice(0, -1)
  for (const [i, name] of target.split('/').entries()) {
    const here = at.join('/')
    if (i > 0 && (archived(here) === 'l' || disk.entries.get(here)?.kind === 'link'))
      return `a link to ${target}, through the link ${here}`
    if (name === '..' ? at.pop() === undefined : name === '' && i === 0) return `a link to ${target}`
    if (name !== '..' && name !== '.' && name !== '') at.push(name)
  }
  return undefined
}

function isUnchanged(file: MediaFile, disk: Entry): boolean {
  if (file.type === 'l') return disk.kind === 'link' && disk.target === file.target
  return disk.kind === 'file' && isSame(file, disk)
}

const NOTHING: MediaPlan['onDisk'] = { count: 0, bytes: 0, first: [] }
const SHOWN = 3

/** What only the disk has. */
function summarize({ entries }: Listing): MediaPlan['onDisk'] {
  const paths: string[] = []
  let bytes = 0
  for (const [path, { kind, size, archived }] of entries) {
    if ((kind !== 'file' && kind !== 'link') || archived) continue
    paths.push(path)
    bytes += size
  }
  return { count: paths.length, bytes, first: paths.sort().slice(0, SHOWN) }
}

/** Finds why a path can't be restored because of what the archive or the disk has in its place or on the way to it. */
function createObstacles(archived: Archived, disk: Listing): (path: string) => string | undefined {
  const folders = new Map<string, string | undefined>([['', unlisted('', disk)]])
  const inFolder = (folder: string): string | undefined => {
    if (!folders.has(folder)) folders.set(folder, inFolder(parentOf(folder)) ?? onTheWay(folder, archived, disk))
    return folders.get(folder)
  }
  return (path) =>
    inFolder(parentOf(path)) ??
    unlisted(path, disk) ??
    (disk.entries.get(path)?.kind === 'folder' ? 'a folder on the disk' : undefined)
}

function onTheWay(folder: string, archived: Archived, disk: Listing): string | undefined {
  // Borg would extract what is in it to where the link leads.
  if (archived(folder) === 'l') return `${OUTSIDE}, or may: ${folder} is a link in the archive`
  if (archived(folder)) return `${folder} is a file in the archive`
  const kind = disk.entries.get(folder)?.kind
  if (kind === 'link') return `${OUTSIDE}, or may: ${folder} is a link on the disk`
  if (kind === 'file' || kind === 'special') return `${folder} is a file on the disk`
  return unlisted(folder, disk)
}

function unlisted(folder: string, disk: Listing): string | undefined {
  const why = disk.unlisted.get(folder)
  return why === undefined ? undefined : `${folder || 'the folder'} can't be looked into (${why})`
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}
