// The way to a new production database, and back.

import { EXIT, Failure, fetchReason, reason } from '../core/failure.ts'
import { bytes, lastLines } from '../core/format.ts'
import { retry } from '../core/retry.ts'
import { restartArgs, type Service } from '../dokku/dokku.ts'
import { copyAside, requireDatabaseSpace } from '../postgres/scratch.ts'
import { endStraySwap, type KeptDatabase, listKept, restoringName, swap } from '../postgres/swap.ts'
import { clearLeftovers, discardCopy, discardTest } from './leftovers.ts'
import { describeKept, releaseAdvice } from './messages.ts'
import { type ArchivedDump, prove } from './prove.ts'
import type { Restore } from './restore.ts'

/**
 * Proves the dump, asks, and makes it production. Whatever happens, what it worked with is removed.
 * @param agree what comes before production's database is replaced
 */
export async function replaceDatabase(restore: Restore, dump: ArchivedDump, agree: () => Promise<void>): Promise<void> {
  const { context, dokku, settings } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  const test = await clearLeftovers(restore, production)
  let testIsGone: Promise<void> | undefined
  let isSwapped = false
  try {
    await requireDatabaseSpace(dokku, production, dump.sizeBytes, context.log)
    const { proved } = await prove(restore, production, dump, test)
    context.log.info(`To look around before you agree: sudo dokku postgres:connect ${proved.name}`)
    const advice = await releaseAdvice(restore, dump.archive)
    if (advice) context.log.warn(advice)
    await agree()
    await copyAside(dokku, proved, production, settings.DUMP_STALL_SECONDS * 1000, context.log)
    context.shell.signal.throwIfAborted()
    testIsGone = discardTest(restore, test)
    const kept = await swap(dokku.lasting, production, restoringName(production.database))
    isSwapped = true
    await finishSwap(restore, production, kept, `Restored the database ${production.database} of ${dump.archive.name}.`)
  } finally {
    await Promise.all([
      testIsGone ?? discardTest(restore, test),
      isSwapped ? undefined : discardCopy(restore, production),
    ])
  }
}

/** `restore --undo`: a database that an earlier swap kept becomes production again. */
export async function undo(restore: Restore): Promise<number> {
  const { context, settings, dokku } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  await endStraySwap(dokku, production, context.log)
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
  const { context, dokku } = restore
  context.print(`${done}
The database before is kept as ${kept}. To go back to it: restore --undo`)
  try {
    context.print(`Kept databases:\n${describeKept(production.name, await listKept(dokku.lasting, production))}`)
  } catch (error) {
    // The app comes first.
    context.log.warn(`The kept databases can't be listed: ${reason(error)}`)
  }
  await restartApp(restore)
}

/** Restarts the app and asks the site, if one is set, whether it is well. */
async function restartApp({ dokku, context, settings }: Restore): Promise<void> {
  const { environment, envFile, log } = context
  log.info(`Restarting ${settings.DOKKU_APP}`)
  const output = await dokku.lasting.run(restartArgs(settings.DOKKU_APP))
  if (output.exitCode !== 0)
    throw new Failure(
      `The data is restored, but ${settings.DOKKU_APP} did not restart: ${lastLines(output.stderr) || lastLines(output.stdout)}`,
      `Type: sudo dokku ps:restart ${settings.DOKKU_APP}. To go back: restore --undo`,
    )
  if (!environment.SITE_URL && !envFile.values.SITE_URL) return
  const address = `${settings.SITE_URL}/health/`
  const ask = async (): Promise<void> => {
    const response = await fetch(address, { signal: AbortSignal.timeout(10_000), redirect: 'manual' })
    const text = await response.text()
    if (response.status !== 200 || !/"status"\s*:\s*"ok"/.test(text)) throw new Error(`it answers ${response.status}`)
  }
  await retry(ask, {
    withinMs: 60_000,
    waitMs: (error) => {
      log.status(`${address}: ${fetchReason(error)}`)
      return 1000
    },
  }).catch((error: unknown) => {
    throw new Failure(
      `The data is restored, but ${address} is not well: ${fetchReason(error)}`,
      `Look: sudo dokku logs ${settings.DOKKU_APP}. To go back: restore --undo`,
    )
  })
  log.info(`${address} says ok`)
}
