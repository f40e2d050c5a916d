// The statistics by which PostgreSQL plans queries, of a database that is imported: a dump has none.

import type { Dokku, Service } from '../dokku/dokku.ts'
import { LASTING_TABLES, sql } from './sql.ts'

const TABLES = `FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'm') AND ${LASTING_TABLES.replaceAll('schemaname', 'nspname')}`
const HAS_NONE = 'NOT EXISTS (SELECT FROM pg_stats s WHERE s.schemaname = nspname AND s.tablename = relname)'
const IS_PARENT = 'EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)'

/**
 * Makes, while an import is at indexes and foreign keys, the statistics of tables that have their rows already: it keeps one
 * processor busy. It waits for no lock, and holds none but one table's: the import may wait for that, but can't meet a deadlock.
 */
export async function analyzeEarly(dokku: Dokku, database: Service): Promise<void> {
  const pass = `SELECT format('ANALYZE (SKIP_LOCKED) %I.%I', nspname, relname) ${TABLES}
  AND relkind = 'r' AND NOT ${IS_PARENT} AND ${HAS_NONE} ORDER BY relname DESC
\\gexec`
  // By their names pg_restore goes the other way. What was locked at first may be free afterwards.
  await sql(dokku, database, `${pass}\n${pass}`)
}

/**
 * Makes the statistics that PostgreSQL plans queries by, of every table that has none: one whose rows were not there when it
 * was looked at has got none. Those of a parent are of all its children, and those of an expression, or of columns together,
 * are there only when what they are for is.
 */
export async function analyze(dokku: Dokku, database: Service): Promise<void> {
  await sql(
    dokku,
    database,
    `SELECT format('ANALYZE %I.%I', nspname, relname) ${TABLES}
  AND (relkind = 'p' OR ${HAS_NONE} OR ${IS_PARENT} OR EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indexprs IS NOT NULL)
    OR EXISTS (SELECT FROM pg_statistic_ext WHERE stxrelid = c.oid))
\\gexec`,
  )
}
