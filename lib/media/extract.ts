// A restore of media: extracts what a plan names into a staging folder, and has it moved to its place.

import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import type { Borg } from '../borg/borg.ts'
import { extractArgs, type Selection } from '../borg/commands.ts'
import { storedPath } from '../borg/items.ts'
import type { Message } from '../borg/output.ts'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import type { User } from '../cli/user.ts'
import { Failure } from '../core/failure.ts'
import { bar, bytes, plural, printable } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { isSame, type MediaFile, type MediaPlan, totalBytes, wanted } from './compare.ts'
import { type FileInfo, list, statusOf } from './folder.ts'
import { type MediaPlacement, place, type StagedFile, within } from './place.ts'
import { closeStaging, openStaging, type Staging, stagingOf } from './staging.ts'

/** What of a command's carrier a restore of media works with. */
interface MediaRestore {
  context: Pick<Context, 'shell' | 'log'>
  settings: Settings<'DUMP_STALL_SECONDS'>
  borg: Borg
  user: User
}

/**
 * Extracts what a plan names and moves it to its place. Run again after it was cut short, it goes on where it stopped.
 * @returns the number of files placed, and what is not restored, each with the reason
 */
export async function restoreMedia(
  { context, settings, borg, user }: MediaRestore,
  archive: string,
  plan: MediaPlan,
  placement: MediaPlacement,
): Promise<{ placed: number; failed: string[] }> {
  const { shell, log } = context
  const { mediaDir } = plan
  const staging = stagingOf(shell.env, mediaDir)
  const files = wanted(plan)
  if (files.length === 0 && plan.folders.length === 0) {
    await closeStaging(staging, shell)
    return { placed: 0, failed: [] }
  }
  await openStaging(staging, archive, user.uid, log)
  // Links are not extracted: Borg would go through them with what comes after. The list says all that is to know of them.
  const content = files.filter(({ type }) => type !== 'l')
  const staged = await alreadyStaged(staging, content)
  const left = content.filter(({ path }) => !staged.has(path))
  if (staged.size > 0) log.info(`${plural(staged.size, 'file')} were extracted before the last run was cut short`)
  if (left.length > 0) log.info(`Extracting ${plural(left.length, 'media file')}, ${bytes(totalBytes(left))}`)
  const unreadable = await extractAll({ borg, log, archive, mediaDir, staging }, left)

  if (placement.asks) log.info(`sudo asks for your password, to place the files: ${placement.needsSudo}`)
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  const sifted: Sifted = { fit: 0, failed: [] }
  const fit = sift(files, plan.missing.length, { find: await finderIn(staging, files), mediaDir, sifted })
  const { folders } = plan
  const placing = { from: staging.files, files: fit, planned: files, folders, stallMs }
  const notPlaced = await place(context, placement, placing)
  await closeStaging(staging, shell)
  const failed = sifted.failed.map((line) => unreadable.get(line.slice(0, line.lastIndexOf(': '))) ?? line)
  for (const [path, why] of notPlaced) failed.push(`${path}: ${why}`)
  return { placed: sifted.fit - notPlaced.size, failed }
}

/** A file in the staging folder. */
interface Extracted extends FileInfo {
  mode: number
  /** Its path's bytes, where they are not UTF-8. */
  raw?: Buffer | undefined
}

type Find = (path: string) => Extracted | undefined

/**
 * Finds files in the staging folder by their paths as Borg lists them, one at a time: a list of all would be as large as the
 * plan. Only a name that is not UTF-8 is not found by its path.
 */
async function finderIn(staging: Staging, files: readonly MediaFile[]): Promise<Find> {
  const listed = files.some(isOdd) ? (await list(staging.files)).entries : undefined
  return (path) => {
    if (listed && isOdd({ path })) {
      const entry = listed.get(path)
      return entry?.kind === 'file' ? entry : undefined
    }
    const info = statusOf(join(staging.files, path))
    return info?.isFile() ? { size: info.size, mtimeMs: info.mtimeMs, mode: info.mode & 0o777 } : undefined
  }
}

function isOdd({ path }: Pick<MediaFile, 'path'>): boolean {
  return path.includes('?')
}

/** Looked at without a break, in which an interruption is heard. */
const LOOKS_AT_ONCE = 1000

/** What has been extracted already by a run that was cut short: whole, since Borg sets a file's time after its content. */
async function alreadyStaged(staging: Staging, files: readonly MediaFile[]): Promise<Set<string>> {
  const staged = new Set<string>()
  if ((await readdir(staging.files)).length === 0) return staged
  const find = await finderIn(staging, files)
  for (const [i, file] of files.entries()) {
    if (i % LOOKS_AT_ONCE === 0) await breathe()
    const found = file.type === '-' ? find(file.path) : undefined
    if (found && isSame(file, found)) staged.add(file.path)
  }
  return staged
}

/** What has become of the files that were to be placed, as far as they have been looked at. */
interface Sifted {
  fit: number
  failed: string[]
}

/**
 * Sorts out what may be placed, as it is asked for: neither what Borg did not extract as it was listed, nor what the app has
 * stored under the same name since.
 * @param missing how many of the files, the first ones, were not on the disk
 */
function* sift(
  files: readonly MediaFile[],
  missing: number,
  { find, mediaDir, sifted }: { find: Find; mediaDir: string; sifted: Sifted },
): Generator<StagedFile> {
  for (const [i, file] of files.entries()) {
    const { path, type, mtimeMs, target } = file
    const found = type === 'l' ? undefined : find(path)
    const raw = found?.raw && { raw: found.raw }
    if (i < missing && statusOf(within(mediaDir, { path, ...raw })))
      sifted.failed.push(`${path}: came to be on the disk meanwhile, and was kept`)
    else if (type !== 'l' && (!found || (type === '-' && !isSame(file, found))))
      sifted.failed.push(`${path}: Borg did not extract it as the archive lists it`)
    else {
      sifted.fit++
      yield found
        ? { path, ...raw, sizeBytes: found.size, mtimeMs: found.mtimeMs, mode: found.mode }
        : { path, sizeBytes: 0, mtimeMs, mode: 0o777, target }
    }
  }
}

/** Where an extraction reads from and writes to. */
interface Extraction {
  borg: Borg
  log: Log
  archive: string
  mediaDir: string
  staging: Staging
}

/** Paths in one call, well below the kernel's limit for arguments. */
const PATHS_A_CALL = 200

/**
 * Extracts files, also where the repository has lost parts of some: Borg ends at the first of them, and the others are asked
 * for again.
 * @returns what Borg can't read, by its path, each as a line with the reason
 */
async function extractAll(extraction: Extraction, files: readonly MediaFile[]): Promise<Map<string, string>> {
  const unreadable = new Map<string, string>()
  for (let left = files; ; ) {
    try {
      await extract(extraction, left)
      return unreadable
    } catch (error) {
      if (!(error instanceof Failure) || !/damaged|integrity|ObjectNotFound|not found/i.test(error.message)) throw error
      const staged = await alreadyStaged(extraction.staging, left)
      const at = left.findIndex(({ path, type }) => type === '-' && !staged.has(path))
      const file = left[at]
      // Nothing comes any more, or far too much is lost.
      if (!file || unreadable.size === MOST_UNREADABLE) throw error
      unreadable.set(file.path, `${file.path}: the repository has lost parts of it: ${error.message}`)
      extraction.log.warn(`${printable(file.path)} can't be read: ${error.message}`)
      left = left.filter((other, i) => i !== at && !staged.has(other.path))
    }
  }
}

const MOST_UNREADABLE = 100

/** More take so long that a progress is worth what it costs Borg. */
const FEW_FILES = 1000
const FEW_BYTES = 100e6

async function extract(extraction: Extraction, files: readonly MediaFile[]): Promise<void> {
  if (files.length === 0) return
  const { log, mediaDir, staging } = extraction
  const prefix = storedPath(mediaDir)
  const isLong = files.length > FEW_FILES || totalBytes(files) > FEW_BYTES
  const onProgress = ({ current = 0, total = 0 }: Message): void =>
    log.status(`Extracting ${bar(current, total)}  ${bytes(current)} of ${bytes(total)}`)
  const call = (selection: Selection): Promise<void> => callBorg(extraction, selection, isLong ? onProgress : undefined)

  const lines = files.filter(fitsALine)
  if (lines.length > 0) {
    // pf: is looked up, pp: would be tried one after the other for every item of the archive.
    await writeFile(staging.patterns, patternsOf(lines, prefix), { mode: 0o600 })
    await call({ patternsFrom: staging.patterns })
  }
  const others = files.filter((file) => !fitsALine(file)).map(({ path }) => `${prefix}/${path}`)
  for (let i = 0; i < others.length; i += PATHS_A_CALL) await call({ paths: others.slice(i, i + PATHS_A_CALL) })
}

/** In pieces: as one text they would be as large as the plan. */
function* patternsOf(files: readonly MediaFile[], prefix: string): Generator<string> {
  for (let i = 0; i < files.length; i += PATTERNS_A_PIECE)
    yield files
      .slice(i, i + PATTERNS_A_PIECE)
      .map(({ path }) => `+ ${patternOf(`${prefix}/${path}`)}\n`)
      .join('')
  yield '- sh:**\n'
}

const PATTERNS_A_PIECE = 1000

// A byte that is not UTF-8 is listed as a `?`, and is matched by one; what else it matches is not placed.
function patternOf(path: string): string {
  return path.includes('?') ? `sh:${path.replace(/[*[\]!]/g, '[$&]')}` : `pf:${path}`
}

// Borg reads one pattern per line, without the spaces at the line's end.
function fitsALine({ path }: MediaFile): boolean {
  // Python's spaces are more than JavaScript's.
  return !/[\n\r]|[\s\x1c-\x1f\x85]$/.test(path)
}

async function callBorg(
  { borg, log, archive, mediaDir, staging }: Extraction,
  selection: Selection,
  onProgress: ((message: Message) => void) | undefined,
): Promise<void> {
  const options = { strip: storedPath(mediaDir).split('/').length, progress: onProgress !== undefined }
  const child = borg.stream(extractArgs(archive, selection, options), {
    cwd: staging.files,
    // After our death it would go on writing where the next run works.
    guarded: true,
    ...(onProgress && { onProgress }),
  })
  child.stdin.end()
  child.stdout.resume()
  const { messages } = await child.result()
  // Borg 1.2.4 says that a pf: pattern never matched even when it did. What is missing is found by looking.
  for (const { message } of messages) if (!/never matched/.test(message)) log.warn(message)
}
