// How restored files get to their places: who may write there, whether there is room, which command moves them.

import { constants } from 'node:fs'
import { access, lstat, mkdir, realpath, rename, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import { Failure } from '../core/failure.ts'
import { bytes, lastLines, plural } from '../core/format.ts'
import type { Output, Shell } from '../core/shell.ts'
import { type MediaFile, totalBytes } from './compare.ts'
import { INBOX } from './folder.ts'

/** How restored files get to their places. */
export interface MediaPlacement {
  /** Where they are extracted to. */
  staging: string
  /** The command that moves them; see place-media.sh. */
  command: string[]
  /** Why it needs root; undefined when it does not. */
  needsRoot?: string
  /** It will ask for the sudo password. */
  asks: boolean
}

/** Who runs this. */
export interface User {
  uid: number
  gid: number
  name: string
}

/**
 * Finds out how files can be placed, before anything is asked or done.
 * @throws Failure when it takes root and nobody is there to type a password: with the exact sudoers line
 */
export async function planPlacement(
  { shell, interactive }: Pick<Context, 'shell' | 'interactive'>,
  { MEDIA_DIR: mediaDir, MEDIA_OWNER: owner }: Settings<'MEDIA_DIR' | 'MEDIA_OWNER'>,
  files: readonly MediaFile[],
  user: User,
): Promise<MediaPlacement> {
  const [uid = '', gid = ''] = owner.split(':')
  const script = await placeScript()
  const command = (staging: string): string[] => ['/bin/sh', script, staging, mediaDir, uid, gid]
  const inbox = join(mediaDir, INBOX)
  if ((await lstat(inbox).catch(() => undefined))?.isSymbolicLink())
    throw new Failure(
      `${inbox}, where files are put before they get to their places, is a link.`,
      `Look: ls -l ${inbox}`,
    )
  const why = files.length === 0 ? undefined : await whyRoot(mediaDir, owner, files, user)
  if (why === undefined) {
    const staging = join(inbox, 'files')
    return { staging, command: command(staging), asks: false }
  }
  const staging = join(shell.env.XDG_CACHE_HOME || join(shell.env.HOME ?? '/', '.cache'), 'book-corners-ops/media')
  const placement = { staging, command: ['sudo', '-n', ...command(staging)], needsRoot: why, asks: false }
  const probed = command(staging)
  const { exitCode, stderr } = await probe(shell, probed, staging)
  if (exitCode === 0) return placement
  if (interactive) return { ...placement, command: ['sudo', ...probed], asks: true }
  const line = `${user.name} ALL=(root) NOPASSWD: ${probed.map(sudoersWord).join(' ')}`
  throw new Failure(
    `Restoring ${plural(files.length, 'media file')} needs root: ${why} (sudo: ${lastLines(stderr)})`,
    `Run it at a terminal, where sudo can ask for the password, or allow this one command:\n  echo '${line}' | sudo tee /etc/sudoers.d/${user.name}-media`,
  )
}

/** The very command, with nothing to move: whether sudo lets it through can't be asked in any other way. */
async function probe(shell: Shell, command: readonly string[], staging: string): Promise<Output> {
  const aside = `${staging}.aside`
  const kept = await rename(staging, aside).then(
    () => true,
    () => false,
  )
  await mkdir(staging, { recursive: true, mode: 0o700 })
  try {
    return await shell.run(['sudo', '-n', ...command])
  } finally {
    await rm(staging, { recursive: true, force: true })
    if (kept) await rename(aside, staging)
  }
}

/** A word of a command in a sudoers file. */
export function sudoersWord(word: string): string {
  return word.replace(/[\\,:= \t!"'()*?[\]]/g, '\\$&')
}

/** Of a released copy the path through `current`, which stays the same from release to release. */
async function placeScript(): Promise<string> {
  const own = fileURLToPath(new URL('../place-media.sh', import.meta.url))
  const current = own.replace(/\/releases\/[^/]+\/lib\//, '/current/lib/')
  return current !== own && (await realpath(current).catch(() => '')) === own ? current : own
}

/** Why placing the files takes root, in the rest of a sentence; undefined when it does not. */
export async function whyRoot(
  mediaDir: string,
  owner: string,
  files: readonly MediaFile[],
  user: User,
): Promise<string | undefined> {
  if (user.uid === 0) return
  if (owner !== `${user.uid}:${user.gid}`) return `the files belong to ${owner} (MEDIA_OWNER), not to ${user.name}.`
  for (const folder of new Set(['.', ...files.map(({ path }) => dirname(path))])) {
    // The nearest folder that exists is the one that must be writable.
    for (let here = join(mediaDir, folder); ; here = dirname(here)) {
      const error: NodeJS.ErrnoException | undefined = await access(here, constants.W_OK | constants.X_OK).catch(
        (reason) => reason,
      )
      if (!error) break
      if (error.code !== 'ENOENT' || here === mediaDir) return `${user.name} can't write to ${here}.`
    }
  }
  return
}

/**
 * Whether the disk of the media folder has room for the files.
 * @param needsRoot through sudo they are copied once more, perhaps on the same disk
 */
export async function mediaSpace(
  mediaDir: string,
  files: readonly MediaFile[],
  needsRoot: boolean,
): Promise<{ needed: number; free: number }> {
  const { bavail, bsize } = await statfs(mediaDir)
  return { needed: totalBytes(files) * (needsRoot ? 2 : 1), free: bavail * bsize }
}

/** Stops where the disk has too little room. */
export async function requireSpace(
  mediaDir: string,
  files: readonly MediaFile[],
  { needsRoot }: MediaPlacement,
): Promise<void> {
  const { needed, free } = await mediaSpace(mediaDir, files, needsRoot !== undefined)
  if (needed > free)
    throw new Failure(
      `The media needs ${bytes(needed)}, but only ${bytes(free)} are free on the disk of ${mediaDir}.`,
      `Look: df -h ${mediaDir}`,
    )
}
