// Production and the restored database side by side: what comes back, and what leaves production.

import { Failure, reason } from '../core/failure.ts'
import { listing } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { comparable, compareKeys, type KeyDifference, readKeys } from '../postgres/keys.ts'
import {
  ANSWER_MS,
  compareCounts,
  countRows,
  type RowCounts,
  type RowSurvey,
  sql,
  surveyRows,
  type TableDifference,
} from '../postgres/sql.ts'
import type { Restore } from './restore.ts'

/** What a database holds, as far as it is compared. */
interface Look<Rows = RowCounts> {
  rows: Rows
  /** To the operator's own question. */
  answer: Answer
}

interface Side<Rows = RowCounts> extends Look<Rows> {
  database: Service
  /** What it is called; else it is an archive. */
  called?: string
}

/** @param settling before it the question may have another answer */
export async function lookAt(
  { dokku, settings }: Restore,
  database: Service,
  settling: Promise<unknown> = Promise.resolve(),
): Promise<Look> {
  const asking = settling.then(() => askIt(dokku, settings.VERIFY_SQL, database))
  const [rows, answer] = await Promise.all([countRows(dokku, database), asking])
  return { rows, answer }
}

/** Production may be as broken as it likes: what can't be read of it is told, and nothing is waited for long. */
export async function lookAtProduction(restore: Restore, production: Service): Promise<Look<RowSurvey>> {
  const { dokku, settings } = restore
  const rows = await quietly(restore, 'Its tables', surveyRows(dokku, production))
  return {
    rows: rows ?? new Map(),
    answer: await askIt(dokku, `SET lock_timeout = '2s'; ${settings.VERIFY_SQL}`, production, ANSWER_MS),
  }
}

/** What of production can't be read is told, and that is all. */
export async function quietly<T>({ context }: Restore, what: string, reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    context.shell.signal.throwIfAborted()
    context.log.warn(`Production can't be read. ${what}: ${reason(error)}`)
    return undefined
  }
}

/**
 * Shows the restored database beside production, row by row where there is a primary key.
 * @returns the tables that have rows in production and none in it
 * @throws Failure when production can answer the operator's question, but not the restored database
 */
export async function compare(restore: Restore, now: Side<RowSurvey>, then: Side): Promise<string[]> {
  const { context, settings } = restore
  const keys = await byKey(restore, now, then)
  const tables = compareCounts(now.rows, then.rows).map((row) => ({ ...row, keys: keys(row.table) }))
  context.log.info(describeTables(tables, context.log.columns && context.log.columns - INDENT, then.called))
  judgeAnswers(settings.VERIFY_SQL, [now.answer, then.answer], context.log)
  return tables
    .filter(({ production, restored }) => typeof production === 'number' && production > 0 && restored === 0)
    .map((row) => row.table)
}

/** @returns the difference of a table by its keys; undefined where it can't be told */
async function byKey(
  { context, dokku }: Restore,
  now: Side<RowSurvey>,
  then: Side,
): Promise<(table: string) => KeyDifference | undefined> {
  const tables = comparable(now.rows, then.rows)
  try {
    const [ours, theirs] = await Promise.all([now, then].map(({ database }) => readKeys(dokku, database, tables)))
    return (table) => ours && theirs && compareKeys(ours, theirs, table)
  } catch (error) {
    if (!(error instanceof Failure) || context.shell.signal.aborted) throw error
    context.log.warn(`Only the numbers of rows are compared, not which rows they are: ${reason(error)}`)
    return () => undefined
  }
}

/** What the log puts before a further line. */
const INDENT = 2

interface ComparedTable extends TableDifference {
  keys: KeyDifference | undefined
}

/** Pure: the tables that differ, each with what comes back and what leaves; the others are counted. */
export function describeTables(tables: readonly ComparedTable[], columns?: number, called = 'archive'): string {
  const differing = tables.filter((row) => {
    const { onlyProduction = 0, onlyRestored = 0 } = row.keys ?? {}
    return row.production !== row.restored || onlyProduction > 0 || onlyRestored > 0
  })
  const alike = tables.length - differing.length
  const rest =
    alike === 0 ? [] : [`  ${alike === 1 ? '1 table has' : `${alike} tables have`} the same rows, or as many.`]
  if (differing.length === 0) return ['No table has other rows than production.', ...rest].join('\n')
  const rows = differing.map((row) => [shortName(row.table), shown(row.production), shown(row.restored), ...moves(row)])
  const unsure = rows.some((row) => row.includes('?'))
    ? ["  ?  can't be told: no primary key, too many rows, or not readable."]
    : []
  const head = ['table', 'production', called, 'comes back', 'leaves']
  return [
    'Rows that come back, and rows that leave production:',
    listing({ head, rows, right: [1, 2, 3, 4] }, columns),
    ...rest,
    ...unsure,
    ...describeUnread(new Map(tables.map((row) => [row.table, row.production]))),
  ].join('\n')
}

function shown(count: number | string | undefined): string {
  if (typeof count === 'string') return count.startsWith('locked') ? 'locked' : 'unreadable'
  return count === undefined ? 'no table' : count.toLocaleString('en')
}

function moves({ production, restored, keys }: ComparedTable): [comesBack: string, leaves: string] {
  if (typeof production === 'string') return ['?', '?']
  if (production === undefined) return [shown(restored), '0']
  if (restored === undefined) return ['0', shown(production)]
  if (keys) return [shown(keys.onlyRestored), shown(keys.onlyProduction)]
  if (production === 0 || restored === 0) return [shown(restored), shown(production)]
  return ['?', '?']
}

function shortName(table: string): string {
  return table.replace(/^public\./, '')
}

/** Why production's tables can't be read, a line each. */
export function describeUnread(rows: ReadonlyMap<string, number | string | undefined>): string[] {
  return [...rows].flatMap(([name, why]) => (typeof why === 'string' ? [`  in production ${name} is ${why}`] : []))
}

type Answer = string | Failure

async function askIt(dokku: Dokku, question: string, database: Service, timeoutMs?: number): Promise<Answer> {
  try {
    // It may end with a comment.
    const text = `${question.replace(/;\s*$/, '')}\n;`
    return (await sql(dokku, database, text, timeoutMs === undefined ? {} : { timeoutMs })).trim()
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
