// The way to a new production database, and back.

import { EXIT, Failure, reason } from '../core/failure.ts'
import { bytes } from '../core/format.ts'
import type { Service } from '../dokku/dokku.ts'
import { clearRestoring, createRestoring, finishRestoring, requireDatabaseSpace } from '../postgres/scratch.ts'
import { type KeptDatabase, listKept, swap } from '../postgres/swap.ts'
import { awaitApp } from './app.ts'
import { discardRestoring } from './leftovers.ts'
import { describeKept, releaseAdvice } from './messages.ts'
import { type ArchivedDump, compare, importDump } from './prove.ts'
import type { Restore } from './restore.ts'

/**
 * Imports the dump beside production, shows it, asks, and makes it production. Whatever happens before the swap, production
 * is as it was, and the database beside it is removed.
 * @param agree what comes before production's database is replaced
 */
export async function replaceDatabase(restore: Restore, dump: ArchivedDump, agree: () => Promise<void>): Promise<void> {
  const { context, dokku, settings } = restore
  const { log } = context
  const production = await dokku.service(settings.DB_SERVICE)
  await clearRestoring(dokku, production, log)
  let kept: string
  try {
    await requireDatabaseSpace(dokku, production, dump.sizeBytes, log)
    log.info('The app goes on while the dump is imported next to production, perhaps a little slower')
    const restoring = await importDump(restore, dump, () => createRestoring(dokku, production))
    await finishRestoring(dokku, production)
    await compare(restore, production, restoring)
    const advice = await releaseAdvice(restore, dump.archive)
    if (advice) log.warn(advice)
    log.info(
      `To look around before you agree: sudo dokku postgres:connect ${production.name}, and there: \\c ${restoring.database}`,
    )
    await agree()
    context.shell.signal.throwIfAborted()
    kept = await swap(dokku.lasting, production, restoring.database)
  } catch (error) {
    await discardRestoring(restore, production)
    throw error
  }
  await finishSwap(restore, production, kept, `Restored the database ${production.database} of ${dump.archive.name}.`)
}

/** `restore --undo`: a database that an earlier swap kept becomes production again. */
export async function undo(restore: Restore): Promise<number> {
  const { context, settings, dokku } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  await clearRestoring(dokku, production, context.log)
  const choice = await chooseKept(restore, production)
  await context.ask.confirm(
    `This makes ${choice.name} the database of ${production.name}; the present one is kept beside it.`,
    settings.DOKKU_APP,
  )
  const before = await swap(dokku.lasting, production, choice.name)
  await finishSwap(restore, production, before, `${choice.name} is production again.`)
  return EXIT.done
}

async function chooseKept({ context, dokku }: Restore, production: Service): Promise<KeptDatabase> {
  const { argument, ask } = context
  const kept = await listKept(dokku, production)
  if (kept.length === 0)
    throw new Failure(
      `No database of an earlier restore is kept in ${production.name}.`,
      'Restore an archive instead: restore --list',
    )
  const named = kept.find(({ name }) => name === argument)
  if (named) return named
  if (argument !== undefined)
    throw new Failure(
      `${argument} is not kept in ${production.name}.`,
      `Kept are: ${kept.map(({ name }) => name).join(', ')}`,
    )
  const [only] = kept
  if (kept.length === 1 && only) return only
  const picked = await ask.pick(
    'Which one becomes production again?',
    kept.map(({ name, bytes: size }) => `${name}  ${bytes(size)}`),
  )
  const choice = kept[picked]
  if (!choice) throw new Failure('Nothing was picked.')
  return choice
}

/** What follows a swap. From there on an interruption no longer stops anything. */
async function finishSwap(restore: Restore, production: Service, kept: string, done: string): Promise<void> {
  const { context, dokku, settings } = restore
  context.print(`${done}
The database before is kept as ${kept}. To go back to it: restore --undo`)
  try {
    context.print(`Kept databases:\n${describeKept(production.name, await listKept(dokku.lasting, production))}`)
  } catch (error) {
    // The app comes first.
    context.log.warn(`The kept databases can't be listed: ${reason(error)}`)
  }
  await awaitApp(restore)
  context.print(`The app goes on with it. If it does not behave: sudo dokku ps:restart ${settings.DOKKU_APP}`)
}
