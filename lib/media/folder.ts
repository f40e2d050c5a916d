// The media folder on the disk: whether it can be read, what is in it, how large it is.

import { constants, type Dirent, type Stats } from 'node:fs'
import { access, type FileHandle, lstat, open, readdir, readlink, realpath } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Failure, reason } from '../core/failure.ts'
import { quote } from '../core/shell.ts'

/**
 * The working folders of restores, by their paths relative to MEDIA_DIR, and what is in them. They are made in MEDIA_DIR
 * itself (see place.sh), on its file system, so that a rename is enough.
 */
export const INBOX = /^\.restoring(\.[^/]*)?(\/|$)/

/**
 * Whether the media folder can be backed up at all.
 * @param owner UID:GID whom a new one would belong to
 * @throws Failure when it is missing, unreadable, or not itself a directory
 */
export async function requireMediaDir(mediaDir: string, owner?: string): Promise<void> {
  try {
    const info = await lstat(mediaDir)
    if (info.isSymbolicLink())
      // Borg would store the link and none of the files.
      throw new Failure(
        `MEDIA_DIR ${mediaDir} is a symbolic link: Borg would store only the link.`,
        `Set MEDIA_DIR to: readlink -f ${quote(mediaDir)}`,
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
        `Check MEDIA_DIR, and that its disk is mounted.${owner ? ` On a new server, as root type: ${makeFolder(mediaDir, owner)}` : ''}`,
      )
    throw new Failure(
      `The media folder ${mediaDir} can't be read by this user (${code}).`,
      `Look: ls -ld ${quote(mediaDir)}; id`,
    )
  }
}

function makeFolder(folder: string, owner: string): string {
  const [uid = '', gid = ''] = owner.split(':')
  return `install -d -o ${uid} -g ${gid} ${quote(folder)}`
}

export interface MediaSize {
  files: number
  bytes: number
  /** How many of the files are in which folder right below it. */
  folders: Map<string, number>
  /** Paths this user can't read, relative to the folder. */
  unreadable: string[]
  /** Links that lead out of the folder, relative to it, and where they lead: what is there is in no archive. */
  leadingOut: { path: string; target: string }[]
}

/** Counts the files in the folder, and finds what this user can't read, and what is elsewhere. */
export async function measureMedia(mediaDir: string): Promise<MediaSize> {
  const size: MediaSize = { files: 0, bytes: 0, folders: new Map(), unreadable: [], leadingOut: [] }
  const root = await realpath(mediaDir).catch(() => mediaDir)
  const measure = async (path: string, at: string, entry: Dirent): Promise<void> => {
    if (entry.isSymbolicLink()) {
      const target = await whereTo(at, join(root, dirname(path)))
      if (target !== undefined && !isWithin(target, root)) size.leadingOut.push({ path, target })
    }
    if (!entry.isFile()) return
    try {
      const [info] = await Promise.all([lstat(at), access(at, constants.R_OK)])
      size.files++
      const [folder = '', below] = path.split('/', 2)
      if (below !== undefined) size.folders.set(folder, (size.folders.get(folder) ?? 0) + 1)
      size.bytes += info.size
    } catch (error) {
      // Deleted since it was listed: not a file we can't read. Nor is one whose name only Node can't say: Borg stores it.
      if (codeOf(error) !== 'ENOENT') size.unreadable.push(path)
      else if (isUnsayable(path)) size.files++
    }
  }
  await walk(mediaDir, measure, (folder) => size.unreadable.push(folder))
  return size
}

/** Where a link leads, also one to what is not there: its disk may not be mounted. Undefined: it is no link any more. */
async function whereTo(at: string, folder: string): Promise<string | undefined> {
  const target = await readlink(at).catch(() => undefined)
  if (target === undefined) return undefined
  return realpath(at).catch(() => resolve(folder, target))
}

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}

/** What the disk says of a file, in the words of Node's `lstat`: `size` is in bytes. */
export type FileInfo = Pick<Stats, 'size' | 'mtimeMs'>

/** What is under a name in the folder. */
export interface Entry extends FileInfo {
  kind: 'file' | 'folder' | 'link' | 'special'
  /** The permissions, e.g. 0o640. */
  mode: number
  /** Where a link leads. */
  target: string
  /** The type of an archive's item of this path, when it was compared with one. */
  archived: string | undefined
}

/** What is in a folder, by the path relative to it. */
export interface Listing {
  entries: Map<string, Entry>
  /** What could not be looked into, folders above all, each with the reason. */
  unlisted: Map<string, string>
}

/** Everything below a folder. */
export async function list(root: string): Promise<Listing> {
  const listing: Listing = { entries: new Map(), unlisted: new Map() }
  const note = async (path: string, at: string): Promise<void> => {
    const info = await lstat(at).catch(() => undefined)
    if (!info) {
      if (isUnsayable(path)) listing.unlisted.set(path, 'its name is not UTF-8')
      return
    }
    const kind = info.isFile() ? 'file' : info.isDirectory() ? 'folder' : info.isSymbolicLink() ? 'link' : 'special'
    const target = kind === 'link' ? await readlink(at).catch(() => '') : ''
    listing.entries.set(path, {
      kind,
      mode: info.mode & 0o777,
      size: info.size,
      mtimeMs: info.mtimeMs,
      target,
      archived: undefined,
    })
  }
  await walk(root, note, (path, error) => listing.unlisted.set(path, codeOf(error) ?? reason(error)))
  return listing
}

/** Whether a name on the way is not UTF-8: Node reads it with a sign in place of what it does not know, and finds nothing under that. */
function isUnsayable(path: string): boolean {
  return path.includes('\ufffd')
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

// Of a folder with many more, memory would be full of promises.
const AT_ONCE = 500

/**
 * Goes through everything below a folder, without following links, and without what a killed restore has left there.
 * Whoever changes the folder at the same time can't lead this out of it: each folder is opened as what it is, and its
 * content is reached through the open folder (`/proc/self/fd`), whatever stands on the path to it by then.
 * @param visit gets the relative path, and the one at which it is reached; for some entries of one folder at the same time
 */
async function walk(
  root: string,
  visit: (path: string, at: string, entry: Dirent) => Promise<void>,
  onUnlisted: (path: string, error: unknown) => void,
): Promise<void> {
  const look = async (path: string, at: string): Promise<void> => {
    let folder: FileHandle | undefined
    try {
      folder = await open(at, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
      const here = `/proc/self/fd/${folder.fd}`
      const entries = (await readdir(here, { withFileTypes: true })).filter(({ name }) => !INBOX.test(join(path, name)))
      for (let i = 0; i < entries.length; i += AT_ONCE) {
        const some = entries.slice(i, i + AT_ONCE)
        await Promise.all(some.map((entry) => visit(join(path, entry.name), `${here}/${entry.name}`, entry)))
      }
      for (const entry of entries) if (entry.isDirectory()) await look(join(path, entry.name), `${here}/${entry.name}`)
    } catch (error) {
      // Deleted since it was listed; but under a name that is not UTF-8 it is only not found.
      if (path === '' || codeOf(error) !== 'ENOENT' || isUnsayable(path)) onUnlisted(path, error)
    } finally {
      await folder?.close()
    }
  }
  await look('', root)
}
