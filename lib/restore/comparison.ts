// Production and the restored database side by side: what comes back, what leaves production, and what changes.

import { Failure, reason } from '../core/failure.ts'
import { firstOf, listing, plural } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import {
  commonLayouts,
  comparable,
  compareRows,
  MOST_OF_ALL,
  MOST_OF_TABLE,
  type RowDifference,
  readLayouts,
  readRows,
} from '../postgres/keys.ts'
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
): Promise<(table: string) => RowDifference | undefined> {
  const tables = comparable(now.rows, then.rows)
  try {
    const both = [now.database, then.database] as const
    const [production = [], restored = []] = await Promise.all(both.map((it) => readLayouts(dokku, it, tables)))
    const layouts = commonLayouts(production, restored)
    const [ours, theirs] = await Promise.all(both.map((it) => readRows(dokku, it, layouts)))
    return (table) => ours && theirs && compareRows(ours, theirs, table)
  } catch (error) {
    if (!(error instanceof Failure) || context.shell.signal.aborted) throw error
    context.log.warn(
      `Only the numbers of rows are compared, not which rows they are, nor whether they were changed: ${reason(error)}`,
    )
    return () => undefined
  }
}

/** What the log puts before a further line. */
const INDENT = 2

interface ComparedTable extends TableDifference {
  keys: RowDifference | undefined
}

/** Pure: the tables that differ, each with what comes back, what leaves and what changes; the others are counted. */
export function describeTables(tables: readonly ComparedTable[], columns?: number, called = 'archive'): string {
  const differing = tables.filter(isOther)
  const alike = tables.filter((row) => !isOther(row))
  const unknown = alike.filter(({ production, keys }) => production !== 0 && keys?.changed === undefined)
  const rest = [
    ...(alike.length > unknown.length ? [`  ${have(alike.length - unknown.length)} the same rows.`] : []),
    ...(unknown.length > 0
      ? [
          `  ${have(unknown.length)} as many rows; changed ones are not counted (${WHY}): ${firstOf(unknown.map(({ table }) => shortName(table)))}`,
        ]
      : []),
  ]
  if (differing.length === 0)
    return [
      unknown.length > 0
        ? 'No table is known to have other rows than production.'
        : 'No table has other rows than production.',
      ...rest,
    ].join('\n')
  const rows = differing.map((row) => [shortName(row.table), shown(row.production), shown(row.restored), ...moves(row)])
  return [
    'Rows that come back, rows that leave production, and rows that become as they were:',
    listing(
      { head: ['table', 'production', called, 'comes back', 'leaves', 'changed'], rows, right: [1, 2, 3, 4, 5] },
      columns,
    ),
    ...rest,
    ...(rows.some((row) => row.includes('?')) ? [`  ?  not counted: ${WHY}`] : []),
    ...describeUnread(new Map(tables.map((row) => [row.table, row.production]))),
  ].join('\n')
}

/** Why rows are counted only. */
const WHY = `no primary key, over ${shown(MOST_OF_TABLE)} rows, over ${shown(MOST_OF_ALL)} in all, or not readable in time`

function isOther({ production, restored, keys }: ComparedTable): boolean {
  const { onlyProduction = 0, onlyRestored = 0, changed = 0 } = keys ?? {}
  return production !== restored || onlyProduction + onlyRestored + changed > 0
}

function have(tables: number): string {
  return `${plural(tables, 'table')} ${tables === 1 ? 'has' : 'have'}`
}

function shown(count: number | string | undefined): string {
  if (typeof count === 'string') return count.startsWith('locked') ? 'locked' : 'unreadable'
  return count === undefined ? 'no table' : count.toLocaleString('en')
}

function moves({ production, restored, keys }: ComparedTable): [comesBack: string, leaves: string, changed: string] {
  if (typeof production === 'string') return ['?', '?', '?']
  if (production === undefined) return [shown(restored), '0', '0']
  if (restored === undefined) return ['0', shown(production), '0']
  if (keys)
    return [
      shown(keys.onlyRestored),
      shown(keys.onlyProduction),
      keys.changed === undefined ? '?' : shown(keys.changed),
    ]
  if (production === 0 || restored === 0) return [shown(restored), shown(production), '0']
  return ['?', '?', '?']
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
