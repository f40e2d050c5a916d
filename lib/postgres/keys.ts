// Which rows of two databases are each other's, by primary key: what a swap brings back, and what it takes away.

import { aText, listOf, record, tryJson } from '../core/outside.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { attempt, LASTING_TABLES, literal, type RowCounts, type RowSurvey } from './sql.ts'

/** More keys than these of one table, or of all tables, are not compared: a question must not take minutes, nor memory that grows with the data. */
const MOST_OF_TABLE = 50_000
const MOST_OF_ALL = 100_000
const PATIENCE = "SET statement_timeout = '20s'; SET lock_timeout = '2s';"
const ALL_MS = 60_000

const TABLE = record({ table: aText, keys: listOf(aText) })

/** Hashes of the primary keys of a table's rows, by `schema.table`. Tables without a key, and those that are too large, are not there. */
type TableKeys = ReadonlyMap<string, ReadonlySet<string>>

/** Pure: the tables whose keys are compared, the smallest first. */
export function comparable(production: RowSurvey, restored: RowCounts): string[] {
  const sizes = [...production].flatMap(([table, count]): [string, number][] => {
    const other = restored.get(table)
    return other === undefined || typeof count === 'string' ? [] : [[table, Math.max(count, other)]]
  })
  let left = MOST_OF_ALL
  return sizes
    .filter(([, size]) => size > 0 && size <= MOST_OF_TABLE)
    .sort((a, b) => a[1] - b[1])
    .flatMap(([table, size]) => {
      left -= size
      return left < 0 ? [] : [table]
    })
}

/** What can't be read in time is left out. @throws Failure when the database can't be reached */
export async function readKeys(dokku: Dokku, database: Service, tables: readonly string[]): Promise<TableKeys> {
  if (tables.length === 0) return new Map()
  const { lines } = await attempt(dokku, database, keysSql(tables), { timeoutMs: ALL_MS })
  const found = lines.flatMap((line) => tryJson(line, TABLE) ?? [])
  return new Map(found.map(({ table, keys }) => [table, new Set(keys)]))
}

// One query writes the next: psql's \gexec runs each row of a result as a statement.
function keysSql(tables: readonly string[]): string {
  return `${PATIENCE}
SELECT format('SELECT json_build_object(''table'', %L, ''keys'', coalesce(json_agg(hashtextextended(ROW(%s)::text, 0)::text), ''[]''::json)) FROM %I.%I',
  schemaname || '.' || tablename, string_agg(quote_ident(attname), ', ' ORDER BY attnum), schemaname, tablename)
FROM pg_tables JOIN pg_index ON indrelid = format('%I.%I', schemaname, tablename)::regclass AND indisprimary
  JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
WHERE ${LASTING_TABLES} AND schemaname || '.' || tablename IN (${tables.map(literal).join(', ')})
GROUP BY schemaname, tablename
\\gexec`
}

/** Rows that only one of two databases has; undefined where it can't be told. */
export interface KeyDifference {
  onlyProduction: number
  onlyRestored: number
}

/** Pure. */
export function compareKeys(production: TableKeys, restored: TableKeys, table: string): KeyDifference | undefined {
  const [now, then] = [production.get(table), restored.get(table)]
  if (!now || !then) return undefined
  const lacking = (from: ReadonlySet<string>, others: ReadonlySet<string>): number =>
    [...from].filter((key) => !others.has(key)).length
  return { onlyProduction: lacking(now, then), onlyRestored: lacking(then, now) }
}
