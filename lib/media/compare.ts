// An archive's media against the disk: what is missing, what differs, what must not be restored.

import type { Stats } from 'node:fs'
import { lstat, readlink } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { storedPath } from '../borg/archives.ts'
import type { Item } from '../borg/output.ts'
import { type FileInfo, filesOf, INBOX } from './folder.ts'

/** A file or link of an archive, its path relative to MEDIA_DIR. */
export type MediaFile = Item

/** What a restore of the media would do. */
export interface MediaPlan {
  missing: MediaFile[]
  /** Size or time differ: the archive's replaces the disk's. */
  different: MediaFile[]
  /** The same already, in the archive's order. */
  same: MediaFile[]
  /** Only on the disk: kept. */
  onDisk: { count: number; bytes: number; first: string[] }
  /** Never restored, each with the reason: links and paths that lead outside MEDIA_DIR, special files, what something else is in the way of. */
  refused: string[]
}

/** The files a plan extracts. */
export function wanted(plan: MediaPlan): MediaFile[] {
  return [...plan.missing, ...plan.different]
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

/** Whether the file on the disk is the archive's, by size and time; a hard link's size is not listed, so only its presence counts. */
export function isSame(file: MediaFile, disk: FileInfo): boolean {
  return (
    file.type === 'h' ||
    (file.sizeBytes === disk.size && Math.abs(file.mtimeMs - storedTime(disk.mtimeMs)) <= SAME_TIME_MS)
  )
}

/** Compares an archive's items with the disk. Feed it every item, then ask for the plan. */
export function createMediaComparison(mediaDir: string) {
  const prefix = `${storedPath(mediaDir)}/`
  const files: MediaFile[] = []
  // Looked at while Borg lists.
  const scan = filesOf(mediaDir)
  scan.catch(() => {})

  const add = (item: Item): void => {
    if (!item.path.startsWith(prefix) || item.type === 'd') return
    const path = item.path.slice(prefix.length)
    if (path !== INBOX && !path.startsWith(`${INBOX}/`)) files.push({ ...item, path })
  }

  const plan = async (): Promise<MediaPlan> => {
    const disk = await scan
    const sorted: Omit<MediaPlan, 'onDisk'> = { missing: [], different: [], same: [], refused: [] }
    const obstacle = createObstacles(mediaDir)
    for (const file of files) {
      const found = disk.get(file.path)
      disk.delete(file.path)
      const why = refusal(file) ?? (await obstacle(file.path, found !== undefined))
      if (why) sorted.refused.push(`${file.path}: ${why}`)
      else if (!found) sorted.missing.push(file)
      else if (await isUnchanged(mediaDir, file, found)) sorted.same.push(file)
      else sorted.different.push(file)
    }
    return { ...sorted, onDisk: summarize(disk) }
  }
  return { add, plan }
}

/** Why an item must not be restored, whatever the disk holds; undefined when it may. */
function refusal({ path, type, target }: MediaFile): string | undefined {
  if (path.split('/').some((part) => part === '..' || part === '')) return OUTSIDE
  if (type === 'l') {
    const leadsTo = normalize(join(dirname(path), target)).split('/')[0]
    return target.startsWith('/') || leadsTo === '..' ? `a link to ${target}` : undefined
  }
  return type === '-' || type === 'h' ? undefined : 'neither a file nor a link'
}

const OUTSIDE = 'leads outside'

async function isUnchanged(mediaDir: string, file: MediaFile, disk: FileInfo): Promise<boolean> {
  if (file.type !== 'l') return isSame(file, disk)
  return (await readlink(join(mediaDir, file.path)).catch(() => undefined)) === file.target
}

const SHOWN = 3

function summarize(disk: ReadonlyMap<string, FileInfo>): MediaPlan['onDisk'] {
  let bytes = 0
  for (const { size } of disk.values()) bytes += size
  return { count: disk.size, bytes, first: [...disk.keys()].sort().slice(0, SHOWN) }
}

/** Finds why a path can't be restored because of what the disk has in its place or on the way to it. */
function createObstacles(root: string): (path: string, isFile: boolean) => Promise<string | undefined> {
  const folders = new Map<string, Promise<string | undefined>>()
  const look = (path: string): Promise<Stats | undefined> => lstat(join(root, path)).catch(() => undefined)
  const onTheWay = async (folder: string): Promise<string | undefined> => {
    if (folder === '.') return
    const above = await inFolder(dirname(folder))
    if (above) return above
    const found = await look(folder)
    if (found?.isSymbolicLink()) return `${OUTSIDE}, or may: ${folder} is a link on the disk`
    if (found && !found.isDirectory()) return `${folder} is a file on the disk`
    return
  }
  const inFolder = (folder: string): Promise<string | undefined> => {
    const known = folders.get(folder) ?? onTheWay(folder)
    folders.set(folder, known)
    return known
  }
  return async (path, isFile) => {
    const why = await inFolder(dirname(path))
    if (why || isFile) return why
    return (await look(path))?.isDirectory() ? 'a folder on the disk' : undefined
  }
}
