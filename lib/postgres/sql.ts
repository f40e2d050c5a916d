// SQL through Dokku's Postgres plugin: quoting, questions and their answers, rows of tables.

import { reason } from '../core/failure.ts'
import { aCount, aText, pairOf, readJson, type Shape } from '../core/outside.ts'
import { retry } from '../core/retry.ts'
import { connectArgs, type Dokku, type Service } from '../dokku/dokku.ts'

/** A quoted SQL identifier. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A quoted SQL string. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/**
 * psql's own defaults print frames and notices: a script for `postgres:connect` begins with this to print bare rows.
 * A limit that the database sets for the app's queries is not meant for these.
 */
export const BARE = [
  '\\set QUIET on',
  '\\pset pager off',
  '\\pset format unaligned',
  '\\pset tuples_only on',
  "SET client_min_messages = 'error';",
  'SET statement_timeout = 0;',
]

// Whoever connects in the very moment of a swap is told this, and has done nothing yet; the name is there again at once.
const JUST_RENAMED = /just been dropped or renamed/

/** A service's server, for what is about databases and not in one of them. */
export function serverOf({ name }: Service): Service {
  return { name, database: 'postgres' }
}

/**
 * Runs SQL in a database. `postgres:connect` is psql with ON_ERROR_STOP, so the first error ends it.
 * @returns what the statements printed, a row a line
 * @throws Failure with what PostgreSQL said
 */
export async function sql(dokku: Dokku, { name, database }: Service, text: string): Promise<string> {
  const input = [...BARE.slice(0, 4), `\\c ${identifier(database)}`, ...BARE.slice(4), text, ''].join('\n')
  const run = async (): Promise<string> => (await dokku.must(connectArgs(name), { input })).stdout
  return retry(run, { attempts: 3, waitMs: (error) => (JUST_RENAMED.test(reason(error)) ? 200 : undefined) })
}

/**
 * The same for a query whose rows are one JSON value each: text can hold any sign.
 * @throws Failure, too, when a row is of another shape: a .psqlrc of the image may print lines of its own
 */
export async function rows<T>(dokku: Dokku, database: Service, query: string, shape: Shape<T>): Promise<T[]> {
  return (await sql(dokku, database, query))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => readJson(line, shape, 'PostgreSQL', `Look: sudo dokku postgres:connect ${database.name}`))
}

/** What the database takes on its server's disk, in bytes, indexes included. */
export async function databaseBytes(dokku: Dokku, database: Service): Promise<number> {
  const [size = 0] = await rows(dokku, database, 'SELECT pg_database_size(current_database());', aCount)
  return size
}

/** Rows of each table, by `schema.table`. */
export type RowCounts = Map<string, number>

/** Which rows of pg_tables are the app's: names of PostgreSQL's own schemas, temporary ones among them, begin with `pg_`. */
export const LASTING_TABLES = "schemaname !~ '^pg_' AND schemaname <> 'information_schema'"

// One query writes the next: psql's \gexec runs each row of a result as a statement.
const COUNT_ALL = `
SELECT format('SELECT json_build_array(%L, count(*)) FROM %I.%I', schemaname || '.' || tablename, schemaname, tablename)
FROM pg_tables WHERE ${LASTING_TABLES} ORDER BY schemaname, tablename
\\gexec`

/** Counts the rows of every table, exactly; no temporary ones, which only their own session can read. */
export async function countRows(dokku: Dokku, database: Service): Promise<RowCounts> {
  return new Map(await rows(dokku, database, COUNT_ALL, pairOf(aText, aCount)))
}

/** A table in production and in the restored database; undefined where it does not exist. */
export interface TableDifference {
  table: string
  production: number | undefined
  restored: number | undefined
}

/** Every table of either side, in the order of their names. */
export function compareCounts(production: RowCounts, restored: RowCounts): TableDifference[] {
  return [...new Set([...production.keys(), ...restored.keys()])]
    .sort()
    .map((table) => ({ table, production: production.get(table), restored: restored.get(table) }))
}
