// The way to a new production database, and back.

import { basename } from 'node:path'
import { SO } from '../cli/closing.ts'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { bytes, duration } from '../core/format.ts'
import { wrap } from '../core/layout.ts'
import { momentAgo } from '../core/times.ts'
import { psqlLine } from '../dokku/by-hand.ts'
import { neighbour, type Service } from '../dokku/dokku.ts'
import { neededBytes, requireFree, requireRoom } from '../postgres/ground.ts'
import { readRights } from '../postgres/rights.ts'
import { adoptSettings, clearRestoring, openRestoring } from '../postgres/scratch.ts'
import { analyze } from '../postgres/statistics.ts'
import { type KeptDatabase, lookAtLeft, NotSwapped, restoringOf, swap } from '../postgres/swap.ts'
import { findWayBacks } from '../postgres/way-backs.ts'
import { awaitApp, restartAdvice } from './app.ts'
import { importDump, type OpenedDump } from './archived-dump.ts'
import { type Contents, complete } from './choose.ts'
import { compare, lookAt, lookAtProduction } from './comparison.ts'
import { chooseKept, keptAt, keptUntil, readCauses, restoreOf, undoTo } from './kept.ts'
import { discardRestoring } from './leftovers.ts'
import { describeKept, describeRights, describeWayBacks, releaseAdvice, subscriptionAdvice } from './messages.ts'
import { begin, type Production } from './prove.ts'
import type { ChosenArchive, Restore } from './restore.ts'

/**
 * Imports the dump beside production, shows it, asks, and makes it production. Whatever happens before the swap, production
 * is as it was, and the database beside it is removed.
 * @param contents of the archive, as far as they are known
 * @param agree what comes before production's database is replaced
 */
export async function replaceDatabase(
  restore: Restore,
  archive: ChosenArchive,
  contents: Contents,
  agree: (archive: ChosenArchive) => Promise<void>,
): Promise<void> {
  const { context } = restore
  const { production, dump } = await begin(restore, archive, contents)
  let kept: string
  try {
    requireFree(production.ground, production)
    requireRoom(production.ground, neededBytes(dump.sizeBytes, dump.isCompressed), context.log)
    const { restoring, archive: completed, analyzed } = await importBeside(restore, production, dump)
    context.log.info(`To look around before you agree: ${psqlLine(production)}, and there: \\c ${restoring.database}`)
    await agree(completed)
    await analyzed
    context.shell.signal.throwIfAborted()
    kept = await swapIn(restore, production, restoring.database)
  } catch (error) {
    await Promise.all([dump.source.stop(), discardRestoring(restore, production)])
    throw error
  }
  await finishSwap(restore, production, kept, {
    isSo: `The database ${production.database} is that of ${archive.name} now.`,
    data: `the data of ${archive.name}`,
    cause: restoreOf(archive.name),
  })
}

interface Beside {
  restoring: Service
  /** Completed. */
  archive: ChosenArchive
  /** Without statistics the app's first queries would be slow. They can be made while the operator decides. */
  analyzed: Promise<void>
}

/** The dump in a database beside production, shown. */
async function importBeside(restore: Restore, production: Production, dump: OpenedDump): Promise<Beside> {
  const { context, dokku } = restore
  context.log.info('The app goes on while the dump is imported next to production, perhaps a little slower')
  const [restoring, { now, archive, given }] = await importDump(restore, dump, {
    open: (stallMs) => {
      context.closing.so('beside', SO.besideBegun(restoringOf(production).database))
      return openRestoring(dokku, production, production.ground, { stallMs, log: context.log })
    },
    meanwhile: async () => {
      // What it throws is thrown where it is awaited.
      const given = readRights(dokku, production)
      given.catch(() => {})
      const [now, archive] = await Promise.all([lookAtProduction(restore, production), complete(restore, dump.archive)])
      return { now, archive, given }
    },
  })
  const analyzed = analyze(dokku, restoring, dump.sizeBytes).catch((error: unknown) => {
    context.shell.signal.throwIfAborted()
    context.log.warn(`The statistics could not be made: ${reason(error)}`)
  })
  // What they throw is thrown where they are awaited.
  const rights = Promise.all([given, readRights(dokku, restoring)])
  for (const awaited of [analyzed, rights]) awaited.catch(() => {})
  const adopting = adoptSettings(dokku, production)
  const [then, advice, refused] = await Promise.all([
    lookAt(restore, restoring, now, adopting),
    releaseAdvice(restore, archive),
    adopting,
  ])
  if (refused.length > 0)
    context.log.warn(`Not all of production's settings could be given to ${restoring.database}: ${refused.join('; ')}`)
  await compare(restore, { database: production, ...now }, { database: restoring, ...then })
  await tellRights(restore, production, rights)
  if (advice) context.log.warn(advice)
  return { restoring, archive, analyzed }
}

/**
 * A dump holds neither owners nor grants: who else reads or owns something in production is told before anybody agrees. The
 * statements may name what an older database has not got.
 */
async function tellRights(
  { context }: Restore,
  production: Service,
  rights: Promise<readonly (readonly string[])[]>,
): Promise<void> {
  try {
    const [now = [], then = []] = await rights
    const there = new Set(then)
    const statements = now.filter((statement) => !there.has(statement))
    if (statements.length > 0) context.print(describeRights(production, statements, context.log.resultColumns))
  } catch (error) {
    context.shell.signal.throwIfAborted()
    context.log.warn(`Which owners and grants production has could not be read: ${reason(error)}`)
  }
}

/** @returns what the database before is kept as */
async function swapIn(
  { context: { closing }, dokku, note }: Restore,
  production: Service,
  incoming: string,
): Promise<string> {
  closing.so('production', SO.swapping)
  try {
    const kept = await swap(dokku.lasting, production, incoming)
    note({ kept })
    closing.so('production', SO.swapped(kept))
    closing.so('beside', '')
    return kept
  } catch (error) {
    if (error instanceof NotSwapped) closing.so('production', SO.swapFailed)
    throw error
  }
}

/** `restore --undo`: a database that an earlier swap kept becomes production again. */
export async function undo(restore: Restore): Promise<number> {
  const { context, settings, dokku } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  await clearRestoring(dokku, production, context.log)
  const files = (await findWayBacks(context.shell.env, dokku, production)).filter(({ state }) => state !== 'useless')
  const usable = files.filter(({ state }) => state === 'usable')
  if (files.length > 0)
    context.log.info(
      `What restore --rows brought back is taken out by files of its own:\n${describeWayBacks(production, files)}`,
    )
  const choice = await chooseKept(restore, production, usable.length > 0)
  restore.note({ database: choice.name })
  await showKept(restore, production, choice)
  const [newest] = usable
  if (newest && newest.at > (keptAt(choice.name) ?? newest.at))
    context.log.warn(
      `The newest change was restore --rows, ${momentAgo(newest.at)}, after the restore that kept this: its rows leave production, too. If they alone are the mistake, not --undo but the file above takes them out: ${basename(newest.path)}`,
    )
  if (context.flags.has('dry-run')) {
    context.print('Nothing was changed.')
    return EXIT.done
  }
  const { words, isUndo } = (await readCauses(restore))(choice.name)
  const then = `before ${words}`
  await context.ask.confirm(
    `This makes ${choice.name} the database of ${production.name}: production as it was ${then}.${isUndo ? '\n  This takes that undo back: what it took out of production comes back.' : ''}
  Comes back: every row as it was then, until ${keptUntil(choice.name)}.
  Leaves production: what came by that ${isUndo ? 'undo' : 'restore'}, and everything written since.
  It stays in a kept database of its own, and the way back is: restore --undo`,
    settings.DOKKU_APP,
  )
  const before = await swapIn(restore, production, choice.name)
  await finishSwap(restore, production, before, {
    isSo: `Production is again as it was ${then}.`,
    data: `the data of ${then}`,
    cause: undoTo(choice.name),
  })
  return EXIT.done
}

/** What would come back with a kept database. That it can't be told is no reason not to go back to it. */
async function showKept(restore: Restore, production: Service, { name, bytes: size }: KeptDatabase): Promise<void> {
  const { context } = restore
  const kept = neighbour(production, name)
  context.log.info(`${name} was production until ${keptUntil(name)} (${bytes(size)}). In it, beside production:`)
  try {
    const [now, then] = await Promise.all([lookAtProduction(restore, production), lookAt(restore, kept)])
    await compare(restore, { database: production, ...now }, { database: kept, called: 'kept', ...then })
  } catch (error) {
    if (!(error instanceof Failure) || context.shell.signal.aborted) throw error
    context.log.warn(error.message)
  }
}

/** What production is after a swap. */
interface Arrived {
  /** A sentence. */
  isSo: string
  /** What the app runs with. */
  data: string
  /** What made it so: the journal does not tell of a run that goes on. */
  cause: string
}

/** What follows a swap. From there on an interruption no longer stops anything. */
async function finishSwap(restore: Restore, production: Service, kept: string, arrived: Arrived): Promise<void> {
  const { context, settings, dokku } = restore
  const { isSo, data } = arrived
  const print = (text: string): void => context.print(wrap(text, context.log.resultColumns))
  print(`${isSo}
The database before is kept as ${kept}. To go back to it: restore --undo`)
  // The app comes first.
  const app = awaitApp(restore)
  const restarting = restartAdvice(restore)
  for (const asked of [app, restarting]) asked.catch(() => {})
  let all: KeptDatabase[] = []
  try {
    const { kept: others, subscriptions } = await lookAtLeft(dokku.lasting, production)
    all = others
    const advice = subscriptionAdvice(production, subscriptions)
    if (advice) print(advice)
  } catch (error) {
    context.log.warn(`The kept databases can't be listed: ${reason(error)}`)
  }
  const causeOf = await readCauses(restore)
  const before = (name: string): string => `before ${name === kept ? arrived.cause : causeOf(name).words}`
  if (!(await app)) return print(`${settings.DOKKU_APP} is not deployed yet. Next, on the laptop: deploy`)
  print(`Done in ${duration(context.workedMs())}. ${settings.DOKKU_APP} runs with ${data}.`)
  print(`Look at the site now, then choose:
  wrong data           restore --undo
  the app misbehaves   ${await restarting}
  all is well          keep it a few days, then drop what is kept:
${describeKept(production, all, before)}`)
}
