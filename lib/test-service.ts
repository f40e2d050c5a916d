import { type Archive, type Borg, extractToStdoutArgs } from './borg.ts'
import { rows, sql } from './database.ts'
import {
  createServiceArgs,
  type Dokku,
  destroyServiceArgs,
  explainDokku,
  importArgs,
  infoArgs,
  type Service,
} from './dokku.ts'
import { Failure } from './failure.ts'
import { bytes } from './format.ts'
import type { Log } from './log.ts'
import { peek, pump, settlesWithin } from './run.ts'

/** The disposable service in which a dump is proved. */
export const testServiceName = (service: string): string => `${service}-test`

// How the next run knows a service that a killed run left from one that somebody keeps under this name.
const MARK = 'book-corners-ops: disposable, made to prove a restore'

/**
 * Removes the test service that an earlier run left.
 * @throws Failure when it holds tables and no run of ours made it
 */
export const clearTestService = async (dokku: Dokku, service: string, log: Log): Promise<void> => {
  const name = testServiceName(service)
  if (!(await dokku.exists(name))) return
  const [found] = await rows<{ mark: string | null; tables: number }>(
    dokku,
    name,
    `SELECT json_build_object(
      'mark', (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()),
      'tables', (SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')));`,
    // A service whose making was cut short has no database to ask: nobody keeps anything in it.
  ).catch(() => [])
  if (found && found.mark !== MARK && found.tables > 0)
    throw new Failure(
      `The service ${name} exists, holds ${found.tables} tables, and was not made by these scripts.`,
      `If nobody needs it: sudo dokku postgres:destroy ${name} --force`,
    )
  log.info(`Removing the test service ${name} that an earlier run left`)
  await dokku.must(destroyServiceArgs(name))
}

/** Creates the test service from production's own image. */
export const createTestService = async (dokku: Dokku, service: string, log: Log): Promise<Service> => {
  const name = testServiceName(service)
  const image = (await dokku.must(infoArgs(service, '--version'))).stdout.trim()
  if (!image.includes(':'))
    throw new Failure(
      `Dokku does not name the image of ${service}.`,
      `Look: sudo dokku postgres:info ${service} --version`,
    )
  log.info(`Creating the test service ${name} from ${image}`)
  await dokku.must(createServiceArgs(name, image))
  const test = await dokku.service(name)
  await sql(dokku, name, `COMMENT ON DATABASE "${test.database}" IS '${MARK}';`)
  return test
}

/**
 * Streams the dump of an archive into the test service; nothing lands on disk.
 * @param path the dump's path in the archive
 * @param sizeBytes its size, for the progress
 * @throws Failure when the dump is not whole: a fresh database has no excuse for any error
 */
export const importDump = async (
  borg: Borg,
  dokku: Dokku,
  archive: Archive,
  path: string,
  sizeBytes: number,
  test: Service,
  stallMs: number,
  log: Log,
): Promise<void> => {
  log.info(`Importing ${path} of ${archive.name} (${bytes(sizeBytes)}) into ${test.name}`)
  const source = borg.stream(extractToStdoutArgs(archive.name, [path]))
  source.stdin.end()
  const head = await peek(source, 5, stallMs)
  if (head === 'stalled' || head.toString('latin1').slice(0, 5) !== 'PGDMP') {
    const ended = await settlesWithin(source.ended, head === 'stalled' ? 0 : stallMs)
    if (!ended) await source.stop()
    else await source.result()
    throw new Failure(`${path} of ${archive.name} is not a custom-format dump.`, 'Try an older archive: restore --list')
  }
  const target = dokku.start(importArgs(test.name))
  target.stdout.resume()
  try {
    const feed = async (): Promise<void> => {
      await pump(source, target, stallMs, (count) => {
        log.status(
          `Importing: ${Math.floor((count / Math.max(sizeBytes, 1)) * 100)} %, ${bytes(count)} of ${bytes(sizeBytes)}`,
        )
      })
      // pg_restore has ended: `imported` says how.
      if (target.stdin.destroyed) return void (await source.stop())
      // Only what Borg read whole is a dump; the end of input would let pg_restore take the rest for good.
      const { warned } = await source.result()
      if (warned)
        throw new Failure(
          `Borg could not read ${path} of ${archive.name} without warnings.`,
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
