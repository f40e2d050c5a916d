// Where an archive's files are extracted to before they are placed: a folder of our own, which nobody else can look into.

import { createHash } from 'node:crypto'
import { chmod, lstat, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Failure } from '../core/failure.ts'
import { makeFolder } from '../core/folder.ts'
import { bytes, lastLines } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { quote } from '../core/quote.ts'
import type { Env, Shell } from '../core/shell.ts'
import { type MediaFile, totalBytes } from './compare.ts'

/** The staging folder of a media folder, and what is in it. */
export interface Staging {
  folder: string
  /** The archive's files, as they lie in MEDIA_DIR. */
  files: string
  /** What Borg is told to extract. */
  patterns: string
}

/** In `~/.cache/book-corners-ops` (XDG_CACHE_HOME), never in MEDIA_DIR: the app could lead us out of that. */
export function stagingOf(env: Env, mediaDir: string): Staging {
  const cache = env.XDG_CACHE_HOME || join(env.HOME ?? '/', '.cache')
  const key = createHash('sha256').update(mediaDir).digest('hex').slice(0, 16)
  const folder = join(cache, 'book-corners-ops', `media-${key}`)
  return { folder, files: join(folder, 'files'), patterns: join(folder, 'patterns') }
}

/**
 * Makes the folder. What a run that was cut short has extracted of the same archive is kept.
 * @throws Failure when somebody else could change what is in it
 */
export async function openStaging({ folder, files }: Staging, archive: string, uid: number, log: Log): Promise<void> {
  await makeFolder(folder)
  for (const path of [dirname(folder), folder]) {
    const info = await lstat(path)
    if (!info.isDirectory() || info.uid !== uid || info.mode & 0o022)
      throw new Failure(
        `${path}, where files are extracted to, is not this user's own folder.`,
        `Look: ls -ld ${quote(path)}. If nobody needs it, move it away.`,
      )
  }
  await chmod(folder, 0o700)
  const label = join(folder, 'archive')
  const found = await readFile(label, 'utf8').catch(() => undefined)
  if (found !== archive) {
    if (found !== undefined) log.info(`Removing what an earlier run had extracted of ${found}`)
    await rm(files, { recursive: true, force: true })
  }
  await makeFolder(files)
  await writeFile(label, archive, { mode: 0o600 })
}

/** Removes it. Of very many files Node's own removal would take twice the memory of all the rest. */
export async function closeStaging({ folder }: Staging, shell: Shell): Promise<void> {
  const { exitCode, stderr } = await shell.run(['rm', '-rf', '--', folder])
  if (exitCode !== 0)
    throw new Failure(`${folder} can't be removed: ${lastLines(stderr)}`, `Remove it: rm -rf ${quote(folder)}`)
}

/** What a restore of media needs on a disk, and what is free there. */
interface MediaSpace {
  /** A folder on that disk. */
  disk: string
  needed: number
  free: number
}

/**
 * The room for files: on the disk of MEDIA_DIR, or on that of the staging folder where it is scarcer. On both each file
 * lies once until all are placed.
 */
export async function mediaSpace(mediaDir: string, staging: Staging, files: readonly MediaFile[]): Promise<MediaSpace> {
  const cache = await nearestExisting(staging.folder)
  const [media, staged] = await Promise.all([spaceOn(mediaDir), spaceOn(cache)])
  const needed = totalBytes(files)
  if (media.device === staged.device) return { disk: mediaDir, needed: needed * 2, free: media.free }
  return staged.free < media.free
    ? { disk: cache, needed, free: staged.free }
    : { disk: mediaDir, needed, free: media.free }
}

async function spaceOn(folder: string): Promise<{ device: number; free: number }> {
  const [{ dev }, { bavail, bsize }] = await Promise.all([stat(folder), statfs(folder)])
  return { device: dev, free: bavail * bsize }
}

async function nearestExisting(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined)
  return info || path === '/' ? path : nearestExisting(dirname(path))
}

/** Stops where a disk has too little room. */
export async function requireMediaSpace(
  mediaDir: string,
  staging: Staging,
  files: readonly MediaFile[],
): Promise<void> {
  const { disk, needed, free } = await mediaSpace(mediaDir, staging, files)
  if (needed > free)
    throw new Failure(
      `The media needs ${bytes(needed)}, but only ${bytes(free)} are free on the disk of ${disk}.`,
      `Look: df -h ${quote(disk)}`,
    )
}
