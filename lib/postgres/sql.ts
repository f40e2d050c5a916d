// SQL through Dokku's Postgres plugin: quoting, questions and their answers, rows of tables.

import { randomBytes } from 'node:crypto'
import { Failure, reason } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'
import { aCount, aText, listOf, pairOf, readJson, record, type Shape, tryJson } from '../core/outside.ts'
import { retry } from '../core/retry.ts'
import type { RunOptions } from '../core/shell.ts'
import { psqlLine } from '../dokku/by-hand.ts'
import { connectArgs, type Dokku, neighbour, type Service } from '../dokku/dokku.ts'

/** A quoted SQL identifier. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A quoted SQL string. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/**
 * psql's own defaults print frames and notices: a script for `postgres:connect` begins with this to print bare rows. The
 * image may have a psqlrc, which comes before and can change all of this. A limit that the database sets for the app's
 * queries is not meant for these.
 */
export const BARE = [
  '\\set QUIET on',
  '\\set ECHO none \\set ECHO_HIDDEN off \\set SINGLELINE off \\set SINGLESTEP off \\set AUTOCOMMIT on \\set ON_ERROR_ROLLBACK off',
  '\\set ON_ERROR_STOP on \\set VERBOSITY default \\set SHOW_CONTEXT errors \\set SHOW_ALL_RESULTS on \\unset FETCH_COUNT \\timing off \\setenv PGSERVICE \\o',
  "\\pset pager off \\pset format unaligned \\pset tuples_only on \\pset expanded off \\pset null '' \\pset numericlocale off \\pset fieldsep '|' \\pset recordsep '\\n' \\encoding UTF8",
  "SET client_min_messages = 'error';",
  'SET statement_timeout = 0;',
]
const CONNECT_AT = 4

/** How long production's tables are waited for, where somebody else has locked them: a migration, or a session that was forgotten. */
export const LOCK_MS = 60_000

// Whoever connects in the very moment of a swap is told this, and has done nothing yet; the name is there again at once.
const JUST_RENAMED = /just been dropped or renamed/

/** A service's server, for what is about databases and not in one of them. */
export function serverOf(service: Service): Service {
  return neighbour(service, 'postgres')
}

type SqlOptions = Pick<RunOptions, 'timeoutMs'>

/** What a script for one of the service's databases begins with. */
export function connecting(database: string): string[] {
  return [...BARE.slice(0, CONNECT_AT), `\\c ${identifier(database)}`, ...BARE.slice(CONNECT_AT)]
}

/** The script that runs SQL in a database, and the line of its output behind which the answers are: a psqlrc may print, too. */
function scriptFor(database: string, text: string): { input: string; mark: string } {
  const mark = `book-corners-ops-${randomBytes(8).toString('hex')}`
  const lines = [...connecting(database), `\\echo ${mark}`, text, '']
  return { input: lines.join('\n'), mark }
}

function behind(mark: string, stdout: string): string {
  const at = stdout.indexOf(`${mark}\n`)
  return at === -1 ? '' : stdout.slice(at + mark.length + 1)
}

/**
 * Runs SQL in a database. The first error ends it.
 * @returns what the statements printed, a row a line
 * @throws Failure with what PostgreSQL said
 */
export async function sql(
  dokku: Dokku,
  { name, database }: Service,
  text: string,
  options: SqlOptions = {},
): Promise<string> {
  const run = async (): Promise<string> => {
    const { input, mark } = scriptFor(database, text)
    return behind(mark, (await dokku.must(connectArgs(name), { ...options, input })).stdout)
  }
  return retry(run, { attempts: 3, waitMs: (error) => (JUST_RENAMED.test(reason(error)) ? 200 : undefined) })
}

/** What came of statements that were all run, whatever happened to the ones before. */
interface Attempted {
  /** What they printed, a row a line. */
  lines: string[]
  /** What PostgreSQL refused, in the order in which it was run. */
  errors: string[]
}

/** Runs statements one after the other; none of them stops the others. @throws Failure when the database can't be reached */
export async function attempt(
  dokku: Dokku,
  { name, database }: Service,
  text: string,
  options: SqlOptions = {},
): Promise<Attempted> {
  const { input, mark } = scriptFor(database, `\\set ON_ERROR_STOP off\n\\set SHOW_CONTEXT never\n${text}`)
  const answers: string[] = []
  let isBehind = false
  const errors: string[] = []
  const onLine = (line: string): void => {
    if (isBehind) answers.push(line)
    else isBehind = line === mark
  }
  const run = dokku.run(connectArgs(name), { ...options, input, onLine })
  const output = await run.catch((error: unknown) => {
    // What it had said before it took too long is kept.
    if (!(error instanceof Failure) || !isBehind) throw error
    errors.push(error.message)
    return undefined
  })
  if (output && !isBehind) await dokku.must(connectArgs(name), { ...options, input: '' })
  if (output) errors.push(...errorsIn(output.stderr))
  return { lines: output ? behind(mark, output.stdout).split('\n').filter(Boolean) : answers, errors }
}

function errorsIn(stderr: string): string[] {
  return stderr.split('\n').flatMap((line) => {
    const found = /^(?:psql:.{0,200}?)?(?:ERROR|FATAL|PANIC): +(.*)$/.exec(line)?.[1]
    return found === undefined ? [] : [oneLine(found, LONGEST_ERROR)]
  })
}

const LONGEST_ERROR = 200

/**
 * The same for a query whose rows are one JSON value each: text can hold any sign.
 * @throws Failure, too, when a row is of another shape: a .psqlrc of the image may print lines of its own
 */
export async function rows<T>(dokku: Dokku, database: Service, query: string, shape: Shape<T>): Promise<T[]> {
  return readRows(await sql(dokku, database, query), database, shape)
}

function readRows<T>(text: string, database: Service, shape: Shape<T>): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => readJson(line, shape, 'PostgreSQL', `Look: ${psqlLine(database)}`))
}

/** What the database takes on its server's disk, in bytes, indexes included. */
export async function databaseBytes(dokku: Dokku, database: Service): Promise<number> {
  const [size = 0] = await rows(dokku, database, 'SELECT pg_database_size(current_database());', aCount)
  return size
}

/** Rows of each table, by `schema.table`. */
export type RowCounts = Map<string, number>

/** The same of a database in any state: of a table that can't be read, why. */
export type RowSurvey = Map<string, number | string>

/** Which rows of pg_tables are the app's: names of PostgreSQL's own schemas, temporary ones among them, begin with `pg_`. */
export const LASTING_TABLES = "schemaname !~ '^pg_' AND schemaname <> 'information_schema'"

// One query writes the next: psql's \gexec runs each row of a result as a statement.
const COUNT_ALL = `
SELECT format('SELECT json_build_array(%L, count(*)) FROM %I.%I', schemaname || '.' || tablename, schemaname, tablename)
FROM pg_tables WHERE ${LASTING_TABLES} ORDER BY schemaname, tablename
\\gexec`

/**
 * Counts the rows of every table, exactly; no temporary ones, which only their own session can read.
 * @param further what is asked behind it, of which a part may fail
 * @returns with the counts what that printed, a row a line
 */
export async function countRows(
  dokku: Dokku,
  database: Service,
  further = '',
): Promise<{ counts: RowCounts; lines: string[] }> {
  const mark = `book-corners-ops-${randomBytes(8).toString('hex')}`
  const text = await sql(dokku, database, `${COUNT_ALL}\n\\set ON_ERROR_STOP off\n\\echo ${mark}\n${further}`)
  const [counted = '', rest = ''] = [text.slice(0, text.indexOf(`${mark}\n`)), behind(mark, text)]
  return {
    counts: new Map(readRows(counted, database, pairOf(aText, aCount))),
    lines: rest.split('\n').filter(Boolean),
  }
}

/** How long production may take to answer; a table of it; a lock on one. */
const SURVEY_MS = 300_000
const PATIENCE = "SET statement_timeout = '60s'; SET lock_timeout = '2s';"
const HOLDERS = `SELECT json_build_object('table', n.nspname || '.' || c.relname, 'by', format('process %s (%s, %s, %s)',
    a.pid, coalesce(usename, 'no user'), coalesce(nullif(application_name, ''), 'no name'), coalesce(state, backend_type)))
  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database());`

const HOLDER = record({ table: aText, by: aText })

const NAMES = `SELECT json_build_object('names', coalesce(json_agg(schemaname || '.' || tablename ORDER BY schemaname, tablename), '[]'))
  FROM pg_tables WHERE ${LASTING_TABLES};`
const ALL_NAMES = record({ names: listOf(aText) })

/**
 * Counts the rows of every table that can be read; a table that is locked or damaged holds up nobody for long.
 * @param further what is asked behind it
 * @returns with the counts what was printed, a row a line
 * @throws Failure when the database does not say which tables it has
 */
export async function surveyRows(
  dokku: Dokku,
  database: Service,
  further = '',
): Promise<{ counts: RowSurvey; lines: string[] }> {
  const script = `${PATIENCE} ${NAMES}${COUNT_ALL}\n${HOLDERS}\n${further}`
  const { lines, errors } = await attempt(dokku, database, script, { timeoutMs: SURVEY_MS })
  const [all] = lines.flatMap((line) => tryJson(line, ALL_NAMES) ?? [])
  if (!all) throw new Failure(`PostgreSQL does not say which tables it has: ${errors[0] ?? 'nor why'}`)
  const counts = new Map(lines.map((line) => tryJson(line, pairOf(aText, aCount))).filter((pair) => pair !== undefined))
  const holders = new Map(
    lines.flatMap((line) => tryJson(line, HOLDER) ?? []).map(({ table, by }) => [table, by] as const),
  )
  // Each table without an answer has left one error, in the same order.
  const reasons = errors.values()
  let last: string | undefined
  const answers = all.names.map((table): [string, number | string] => {
    const count = counts.get(table)
    if (count !== undefined) return [table, count]
    last = reasons.next().value ?? last
    const holder = holders.get(table)
    return [table, holder ? `locked by ${holder}` : `unreadable: ${last ?? 'it does not say why'}`]
  })
  return { counts: new Map(answers), lines }
}

/** A question that PostgreSQL answers at once. */
export const ANSWER_MS = 60_000

/** The same Dokku, for questions that are answered at once: nothing waits longer for them. */
export function answering(dokku: Dokku): Dokku {
  return { ...dokku, must: (args, options) => dokku.must(args, { timeoutMs: ANSWER_MS, ...options }) }
}

/** A table in production and in the restored database; undefined where it does not exist. */
export interface TableDifference {
  table: string
  production: number | string | undefined
  restored: number | undefined
}

/** Every table of either side, in the order of their names. */
export function compareCounts(production: RowSurvey, restored: RowCounts): TableDifference[] {
  return [...new Set([...production.keys(), ...restored.keys()])]
    .sort()
    .map((table) => ({ table, production: production.get(table), restored: restored.get(table) }))
}
