// Production and the restored database side by side: what comes back, what leaves production, and what changes.

import { Failure, reason } from '../core/failure.ts'
import { firstOf, plural } from '../core/format.ts'
import { listing } from '../core/layout.ts'
import type { Log } from '../core/log.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import {
  commonLayouts,
  comparable,
  compareRows,
  completeDigests,
  type Digests,
  differingParts,
  digestsIn,
  digestsSql,
  LAYOUTS,
  type Layout,
  layoutsIn,
  MOST_OF_ALL,
  MOST_OF_TABLE,
  type RowDifference,
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
  /** How its tables are compared; each with its digest where there was time for that. */
  layouts: readonly Layout[]
  digests: Digests
  /** To the operator's own question. */
  answer: Answer
}

interface Side<Rows = RowCounts> extends Look<Rows> {
  database: Service
  /** What it is called; else it is an archive. */
  called?: string
}

/**
 * @param now production, where it has been looked at: mostly the same tables can be compared in the same way
 * @param settling before it the question may have another answer
 */
export async function lookAt(
  { dokku, settings }: Restore,
  database: Service,
  now?: Look<RowSurvey>,
  settling: Promise<unknown> = Promise.resolve(),
): Promise<Look> {
  const likely = now ? ordered(now.layouts, comparable(now.rows, countsOf(now.rows))) : []
  // After a bad deletion this one has many more rows than production: how many is known only afterwards.
  const guessed = likely.map((layout) => ({ layout, mostRows: 1000 + 2 * Number(now?.rows.get(layout.table)) }))
  const [{ counts, lines }, answer] = await Promise.all([
    countRows(dokku, database, `${LAYOUTS}\n${digestsSql(guessed)}`),
    settling.then(() => askIt(dokku, settings.VERIFY_SQL, database)),
  ])
  return { rows: counts, layouts: layoutsIn(lines), digests: digestsIn(lines, likely), answer }
}

/** Production may be as broken as it likes: what can't be read of it is told, and nothing is waited for long. */
export async function lookAtProduction(restore: Restore, production: Service): Promise<Look<RowSurvey>> {
  const { dokku, settings } = restore
  const asking = askIt(dokku, `SET lock_timeout = '2s'; ${settings.VERIFY_SQL}`, production, ANSWER_MS)
  const tables = await quietly(restore, 'Its tables', surveyRows(dokku, production, LAYOUTS))
  const { counts: rows = new Map(), lines = [] } = tables ?? {}
  const layouts = layoutsIn(lines)
  const likely = ordered(layouts, comparable(rows, countsOf(rows)))
  const digests = await quietly(restore, 'Its rows', completeDigests(dokku, production, likely))
  return { rows, layouts, digests: digests ?? new Map(), answer: await asking }
}

/** Those that are known. */
function countsOf(rows: RowSurvey): RowCounts {
  return new Map([...rows].flatMap(([table, count]) => (typeof count === 'number' ? [[table, count]] : [])))
}

/** The layouts of these tables, in their order. */
function ordered(layouts: readonly Layout[], tables: readonly string[]): Layout[] {
  return tables.flatMap((table) => layouts.find((layout) => layout.table === table) ?? [])
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
  judgeAnswers(settings.VERIFY_SQL, [now.answer, then.answer], then.called ?? 'restored', context.log)
  return tables
    .filter(({ production, restored }) => typeof production === 'number' && production > 0 && restored === 0)
    .map((row) => row.table)
}

const SAME: RowDifference = { onlyProduction: 0, onlyRestored: 0, changed: 0 }

/** @returns the difference of a table by its keys; undefined where it can't be told */
async function byKey(
  { context, dokku }: Restore,
  now: Side<RowSurvey>,
  then: Side,
): Promise<(table: string) => RowDifference | undefined> {
  const layouts = ordered(commonLayouts(now.layouts, then.layouts), comparable(now.rows, then.rows))
  try {
    const [ours = new Map(), theirs = new Map()] = await Promise.all(
      [now, then].map(({ database, digests }) => completeDigests(dokku, database, layouts, digests)),
    )
    const portions = layouts.map((layout) => ({ layout, parts: differingParts(ours, theirs, layout) }))
    const differing = portions.filter(({ parts }) => parts?.length !== 0)
    const same = new Set(portions.filter(({ parts }) => parts?.length === 0).map(({ layout }) => layout.table))
    const [production = new Map(), restored = new Map()] = await Promise.all(
      [now, then].map(({ database }) => readRows(dokku, database, differing)),
    )
    return (table) => (same.has(table) ? SAME : compareRows(production, restored, table))
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

/**
 * @param called what the other database is called
 * @throws Failure when production can answer the question, but not the other one
 */
function judgeAnswers(question: string, [now = '', then = '']: readonly Answer[], called: string, log: Log): void {
  const shown = (answer: Answer): string => (answer instanceof Failure ? `fails: ${answer.message}` : answer)
  log.info(`${question}\n  production: ${shown(now)}\n  ${`${called}:`.padEnd(11)} ${shown(then)}`)
  if (!(then instanceof Failure)) return
  if (now instanceof Failure) log.warn('VERIFY_SQL works on neither database.')
  else
    throw new Failure(
      `VERIFY_SQL fails on the ${called} database: ${then.message}`,
      'Try another archive: restore --list',
    )
}
