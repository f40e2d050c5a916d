// The proof of an archive's dump in a service of its own, and what shows that it is what is wanted.

import { SO } from '../cli/closing.ts'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { createDatabaseLine, psqlLine, serverPsqlLine } from '../dokku/by-hand.ts'
import type { Service } from '../dokku/dokku.ts'
import { type Ground, neededBytes, requireRoom, surveyGround } from '../postgres/ground.ts'
import { type Opened, openImport } from '../postgres/import.ts'
import { clearRestoring } from '../postgres/scratch.ts'
import type { RowCounts } from '../postgres/sql.ts'
import { giveSettings, giveSurroundings, readSurroundings } from '../postgres/surroundings.ts'
import { reserveTestService, type TestService } from '../postgres/test-service.ts'
import { importDump, type OpenedDump, openDump } from './archived-dump.ts'
import { type Contents, choose } from './choose.ts'
import { compare, lookAt, lookAtProduction, quietly } from './comparison.ts'
import { discardTest } from './leftovers.ts'
import type { ChosenArchive, Restore } from './restore.ts'

/** `restore --test`: proves an archive in the test service and leaves it there to look around. */
export async function proveOnly(restore: Restore): Promise<number> {
  const { context } = restore
  const archive = await choose(restore)
  await inTestService(restore, archive, {}, async ({ test, restored }) => {
    await test.leave()
    context.print(`${archive.name} imports cleanly. Production was not touched.
  look around:  ${psqlLine(restored)}
  remove it:    sudo dokku postgres:destroy ${restored.name} --force`)
  })
  return EXIT.done
}

interface Proved {
  dump: OpenedDump
  test: TestService
  restored: Service
  /** Of its tables. */
  rows: RowCounts
  /** Tables that have rows in production and none in it. */
  emptied: readonly string[]
}

/**
 * Proves a dump in a service of its own: what only proves must not lean on production's server.
 * @param contents of the archive, as far as they are known
 * @param then what follows when it is proved; what becomes of the test service is up to it. It is removed when anything fails
 */
export async function inTestService<T>(
  restore: Restore,
  archive: ChosenArchive,
  contents: Contents,
  then: (proved: Proved) => Promise<T>,
): Promise<T> {
  const { context } = restore
  const { production, dump } = await openBoth(lookAtGround(restore), openDump(restore, archive, contents.dump))
  try {
    requireRoom(production.ground, neededBytes(dump.sizeBytes, dump.isCompressed), context.log)
    const test = await reserveTestService(restore)
    context.closing.so('beside', SO.testBegun(test.name))
    try {
      const open = async (stallMs: number): Promise<Opened> => {
        const into = await equip(restore, production, await test.create())
        return { into, target: await openImport(restore.dokku, into, stallMs) }
      }
      const meanwhile = (): ReturnType<typeof lookAtProduction> => lookAtProduction(restore, production)
      const [restored, now] = await importDump(restore, dump, { open, meanwhile })
      await quietly(
        restore,
        'The settings of its database',
        giveSettings(restore.dokku, production, restored, context.log),
      )
      const look = await lookAt(restore, restored, now)
      const emptied = await compare(restore, { database: production, ...now }, { database: restored, ...look })
      return await then({ dump, test, restored, rows: look.rows, emptied })
    } catch (error) {
      await discardTest(restore, test)
      throw error
    }
  } finally {
    await dump.source.stop()
  }
}

/** Production, looked at before a proof; without `ground` it did not answer, which is no reason not to prove an archive. */
interface Beheld extends Service {
  ground?: Ground
}

async function lookAtGround(restore: Restore): Promise<Beheld> {
  const { context, dokku, settings } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  const ground = await quietly(
    restore,
    'Its server',
    surveyGround(dokku, production, clearRestoring(dokku, production, context.log)),
  )
  return { ...production, ...(ground && { ground }) }
}

/** Gives the test service what the dump may need beside the database. */
async function equip(restore: Restore, production: Beheld, test: Service): Promise<Service> {
  const { context, dokku } = restore
  const { ground } = production
  if (!ground) return test
  const surroundings = await quietly(restore, 'Its roles and tablespaces', readSurroundings(dokku, production))
  if (surroundings) await giveSurroundings(dokku, test, surroundings, { ground, log: context.log })
  return test
}

/** Production, looked at before a restore. */
export interface Production extends Service {
  ground: Ground
}

/**
 * What every import beside production begins with: what a killed run left is cleared, the server is looked at, and the dump is
 * opened. The dump is to be stopped by whoever gets it.
 */
export async function begin(
  restore: Restore,
  archive: ChosenArchive,
  contents: Contents,
): Promise<{ production: Production; dump: OpenedDump }> {
  const { context, dokku, settings } = restore
  const prepare = async (): Promise<Production> => {
    const production = await dokku.service(settings.DB_SERVICE)
    const clearing = clearRestoring(dokku, production, context.log)
    const ground = await surveyGround(dokku, production, clearing).catch(explainUnreachable(restore, production))
    return { ...production, ground }
  }
  return openBoth(prepare(), openDump(restore, archive, contents.dump))
}

/** What stands between a restore and production's server, with the way around it. */
function explainUnreachable({ settings: { DOKKU_APP: app } }: Restore, production: Service): (error: unknown) => never {
  return (error) => {
    const why = reason(error)
    // Only the app can give some back.
    if (/too many clients|connection slots are reserved/.test(why))
      throw new Failure(
        `PostgreSQL takes no more connections: ${why}`,
        `Let the app go of them, and restore again: sudo dokku ps:stop ${app}. Afterwards: sudo dokku ps:start ${app}`,
      )
    // Dokku connects to this database before anything else, and it can't be.
    if (
      /FATAL: +(invalid page|could not (open|read)|cache lookup failed|missing chunk|relation mapping|pg_)/.test(why)
    ) {
      const psql = serverPsqlLine(production)
      const { name: service, database } = production
      throw new Failure(
        `The database of ${service} is so damaged that nobody can connect to it: ${why}`,
        `Put it aside, and restore into an empty one:\n  ${psql} -c 'ALTER DATABASE "${database}" RENAME TO "${database}_damaged"'\n  ${createDatabaseLine(production)}`,
      )
    }
    throw error
  }
}

/** Dokku takes its time for the one, Borg for the other. */
async function openBoth<T>(
  looking: Promise<T>,
  opening: Promise<OpenedDump>,
): Promise<{ production: T; dump: OpenedDump }> {
  const [production, dump] = await Promise.allSettled([looking, opening])
  if (production.status === 'fulfilled' && dump.status === 'fulfilled')
    return { production: production.value, dump: dump.value }
  if (dump.status === 'fulfilled') await dump.value.source.stop()
  throw (production.status === 'rejected' ? production : (dump as PromiseRejectedResult)).reason
}
