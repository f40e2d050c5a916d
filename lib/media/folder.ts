// The media folder on the disk: whether it can be read, what is in it, how large it is.

import { isUtf8 } from 'node:buffer'
import { constants, type Dirent, lstatSync, readlinkSync, type Stats } from 'node:fs'
import { access, type FileHandle, lstat, open, readdir, readlink, realpath } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import { Failure, reason } from '../core/failure.ts'
import { quote } from '../core/quote.ts'

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
  const measure = async ({ path, at }: Visited, entry: Dirent | Dirent<Buffer>): Promise<void> => {
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
      // Deleted since it was listed: not a file we can't read.
      if (codeOf(error) !== 'ENOENT') size.unreadable.push(path)
    }
  }
  await walk(mediaDir, measure, (folder) => size.unreadable.push(folder))
  return size
}

/** Where a link leads, also one to what is not there: its disk may not be mounted. Undefined: it is no link any more. */
async function whereTo(at: string | Buffer, folder: string): Promise<string | undefined> {
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
  /** Its path's bytes, where they are not UTF-8. */
  raw: Buffer | undefined
  /** The type of an archive's item of this path, when it was compared with one. */
  archived: string | undefined
}

/** What is in a folder, by the path relative to it. */
export interface Listing {
  entries: Entries
  /** What could not be looked into, folders above all, each with the reason. */
  unlisted: Map<string, string>
}

/** Entries by their paths. Of very many, objects would be most of the memory: `get` makes one of the numbers that are kept. */
interface Entries extends Iterable<[path: string, entry: Entry]> {
  has(path: string): boolean
  get(path: string): Entry | undefined
  /** Notes the type of an archive's item of this path, if there is an entry. */
  mark(path: string, type: string): void
}

const KINDS = ['file', 'folder', 'link', 'special'] as const

function createEntries(): Entries & { add(path: string, entry: Omit<Entry, 'archived'>): void } {
  const places = new Map<string, number>()
  // Of each entry the place of its kind in KINDS and its mode, the code of the type in the archive, its size and its time.
  let numbers = new Float64Array(4 * 256)
  // Few have one.
  const targets = new Map<number, string>()
  const raws = new Map<number, Buffer>()
  const at = (place: number): Entry => {
    const [what, archived] = [numbers[place] ?? 0, numbers[place + 1] ?? 0]
    return {
      kind: KINDS[what >> 9] ?? 'special',
      mode: what & 0o777,
      size: numbers[place + 2] ?? 0,
      mtimeMs: numbers[place + 3] ?? 0,
      target: targets.get(place) ?? '',
      raw: raws.get(place),
      archived: archived === 0 ? undefined : String.fromCharCode(archived),
    }
  }
  return {
    add: (path, { kind, mode, size, mtimeMs, target, raw }) => {
      const place = places.get(path) ?? places.size * 4
      places.set(path, place)
      if (place === numbers.length) {
        const more = new Float64Array(numbers.length * 2)
        more.set(numbers)
        numbers = more
      }
      numbers[place] = (KINDS.indexOf(kind) << 9) | mode
      numbers[place + 1] = 0
      numbers[place + 2] = size
      numbers[place + 3] = mtimeMs
      // Names that are not UTF-8 may be listed alike: the last one counts.
      if (target) targets.set(place, target)
      else targets.delete(place)
      if (raw) raws.set(place, raw)
      else raws.delete(place)
    },
    has: (path) => places.has(path),
    get: (path) => {
      const place = places.get(path)
      return place === undefined ? undefined : at(place)
    },
    mark: (path, type) => {
      const place = places.get(path)
      if (place !== undefined) numbers[place + 1] = type.charCodeAt(0)
    },
    *[Symbol.iterator]() {
      for (const [path, place] of places) yield [path, at(place)]
    },
  }
}

/** Everything below a folder. */
export async function list(root: string): Promise<Listing> {
  const entries = createEntries()
  const unlisted = new Map<string, string>()
  const note = ({ path, at, raw }: Visited): undefined => {
    const info = statusOf(at)
    if (!info) return
    const kind = info.isFile() ? 'file' : info.isDirectory() ? 'folder' : info.isSymbolicLink() ? 'link' : 'special'
    const target = kind === 'link' ? leadsTo(at) : ''
    entries.add(path, { kind, mode: info.mode & 0o777, size: info.size, mtimeMs: info.mtimeMs, target, raw })
  }
  await walk(root, note, (path, error) => unlisted.set(path, codeOf(error) ?? reason(error)))
  return { entries, unlisted }
}

function leadsTo(link: string | Buffer): string {
  try {
    return readlinkSync(link)
  } catch {
    return ''
  }
}

/** What is under a path, links not followed; undefined when it can't be known. It is asked at once: of very many files a promise for each would take longer than all else. */
export function statusOf(path: string | Buffer): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

// Of a folder with many more, memory would be full of promises.
const AT_ONCE = 500

/** What is visited in a folder. */
interface Visited {
  /** Relative to the folder. As Borg lists it: a byte that is not UTF-8 is a `?`. */
  path: string
  /** Its bytes, where they are not UTF-8. */
  raw: Buffer | undefined
  /** Where it is reached. */
  at: string | Buffer
}

/** A name as Borg lists it. */
function listedName(name: Buffer): string {
  const text = name.toString('utf8')
  if (!text.includes('\ufffd')) return text
  let listed = ''
  for (let at = 0; at < name.length; ) {
    const length = [1, 2, 3, 4].find((count) => isUtf8(name.subarray(at, at + count)))
    listed += length === undefined ? '?' : name.toString('utf8', at, at + length)
    at += length ?? 1
  }
  return listed
}

function within(folder: Visited, here: string, name: string | Buffer): Visited {
  const listed = typeof name === 'string' ? name : listedName(name)
  const path = folder.path ? `${folder.path}/${listed}` : listed
  if (typeof name === 'string' && folder.raw === undefined) return { path, raw: undefined, at: `${here}/${name}` }
  const bytes = Buffer.from(name)
  const above = folder.raw ?? Buffer.from(folder.path)
  return {
    path,
    raw:
      folder.raw !== undefined || !isUtf8(bytes)
        ? Buffer.concat([above, Buffer.from(folder.path ? '/' : ''), bytes])
        : undefined,
    at: isUtf8(bytes) ? `${here}/${listed}` : Buffer.concat([Buffer.from(`${here}/`), bytes]),
  }
}

/** What is in a folder; the names are bytes only where one of them is not UTF-8: a buffer for each takes longer than all else. */
async function contentOf(folder: string): Promise<(Dirent | Dirent<Buffer>)[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  if (!entries.some(({ name }) => name.includes('\ufffd'))) return entries
  return readdir(folder, { withFileTypes: true, encoding: 'buffer' })
}

/**
 * Goes through everything below a folder, without following links, and without what a killed restore has left there.
 * Whoever changes the folder at the same time can't lead this out of it: each folder is opened as what it is, and its
 * content is reached through the open folder (`/proc/self/fd`), whatever stands on the path to it by then.
 * @param visit is called for some entries of one folder at the same time
 */
async function walk(
  root: string,
  visit: (visited: Visited, entry: Dirent | Dirent<Buffer>) => Promise<void> | undefined,
  onUnlisted: (path: string, error: unknown) => void,
): Promise<void> {
  const look = async (inside: Visited): Promise<void> => {
    const { path, at } = inside
    let folder: FileHandle | undefined
    try {
      folder = await open(at, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
      const here = `/proc/self/fd/${folder.fd}`
      const entries = await contentOf(here)
      const folders: Visited[] = []
      for (let i = 0; i < entries.length; i += AT_ONCE) {
        const waits: Promise<void>[] = []
        for (const entry of entries.slice(i, i + AT_ONCE)) {
          const visited = within(inside, here, entry.name)
          if (INBOX.test(visited.path)) continue
          const wait = visit(visited, entry)
          if (wait) waits.push(wait)
          if (entry.isDirectory()) folders.push(visited)
        }
        await Promise.all(waits)
        // An interruption is heard, and other work goes on.
        await breathe()
      }
      for (const inner of folders) await look(inner)
    } catch (error) {
      // Deleted since it was listed.
      if (path === '' || codeOf(error) !== 'ENOENT') onUnlisted(path, error)
    } finally {
      await folder?.close()
    }
  }
  await look({ path: '', raw: undefined, at: root })
}
