import type { Item } from './archives.ts'
import type { Archive } from './borg.ts'
import type { Context } from './cli.ts'
import { compareCounts, countRows, sql } from './database.ts'
import type { Dokku, Service } from './dokku.ts'
import { Failure } from './failure.ts'
import { table } from './format.ts'
import type { Restore } from './restore.ts'
import { createTestService, importDump, readDump } from './test-service.ts'

/**
 * Proves the dump: into the fresh test service, then rows and the operator's own question beside production's.
 * @param begun what `clearLeftovers` returned
 * @returns the test service, and the tables that have rows in production and none in it
 */
export const prove = async (
  { context, settings, borg, dokku, lasting, stallMs }: Restore,
  archive: Archive,
  dump: Item,
  production: Service,
  begun: boolean,
): Promise<{ test: Service; emptied: string[] }> => {
  const { log } = context
  // Borg takes its time to open the repository, Dokku to make the service; the service can't be removed before it is made.
  const [made, read] = await Promise.allSettled([
    createTestService(dokku, lasting, production.name, begun, log),
    readDump(borg, archive, dump.path, stallMs),
  ])
  if (made.status === 'rejected') {
    if (read.status === 'fulfilled') await read.value.stop()
    throw made.reason
  }
  if (read.status === 'rejected') throw read.reason
  const test = made.value
  const [before] = await Promise.all([
    countRows(dokku, production.name),
    importDump(read.value, dokku, archive, dump.sizeBytes, test, stallMs, log),
  ])
  const after = await countRows(dokku, test.name)
  const tables = compareCounts(before, after)
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
  await askVerifySql(dokku, settings.VERIFY_SQL, production, test, context)
  const emptied = tables.filter((row) => (row.production ?? 0) > 0 && row.restored === 0).map((row) => row.table)
  return { test, emptied }
}

/** @throws Failure when the question can be answered by production, but not by the restored database */
const askVerifySql = async (
  dokku: Dokku,
  question: string,
  production: Service,
  test: Service,
  { log }: Context,
): Promise<void> => {
  const ask = async (service: string): Promise<string | Failure> => {
    try {
      return (await sql(dokku, service, `${question.replace(/;\s*$/, '')};`)).trim()
    } catch (error) {
      if (error instanceof Failure) return error
      throw error
    }
  }
  const [now, then] = await Promise.all([ask(production.name), ask(test.name)])
  const shown = (answer: string | Failure): string => (answer instanceof Failure ? `fails: ${answer.message}` : answer)
  log.info(`${question}\n  production: ${shown(now)}\n  restored:   ${shown(then)}`)
  if (!(then instanceof Failure)) return
  if (now instanceof Failure) log.warn('VERIFY_SQL works on neither database.')
  else
    throw new Failure(
      `VERIFY_SQL fails on the restored database: ${then.message}`,
      'Production was not touched. Try another archive: restore --list',
    )
}
