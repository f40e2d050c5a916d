import type { Stats } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import type { Item } from '../borg/archives.ts'

/** A file of the archive that the disk lacks or has otherwise. */
export interface MediaFile {
  /** Relative to MEDIA_DIR. */
  path: string
  sizeBytes: number
  mtimeMs: number
  type: string
}

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

export function sum(files: readonly MediaFile[]): number {
  return files.reduce((total, { sizeBytes }) => total + sizeBytes, 0)
}

/** The working folder of a restore, inside MEDIA_DIR: on the same file system, so that a rename is enough. */
export const INBOX = '.restoring'

const SHOWN = 3
// Borg keeps nanoseconds, its list prints microseconds, JavaScript's dates have milliseconds.
const SAME_TIME_MS = 2
// Borg 1.2 stores no time before 1970 or after this one (2^31 - 1 s, less two days): it takes the nearest.
const LATEST_MS = Date.UTC(2038, 0, 17, 3, 14, 7)

function storedTime(mtimeMs: number): number {
  return Math.min(Math.max(mtimeMs, 0), LATEST_MS)
}

/** Whether the file on the disk is the archive's, by size and time; a hard link's size is not listed, so only its presence counts. */
export function isSame(
  item: { sizeBytes: number; mtimeMs: number; type: string },
  disk: { size: number; mtimeMs: number },
): boolean {
  return (
    item.type === 'h' ||
    (item.sizeBytes === disk.size && Math.abs(item.mtimeMs - storedTime(disk.mtimeMs)) <= SAME_TIME_MS)
  )
}

/** Compares an archive's items with the disk. Feed it every item, then ask for the plan. */
export function createMediaComparison(mediaDir: string) {
  const prefix = mediaDir.replace(/^\//, '')
  const files: MediaFile[] = []
  const links: { path: string; target: string }[] = []
  const refused: string[] = []
  // Looked at while Borg lists.
  const scan = filesOf(mediaDir)
  scan.catch(() => {})

  const add = (item: Item): void => {
    if (!item.path.startsWith(`${prefix}/`)) return
    const path = item.path.slice(prefix.length + 1)
    if (path.split('/').some((part) => part === '..' || part === '')) refused.push(`${path}: ${OUTSIDE}`)
    else if (item.type === 'l') links.push({ path, target: item.target })
    else if (item.type === '-' || item.type === 'h') {
      if (path !== INBOX && !path.startsWith(`${INBOX}/`))
        files.push({ path, sizeBytes: item.sizeBytes, mtimeMs: item.mtimeMs, type: item.type })
    } else if (item.type !== 'd') refused.push(`${path}: neither a file nor a link`)
  }

  const plan = async (): Promise<MediaPlan> => {
    const disk = await scan
    const result: MediaPlan = {
      missing: [],
      different: [],
      same: [],
      onDisk: { count: 0, bytes: 0, first: [] },
      refused,
    }
    const blocked = createGuard(mediaDir)
    for (const file of files) {
      const found = disk.get(file.path)
      const why = await blocked(file.path, found !== undefined)
      disk.delete(file.path)
      if (why) refused.push(`${file.path}: ${why}`)
      else if (!found) result.missing.push(file)
      else if (isSame(file, found)) result.same.push(file)
      else result.different.push(file)
    }
    for (const { path, target } of links) {
      const found = disk.get(path)
      const leadsTo = normalize(join(dirname(path), target)).split('/')[0]
      const why =
        target.startsWith('/') || leadsTo === '..' ? `a link to ${target}` : await blocked(path, found !== undefined)
      disk.delete(path)
      const link: MediaFile = { path, sizeBytes: 0, mtimeMs: 0, type: 'l' }
      if (why) refused.push(`${path}: ${why}`)
      else if (!found) result.missing.push(link)
      else if ((await readlink(join(mediaDir, path)).catch(() => undefined)) === target) result.same.push(link)
      else result.different.push(link)
    }
    const onDisk = [...disk.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
    result.onDisk = {
      count: onDisk.length,
      bytes: onDisk.reduce((sum, [, { size }]) => sum + size, 0),
      first: onDisk.slice(0, SHOWN).map(([path]) => path),
    }
    return result
  }
  return { add, plan }
}

const OUTSIDE = 'leads outside'

/** Why a path can't be restored because of what the disk has in its place or on the way to it; undefined when it can. */
function createGuard(root: string): (path: string, isFile: boolean) => Promise<string | undefined> {
  const folders = new Map<string, Promise<string | undefined>>()
  const look = (path: string): Promise<Stats | undefined> => lstat(join(root, path)).catch(() => undefined)
  const onTheWay = async (folder: string): Promise<string | undefined> => {
    if (folder === '.') return
    const above = await folderGuard(dirname(folder))
    if (above) return above
    const found = await look(folder)
    if (found?.isSymbolicLink()) return `${OUTSIDE}, or may: ${folder} is a link on the disk`
    if (found && !found.isDirectory()) return `${folder} is a file on the disk`
    return
  }
  const folderGuard = (folder: string): Promise<string | undefined> => {
    const known = folders.get(folder) ?? onTheWay(folder)
    folders.set(folder, known)
    return known
  }
  return async (path, isFile) => {
    const why = await folderGuard(dirname(path))
    if (why || isFile) return why
    return (await look(path))?.isDirectory() ? 'a folder on the disk' : undefined
  }
}

/** Regular files and links below a folder, by their relative path; the restore's own working folder left out. */
export async function filesOf(root: string): Promise<Map<string, { size: number; mtimeMs: number }>> {
  const found = new Map<string, { size: number; mtimeMs: number }>()
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const here = folder
    const entries = await readdir(join(root, here), { withFileTypes: true })
    const paths: string[] = []
    for (const entry of entries) {
      const path = join(here, entry.name)
      if (path === INBOX) continue
      if (entry.isDirectory()) folders.push(path)
      else if (entry.isFile() || entry.isSymbolicLink()) paths.push(path)
    }
    await Promise.all(
      paths.map(async (path) => {
        const info = await lstat(join(root, path)).catch(() => undefined)
        if (info) found.set(path, { size: info.size, mtimeMs: info.mtimeMs })
      }),
    )
  }
  return found
}

/** What has been extracted already by a run that was cut short: whole, since Borg sets a file's time after its content. */
export async function alreadyStaged(staging: string, wanted: readonly MediaFile[]): Promise<Set<string>> {
  const staged = await filesOf(staging).catch(() => new Map<string, { size: number; mtimeMs: number }>())
  return new Set(
    wanted
      .filter((file) => {
        const found = staged.get(file.path)
        return file.type === '-' && found !== undefined && isSame(file, found)
      })
      .map(({ path }) => path),
  )
}
