import { lstat, readdir, readlink, realpath } from 'node:fs/promises'
import { dirname, join, normalize, relative } from 'node:path'
import type { Item } from './archives.ts'

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
  /** Links and paths that lead outside MEDIA_DIR, and special files: never restored. */
  refused: string[]
}

/** The working folder of a restore, inside MEDIA_DIR: on the same file system, so that a rename is enough. */
export const INBOX = '.restoring'

const SHOWN = 3
// Borg keeps nanoseconds, its list prints microseconds, JavaScript's dates have milliseconds.
const SAME_TIME_MS = 2

/** Whether the file on the disk is the archive's, by size and time; a hard link's size is not listed, so only its presence counts. */
const isSame = (
  item: { sizeBytes: number; mtimeMs: number; type: string },
  disk: { size: number; mtimeMs: number },
): boolean =>
  item.type === 'h' || (item.sizeBytes === disk.size && Math.abs(item.mtimeMs - disk.mtimeMs) <= SAME_TIME_MS)

/** Compares an archive's items with the disk. Feed it every item, then ask for the plan. */
export const createMediaComparison = (mediaDir: string) => {
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
    if (path.split('/').some((part) => part === '..' || part === '')) refused.push(path)
    else if (item.type === 'l') links.push({ path, target: item.target })
    else if (item.type === '-' || item.type === 'h') {
      if (path !== INBOX && !path.startsWith(`${INBOX}/`))
        files.push({ path, sizeBytes: item.sizeBytes, mtimeMs: item.mtimeMs, type: item.type })
    } else if (item.type !== 'd') refused.push(path)
  }

  const plan = async (): Promise<MediaPlan> => {
    const root = await realpath(mediaDir)
    const disk = await scan
    const result: MediaPlan = {
      missing: [],
      different: [],
      same: [],
      onDisk: { count: 0, bytes: 0, first: [] },
      refused,
    }
    const outside = createFolderGuard(root)
    for (const file of files) {
      if (await outside(file.path)) {
        refused.push(file.path)
        continue
      }
      const found = disk.get(file.path)
      disk.delete(file.path)
      if (!found) result.missing.push(file)
      else if (isSame(file, found)) result.same.push(file)
      else result.different.push(file)
    }
    for (const { path, target } of links) {
      disk.delete(path)
      const leadsTo = normalize(join(dirname(path), target))
      if (target.startsWith('/') || leadsTo.startsWith('..') || (await outside(path)))
        refused.push(`${path} → ${target}`)
      else {
        const link: MediaFile = { path, sizeBytes: 0, mtimeMs: 0, type: 'l' }
        const found = await readlink(join(mediaDir, path)).catch(() => undefined)
        if (found === target) result.same.push(link)
        else result.missing.push(link)
      }
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

/** Whether the folder that a path is in leads outside the root, by a link on the disk. Asked once for each folder. */
const createFolderGuard = (root: string): ((path: string) => Promise<boolean>) => {
  const known = new Map<string, boolean>()
  return async (path) => {
    const folder = dirname(path)
    const answer = known.get(folder)
    if (answer !== undefined) return answer
    const real = await realpath(join(root, folder)).catch(() => join(root, folder))
    const outside = relative(root, real).split('/')[0] === '..'
    known.set(folder, outside)
    return outside
  }
}

/** Regular files and links below a folder, by their relative path; the restore's own working folder left out. */
export const filesOf = async (root: string): Promise<Map<string, { size: number; mtimeMs: number }>> => {
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
export const alreadyStaged = async (staging: string, wanted: readonly MediaFile[]): Promise<Set<string>> => {
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
