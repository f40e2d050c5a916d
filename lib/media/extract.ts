// A restore of media: extracts what a plan names into a staging folder, and has it moved to its place.

import { lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { storedPath } from '../borg/archives.ts'
import type { Borg } from '../borg/borg.ts'
import { extractArgs, type Selection } from '../borg/commands.ts'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import { Failure } from '../core/failure.ts'
import { bar, bytes, lastLines, plural } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { isSame, type MediaFile, type MediaPlan, totalBytes, wanted } from './compare.ts'
import { type FileInfo, filesOf, INBOX } from './folder.ts'
import type { MediaPlacement } from './place.ts'

/** What of a command's carrier a restore of media works with. */
interface MediaRestore {
  context: Pick<Context, 'shell' | 'log'>
  settings: Settings<'MEDIA_DIR'>
  borg: Borg
}

/**
 * Extracts what a plan names and moves it to its place. Run again after it was cut short, it goes on where it stopped.
 * @returns the number of files placed, and what is not restored, each with the reason
 */
export async function restoreMedia(
  { context: { shell, log }, settings: { MEDIA_DIR: mediaDir }, borg }: MediaRestore,
  archive: string,
  plan: MediaPlan,
  placement: MediaPlacement,
): Promise<{ placed: number; failed: string[] }> {
  const files = wanted(plan)
  const { staging } = placement
  if (files.length === 0) {
    // A run that was killed after the last file was in its place. What root has left there is in nobody's way.
    await closeStaging(staging).catch(() => {})
    return { placed: 0, failed: [] }
  }
  await openStaging(staging, archive, log)
  const staged = await alreadyStaged(staging, files)
  const left = files.filter(({ path }) => !staged.has(path))
  if (staged.size > 0) log.info(`${plural(staged.size, 'file')} were extracted before the last run was cut short`)
  log.info(`Extracting ${plural(left.length, 'media file')}, ${bytes(totalBytes(left))}`)
  const everything = plan.same.length === 0 && plan.refused.length === 0 && staged.size === 0
  await extract({ borg, log, archive, mediaDir, staging }, left, everything)

  const { fit, failed } = await sift(files, plan.missing, staging, mediaDir)
  if (placement.asks) log.info(`sudo asks for your password, to place the files: ${placement.needsRoot}`)
  const { exitCode, stderr } = await shell.run(placement.command, { terminal: placement.asks })
  if (exitCode !== 0)
    throw new Failure(
      `The files could not be placed${stderr ? `: ${lastLines(stderr)}` : ''}.`,
      'They are kept; run the same command again to go on.',
    )
  await closeStaging(staging)
  return { placed: fit, failed }
}

/** What has been extracted already by a run that was cut short: whole, since Borg sets a file's time after its content. */
async function alreadyStaged(staging: string, files: readonly MediaFile[]): Promise<Set<string>> {
  const staged = await filesOf(staging).catch(() => new Map<string, FileInfo>())
  return new Set(
    files
      .filter((file) => {
        const found = staged.get(file.path)
        return file.type === '-' && found !== undefined && isSame(file, found)
      })
      .map(({ path }) => path),
  )
}

/**
 * Leaves in the staging folder only what may be placed: neither what Borg did not extract as it was listed, nor what
 * the app has stored under the same name since.
 */
async function sift(
  files: readonly MediaFile[],
  missing: readonly MediaFile[],
  staging: string,
  mediaDir: string,
): Promise<{ fit: number; failed: string[] }> {
  const staged = await filesOf(staging)
  const wasMissing = new Set(missing)
  const fit = new Set<string>()
  const failed: string[] = []
  for (const file of files) {
    const { path } = file
    const found = staged.get(path)
    // Borg lists a name that is not UTF-8 with a `?` in it, and does not know it by that.
    if (!found || (file.type === '-' && !isSame(file, found)))
      failed.push(`${path}: Borg did not extract it as the archive lists it`)
    else if (wasMissing.has(file) && (await lstat(join(mediaDir, path)).catch(() => undefined)))
      failed.push(`${path}: came to be on the disk meanwhile, and was kept`)
    else fit.add(path)
  }
  for (const path of staged.keys()) if (!fit.has(path)) await rm(join(staging, path), { force: true })
  return { fit: fit.size, failed }
}

/** The extracted files of another archive are of no use any more. */
async function openStaging(staging: string, archive: string, log: Log): Promise<void> {
  const label = `${staging}.archive`
  const found = await readFile(label, 'utf8').catch(() => undefined)
  if (found !== archive) {
    if (found !== undefined) log.info(`Removing what an earlier run had extracted of ${found}`)
    await rm(staging, { recursive: true, force: true })
  }
  await mkdir(staging, { recursive: true, mode: 0o700 })
  await writeFile(label, archive, { mode: 0o600 })
}

async function closeStaging(staging: string): Promise<void> {
  for (const path of [staging, `${staging}.archive`, `${staging}.patterns`])
    await rm(path, { recursive: true, force: true })
  if (dirname(staging).endsWith(`/${INBOX}`)) await rm(dirname(staging), { recursive: true, force: true })
}

/** Where an extraction reads from and writes to. */
interface Extraction {
  borg: Borg
  log: Log
  archive: string
  mediaDir: string
  staging: string
}

/** Paths in one call, well below the kernel's limit for arguments. */
const PATHS_A_CALL = 200

/** @param everything the files are all that the archive has of the folder */
async function extract(extraction: Extraction, files: readonly MediaFile[], everything: boolean): Promise<void> {
  if (files.length === 0) return
  const { log, mediaDir, staging } = extraction
  const prefix = storedPath(mediaDir)
  let count = 0
  const call = (selection: Selection): Promise<void> =>
    callBorg(extraction, selection, () => {
      // It lists folders, too.
      count = Math.min(count + 1, files.length)
      log.status(
        `Extracting ${bar(count, files.length)}  ${count.toLocaleString('en')} of ${plural(files.length, 'file')}`,
      )
    })
  if (everything) return call({ paths: [prefix] })

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

// Borg reads one pattern per line, without the spaces at the line's end.
function fitsALine({ path }: MediaFile): boolean {
  return !/[\n\r]|\s$/.test(path)
}

async function callBorg(
  { borg, log, archive, mediaDir, staging }: Extraction,
  selection: Selection,
  onProgress: () => void,
): Promise<void> {
  const child = borg.stream(extractArgs(archive, storedPath(mediaDir).split('/').length, selection), {
    cwd: staging,
    // After our death it would go on writing where the next run works.
    guarded: true,
    onProgress,
  })
  child.stdin.end()
  child.stdout.resume()
  const { messages } = await child.result()
  // Borg 1.2.4 says that a pf: pattern never matched even when it did. What is missing is found by looking.
  for (const { message } of messages) if (!/never matched/.test(message)) log.warn(message)
}
