// The proof of an archive's dump in a service of its own, and what shows that it is what is wanted.

import { SO } from '../cli/closing.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { table } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { clearRestoring, type Ground, requireRoom, surveyGround } from '../postgres/scratch.ts'
import { compareCounts, countRows, type RowCounts, sql, type TableDifference } from '../postgres/sql.ts'
import { reserveTestService, type TestService } from '../postgres/test-service.ts'
import { importDump, type OpenedDump, openDump } from './archived-dump.ts'
import { type Contents, choose } from './choose.ts'
import { discardTest } from './leftovers.ts'
import type { ChosenArchive, Restore } from './restore.ts'

/** `restore --test`: proves an archive in the test service and leaves it there to look around. */
export async function proveOnly(restore: Restore): Promise<number> {
  const { context } = restore
  const archive = await choose(restore)
  await inTestService(restore, archive, {}, async ({ test, restored }) => {
    await test.leave()
    context.print(`${archive.name} imports cleanly. Production was not touched.
  look around:  sudo dokku postgres:connect ${restored.name}
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
  const { production, dump } = await begin(restore, archive, contents)
  try {
    requireRoom(production.ground, dump.sizeBytes, context.log)
    const test = await reserveTestService(restore)
    context.closing.so('beside', SO.testBegun(test.name))
    try {
      const [restored, now] = await importDump(restore, dump, test.create, () => lookAt(restore, production))
      const look = await lookAt(restore, restored)
      const emptied = compare(restore, now, look)
      return await then({ dump, test, restored, rows: look.rows, emptied })
    } catch (error) {
      await discardTest(restore, test)
      throw error
    }
  } finally {
    await dump.source.stop()
  }
}

/** Production, looked at before a restore. */
export interface Production extends Service {
  ground: Ground
}

/**
 * What every import begins with: what a killed run left is cleared, production is looked at, and the dump is opened.
 * Dokku takes its time for the one, Borg for the other. The dump is to be stopped by whoever gets it.
 */
export async function begin(
  restore: Restore,
  archive: ChosenArchive,
  contents: Contents,
): Promise<{ production: Production; dump: OpenedDump }> {
  const { context, dokku, settings } = restore
  const prepare = async (): Promise<Production> => {
    const production = await dokku.service(settings.DB_SERVICE)
    await clearRestoring(dokku, production, context.log)
    return { ...production, ground: await surveyGround(dokku, production) }
  }
  const [production, dump] = await Promise.allSettled([prepare(), openDump(restore, archive, contents.dump)])
  if (production.status === 'fulfilled' && dump.status === 'fulfilled')
    return { production: production.value, dump: dump.value }
  if (dump.status === 'fulfilled') await dump.value.source.stop()
  throw (production.status === 'rejected' ? production : (dump as PromiseRejectedResult)).reason
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
  context.log.info(`Rows of each table:\n${describeTables(tables)}`)
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
      'Try another archive: restore --list',
    )
}
