import { connectArgs, type Dokku, type Service } from './dokku.ts'

/** A quoted SQL identifier. */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** A quoted SQL string. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** psql's own defaults print frames and notices: a script for `postgres:connect` begins with this to print bare rows. */
export const BARE = [
  '\\set QUIET on',
  '\\pset pager off',
  '\\pset format unaligned',
  '\\pset tuples_only on',
  "SET client_min_messages = 'error';",
]

/**
 * Runs SQL in a service's database. `postgres:connect` is psql with ON_ERROR_STOP, so the first error ends it.
 * @param database another database of the same server
 * @returns what the statements printed, a row a line
 * @throws Failure with what PostgreSQL said
 */
export const sql = async (dokku: Dokku, service: string, text: string, database?: string): Promise<string> => {
  const connect = database === undefined ? [] : [`\\c ${identifier(database)}`]
  const input = [...BARE.slice(0, 4), ...connect, ...BARE.slice(4), text, ''].join('\n')
  return (await dokku.must(connectArgs(service), { input })).stdout
}

/** The same for a query whose rows are one JSON value each: text can hold any sign. */
export const rows = async <T>(dokku: Dokku, service: string, query: string, database?: string): Promise<T[]> =>
  (await sql(dokku, service, query, database))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)

/** What the database takes on its server's disk, in bytes, indexes included. */
export const databaseBytes = async (dokku: Dokku, { name }: Service): Promise<number> =>
  Number(await sql(dokku, name, 'SELECT pg_database_size(current_database());'))

/** Rows of each table, by `schema.table`. */
export type Counts = Map<string, number>

// One query writes the next: psql's \gexec runs each row of a result as a statement.
const COUNT_ALL = `
SELECT format('SELECT json_build_array(%L, count(*)) FROM %I.%I', schemaname || '.' || tablename, schemaname, tablename)
FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY schemaname, tablename
\\gexec`

/** Counts the rows of every table, exactly. */
export const countRows = async (dokku: Dokku, service: string, database?: string): Promise<Counts> =>
  new Map(await rows<[string, number]>(dokku, service, COUNT_ALL, database))

/** A table in production and in the restored database; undefined where it does not exist. */
export interface TableDifference {
  table: string
  production: number | undefined
  restored: number | undefined
}

/** Every table of either side, in the order of their names. */
export const compareCounts = (production: Counts, restored: Counts): TableDifference[] =>
  [...new Set([...production.keys(), ...restored.keys()])]
    .sort()
    .map((table) => ({ table, production: production.get(table), restored: restored.get(table) }))
