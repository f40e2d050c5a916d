import { type Dokku, explainDokku, type Service } from './dokku.ts'

/** A psql script that prints bare rows: `postgres:connect` runs psql with its own defaults, which print frames and notices. */
export const barePsql = (sql: string): string =>
  [
    '\\set QUIET on',
    '\\pset pager off',
    '\\pset format unaligned',
    '\\pset tuples_only on',
    "\\pset fieldsep '\\t'",
    sql,
    '',
  ].join('\n')

/**
 * Runs SQL in a service's database and returns its rows as columns of text.
 * @throws Failure with what PostgreSQL said
 */
export const query = async (dokku: Dokku, service: string, sql: string): Promise<string[][]> => {
  const output = await dokku.run(['postgres:connect', service], { input: barePsql(sql) })
  if (output.exitCode !== 0) throw explainDokku(output, `postgres:connect ${service}`)
  return output.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'))
}

/** What the database takes on its server's disk, in bytes, indexes included. */
export const databaseBytes = async (dokku: Dokku, { name }: Service): Promise<number> => {
  const [[size] = []] = await query(dokku, name, 'SELECT pg_database_size(current_database());')
  return Number(size)
}
