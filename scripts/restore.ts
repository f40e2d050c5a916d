import { archiveJson, describe, listArchives } from '../lib/borg/archives.ts'
import type { Archive, Item } from '../lib/borg/output.ts'
import { takeLock } from '../lib/cli/lock.ts'
import { type Command, main } from '../lib/cli/main.ts'
import { EXIT, Failure, reason } from '../lib/core/failure.ts'
import { bytes, plural, table } from '../lib/core/format.ts'
import type { Service } from '../lib/dokku/dokku.ts'
import { wanted } from '../lib/media/compare.ts'
import { restoreMedia } from '../lib/media/extract.ts'
import { planPlacement, requireSpace } from '../lib/media/place.ts'
import { copyAside } from '../lib/postgres/scratch.ts'
import { requireDatabaseSpace } from '../lib/postgres/space.ts'
import { endStraySwap, listKept, restoringName, swap } from '../lib/postgres/swap.ts'
import { drill } from '../lib/restore/drill.ts'
import { describeKept, describeMedia, lines, question, releaseAdvice } from '../lib/restore/messages.ts'
import { preview } from '../lib/restore/preview.ts'
import { prove } from '../lib/restore/prove.ts'
import { restartApp } from '../lib/restore/restart.ts'
import {
  chooseAndSurvey,
  clearLeftovers,
  discardCopy,
  discardTest,
  noteTestService,
  prepareRestore,
  type Restore,
} from '../lib/restore/restore.ts'

const COMMAND: Command = {
  name: 'restore',
  switches: ['list', 'dry-run', 'db-only', 'media-only', 'test', 'drill', 'undo', 'yes', 'json'],
  exclusive: [
    ['list', 'dry-run', 'test', 'drill', 'undo'],
    ['db-only', 'media-only'],
    ['media-only', 'test', 'undo'],
    ['db-only', 'media-only', 'drill'],
  ],
  argument: 'ARCHIVE',
  help: `
Usage: restore [ARCHIVE] [--db-only | --media-only] [--dry-run] [--yes]
       restore --list | --test | --drill | --undo

Brings back the database and the media folder from a Borg archive. The dump is first
proved in a test service; production is changed only after you type the app's name, by
renaming databases in one transaction, and the old database is kept.

  --list           The archives, newest first.
  --dry-run        What a restore would do now; changes nothing.
  --db-only        Only the database.      --media-only  Only the media folder.
  --test           Into the test service only, and leave it there to look around.
  --drill          Unattended --test for cron: imports the newest archive, compares a
                   sample of media, removes the test service, tells the monitor.
  --undo           Swap a kept database back (undoable, too). ARCHIVE may name it.
  --yes            Agree beforehand to every question; takes the latest archive.
  --json           With --list, --dry-run, --drill: one JSON value.
  --env-file PATH  Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Exit status: 0 done, 1 failed, 2 usage or configuration error (nothing was touched),
75 another run holds the lock, 130/143 interrupted, cleaned up.

Examples:
  restore --list
  restore --dry-run book-corners-2026-02-28T03:00:00
  restore --media-only       bring back lost photos; nothing is deleted
  restore                    pick an archive, prove it, then decide
`,
}

await main(COMMAND, async (context) => {
  const { flags } = context
  if (flags.has('json') && !['list', 'dry-run', 'drill'].some((flag) => flags.has(flag)))
    throw new Failure('--json goes with --list, --dry-run or --drill.', 'See: restore --help', EXIT.usage)
  for (const flag of ['list', 'drill'])
    if (flags.has(flag) && context.argument !== undefined)
      throw new Failure(`--${flag} takes no ARCHIVE.`, 'See: restore --help', EXIT.usage)
  const restore = prepareRestore(context)
  if (flags.has('list')) return list(restore)
  if (flags.has('dry-run')) return preview(restore)
  const asks = !flags.has('test') && !flags.has('drill')
  if (asks && !context.interactive && !flags.has('yes'))
    throw new Failure(
      'A restore asks before it changes anything, and there is no terminal to ask at.',
      'Add --yes to agree beforehand.',
      EXIT.usage,
    )
  const unlock = await takeLock('restore.ts', restore.settings.DB_SERVICE, restore.settings.MEDIA_DIR)
  try {
    if (flags.has('drill')) return await drill(restore)
    if (flags.has('test')) return await testOnly(restore)
    if (flags.has('undo')) return await undo(restore)
    return await bringBack(restore)
  } finally {
    unlock()
  }
})

async function bringBack(restore: Restore): Promise<number> {
  const { context, settings, dokku } = restore
  const { log, ask } = context
  const { archive, dump, media } = await chooseAndSurvey(restore, false)
  const files = media ? wanted(media) : []
  const placement = await planPlacement(context, settings, files, restore.user)
  if (media) {
    log.info([`Media of ${archive.name} against ${settings.MEDIA_DIR}:`, ...describeMedia(media)].join('\n'))
    await requireSpace(settings.MEDIA_DIR, files, placement)
    if (placement.asks) log.info(`Later sudo will ask for your password, to place the files: ${placement.needsRoot}`)
  }
  const agree = (): Promise<void> => ask.confirm(question(restore, archive, files.length), settings.DOKKU_APP)
  const notRestored = [...(media?.refused ?? [])]
  const placeMedia = async (): Promise<void> => {
    if (!media) return
    const { placed, failed } = await restoreMedia(restore, archive.name, media, placement)
    notRestored.push(...failed)
    context.print(`Restored ${plural(placed, 'media file')} of ${archive.name} to ${settings.MEDIA_DIR}.`)
  }
  if (dump) {
    const production = await dokku.service(settings.DB_SERVICE)
    await replaceDatabase(restore, archive, dump, production, async () => {
      await agree()
      await placeMedia()
    })
  } else {
    await agree()
    await placeMedia()
  }
  if (notRestored.length > 0)
    throw new Failure(
      `${plural(notRestored.length, 'path')} of ${archive.name} not restored to ${settings.MEDIA_DIR}:\n${lines(notRestored)}`,
      'Everything else is restored. To get single ones by hand: borg extract, see the README.',
    )
  return EXIT.done
}

/** Proves the dump, asks, and makes it production. Whatever happens, what it worked with is removed. */
async function replaceDatabase(
  restore: Restore,
  archive: Archive,
  dump: Item,
  production: Service,
  agree: () => Promise<void>,
): Promise<void> {
  const { context, dokku, stallMs } = restore
  const begun = await clearLeftovers(restore, production)
  let testIsGone: Promise<void> | undefined
  let swapped = false
  try {
    await requireDatabaseSpace(restore, production, dump)
    const { test } = await prove(restore, archive, dump, production, begun)
    context.log.info(`To look around before you agree: sudo dokku postgres:connect ${test.name}`)
    const advice = await releaseAdvice(restore, archive)
    if (advice) context.log.warn(advice)
    await agree()
    await copyAside(dokku, restore.lasting, test, production, stallMs, context.log)
    context.shell.signal.throwIfAborted()
    testIsGone = discardTest(restore)
    const kept = await swap(restore.lasting, production, restoringName(production.database))
    swapped = true
    await finishSwap(restore, production, kept, `Restored the database ${production.database} of ${archive.name}.`)
  } finally {
    await Promise.all([testIsGone ?? discardTest(restore), swapped ? undefined : discardCopy(restore, production)])
  }
}

/** What follows a swap. From there on an interruption no longer stops anything. */
async function finishSwap(restore: Restore, production: Service, kept: string, done: string): Promise<void> {
  const { context, lasting } = restore
  context.print(`${done}
The database before is kept as ${kept}. To go back to it: restore --undo`)
  try {
    context.print(`Kept databases:\n${describeKept(production.name, await listKept(lasting, production))}`)
  } catch (error) {
    // The app comes first.
    context.log.warn(`The kept databases can't be listed: ${reason(error)}`)
  }
  await restartApp(restore)
}

async function undo(restore: Restore): Promise<number> {
  const { context, settings, dokku } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  await endStraySwap(dokku, production, context.log)
  const kept = await listKept(dokku, production)
  if (kept.length === 0)
    throw new Failure(
      `No database of an earlier restore is kept in ${production.name}.`,
      'Restore an archive instead: restore --list',
    )
  const { argument } = context
  const named = kept.find(({ name }) => name === argument)
  if (argument !== undefined && !named)
    throw new Failure(
      `${argument} is not kept in ${production.name}.`,
      `Kept are: ${kept.map(({ name }) => name).join(', ')}`,
    )
  const choice =
    named ??
    (kept.length === 1
      ? kept[0]
      : kept[
          await context.ask.pick(
            'Which one becomes production again?',
            kept.map(({ name, bytes: size }) => `${name}  ${bytes(size)}`),
          )
        ])
  if (!choice) throw new Failure('Nothing was picked.')
  await context.ask.confirm(
    `This makes ${choice.name} the database of ${production.name}; the present one is kept beside it.`,
    settings.DOKKU_APP,
  )
  const before = await swap(restore.lasting, production, choice.name)
  await finishSwap(restore, production, before, `${choice.name} is production again.`)
  return EXIT.done
}

async function testOnly(restore: Restore): Promise<number> {
  const { context, dokku, settings } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  const { archive, dump } = await chooseAndSurvey({ ...restore, media: false }, false)
  if (!dump) throw new Failure(`The archive ${archive.name} holds no dump.`)
  const begun = await clearLeftovers(restore, production)
  try {
    await requireDatabaseSpace(restore, production, dump)
    const { test } = await prove(restore, archive, dump, production, begun)
    // From now on it is the operator's; its own mark tells the next run.
    await noteTestService(restore, false)
    context.print(`${archive.name} imports cleanly. Production was not touched.
  look around:  sudo dokku postgres:connect ${test.name}
  remove it:    sudo dokku postgres:destroy ${test.name} --force`)
    return EXIT.done
  } catch (error) {
    await discardTest(restore)
    throw error
  }
}

async function list({ context, settings, borg }: Restore): Promise<number> {
  const archives = await listArchives(borg, settings.ARCHIVE_PREFIX)
  if (context.flags.has('json')) context.print(JSON.stringify(archives.map(archiveJson)))
  else if (archives.length > 0) context.print(table(archives.map(describe)))
  else context.log.info('There is no archive yet. Make the first one: backup')
  return EXIT.done
}
