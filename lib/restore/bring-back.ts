// The restore itself, from the choice of an archive to what could not be restored.

import { flawsOf } from '../borg/archives.ts'
import { SO } from '../cli/closing.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { duration, plural } from '../core/format.ts'
import { type MediaPlan, wanted } from '../media/compare.ts'
import { restoreMedia } from '../media/extract.ts'
import { planPlacement } from '../media/place.ts'
import { requireMediaSpace, stagingOf } from '../media/staging.ts'
import { BEFORE_THE_DAMAGE, type Contents, choose, complete, readContents } from './choose.ts'
import { describeMedia, lines, question, withoutPhotos } from './messages.ts'
import { replaceDatabase } from './replace-database.ts'
import type { ChosenArchive, Restore } from './restore.ts'

/** The restore itself: database, media, or both; the operator agrees before anything changes. */
export async function bringBack(restore: Restore): Promise<number> {
  const { context, settings } = restore
  const archive = await choose(restore, hintsFor(restore))
  restore.note({ archive: archive.name })
  let completing: Promise<ChosenArchive> | undefined
  // Beside the archive's list: this takes a second where the repository is far away. Not earlier: two that reach Borg's lock in
  // the same moment cost one of them a second, too.
  const completeBeside = (): void => {
    completing = complete(restore, archive)
    completing.catch(() => {})
  }
  const contents: Contents =
    restore.media !== null
      ? await readContents(restore, archive.name, restore.database ? undefined : completeBeside)
      : {}
  const media = contents.media && (await planMedia(restore, archive, contents.media))
  const agreeAndPlace = async (completed: ChosenArchive): Promise<void> => {
    // Who agrees beforehand does not see the question.
    if (context.flags.has('yes') && completed.start)
      for (const flaw of flawsOf({
        start: completed.start,
        comment: completed.comment ?? '',
        damaged: completed.damaged ?? [],
      }))
        context.log.warn(`${completed.name} is ${flaw}`)
    if (context.flags.has('yes')) for (const line of withoutPhotos(settings, completed)) context.log.info(line)
    await context.ask.confirm(question(restore, completed, media?.files ?? 0), settings.DOKKU_APP)
    await media?.place()
  }
  if (!restore.database && media?.isNothing) {
    const { different, overwrite } = contents.media ?? {}
    restore.note({ files: 0 })
    context.print(
      [
        `Nothing of ${archive.name} is missing in ${settings.MEDIA_DIR}: nothing was changed.`,
        ...(different?.length && !overwrite
          ? [`To bring back the ${plural(different.length, 'file')} that differ, too: restore --media-only --overwrite`]
          : []),
      ].join('\n'),
    )
    media.requireAll()
    return EXIT.done
  }
  if (restore.database) await replaceDatabase(restore, archive, contents, agreeAndPlace)
  else await agreeAndPlace(await (completing ?? complete(restore, archive)))
  media?.requireAll()
  if (!restore.database) context.print(`Done in ${duration(context.workedMs())}. Look at the site now.`)
  return EXIT.done
}

/** Who comes to the question which archive may want something else. */
function hintsFor({ database, media }: Restore): string[] {
  return [
    ...(database && media ? ['Only photos are missing? restore --media-only'] : []),
    ...(database ? ['Only some rows are gone? restore --rows TABLE'] : []),
    BEFORE_THE_DAMAGE,
  ]
}

/** What is known of the media before anything is asked. */
interface PlannedMedia {
  /** How many come back. */
  files: number
  /** Neither a file nor a folder does. */
  isNothing: boolean
  /** Extracts them, and moves them to their places. */
  place(): Promise<void>
  /** @throws Failure that names what could not be restored */
  requireAll(): void
}

/** @throws Failure when there is no room for the files, or no right to place them */
async function planMedia(restore: Restore, archive: ChosenArchive, plan: MediaPlan): Promise<PlannedMedia> {
  const { context, settings, user } = restore
  const { log } = context
  const { mediaDir } = plan
  const files = wanted(plan)
  const placing = { ...settings, MEDIA_DIR: mediaDir }
  const placement = await planPlacement(context, placing, files.length + plan.folders.length, user)
  log.info([`Media of ${archive.name} against ${mediaDir}:`, ...describeMedia(plan)].join('\n'))
  await requireMediaSpace(mediaDir, stagingOf(context.shell.env, mediaDir), files)
  if (placement.asks) log.info(`Later sudo will ask for your password, to place the files: ${placement.needsSudo}`)
  const notRestored = [...plan.refused]
  return {
    files: files.length,
    isNothing: files.length + plan.folders.length === 0,
    place: async () => {
      context.closing.so('production', SO.databaseUntouched)
      context.closing.so('photos', SO.photosBegun)
      const { placed, failed } = await restoreMedia(restore, archive.name, plan, placement)
      notRestored.push(...failed)
      restore.note({ files: placed })
      context.closing.so('photos', SO.photosPlaced(plural(placed, 'media file'), mediaDir))
      context.print(`Restored ${plural(placed, 'media file')} of ${archive.name} to ${mediaDir}.`)
    },
    requireAll: () => {
      if (notRestored.length > 0)
        throw new Failure(
          `${plural(notRestored.length, 'path')} of ${archive.name} not restored to ${mediaDir}:\n${lines(notRestored)}`,
          'Everything else is restored. To get single ones by hand: borg extract, see docs/without-these-scripts.md.',
        )
    },
  }
}
