import { userInfo } from 'node:os'
import { bareName, chooseArchive, eachItem, isDump, listArchives, storedPath } from '../borg/archives.ts'
import { type Borg, openBorg } from '../borg/borg.ts'
import type { Archive, Item } from '../borg/output.ts'
import type { Context } from '../cli/main.ts'
import { readSettings, type Settings } from '../cli/settings.ts'
import { readState, statePath, writeState } from '../cli/state.ts'
import { Failure, reason } from '../core/failure.ts'
import { createDokku, type Dokku, destroyServiceArgs, type Service } from '../dokku/dokku.ts'
import { createMediaComparison, type MediaPlan } from '../media/compare.ts'
import { requireMediaDir } from '../media/folder.ts'
import type { User } from '../media/place.ts'
import { clearRestoring } from '../postgres/scratch.ts'
import { endStraySwap, restoringName } from '../postgres/swap.ts'
import { clearTestService, testServiceName } from '../postgres/test-service.ts'

/** The settings that `restore.ts` uses. */
export const RESTORE_SETTINGS = [
  'BORG_REPO',
  'BORG_PASSPHRASE',
  'BORG_PASSCOMMAND',
  'DOKKU_APP',
  'DB_SERVICE',
  'MEDIA_DIR',
  'MEDIA_OWNER',
  'ARCHIVE_PREFIX',
  'DOKKU_COMMAND',
  'DUMP_STALL_SECONDS',
  'VERIFY_SQL',
  'DRILL_HEALTHCHECK_URL',
  'SITE_URL',
] as const

/** What every step of a restore works with. */
export interface Restore {
  context: Context
  settings: Settings<(typeof RESTORE_SETTINGS)[number]>
  borg: Borg
  dokku: Dokku
  /** Dokku for what an interruption must not cut short. */
  lasting: Dokku
  stallMs: number
  statePath: string
  user: User
  /** The part that is restored. */
  database: boolean
  media: boolean
}

/** @throws Failure (exit status 2) with everything that is wrong with the settings */
export function prepareRestore(context: Context): Restore {
  const { environment, envFile, shell, cleanup, flags } = context
  const settings = readSettings(RESTORE_SETTINGS, environment, envFile)
  const { uid, gid, username } = userInfo()
  return {
    context,
    settings,
    borg: openBorg(context, settings.BORG_REPO),
    dokku: createDokku(shell, settings.DOKKU_COMMAND),
    lasting: createDokku(cleanup, settings.DOKKU_COMMAND),
    stallMs: settings.DUMP_STALL_SECONDS * 1000,
    statePath: statePath(shell.env, settings.BORG_REPO, settings.DB_SERVICE),
    user: { uid, gid, name: username },
    database: !flags.has('media-only'),
    media: !flags.has('db-only'),
  }
}

/** The archive to restore. See `chooseArchive`. */
export async function choose({ context, settings, borg }: Restore, latestWithoutAsking: boolean): Promise<Archive> {
  return chooseArchive(context, await listArchives(borg, settings.ARCHIVE_PREFIX), latestWithoutAsking)
}

/**
 * An archive, and what it holds. A named one is whatever Borg knows by that name, also one that was renamed to be kept.
 * The list of all is asked for as well where the release matters, with the database; and to find the nearest for a wrong name.
 */
export async function chooseAndSurvey(
  restore: Restore,
  latestWithoutAsking: boolean,
): Promise<Survey & { archive: Archive }> {
  const { context, borg, settings } = restore
  if (context.argument === undefined) {
    const archive = await choose(restore, latestWithoutAsking)
    return { ...(await survey(restore, archive.name)), archive }
  }
  const name = bareName(context.argument)
  const found = await survey(restore, name).catch(async (error: unknown) => {
    // For a wrong name this names the nearest.
    await choose(restore, latestWithoutAsking)
    throw error
  })
  // Not at the same time: one Borg would find the repository locked by the other, and wait a second (1.2.4).
  const listed = restore.database ? await listArchives(borg, settings.ARCHIVE_PREFIX) : []
  const unlisted = { name, start: startOf(name) ?? new Date(found.dump?.mtimeMs ?? 0), comment: '' }
  return { ...found, archive: listed.find((archive) => archive.name === name) ?? unlisted }
}

/** When an archive was begun, by its name. */
function startOf(name: string): Date | undefined {
  const time = /\d{4}-\d\d-\d\dT[\d:]{8}$/.exec(name)?.[0]
  return time === undefined || Number.isNaN(Date.parse(time)) ? undefined : new Date(time)
}

/** What an archive holds, against what is here. */
export interface Survey {
  dump?: Item
  media?: MediaPlan
}

/**
 * Reads an archive's list once, for the dump and for the media.
 * @throws Failure when the archive lacks the part that is to be restored
 */
export async function survey({ settings, borg, database, media }: Restore, archive: string): Promise<Survey> {
  if (media) await requireMediaDir(settings.MEDIA_DIR)
  const mediaPath = storedPath(settings.MEDIA_DIR)
  const comparison = createMediaComparison(settings.MEDIA_DIR)
  const dumps: Item[] = []
  let mediaItems = 0
  const paths = media ? (database ? [] : [mediaPath]) : ['sh:**/db.dump']
  await eachItem(borg, archive, paths, (item) => {
    if (isDump(item, mediaPath)) dumps.push(item)
    else if (item.path === mediaPath || item.path.startsWith(`${mediaPath}/`)) mediaItems++
    if (media) comparison.add(item)
  })
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
  return { ...(dump && database ? { dump } : {}), ...(media ? { media: await comparison.plan() } : {}) }
}

/**
 * Clears what a killed run left, of either kind, and notes that from now on the test service is ours.
 * @returns whether a run was killed that may have been making one
 */
export async function clearLeftovers(restore: Restore, service: Service): Promise<boolean> {
  const { context, dokku, settings } = restore
  const begun = (await readState(restore.statePath)).testService === true
  await endStraySwap(dokku, service, context.log)
  await clearTestService(dokku, settings.DB_SERVICE, begun, context.log)
  await clearRestoring(dokku, service, context.log)
  await noteTestService(restore, true)
  return begun
}

/** Notes for the next run whether a test service of ours may be there. */
export async function noteTestService({ statePath, context }: Restore, testService: boolean): Promise<void> {
  try {
    await writeState(statePath, { ...(await readState(statePath)), testService })
  } catch (error) {
    context.log.warn(`What the next run should know could not be kept: ${reason(error)}`)
  }
}

/** Removes the test service; if it can't be removed, that is left to the next run. */
export function discardTest(restore: Restore): Promise<void> {
  const { lasting, context, settings } = restore
  const name = testServiceName(settings.DB_SERVICE)
  return orLater(context, `The test service ${name}`, async () => {
    if (await lasting.exists(name)) await lasting.must(destroyServiceArgs(name))
    await noteTestService(restore, false)
  })
}

/** Removes the copy beside production, the same way. */
export function discardCopy({ lasting, context }: Restore, production: Service): Promise<void> {
  return orLater(context, `The database ${restoringName(production.database)}`, () =>
    clearRestoring(lasting, production, { ...context.log, info: () => {} }),
  )
}

async function orLater({ log }: Context, what: string, remove: () => Promise<void>): Promise<void> {
  try {
    await remove()
  } catch (error) {
    log.warn(`${what} could not be removed; the next restore will do it: ${reason(error)}`)
  }
}
