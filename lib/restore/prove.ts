// The import of an archive's dump, and what shows that it is what is wanted.

import type { Borg, BorgStream } from '../borg/borg.ts'
import { extractToStdoutArgs } from '../borg/commands.ts'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { bar, bytes, table } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { peek, settlesWithin, transfer } from '../core/transfer.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { openImport } from '../postgres/import.ts'
import { clearRestoring, requireRoom, surveyGround } from '../postgres/scratch.ts'
import { compareCounts, countRows, type RowCounts, sql, type TableDifference } from '../postgres/sql.ts'
import { reserveTestService, type TestService } from '../postgres/test-service.ts'
import { type Choice, type ChosenArchive, choose } from './choose.ts'
import { discardTest } from './leftovers.ts'
import type { Restore } from './restore.ts'

/** An archive's dump. */
export interface ArchivedDump {
  archive: ChosenArchive
  /** In the archive. */
  path: string
  sizeBytes: number
}

/** `restore --test`: proves an archive in the test service and leaves it there to look around. */
export async function proveOnly(restore: Restore): Promise<number> {
  const { context } = restore
  const [choice] = await choose(restore, async () => {})
  const dump = dumpOf(choice)
  await inTestService(restore, dump, async ({ test, restored }) => {
    await test.leave()
    context.print(`${dump.archive.name} imports cleanly. Production was not touched.
  look around:  sudo dokku postgres:connect ${restored.name}
  remove it:    sudo dokku postgres:destroy ${restored.name} --force`)
  })
  return EXIT.done
}

/** @throws Failure when the archive holds none */
export function dumpOf({ archive, dump }: Choice): ArchivedDump {
  if (!dump) throw new Failure(`The archive ${archive.name} holds no dump.`)
  return { archive, path: dump.path, sizeBytes: dump.sizeBytes }
}

interface Proved {
  test: TestService
  restored: Service
  /** Tables that have rows in production and none in it. */
  emptied: readonly string[]
}

/**
 * Proves a dump in a service of its own: what only proves must not lean on production's server.
 * @param then what follows when it is proved; what becomes of the test service is up to it. It is removed when anything fails
 */
export async function inTestService<T>(
  restore: Restore,
  dump: ArchivedDump,
  then: (proved: Proved) => Promise<T>,
): Promise<T> {
  const { context, settings, dokku } = restore
  const production = await dokku.service(settings.DB_SERVICE)
  await clearRestoring(dokku, production, context.log)
  const test = await reserveTestService(restore)
  try {
    requireRoom(await surveyGround(dokku, production), dump.sizeBytes, context.log)
    const [restored, now] = await importDump(restore, dump, test.create, () => lookAt(restore, production))
    const emptied = compare(restore, now, await lookAt(restore, restored))
    return await then({ test, restored, emptied })
  } catch (error) {
    await discardTest(restore, test)
    throw error
  }
}

/** What a database holds, as far as it is compared. */
interface Look {
  rows: RowCounts
  /** To the operator's own question. */
  answer: Answer
}

export async function lookAt({ dokku, settings }: Restore, database: Service): Promise<Look> {
  return {
    rows: await countRows(dokku, database),
    answer: await askIt(dokku, settings.VERIFY_SQL, database),
  }
}

/**
 * Shows the restored database beside production.
 * @returns the tables that have rows in production and none in it
 * @throws Failure when production can answer the operator's question, but not the restored database
 */
export function compare({ context, settings }: Restore, now: Look, then: Look): string[] {
  const tables = compareCounts(now.rows, then.rows)
  context.log.info(describeTables(tables))
  judgeAnswers(settings.VERIFY_SQL, [now.answer, then.answer], context.log)
  return tables.filter((row) => (row.production ?? 0) > 0 && row.restored === 0).map((row) => row.table)
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

async function askIt(dokku: Dokku, question: string, database: Service): Promise<Answer> {
  try {
    return (await sql(dokku, database, `${question.replace(/;\s*$/, '')};`)).trim()
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
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
 * Imports the dump of an archive into an empty database, in one pass; nothing lands on disk.
 * @param make makes the database
 * @param meanwhile what else is wanted, done while the dump goes in
 * @throws Failure when the dump is not whole: an empty database has no excuse for any error
 */
export async function importDump<T>(
  restore: Restore,
  dump: ArchivedDump,
  make: () => Promise<Service>,
  meanwhile: () => Promise<T>,
): Promise<[Service, T]> {
  const { context, settings, borg, dokku } = restore
  const { archive, sizeBytes } = dump
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  const open = async () => {
    const into = await make()
    return { into, target: await openImport(dokku, into, stallMs) }
  }
  // Borg takes its time to open the repository, Dokku to reach the container; what is half-made can't be removed.
  const [opened, read] = await Promise.allSettled([open(), readDump(borg, dump, stallMs)])
  if (opened.status === 'rejected' || read.status === 'rejected') {
    if (opened.status === 'fulfilled') await opened.value.target.stop()
    if (read.status === 'fulfilled') await read.value.stop()
    throw opened.status === 'rejected' ? opened.reason : (read as PromiseRejectedResult).reason
  }
  const { into, target } = opened.value
  const source = read.value
  context.log.info(`Importing the dump of ${archive.name} (${bytes(sizeBytes)}) into ${into.database} of ${into.name}`)
  const other = meanwhile()
  // What it throws is thrown below, after the import.
  other.catch(() => {})
  await transfer(source, target, {
    names: ['Borg', 'the import'],
    stallMs,
    onBytes: (count) =>
      context.log.status(`Importing ${bar(count, sizeBytes)}  ${bytes(count)} of ${bytes(sizeBytes)}`),
    // Only what Borg read whole is a dump; the end of input would let pg_restore take the rest for good.
    whole: async () => {
      const { warned } = await source.result()
      if (warned)
        throw new Failure(
          `Borg could not read the dump of ${archive.name} without warnings.`,
          'Try: borg check --verify-data',
        )
    },
    result: () =>
      target.finish().catch((error: unknown) => {
        throw new Failure(
          `The dump of ${archive.name} does not import cleanly. ${reason(error)}`,
          'Production was not touched. Try an older archive: restore --list',
        )
      }),
  })
  return [into, await other]
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
