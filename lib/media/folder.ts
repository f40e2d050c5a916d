// The media folder on the disk: whether it can be read, what is in it, how large it is.

import { constants, type Dirent, type Stats } from 'node:fs'
import { access, lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '../core/failure.ts'

/** The working folder of a restore, inside MEDIA_DIR: on the same file system, so that a rename is enough. */
export const INBOX = '.restoring'

/**
 * Whether the media folder can be backed up at all.
 * @throws Failure when it is missing, unreadable, or not itself a directory
 */
export async function requireMediaDir(mediaDir: string): Promise<void> {
  try {
    const info = await lstat(mediaDir)
    if (info.isSymbolicLink())
      // Borg would store the link and none of the files.
      throw new Failure(
        `MEDIA_DIR ${mediaDir} is a symbolic link: Borg would store only the link.`,
        `Set MEDIA_DIR to: readlink -f ${mediaDir}`,
      )
    if (!info.isDirectory())
      throw new Failure(`MEDIA_DIR ${mediaDir} is not a directory.`, 'Check MEDIA_DIR in the env file.')
    await access(mediaDir, constants.R_OK | constants.X_OK)
  } catch (error) {
    if (error instanceof Failure) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new Failure(
        `The media folder ${mediaDir} does not exist.`,
        'Check MEDIA_DIR, and that its disk is mounted.',
      )
    throw new Failure(
      `The media folder ${mediaDir} can't be read by this user (${code}).`,
      `Look: ls -ld ${mediaDir}; id`,
    )
  }
}

interface MediaSize {
  files: number
  bytes: number
  /** Paths this user can't read, relative to the folder. */
  unreadable: string[]
}

/** Counts the files in the folder, and finds what this user can't read. */
export async function measureMedia(mediaDir: string): Promise<MediaSize> {
  const size: MediaSize = { files: 0, bytes: 0, unreadable: [] }
  const measure = async (path: string, entry: Dirent): Promise<void> => {
    if (!entry.isFile()) return
    try {
      const file = join(mediaDir, path)
      const [info] = await Promise.all([lstat(file), access(file, constants.R_OK)])
      size.files++
      size.bytes += info.size
    } catch (error) {
      // Deleted since it was listed: not a file we can't read.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') size.unreadable.push(path)
    }
  }
  await walk(mediaDir, measure, (folder) => size.unreadable.push(folder))
  return size
}

/** What the disk says of a file, in the words of Node's `lstat`: `size` is in bytes. */
export type FileInfo = Pick<Stats, 'size' | 'mtimeMs'>

/**
 * Regular files and links below a folder, by their relative path.
 * @throws the error of the first folder that can't be read
 */
export async function filesOf(root: string): Promise<Map<string, FileInfo>> {
  const found = new Map<string, FileInfo>()
  const note = async (path: string, entry: Dirent): Promise<void> => {
    if (!entry.isFile() && !entry.isSymbolicLink()) return
    const info = await lstat(join(root, path)).catch(() => undefined)
    if (info) found.set(path, { size: info.size, mtimeMs: info.mtimeMs })
  }
  const refuse = (_: string, error: unknown): never => {
    throw error
  }
  await walk(root, note, refuse)
  return found
}

/**
 * Goes through everything below a folder that is not a folder, without following links, and without what a killed
 * restore has left there. Paths are relative; the files of one folder are visited at the same time.
 */
async function walk(
  root: string,
  visit: (path: string, entry: Dirent) => Promise<void>,
  onUnreadableFolder: (path: string, error: unknown) => void,
): Promise<void> {
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const here = folder
    const entries = await readdir(join(root, here), { withFileTypes: true }).catch((error: unknown) => {
      onUnreadableFolder(here, error)
      return []
    })
    const files: Promise<void>[] = []
    for (const entry of entries) {
      const path = join(here, entry.name)
      if (path === INBOX) continue
      if (entry.isDirectory()) folders.push(path)
      else files.push(visit(path, entry))
    }
    await Promise.all(files)
  }
}
