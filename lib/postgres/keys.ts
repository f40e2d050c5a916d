// Which rows of two databases are each other's, by primary key: what a swap brings back, what it takes away, what it changes.

import { aBoolean, aText, listOf, mapOf, record, tryJson } from '../core/outside.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { attempt, identifier, LASTING_TABLES, literal, type RowCounts, type RowSurvey } from './sql.ts'

/** More rows than these of one table, or of all tables, are not compared: a question must not take minutes, nor memory that grows with the data. */
export const MOST_OF_TABLE = 50_000
export const MOST_OF_ALL = 100_000
/** A text of a value must be the same on both sides, whatever each database is set to. */
const SESSION = `SET statement_timeout = '20s'; SET lock_timeout = '2s'; SET search_path = pg_catalog; SET jit = off;
SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 3; SET lc_monetary = 'C';`
const ALL_MS = 60_000

const LAYOUT = record({
  /** `schema.table`. */
  table: aText,
  quoted: aText,
  columns: listOf(record({ name: aText, notNull: aBoolean })),
  /** The columns of the primary key, in its order. */
  key: listOf(aText),
})
/** What rows are compared by. */
export type Layout = ReturnType<typeof LAYOUT>

const DIGEST = record({ table: aText, digest: mapOf(aText) })
/** Of a table's parts, by their numbers: how many rows they have, and sums of the hashes of their keys and of whole rows. */
type Digest = Readonly<Record<string, string>>
/** By the layout that they were made with. */
export type Digests = ReadonlyMap<string, Digest>

const TABLE = record({ table: aText, keys: listOf(aText), rows: listOf(aText) })

/**
 * Of rows the hashes of their primary keys, each with a hash of the whole row; undefined where the rows could not be read in
 * time. By `schema.table`.
 */
type TableRows = ReadonlyMap<string, ReadonlyMap<string, string | undefined>>

/** Pure: the tables whose rows are compared, the smallest first. */
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

/** Prints what the tables that have a primary key are made of. */
export const LAYOUTS = `${SESSION}
SELECT json_build_object('table', schemaname || '.' || tablename, 'quoted', format('%I.%I', schemaname, tablename),
  'columns', (SELECT json_agg(json_build_object('name', attname, 'notNull', attnotnull) ORDER BY attname) FROM pg_attribute
    WHERE attrelid = indrelid AND attnum > 0 AND NOT attisdropped),
  'key', (SELECT json_agg(attname ORDER BY place) FROM unnest(indkey::int2[]) WITH ORDINALITY number (attnum, place)
    JOIN pg_attribute USING (attnum) WHERE attrelid = indrelid AND place <= indnkeyatts))
FROM pg_tables JOIN pg_index ON indrelid = format('%I.%I', schemaname, tablename)::regclass AND indisprimary
WHERE ${LASTING_TABLES};`

/** Of what a script printed. */
export function layoutsIn(lines: readonly string[]): Layout[] {
  return lines.flatMap((line) => tryJson(line, LAYOUT) ?? [])
}

/** Pure: the tables that have the same primary key on both sides, with the columns that both have. */
export function commonLayouts(production: readonly Layout[], restored: readonly Layout[]): Layout[] {
  return production.flatMap((ours) => {
    const theirs = restored.find(({ table }) => table === ours.table)
    if (!theirs || ours.key.join('\0') !== theirs.key.join('\0')) return []
    const columns = ours.columns.flatMap(({ name, notNull }) => {
      const other = theirs.columns.find((column) => column.name === name)
      return other ? [{ name, notNull: notNull && other.notNull }] : []
    })
    return [{ ...ours, columns }]
  })
}

/** A table is compared in so many parts, by the hash of the key: only rows of parts that differ are looked at one by one. */
const PARTS = 256

function partOf(keyHash: string): string {
  return `(${keyHash} & ${PARTS - 1})`
}

/** Prints the digests of tables; none where a table can't be read, or not in time, or has more rows than are said. */
export function digestsSql(tables: readonly { layout: Layout; mostRows: number }[]): string {
  return [SESSION, ...tables.map(({ layout, mostRows }) => digestSql(layout, mostRows))].join('\n')
}

function digestSql({ table, quoted, columns, key }: Layout, mostRows: number): string {
  return `SELECT json_build_object('table', ${literal(table)}, 'digest', coalesce(json_object_agg(part, format('%s %s %s', n, ks, hs)), '{}')) FROM (
  SELECT ${partOf('k')} part, count(*) n, sum(k) ks, sum(h) hs
  FROM (SELECT ${keyHash(key)} k, ${rowHash(columns)} h FROM ${quoted} r LIMIT ${mostRows + 1}) both_hashes GROUP BY 1) parts
HAVING coalesce(sum(n), 0) <= ${mostRows};`
}

/** Of what that script printed. */
export function digestsIn(lines: readonly string[], layouts: readonly Layout[]): Digests {
  const found = lines.flatMap((line) => tryJson(line, DIGEST) ?? [])
  return new Map(
    layouts.flatMap((layout): [string, Digest][] => {
      const one = found.find(({ table }) => table === layout.table)
      return one ? [[identityOf(layout), one.digest]] : []
    }),
  )
}

function identityOf({ quoted, columns, key }: Layout): string {
  return JSON.stringify([quoted, columns, key])
}

/** Adds what is lacking. @throws Failure when the database can't be reached */
export async function completeDigests(
  dokku: Dokku,
  database: Service,
  layouts: readonly Layout[],
  known: Digests = new Map(),
): Promise<Digests> {
  const lacking = layouts.filter((layout) => !known.has(identityOf(layout)))
  if (lacking.length === 0) return known
  const script = digestsSql(lacking.map((layout) => ({ layout, mostRows: MOST_OF_TABLE })))
  const { lines } = await attempt(dokku, database, script, { timeoutMs: ALL_MS })
  return new Map([...known, ...digestsIn(lines, lacking)])
}

/** Pure: the numbers of the parts in which a table differs; undefined where a side could not be read as a whole. */
export function differingParts(production: Digests, restored: Digests, layout: Layout): number[] | undefined {
  const [now, then] = [production, restored].map((digests) => digests.get(identityOf(layout)))
  if (!now || !then) return undefined
  return [...new Set([...Object.keys(now), ...Object.keys(then)])]
    .filter((part) => now[part] !== then[part])
    .map(Number)
}

/** A table, or some of its parts. */
interface Portion {
  layout: Layout
  /** Without them it is all of it. */
  parts?: readonly number[] | undefined
}

/** What can't be read in time is left out. @throws Failure when the database can't be reached */
export async function readRows(dokku: Dokku, database: Service, portions: readonly Portion[]): Promise<TableRows> {
  if (portions.length === 0) return new Map()
  const script = [SESSION, ...portions.map(rowsSql)].join('\n')
  const { lines } = await attempt(dokku, database, script, { timeoutMs: ALL_MS })
  const found = lines.flatMap((line) => tryJson(line, TABLE) ?? [])
  return new Map(found.map(({ table, keys, rows }) => [table, new Map(keys.map((key, i) => [key, rows[i]]))]))
}

function keyHash(key: readonly string[]): string {
  return `hashtextextended(ROW(${key.map((name) => `r.${identifier(name)}`).join(', ')})::text, 0)`
}

/** Where whole rows take too long, or one of them is damaged, the keys alone may still be read. */
function rowsSql({ layout: { table, quoted, columns, key }, parts }: Portion): string {
  const hash = keyHash(key)
  const from = `FROM ${quoted} r${parts === undefined ? '' : ` WHERE ${partOf(hash)} IN (${parts.join(', ')})`}`
  const select = (rows: string): string =>
    `SELECT json_build_object('table', ${literal(table)}, 'keys', coalesce(json_agg(k::text), '[]'), 'rows', ${rows})`
  return `${select("coalesce(json_agg(h::text), '[]')")} FROM (SELECT ${hash} k, ${rowHash(columns)} h ${from}) both_hashes;
\\if :ERROR
${select("'[]'::json")} FROM (SELECT ${hash} k ${from}) key_hashes;
\\endif`
}

/** A function of PostgreSQL takes at most 100 arguments. */
const MOST_ARGUMENTS = 90

/**
 * A hash of what a row `r` holds, the same on both sides: of the values as text, and of which of them are NULL. Not of the row
 * as text, whose quoting takes twice the time (PostgreSQL 15); and a hash of the values themselves differs for enums.
 */
export function rowHash(columns: readonly { name: string; notNull: boolean }[]): string {
  const values = columns
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ name, notNull }) => [`r.${identifier(name)}`, ...(notNull ? [] : [`r.${identifier(name)} IS NULL`])])
  let texts = values
  do
    texts = Array.from(
      { length: Math.ceil(texts.length / MOST_ARGUMENTS) },
      (_, i) => `concat_ws('|', ${texts.slice(i * MOST_ARGUMENTS, (i + 1) * MOST_ARGUMENTS).join(', ')})`,
    )
  while (texts.length > 1)
  return `hashtextextended(${texts[0]}, 0)`
}

/** How the rows of two databases differ. */
export interface RowDifference {
  onlyProduction: number
  onlyRestored: number
  /** Rows of the same key whose contents differ; undefined where only keys could be read. */
  changed: number | undefined
}

/** Pure. @returns undefined where it can't be told */
export function compareRows(production: TableRows, restored: TableRows, table: string): RowDifference | undefined {
  const [now, then] = [production.get(table), restored.get(table)]
  if (!now || !then) return undefined
  const common = [...now].filter(([key]) => then.has(key))
  const areRead = common.every(([key, row]) => row !== undefined && then.get(key) !== undefined)
  return {
    onlyProduction: now.size - common.length,
    onlyRestored: then.size - common.length,
    changed: areRead ? common.filter(([key, row]) => row !== then.get(key)).length : undefined,
  }
}
