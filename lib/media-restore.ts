import { constants } from 'node:fs'
import { access, mkdir, readFile, realpath, rename, rm, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Borg } from './borg.ts'
import { extractArgs } from './borg-commands.ts'
import type { Settings } from './config.ts'
import { tail } from './dokku.ts'
import { Failure } from './failure.ts'
import { bytes, plural } from './format.ts'
import type { Log } from './log.ts'
import { alreadyStaged, INBOX, type MediaFile, type MediaPlan } from './media-plan.ts'
import type { Output, Shell } from './run.ts'

/** How restored files get to their places. */
export interface Placing {
  /** Where they are extracted to. */
  staging: string
  /** The command that moves them; see place-media.sh. */
  command: string[]
  /** Why it needs root; undefined when it does not. */
  needsRoot?: string
  /** It will ask for the sudo password. */
  asks: boolean
}

export interface User {
  uid: number
  gid: number
  name: string
}

/** The files a plan extracts. */
export const wanted = (plan: MediaPlan): MediaFile[] => [...plan.missing, ...plan.different]

const sum = (files: readonly MediaFile[]): number => files.reduce((total, { sizeBytes }) => total + sizeBytes, 0)

/**
 * Finds out how files can be placed, before anything is asked or done.
 * @throws Failure when it takes root and nobody is there to type a password: with the exact sudoers line
 */
export const planPlacing = async (
  shell: Shell,
  { MEDIA_DIR: mediaDir, MEDIA_OWNER: owner }: Settings<'MEDIA_DIR' | 'MEDIA_OWNER'>,
  files: readonly MediaFile[],
  interactive: boolean,
  user: User,
): Promise<Placing> => {
  const [uid = '', gid = ''] = owner.split(':')
  const script = await placeScript()
  const command = (staging: string): string[] => ['/bin/sh', script, staging, mediaDir, uid, gid]
  const why = files.length === 0 ? undefined : await whyRoot(mediaDir, owner, files, user)
  if (why === undefined) {
    const staging = join(mediaDir, INBOX, 'files')
    return { staging, command: command(staging), asks: false }
  }
  const staging = join(shell.env.XDG_CACHE_HOME || join(shell.env.HOME ?? '/', '.cache'), 'book-corners-ops/media')
  const placing = { staging, command: ['sudo', '-n', ...command(staging)], needsRoot: why, asks: false }
  const probed = command(staging)
  const { exitCode, stderr } = await probe(shell, probed, staging)
  if (exitCode === 0) return placing
  if (interactive) return { ...placing, command: ['sudo', ...probed], asks: true }
  const line = `${user.name} ALL=(root) NOPASSWD: ${probed.map(sudoersWord).join(' ')}`
  throw new Failure(
    `Restoring ${plural(files.length, 'media file')} needs root: ${why} (sudo: ${tail(stderr)})`,
    `Run it at a terminal, where sudo can ask for the password, or allow this one command:\n  echo '${line}' | sudo tee /etc/sudoers.d/${user.name}-media`,
  )
}

/** The very command, with nothing to move: whether sudo lets it through can't be asked in any other way. */
const probe = async (shell: Shell, command: readonly string[], staging: string): Promise<Output> => {
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
export const sudoersWord = (word: string): string => word.replace(/[\\,:= \t!"'()*?[\]]/g, '\\$&')

/** Of a released copy the path through `current`, which stays the same from release to release. */
const placeScript = async (): Promise<string> => {
  const own = fileURLToPath(new URL('place-media.sh', import.meta.url))
  const current = own.replace(/\/releases\/[^/]+\/lib\//, '/current/lib/')
  return current !== own && (await realpath(current).catch(() => '')) === own ? current : own
}

/** Why placing the files takes root, in the rest of a sentence; undefined when it does not. */
export const whyRoot = async (
  mediaDir: string,
  owner: string,
  files: readonly MediaFile[],
  user: User,
): Promise<string | undefined> => {
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

/** @throws Failure when the disk has no room for the files */
export const requireSpace = async (
  mediaDir: string,
  files: readonly MediaFile[],
  placing: Placing,
): Promise<{ needed: number; free: number }> => {
  const { bavail, bsize } = await statfs(mediaDir)
  // Through sudo they are copied once more, perhaps on the same disk.
  const needed = sum(files) * (placing.needsRoot ? 2 : 1)
  const free = bavail * bsize
  if (needed > free)
    throw new Failure(
      `The media needs ${bytes(needed)}, but only ${bytes(free)} are free on the disk of ${mediaDir}.`,
      `Look: df -h ${mediaDir}`,
    )
  return { needed, free }
}

/**
 * Extracts what a plan names and moves it to its place. Run again after it was cut short it goes on where it stopped.
 * @returns the number of files placed
 */
export const restoreMedia = async (
  borg: Borg,
  shell: Shell,
  archive: string,
  mediaDir: string,
  plan: MediaPlan,
  placing: Placing,
  log: Log,
): Promise<number> => {
  const files = wanted(plan)
  if (files.length === 0) return 0
  const { staging } = placing
  await openStaging(staging, archive, log)
  const staged = await alreadyStaged(staging, files)
  const left = files.filter(({ path }) => !staged.has(path))
  if (staged.size > 0) log.info(`${plural(staged.size, 'file')} were extracted before the last run was cut short`)
  log.info(`Extracting ${plural(left.length, 'media file')}, ${bytes(sum(left))}`)
  const whole = plan.same.length === 0 && plan.refused.length === 0 && staged.size === 0
  await extract(borg, archive, mediaDir, left, whole, staging, log)

  const whereas = await alreadyStaged(staging, files)
  const lost = files.filter((file) => file.type === '-' && !whereas.has(file.path))
  if (lost.length > 0)
    throw new Failure(
      `Borg did not extract ${plural(lost.length, 'media file')} as the archive lists them, first ${lost[0]?.path}.`,
      'No file was placed. Look at the repository: borg check --verify-data',
    )
  if (placing.asks) log.info(`sudo asks for your password, to place the files: ${placing.needsRoot}`)
  const { exitCode, stderr } = await shell.run(placing.command, { terminal: placing.asks })
  if (exitCode !== 0)
    throw new Failure(
      `The files could not be placed${stderr ? `: ${tail(stderr)}` : ''}.`,
      'They are kept; run the same command again to go on.',
    )
  await closeStaging(staging)
  return files.length
}

/** The extracted files of another archive are of no use any more. */
const openStaging = async (staging: string, archive: string, log: Log): Promise<void> => {
  const label = `${staging}.archive`
  const found = await readFile(label, 'utf8').catch(() => undefined)
  if (found !== archive) {
    if (found !== undefined) log.info(`Removing what an earlier run had extracted of ${found}`)
    await rm(staging, { recursive: true, force: true })
  }
  await mkdir(staging, { recursive: true, mode: 0o700 })
  await writeFile(label, archive, { mode: 0o600 })
}

const closeStaging = async (staging: string): Promise<void> => {
  for (const path of [staging, `${staging}.archive`, `${staging}.patterns`])
    await rm(path, { recursive: true, force: true })
  if (dirname(staging).endsWith(`/${INBOX}`)) await rm(dirname(staging), { recursive: true, force: true })
}

// Borg reads patterns a line each, and strips each line.
const fitsALine = ({ path }: MediaFile): boolean => !/[\n\r]|\s$/.test(path)
/** Paths in one call, well below the kernel's limit for arguments. */
const PATHS_A_CALL = 200

const extract = async (
  borg: Borg,
  archive: string,
  mediaDir: string,
  files: readonly MediaFile[],
  whole: boolean,
  staging: string,
  log: Log,
): Promise<void> => {
  if (files.length === 0) return
  const prefix = mediaDir.replace(/^\//, '')
  const strip = prefix.split('/').length
  let count = 0
  const call = async (what: Parameters<typeof extractArgs>[2]): Promise<void> => {
    const child = borg.stream(extractArgs(archive, strip, what), {
      cwd: staging,
      // After our death it would go on writing where the next run works.
      guarded: true,
      onProgress: () => log.status(`Extracting: ${plural(++count, 'item')} of ${files.length}`),
    })
    child.stdin.end()
    child.stdout.resume()
    const { messages } = await child.result()
    // Borg 1.2.4 says that a pf: pattern never matched even when it did. What is missing is found by looking.
    for (const { message } of messages) if (!/never matched/.test(message)) log.warn(message)
  }
  if (whole) return call({ paths: [prefix] })

  const lines = files.filter(fitsALine)
  if (lines.length > 0) {
    const patternsFrom = `${staging}.patterns`
    // pf: is looked up, pp: would be tried one after the other for every item of the archive.
    const patterns = [...lines.map(({ path }) => `+ pf:${prefix}/${path}`), '- sh:**', '']
    await writeFile(patternsFrom, patterns.join('\n'), { mode: 0o600 })
    await call({ patternsFrom })
  }
  const others = files.filter((file) => !fitsALine(file)).map(({ path }) => `${prefix}/${path}`)
  for (let i = 0; i < others.length; i += PATHS_A_CALL) await call({ paths: others.slice(i, i + PATHS_A_CALL) })
}
