// A restore of media: extracts what a plan names into a staging folder, and has it moved to its place.

import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as breathe, setTimeout as sleep } from 'node:timers/promises'
import { storedPath } from '../borg/archives.ts'
import type { Borg } from '../borg/borg.ts'
import { extractArgs, type Selection } from '../borg/commands.ts'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import type { User } from '../cli/user.ts'
import { Failure } from '../core/failure.ts'
import { bar, bytes, plural, printable } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { isSame, type MediaFile, type MediaPlan, totalBytes, wanted } from './compare.ts'
import { type FileInfo, list, statusOf } from './folder.ts'
import { type MediaPlacement, type Placing, place, type StagedFile, within } from './place.ts'
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
  const giveUp = new AbortController()
  const extracting = extractAll({ borg, log, archive, mediaDir, staging, signal: giveUp.signal }, left)
  try {
    const stallMs = settings.DUMP_STALL_SECONDS * 1000
    const outcome = await placeExtracted({ context, placement, plan, staging, stallMs }, extracting)
    await closeStaging(staging, shell)
    return outcome
  } catch (error) {
    giveUp.abort()
    await extracting.catch(() => {})
    throw error
  }
}

interface Outcome {
  placed: number
  failed: string[]
}

/** Becomes what Borg could not read, by its path, each as a line with the reason. */
type Extracting = Promise<Map<string, string>>

/** How files get from the staging folder to their places. */
interface FromStaging {
  context: Pick<Context, 'shell' | 'log'>
  placement: MediaPlacement
  plan: MediaPlan
  staging: Staging
  stallMs: number
}

/** Places files, the first ones while Borg extracts others: of very many, the one takes about as long as the other. */
async function placeExtracted(
  { context, placement, plan, staging, stallMs }: FromStaging,
  extracting: Extracting,
): Promise<Outcome> {
  const { mediaDir, missing, folders } = plan
  const outcome: Outcome = { placed: 0, failed: [] }
  const put = async (sifted: Sifted, some: Pick<Placing, 'files'> & Partial<Placing>): Promise<void> => {
    const notPlaced = await place(context, placement, { from: staging.files, folders: [], stallMs, ...some })
    for (const [path, why] of notPlaced) sifted.failed.set(path, why)
    outcome.placed += sifted.fit - notPlaced.size
  }
  // sudo would ask in the middle of what is told of the extraction.
  const first = placement.asks ? [] : missing.filter(isFoundWhole)
  const others = placement.asks ? missing : missing.filter((file) => !isFoundWhole(file))
  const find = await finderIn(staging, [])
  let done = 0
  for await (const part of wholeParts(first, { find, extracting, log: context.log, total: totalBytes(wanted(plan)) })) {
    done += part.length
    const sifted: Sifted = { fit: 0, failed: new Map() }
    await put(sifted, { files: sift(part, part.length, { find, mediaDir, sifted, later: others }) })
    for (const [path, why] of sifted.failed) outcome.failed.push(`${path}: ${why}`)
  }
  const unreadable = await extracting
  const left = [...others, ...first.slice(done)]
  const planned = [...left, ...(plan.overwrite ? plan.different : [])]
  if (planned.length + folders.length === 0) return outcome
  if (placement.asks) context.log.info(`sudo asks for your password, to place the files: ${placement.needsSudo}`)
  const sifted: Sifted = { fit: 0, failed: new Map() }
  const files = sift(planned, left.length, { find: await finderIn(staging, planned), mediaDir, sifted })
  await put(sifted, { files, planned, folders })
  for (const [path, why] of sifted.failed) outcome.failed.push(unreadable.get(path) ?? `${path}: ${why}`)
  return outcome
}

/** Whether a look at the staging folder tells that a file is whole: its name is its own there, and its size and time are listed. */
function isFoundWhole(file: MediaFile): boolean {
  return file.type !== 'h' && !isOdd(file) && fitsALine(file)
}

const FILES_A_PART = 5000
const BYTES_A_PART = 256e6
const FILES_A_LOOK = 50
const LOOK_EVERY_MS = 25

/** What is known of an extraction that goes on. */
interface Watched {
  find: Find
  extracting: Extracting
  log: Log
  /** What is extracted in all, in bytes. */
  total: number
}

/**
 * Some files after the others, as Borg has extracted them, until it has ended. It extracts in the order of its list, which is
 * theirs: where one is whole, those before it are, or never will be.
 */
async function* wholeParts(
  files: readonly MediaFile[],
  { find, extracting, log, total }: Watched,
): AsyncGenerator<MediaFile[]> {
  let ended = false
  const end = settled(extracting).then(() => {
    ended = true
  })
  let bytesDone = 0
  for (const part of partsOf(files)) {
    const last = part.findLastIndex(({ type }) => type === '-')
    for (const [i, file] of part.entries()) {
      if (file.type === '-' && (i % FILES_A_LOOK === 0 || i === last))
        for (;;) {
          const found = find(file.path)
          if (found && isSame(file, found)) break
          if (ended) return
          const current = bytesDone + (found?.size ?? 0)
          log.status(`Extracting ${bar(current, total)}  ${bytes(current)} of ${bytes(total)}`)
          await Promise.race([end, sleep(LOOK_EVERY_MS)])
        }
      bytesDone += file.sizeBytes
    }
    yield part
  }
}

async function settled(promise: Promise<unknown>): Promise<void> {
  await promise.catch(() => {})
}

function* partsOf(files: readonly MediaFile[]): Generator<MediaFile[]> {
  let part: MediaFile[] = []
  let sizeBytes = 0
  for (const file of files) {
    part.push(file)
    sizeBytes += file.sizeBytes
    if (part.length < FILES_A_PART && sizeBytes < BYTES_A_PART) continue
    yield part
    part = []
    sizeBytes = 0
  }
  if (part.length > 0) yield part
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
  /** By the path, the reason. */
  failed: Map<string, string>
}

interface Sieve {
  find: Find
  mediaDir: string
  sifted: Sifted
  /** Takes what is not there yet, while Borg still extracts. */
  later?: MediaFile[]
}

/**
 * Sorts out what may be placed, as it is asked for: neither what Borg did not extract as it was listed, nor what the app has
 * stored under the same name since.
 * @param missing how many of the files, the first ones, were not on the disk
 */
function* sift(
  files: readonly MediaFile[],
  missing: number,
  { find, mediaDir, sifted, later }: Sieve,
): Generator<StagedFile> {
  for (const [i, file] of files.entries()) {
    const { path, type, mtimeMs, target } = file
    const found = type === 'l' ? undefined : find(path)
    const raw = found?.raw && { raw: found.raw }
    const isThere = type === 'l' || (found && (type !== '-' || isSame(file, found)))
    if (!isThere && later) later.push(file)
    else if (i < missing && statusOf(within(mediaDir, { path, ...raw })))
      sifted.failed.set(path, 'came to be on the disk meanwhile, and was kept')
    else if (!isThere) sifted.failed.set(path, 'Borg did not extract it as the archive lists it')
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
  /** Nobody wants it any more. */
  signal: AbortSignal
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

async function extract(extraction: Extraction, files: readonly MediaFile[]): Promise<void> {
  if (files.length === 0) return
  const { mediaDir, staging } = extraction
  const prefix = storedPath(mediaDir)
  const lines = files.filter(fitsALine)
  if (lines.length > 0) {
    // pf: is looked up, pp: would be tried one after the other for every item of the archive.
    await writeFile(staging.patterns, patternsOf(lines, prefix), { mode: 0o600 })
    await callBorg(extraction, { patternsFrom: staging.patterns })
  }
  const others = files.filter((file) => !fitsALine(file)).map(({ path }) => `${prefix}/${path}`)
  for (let i = 0; i < others.length; i += PATHS_A_CALL)
    await callBorg(extraction, { paths: others.slice(i, i + PATHS_A_CALL) })
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
  { borg, log, archive, mediaDir, staging, signal }: Extraction,
  selection: Selection,
): Promise<void> {
  signal.throwIfAborted()
  const child = borg.stream(extractArgs(archive, selection, storedPath(mediaDir).split('/').length), {
    cwd: staging.files,
    // After our death it would go on writing where the next run works.
    guarded: true,
  })
  const stop = (): void => void child.stop()
  signal.addEventListener('abort', stop)
  try {
    child.stdin.end()
    child.stdout.resume()
    const { messages } = await child.result()
    // Borg 1.2.4 says that a pf: pattern never matched even when it did. What is missing is found by looking.
    for (const { message } of messages) if (!/never matched/.test(message)) log.warn(message)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
