// The statistics by which PostgreSQL plans queries, of a database that is imported: a dump has none.

import type { Dokku, Service } from '../dokku/dokku.ts'
import { LASTING_TABLES, sql } from './sql.ts'

/** Each session is a call of Dokku: a small database is not worth a second one. */
const SMALL_BYTES = 16 * 1024 * 1024

/**
 * Makes the statistics of all tables. Two sessions make them at once: one alone keeps one processor busy.
 * @param dumpBytes how large the dump was
 */
export async function analyze(dokku: Dokku, database: Service, dumpBytes: number): Promise<void> {
  const sessions = dumpBytes < SMALL_BYTES ? [0] : [0, 1]
  await Promise.all(sessions.map((session) => sql(dokku, database, analyzeSql(session, sessions.length))))
}

// By size they are dealt out as 0 1 1 0 0 1 1 0 …, so that the largest one and the next are apart, and both get about as much.
function analyzeSql(session: number, sessions: number): string {
  return `SELECT format('ANALYZE %I.%I', nspname, relname) FROM (
  SELECT nspname, relname, row_number() OVER (ORDER BY pg_relation_size(c.oid) DESC, c.oid) AS place
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'p', 'm') AND ${LASTING_TABLES.replaceAll('schemaname', 'nspname')}) tables
WHERE place / 2 % ${sessions} = ${session} ORDER BY place
\\gexec`
}
