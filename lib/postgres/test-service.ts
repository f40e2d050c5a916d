import type { Borg, BorgStream } from '../borg/borg.ts'
import { extractToStdoutArgs } from '../borg/commands.ts'
import type { Archive } from '../borg/output.ts'
import { Failure, reason } from '../core/failure.ts'
import { bar, bytes } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'
import { peek, pump, settlesWithin } from '../core/transfer.ts'
import {
  createServiceArgs,
  type Dokku,
  destroyServiceArgs,
  explainDokku,
  importArgs,
  infoArgs,
  type Service,
} from '../dokku/dokku.ts'
import { identifier, LASTING_TABLES, literal, rows, sql } from './sql.ts'

/** The disposable service in which a dump is proved. */
export function testServiceName(service: string): string {
  return `${service}-test`
}

// How the next run knows a service that a killed run left from one that somebody keeps under this name.
const MARK = 'book-corners-ops: disposable, made to prove a restore'

/**
 * Removes the test service that an earlier run left.
 * @param begun whether a run of ours began to make one and was cut short: then it may be unfinished, and not answer
 * @throws Failure when it holds tables and no run of ours made it, or can't be asked
 */
export async function clearTestService(dokku: Dokku, service: string, begun: boolean, log: Log): Promise<void> {
  const name = testServiceName(service)
  if (!(await dokku.exists(name))) return
  const destroy = `If nobody needs it: sudo dokku postgres:destroy ${name} --force`
  const [found] = await rows<{ mark: string | null; tables: number }>(
    dokku,
    name,
    `SELECT json_build_object(
      'mark', (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()),
      'tables', (SELECT count(*) FROM pg_tables WHERE ${LASTING_TABLES}));`,
  ).catch((error: unknown) => {
    if (begun) return []
    throw new Failure(
      `The service ${name} exists, but can't be asked whose it is: ${reason(error)}`,
      `Start it: sudo dokku postgres:start ${name}. ${destroy}`,
    )
  })
  if (found && found.mark !== MARK && found.tables > 0)
    throw new Failure(
      `The service ${name} exists, holds ${found.tables} tables, and was not made by these scripts.`,
      destroy,
    )
  log.info(`Removing the test service ${name} that an earlier run left`)
  // Dokku may still be making it: what it is at can't be removed yet.
  await retry(() => dokku.must(destroyServiceArgs(name)), { attempts: begun ? MOST_ATTEMPTS : 1, waitMs: WAIT_MS })
}

/** Together longer than Dokku takes to make or remove a service. */
const MOST_ATTEMPTS = 10
const WAIT_MS = 2000

/**
 * Creates the test service from production's own image.
 * @param lasting makes it: behind sudo Dokku goes on after an interruption, and what is half-made can't be removed
 * @param begun a run of ours that was killed may still be making one: Dokku goes on without it
 */
export async function createTestService(
  dokku: Dokku,
  lasting: Dokku,
  service: string,
  begun: boolean,
  log: Log,
): Promise<Service> {
  const name = testServiceName(service)
  const image = (await dokku.must(infoArgs(service, '--version'))).stdout.trim()
  if (!image.includes(':'))
    throw new Failure(
      `Dokku does not name the image of ${service}.`,
      `Look: sudo dokku postgres:info ${service} --version`,
    )
  log.info(`Creating the test service ${name} from ${image}`)
  const create = async (attempt: number): Promise<void> => {
    if (attempt > 1) await dokku.run(destroyServiceArgs(name))
    await lasting.must(createServiceArgs(name, image))
  }
  await retry(create, {
    attempts: begun ? MOST_ATTEMPTS : 1,
    waitMs: (error) => {
      if (!/already exists/.test(reason(error))) return
      log.info(`A killed run was still making ${name}: waiting, to remove it`)
      return WAIT_MS
    },
  })
  const test = await dokku.service(name)
  await markWhenReady(dokku, test)
  return test
}

/** `postgres:create` starts the server a second time, for SSL, and does not wait until it answers (dokku-postgres 1.48). */
async function markWhenReady(dokku: Dokku, { name, database }: Service): Promise<void> {
  const isStarting = (error: unknown): boolean =>
    /connection to server|could not connect|starting up|is not running/.test(reason(error))
  await retry(() => sql(dokku, name, `COMMENT ON DATABASE ${identifier(database)} IS ${literal(MARK)};`), {
    withinMs: 60_000,
    waitMs: (error) => (isStarting(error) ? 500 : undefined),
  })
}

/**
 * Begins to read the dump of an archive, so far that it is known to be one; nothing of it is taken yet.
 * @param path the dump's path in the archive
 * @throws Failure when it is not a custom-format dump, or does not come
 */
export async function readDump(borg: Borg, archive: Archive, path: string, stallMs: number): Promise<BorgStream> {
  const source = borg.stream(extractToStdoutArgs(archive.name, [path]))
  source.stdin.end()
  const head = await peek(source, 5, stallMs)
  if (head === 'stalled') {
    await source.stop()
    throw new Failure(
      `Borg gave no data of ${path} for ${stallMs / 1000} s.`,
      'If that is only slow, give it longer: DUMP_STALL_SECONDS',
    )
  }
  if (head.toString('latin1').slice(0, 5) === 'PGDMP') return source
  // An output that has ended so early has a reason, which Borg tells.
  if (head.length < 5 && (await settlesWithin(source.ended, stallMs))) await source.result()
  await source.stop()
  throw new Failure(`${path} of ${archive.name} is not a custom-format dump.`, 'Try an older archive: restore --list')
}

/**
 * Streams the dump into the test service; nothing lands on disk.
 * @param source what `readDump` returned
 * @param sizeBytes the dump's size, for the progress
 * @throws Failure when the dump is not whole: a fresh database has no excuse for any error
 */
export async function importDump(
  source: BorgStream,
  dokku: Dokku,
  archive: Archive,
  sizeBytes: number,
  test: Service,
  stallMs: number,
  log: Log,
): Promise<void> {
  log.info(`Importing the dump of ${archive.name} (${bytes(sizeBytes)}) into ${test.name}`)
  const target = dokku.start(importArgs(test.name))
  target.stdout.resume()
  try {
    const feed = async (): Promise<void> => {
      await pump(source, target, ['Borg', 'the import'], stallMs, (count) => {
        log.status(`Importing ${bar(count, sizeBytes)}  ${bytes(count)} of ${bytes(sizeBytes)}`)
      })
      // pg_restore has ended: `imported` says how.
      if (target.stdin.destroyed) return void (await source.stop())
      // Only what Borg read whole is a dump; the end of input would let pg_restore take the rest for good.
      const { warned } = await source.result()
      if (warned)
        throw new Failure(
          `Borg could not read the dump of ${archive.name} without warnings.`,
          'Try: borg check --verify-data',
        )
      target.stdin.end()
    }
    const imported = target.ended.then((output) => {
      if (output.exitCode === 0) return
      const failure = explainDokku(output, `postgres:import ${test.name}`)
      throw new Failure(
        `The dump of ${archive.name} does not import cleanly. ${failure.message}`,
        'Production was not touched. Try an older archive: restore --list',
      )
    })
    await Promise.all([feed(), imported])
  } catch (error) {
    await Promise.all([source.stop(), target.stop()])
    throw error
  }
}
