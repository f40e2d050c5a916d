// The disposable service in which a dump is proved: whose it is, made, and removed.

import { readState, remember } from '../cli/state.ts'
import { Failure, reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import { aCount, aText, orNull, record } from '../core/outside.ts'
import { retry } from '../core/retry.ts'
import { createServiceArgs, type Dokku, destroyServiceArgs, infoArgs, type Service } from '../dokku/dokku.ts'
import { DISPOSABLE } from './marks.ts'
import { identifier, LASTING_TABLES, literal, rows, sql } from './sql.ts'

/** The disposable service in which a dump is proved. */
export interface TestService {
  readonly name: string
  /** Creates it from production's own image. */
  create(): Promise<Service>
  /** Removes it, if it was made. */
  remove(): Promise<void>
  /** From now on it is the operator's; its mark tells the next run that it may go. */
  leave(): Promise<void>
}

/** What a test service is made with: a part of a `Restore`. */
interface Tools {
  context: { log: Log }
  dokku: Dokku
  settings: { DB_SERVICE: string }
  /** Where it is noted for the next run that whatever is under the name is ours. */
  statePath: string
}

/**
 * Removes the test service that an earlier run left, and notes that from now on what is under its name is ours.
 * @throws Failure when no run of ours made it, or it can't be asked
 */
export async function reserveTestService(tools: Tools): Promise<TestService> {
  const { dokku, settings } = tools
  const name = `${settings.DB_SERVICE}-test`
  // A run that began to make one and was cut short: it may be unfinished, and not answer.
  const wasBegun = (await readState(tools.statePath)).testService === true
  await clear(tools, name, wasBegun)
  await note(tools, true)
  return {
    name,
    create: () => create(tools, name, wasBegun),
    remove: async () => {
      if (await dokku.lasting.exists(name)) await dokku.lasting.must(destroyServiceArgs(name))
      await note(tools, false)
    },
    leave: () => note(tools, false),
  }
}

function note({ statePath, context }: Tools, testService: boolean): Promise<void> {
  return remember(statePath, { testService }, context.log)
}

async function clear({ dokku, context }: Tools, name: string, wasBegun: boolean): Promise<void> {
  if (!(await dokku.exists(name))) return
  const destroy = `If nobody needs it: sudo dokku postgres:destroy ${name} --force`
  const found = await look(dokku, name).catch((error: unknown) => {
    if (wasBegun) return undefined
    throw new Failure(
      `The service ${name} exists, but can't be asked whose it is: ${reason(error)}`,
      `Start it: sudo dokku postgres:start ${name}. ${destroy}`,
    )
  })
  // What a run of ours was about to make may not be marked yet; then there is nothing in it either.
  const isOurs = found?.mark === DISPOSABLE || (wasBegun && (found?.holds ?? 0) === 0)
  if (!isOurs) throw new Failure(`The service ${name} exists, and was not made by these scripts.`, destroy)
  context.log.info(`Removing the test service ${name} that an earlier run left`)
  // Dokku may still be making it: what it is at can't be removed yet.
  await retry(() => dokku.must(destroyServiceArgs(name)), { attempts: wasBegun ? MOST_ATTEMPTS : 1, waitMs: WAIT_MS })
}

/** `holds`: tables of its database, and other databases. */
const FOUND = record({ mark: orNull(aText), holds: aCount })
type Found = ReturnType<typeof FOUND>

async function look(dokku: Dokku, name: string): Promise<Found | undefined> {
  const [found] = await rows(
    dokku,
    await dokku.service(name),
    `SELECT json_build_object(
      'mark', (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()),
      'holds', (SELECT count(*) FROM pg_tables WHERE ${LASTING_TABLES}) +
        (SELECT count(*) FROM pg_database WHERE datname NOT IN (current_database(), 'postgres', 'template0', 'template1')));`,
    FOUND,
  )
  return found
}

/** Together longer than Dokku takes to make or remove a service. */
const MOST_ATTEMPTS = 10
const WAIT_MS = 2000

async function create({ dokku, context, settings }: Tools, name: string, wasBegun: boolean): Promise<Service> {
  const { DB_SERVICE: production } = settings
  const image = (await dokku.must(infoArgs(production, '--version'))).stdout.trim()
  if (!image.includes(':'))
    throw new Failure(
      `Dokku does not name the image of ${production}.`,
      `Look: sudo dokku postgres:info ${production} --version`,
    )
  context.log.info(`Creating the test service ${name} from ${image}`)
  const make = async (attempt: number): Promise<void> => {
    if (attempt > 1) await dokku.run(destroyServiceArgs(name))
    // Behind sudo Dokku goes on after an interruption, and what is half-made can't be removed.
    await dokku.lasting.must(createServiceArgs(name, image))
  }
  await retry(make, {
    attempts: wasBegun ? MOST_ATTEMPTS : 1,
    waitMs: (error) => {
      if (!/already exists/.test(reason(error))) return
      context.log.info(`A killed run was still making ${name}: waiting, to remove it`)
      return WAIT_MS
    },
  })
  const test = await dokku.service(name)
  await markWhenReady(dokku, test)
  return test
}

/** `postgres:create` starts the server a second time, for SSL, and does not wait until it answers (dokku-postgres 1.48). */
async function markWhenReady(dokku: Dokku, test: Service): Promise<void> {
  const isStarting = (error: unknown): boolean =>
    /connection to server|could not connect|starting up|is not running/.test(reason(error))
  await retry(() => sql(dokku, test, `COMMENT ON DATABASE ${identifier(test.database)} IS ${literal(DISPOSABLE)};`), {
    withinMs: 60_000,
    waitMs: (error) => (isStarting(error) ? 500 : undefined),
  })
}
