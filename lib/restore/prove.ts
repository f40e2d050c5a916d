import type { Archive, Item } from '../borg/output.ts'
import type { Context } from '../cli/main.ts'
import { Failure } from '../core/failure.ts'
import { table } from '../core/format.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { compareCounts, countRows, sql } from '../postgres/sql.ts'
import { createTestService, importDump, readDump } from '../postgres/test-service.ts'
import type { Restore } from './restore.ts'

/**
 * Proves the dump: into the fresh test service, then rows and the operator's own question beside production's.
 * @param begun what `clearLeftovers` returned
 * @returns the test service, and the tables that have rows in production and none in it
 */
export async function prove(
  { context, settings, borg, dokku, lasting, stallMs }: Restore,
  archive: Archive,
  dump: Item,
  production: Service,
  begun: boolean,
): Promise<{ test: Service; emptied: string[] }> {
  const { log } = context
  // Borg takes its time to open the repository, Dokku to make the service; the service can't be removed before it is made.
  const [made, read, counted] = await Promise.allSettled([
    createTestService(dokku, lasting, production.name, begun, log),
    readDump(borg, archive, dump.path, stallMs),
    countRows(dokku, production.name),
  ])
  if (made.status === 'rejected' || read.status === 'rejected' || counted.status === 'rejected') {
    if (read.status === 'fulfilled') await read.value.stop()
    throw [made, read, counted].find((step) => step.status === 'rejected')?.reason
  }
  const test = made.value
  await importDump(read.value, dokku, archive, dump.sizeBytes, test, stallMs, log)
  const [after, answers] = await Promise.all([
    countRows(dokku, test.name),
    ask(dokku, settings.VERIFY_SQL, [production, test]),
  ])
  const tables = compareCounts(counted.value, after)
  const shown = (count: number | undefined): string => (count === undefined ? 'no table' : count.toLocaleString('en'))
  log.info(
    table(
      [
        ['table', 'production', 'restored', 'difference'],
        ...tables.map((row) => {
          const difference = (row.restored ?? 0) - (row.production ?? 0)
          return [
            row.table,
            shown(row.production),
            shown(row.restored),
            difference === 0 ? '' : `${difference > 0 ? '+' : ''}${difference.toLocaleString('en')}`,
          ]
        }),
      ],
      [1, 2, 3],
    ),
  )
  judgeAnswers(settings.VERIFY_SQL, answers, context)
  const emptied = tables.filter((row) => (row.production ?? 0) > 0 && row.restored === 0).map((row) => row.table)
  return { test, emptied }
}

type Answer = string | Failure

/** Asks both databases at the same time. */
function ask(dokku: Dokku, question: string, services: readonly [production: Service, restored: Service]) {
  return Promise.all(
    services.map(async ({ name }): Promise<Answer> => {
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
function judgeAnswers(question: string, [now = '', then = '']: readonly Answer[], { log }: Context): void {
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
