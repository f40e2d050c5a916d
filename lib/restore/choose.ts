// Which archive is restored, and what it holds.

import { archiveListing, flawsOf, listAll, madeAt, newestOf } from '../borg/archives.ts'
import { eachItem, isDump, storedPath } from '../borg/items.ts'
import type { Archive, Item } from '../borg/output.ts'
import type { Context } from '../cli/main.ts'
import { nobodyToAsk } from '../cli/prompt.ts'
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

/** What stands above the question which archive; the last word is the question's. */
type Hints = readonly string[]

export const BEFORE_THE_DAMAGE = 'Take an archive of before the damage: the newest need not be one.'

/**
 * The archive that was named, by whatever Borg knows by that name, a date, the beginning of a name, or `latest`; else, at a
 * terminal, the one that is picked; else, for a test with --yes or for a preview, the newest.
 * @throws Failure when there is none, or more than one
 */
export async function choose(
  { context, borg, settings, statePath }: Reading,
  hints: Hints = [],
): Promise<ChosenArchive> {
  const archives = (): Promise<Archive[]> => listAll(borg, settings.ARCHIVE_PREFIX, statePath)
  if (context.argument === undefined) return pick(context, await archives(), hints)
  // As Borg writes it, too: REPOSITORY::ARCHIVE.
  const word = context.argument.replace(/^.*::/, '')
  const start = startOf(word)
  // A whole name needs no list, which costs a second where the repository is far away.
  return start ? { name: word, start } : findArchive(word, await archives())
}

/** A date, or a part of one with its time: `2026-02`, `2026-02-28T03:00`. */
const DATE = /^\d{4}-\d\d(-\d\d(T\d\d(:\d\d){0,2})?)?$/

/**
 * Pure: the archive that a word of the command line means. What no listed one answers to may be known to Borg by that name.
 * @param archives newest first
 * @throws Failure (exit status 2) when it means several, or none can be meant
 */
export function findArchive(word: string, archives: readonly Archive[]): ChosenArchive {
  const named = archives.find(({ name }) => name === word)
  if (named) return named
  if (word === 'latest') {
    const newest = newestOf(archives)
    if (newest) return newest
    if (archives.length === 0) throw new Failure('There is no archive yet.', MAKE_ONE)
    throw new Failure(
      "Every archive is dated in the future: which is the newest can't be told.",
      'Name one. To see them: restore --list',
    )
  }
  const isDate = DATE.test(word)
  const [first, ...others] = archives.filter((archive) => (isDate ? madeAt(archive) : archive.name).startsWith(word))
  if (first && others.length === 0) return first
  if (first)
    throw new Failure(
      `${word} can mean ${plural(others.length + 1, 'archive')}.`,
      ['Name one of them:', lines([first, ...others].map(({ name }) => name))].join('\n'),
      EXIT.usage,
    )
  if (isDate) throw unknown(word, archives)
  return { name: word }
}

/** Completes an archive that was named; one that was renamed to be kept is not in the list. */
export async function complete(
  { borg, settings, statePath }: Omit<Reading, 'context'>,
  archive: ChosenArchive,
): Promise<ChosenArchive> {
  if (archive.comment !== undefined) return archive
  const listed = await listAll(borg, settings.ARCHIVE_PREFIX, statePath)
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
  const time = timeOf(name)
  return time === undefined || Number.isNaN(Date.parse(time)) ? undefined : new Date(time)
}

/** The time that ends the name of a night or a restore point. */
function timeOf(name: string): string | undefined {
  return /-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)$/.exec(name)?.[1]
}

const MAKE_ONE = 'Make the first one: backup'

async function pick(
  { flags, values, ask, ...terminal }: Context,
  archives: readonly Archive[],
  hints: Hints,
): Promise<Archive> {
  const latest = newestOf(archives) ?? archives[0]
  if (!latest) throw new Failure('There is no archive yet.', MAKE_ONE)
  if (flags.has('dry-run') || flags.has('yes') || values.kit !== undefined) return latest
  if (!terminal.interactive)
    throw nobodyToAsk(
      terminal,
      'No archive was named',
      'Over SSH ask for one: ssh -t. Or name the archive; latest is the newest.',
    )
  const proposed = newestOf(archives.filter((archive) => flawsOf(archive).length === 0)) ?? latest
  const whole = `The newest that is whole is number ${archives.indexOf(proposed) + 1}.`
  const prompt = [...hints, ...(proposed === archives[0] ? [] : [whole]), 'Which archive?'].join('\n')
  const choice = await ask.pick(prompt, archiveListing(archives, 'time'), (word) => {
    const { name } = findArchive(word, archives)
    return archives.findIndex((archive) => archive.name === name)
  })
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
 * @param onFirst when the first item has come
 * @throws Failure when the archive lacks the part that is to be restored
 */
export async function readContents(restore: Restore, archive: string, onFirst = (): void => {}): Promise<Contents> {
  const { context, settings, borg, database, media } = restore
  if (media !== null) await requireMediaDir(media, settings.MEDIA_OWNER)
  const mediaPath = storedPath(settings.MEDIA_DIR ?? '')
  const comparing =
    media === null ? Promise.resolve(undefined) : createMediaComparison(media, context.flags.has('overwrite'))
  const dumps: Item[] = []
  let mediaItems = 0
  const paths = media === null ? ['sh:**/db.dump'] : database ? [] : [mediaPath]
  let begin: (() => void) | undefined = onFirst
  const taking = comparing.then((comparison) => (item: Item): void => {
    begin?.()
    begin = undefined
    if (isDump(item, mediaPath)) dumps.push(item)
    else if (item.path === mediaPath || item.path.startsWith(`${mediaPath}/`)) mediaItems++
    comparison?.add(item)
  })
  await orUnknown(restore, archive, eachItem(borg, archive, paths, taking))
  const [dump] = dumps.sort((a, b) => a.path.length - b.path.length)
  if (database && !dump)
    throw new Failure(
      `The archive ${archive} holds no db.dump.`,
      `${settings.MEDIA_DIR === null ? 'Choose' : 'Restore the rest: restore --media-only, or choose'} another archive: restore --list`,
    )
  if (media !== null && mediaItems === 0)
    throw new Failure(
      `The archive ${archive} holds nothing of ${media}.`,
      'Restore the rest: restore --db-only. If the folder was moved, set MEDIA_DIR as it was.',
    )
  const plan = (await comparing)?.plan()
  if (plan && plan.unlisted.length > 0)
    context.log.warn(
      `${plural(plan.unlisted.length, 'folder')} in ${media} can't be looked into:\n${lines(plan.unlisted)}`,
    )
  return { ...(dump && database ? { dump } : {}), ...(plan ? { media: plan } : {}) }
}
