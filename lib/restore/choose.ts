// Which archive is restored, and what it holds.

import { describe, eachItem, holesOf, isDump, listAll, newestOf, storedPath } from '../borg/archives.ts'
import type { Archive, Item } from '../borg/output.ts'
import type { Context } from '../cli/main.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { nearest, plural } from '../core/format.ts'
import { createMediaComparison, type MediaPlan } from '../media/compare.ts'
import { requireMediaDir } from '../media/folder.ts'
import { lines } from './messages.ts'
import type { ChosenArchive, Reading, Restore } from './restore.ts'

/** What is in an archive of the parts that are to be restored. */
export interface Contents {
  dump?: Item
  /** Against what is on the disk. */
  media?: MediaPlan
}

/**
 * The archive that was named, whatever Borg knows by that name, also one that was renamed to be kept; else, at a
 * terminal, the one that is picked; else, with --yes or for a preview, the latest.
 * @throws Failure when there is none
 */
export async function choose({ context, borg, settings }: Reading): Promise<ChosenArchive> {
  if (context.argument === undefined) return pick(context, await listAll(borg, settings.ARCHIVE_PREFIX))
  // As Borg writes it, too: REPOSITORY::ARCHIVE.
  const name = context.argument.replace(/^.*::/, '')
  const start = startOf(name)
  return { name, ...(start && { start }) }
}

/** Completes an archive that was named; one that was renamed to be kept is not in the list. */
export async function complete(
  { borg, settings }: Omit<Reading, 'context'>,
  archive: ChosenArchive,
): Promise<ChosenArchive> {
  if (archive.comment !== undefined) return archive
  const listed = await listAll(borg, settings.ARCHIVE_PREFIX)
  return listed.find(({ name }) => name === archive.name) ?? { ...archive, comment: '' }
}

/** @throws Failure with the nearest names, when reading an archive failed because there is none of that name */
export async function orUnknown<T>(
  { borg, settings }: Omit<Reading, 'context'>,
  archive: string,
  reading: Promise<T>,
): Promise<T> {
  try {
    return await reading
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const archives = await listAll(borg, settings.ARCHIVE_PREFIX).catch(() => undefined)
    if (!archives || archives.some(({ name }) => name === archive)) throw error
    throw unknown(archive, archives)
  }
}

/** When an archive was begun, by its name. */
function startOf(name: string): Date | undefined {
  const time = /\d{4}-\d\d-\d\dT[\d:]{8}$/.exec(name)?.[0]
  return time === undefined || Number.isNaN(Date.parse(time)) ? undefined : new Date(time)
}

const MAKE_ONE = 'Make the first one: backup'

async function pick({ flags, values, interactive, ask }: Context, archives: readonly Archive[]): Promise<Archive> {
  const latest = newestOf(archives) ?? archives[0]
  if (!latest) throw new Failure('There is no archive yet.', MAKE_ONE)
  if (flags.has('dry-run') || flags.has('yes') || values.kit !== undefined) return latest
  if (!interactive)
    throw new Failure(
      'No archive was named, and there is no terminal to ask at.',
      'Name one, or add --yes for the latest.',
      EXIT.usage,
    )
  const proposed = newestOf(archives.filter((archive) => holesOf(archive).length === 0)) ?? latest
  const choice = await ask.pick(
    proposed === latest ? 'Which archive?' : `Which archive? ${proposed.name} is the newest that is complete.`,
    archives.map((archive) => describe(archive).filter(Boolean).join('  ')),
    archives.indexOf(proposed),
  )
  return archives[choice] ?? latest
}

function unknown(name: string, archives: readonly Archive[]): Failure {
  const names = archives.map((archive) => archive.name)
  if (names.length === 0) return new Failure(`There is no archive ${name}, nor any other yet.`, MAKE_ONE)
  const near = nearest(name, names, 3)
  return new Failure(
    `There is no archive ${name}.`,
    [
      near.length > 0 ? 'Did you mean one of these?' : 'The newest are:',
      ...(near.length > 0 ? near : names.slice(0, 3)).map((other) => `  ${other}`),
      'See them all: restore --list',
    ].join('\n'),
  )
}

/**
 * Reads an archive's list once, for the dump and for the media.
 * @throws Failure when the archive lacks the part that is to be restored
 */
export async function readContents(restore: Restore, archive: string): Promise<Contents> {
  const { context, settings, borg, database, media } = restore
  if (media) await requireMediaDir(settings.MEDIA_DIR)
  const mediaPath = storedPath(settings.MEDIA_DIR)
  const comparison = media ? createMediaComparison(settings.MEDIA_DIR) : undefined
  const dumps: Item[] = []
  let mediaItems = 0
  const paths = media ? (database ? [] : [mediaPath]) : ['sh:**/db.dump']
  const listing = eachItem(borg, archive, paths, (item) => {
    if (isDump(item, mediaPath)) dumps.push(item)
    else if (item.path === mediaPath || item.path.startsWith(`${mediaPath}/`)) mediaItems++
    comparison?.add(item)
  })
  await orUnknown(restore, archive, listing)
  const [dump] = dumps.sort((a, b) => a.path.length - b.path.length)
  if (database && !dump)
    throw new Failure(
      `The archive ${archive} holds no db.dump.`,
      'Restore the rest: restore --media-only, or choose another archive: restore --list',
    )
  if (media && mediaItems === 0)
    throw new Failure(
      `The archive ${archive} holds nothing of ${settings.MEDIA_DIR}.`,
      'Restore the rest: restore --db-only. If the folder was moved, set MEDIA_DIR as it was.',
    )
  const plan = await comparison?.plan()
  if (plan && plan.unlisted.length > 0)
    context.log.warn(
      `${plural(plan.unlisted.length, 'folder')} in ${settings.MEDIA_DIR} can't be looked into:\n${lines(plan.unlisted)}`,
    )
  return { ...(dump && database ? { dump } : {}), ...(plan ? { media: plan } : {}) }
}
