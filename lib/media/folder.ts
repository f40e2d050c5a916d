import { constants } from 'node:fs'
import { access, lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '../core/failure.ts'
import { INBOX } from './compare.ts'

export interface MediaSize {
  files: number
  bytes: number
  /** Paths this user can't read, relative to the folder. */
  unreadable: string[]
}

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

/** Counts what is in the folder, without following links, and without what a killed restore has left there. */
export async function measureMedia(mediaDir: string): Promise<MediaSize> {
  const size: MediaSize = { files: 0, bytes: 0, unreadable: [] }
  const folders = ['']
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const here = folder
    const entries = await readdir(join(mediaDir, here), { withFileTypes: true }).catch(() => undefined)
    if (!entries) {
      size.unreadable.push(here)
      continue
    }
    folders.push(
      ...entries
        .filter((entry) => entry.isDirectory())
        .map((entry) => join(here, entry.name))
        .filter((path) => path !== INBOX),
    )
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(here, entry.name))
    await Promise.all(
      files.map(async (file) => {
        try {
          const path = join(mediaDir, file)
          const [info] = await Promise.all([lstat(path), access(path, constants.R_OK)])
          size.files++
          size.bytes += info.size
        } catch (error) {
          // Deleted since it was listed: not a file we can't read.
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') size.unreadable.push(file)
        }
      }),
    )
  }
  return size
}
