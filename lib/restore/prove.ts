import type { Borg, BorgStream } from '../borg/borg.ts'
import { extractToStdoutArgs } from '../borg/commands.ts'
import type { Archive } from '../borg/output.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { bar, bytes, table } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { peek, settlesWithin, transfer } from '../core/transfer.ts'
import { importArgs, type Service } from '../dokku/dokku.ts'
import { explainDokku } from '../dokku/errors.ts'
import { requireDatabaseSpace } from '../postgres/scratch.ts'
import { compareCounts, countRows, sql, type TableDifference } from '../postgres/sql.ts'
import type { TestService } from '../postgres/test-service.ts'
import { type Choice, choose } from './choose.ts'
import { clearLeftovers, discardTest } from './leftovers.ts'
import type { Restore } from './restore.ts'

/** An archive's dump. */
export interface ArchivedDump {
  archive: Archive
  /** In the archive. */
  path: string
  sizeBytes: number
}

/** `restore --test`: proves an archive in the test service and leaves it there to look around. */
export async function proveOnly(restore: Restore): Promise<number> {
  const { context, dokku, settings } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  const dump = dumpOf(await choose(restore))
  const test = await clearLeftovers(restore, production)
  try {
    await requireDatabaseSpace(dokku, production, dump.sizeBytes, context.log)
    const { proved } = await prove(restore, production, dump, test)
    await test.leave()
    context.print(`${dump.archive.name} imports cleanly. Production was not touched.
  look around:  sudo dokku postgres:connect ${proved.name}
  remove it:    sudo dokku postgres:destroy ${proved.name} --force`)
    return EXIT.done
  } catch (error) {
    await discardTest(restore, test)
    throw error
  }
}

/** @throws Failure when the archive holds none */
export function dumpOf({ archive, dump }: Choice): ArchivedDump {
  if (!dump) throw new Failure(`The archive ${archive.name} holds no dump.`)
  return { archive, path: dump.path, sizeBytes: dump.sizeBytes }
}

/**
 * Proves the dump: into the fresh test service, then rows and the operator's own question beside production's.
 * @returns the test service, and the tables that have rows in production and none in it
 */
export async function prove(
  restore: Restore,
  production: Service,
  dump: ArchivedDump,
  test: TestService,
): Promise<{ proved: Service; emptied: string[] }> {
  const { context, settings, borg, dokku } = restore
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  // Borg takes its time to open the repository, Dokku to make the service; the service can't be removed before it is made.
  const [made, read, counted] = await Promise.allSettled([
    test.create(),
    readDump(borg, dump, stallMs),
    countRows(dokku, production.name),
  ])
  if (made.status === 'rejected' || read.status === 'rejected' || counted.status === 'rejected') {
    if (read.status === 'fulfilled') await read.value.stop()
    throw [made, read, counted].find((step) => step.status === 'rejected')?.reason
  }
  const proved = made.value
  await importDump(restore, read.value, dump, proved)
  const [after, answers] = await Promise.all([
    countRows(dokku, proved.name),
    askBoth(restore, settings.VERIFY_SQL, [production, proved]),
  ])
  const tables = compareCounts(counted.value, after)
  context.log.info(describeTables(tables))
  judgeAnswers(settings.VERIFY_SQL, answers, context.log)
  const emptied = tables.filter((row) => (row.production ?? 0) > 0 && row.restored === 0).map((row) => row.table)
  return { proved, emptied }
}

function describeTables(tables: readonly TableDifference[]): string {
  const shown = (count: number | undefined): string => (count === undefined ? 'no table' : count.toLocaleString('en'))
  const rows = tables.map((row) => {
    const difference = (row.restored ?? 0) - (row.production ?? 0)
    return [
      row.table,
      shown(row.production),
      shown(row.restored),
      difference === 0 ? '' : `${difference > 0 ? '+' : ''}${difference.toLocaleString('en')}`,
    ]
  })
  return table([['table', 'production', 'restored', 'difference'], ...rows], [1, 2, 3])
}

type Answer = string | Failure

/** Asks both databases at the same time. */
function askBoth(
  { dokku }: Restore,
  question: string,
  services: readonly [production: Service, restored: Service],
): Promise<Answer[]> {
  return Promise.all(
    services.map(async ({ name }) => {
      try {
        return (await sql(dokku, name, `${question.replace(/;\s*$/, '')};`)).trim()
      } catch (error) {
        if (error instanceof Failure) return error
        throw error
      }
    }),
  )
}

/** @throws Failure when production can answer the question, but not the restored database */
function judgeAnswers(question: string, [now = '', then = '']: readonly Answer[], log: Log): void {
  const shown = (answer: Answer): string => (answer instanceof Failure ? `fails: ${answer.message}` : answer)
  log.info(`${question}\n  production: ${shown(now)}\n  restored:   ${shown(then)}`)
  if (!(then instanceof Failure)) return
  if (now instanceof Failure) log.warn('VERIFY_SQL works on neither database.')
  else
    throw new Failure(
      `VERIFY_SQL fails on the restored database: ${then.message}`,
      'Production was not touched. Try another archive: restore --list',
    )
}

/**
 * Begins to read the dump of an archive, so far that it is known to be one; nothing of it is taken yet.
 * @throws Failure when it is not a custom-format dump, or does not come
 */
async function readDump(borg: Borg, { archive, path }: ArchivedDump, stallMs: number): Promise<BorgStream> {
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
 * @throws Failure when the dump is not whole: a fresh database has no excuse for any error
 */
async function importDump(
  { context, dokku, settings }: Restore,
  source: BorgStream,
  { archive, sizeBytes }: ArchivedDump,
  into: Service,
): Promise<void> {
  const { log } = context
  log.info(`Importing the dump of ${archive.name} (${bytes(sizeBytes)}) into ${into.name}`)
  const target = dokku.start(importArgs(into.name))
  target.stdout.resume()
  await transfer(source, target, {
    names: ['Borg', 'the import'],
    stallMs: settings.DUMP_STALL_SECONDS * 1000,
    onBytes: (count) => log.status(`Importing ${bar(count, sizeBytes)}  ${bytes(count)} of ${bytes(sizeBytes)}`),
    // Only what Borg read whole is a dump; the end of input would let pg_restore take the rest for good.
    whole: async () => {
      const { warned } = await source.result()
      if (warned)
        throw new Failure(
          `Borg could not read the dump of ${archive.name} without warnings.`,
          'Try: borg check --verify-data',
        )
    },
    result: async () => {
      const output = await target.ended
      if (output.exitCode === 0) return
      const failure = explainDokku(output, `postgres:import ${into.name}`)
      throw new Failure(
        `The dump of ${archive.name} does not import cleanly. ${failure.message}`,
        'Production was not touched. Try an older archive: restore --list',
      )
    },
  })
}
