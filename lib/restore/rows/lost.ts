// What was lost: the archive's rows that production lacks, and the rows that a cascade took with them. All of it is found out
// by SQL in the database beside production, which is removed afterwards.

import { aCount, aText, listOf, orNull, record } from '../../core/outside.ts'
import { type Column, ownRows } from '../../postgres/catalog.ts'
import { rowHash } from '../../postgres/keys.ts'
import { sendRows } from '../../postgres/session.ts'
import { identifier, literal } from '../../postgres/sql.ts'
import type { Family, LeftOut, Link, Member, Reach } from './family.ts'

/** Where our own tables are, in the database beside production. */
const OURS = identifier('book-corners-ops')
/** A role of PostgreSQL's own (10 and later) with next to no rights. */
const WEAK_ROLE = 'pg_stat_scan_tables'
/** So many keys of a table are shown at most; all of them are in the file of the way back. */
export const MOST_KEYS = 1000

/** The keys that production has of a member, with a hash of each row where rows are compared. */
function present({ number }: Member): string {
  return `${OURS}.present_${number}`
}

/** The keys of a member's rows that come back. */
function lost({ number }: Member): string {
  return `${OURS}.lost_${number}`
}

/**
 * By the place of a link among all: the archive's rows that reference by it one that comes back. Each is looked for once, since
 * few references have an index.
 */
function touched(place: number): string {
  return `${OURS}.touched_${place}`
}

/** The keys of the rows that meet --where. */
const NARROWED = `${OURS}.narrowed`

/** `k1, k2, …`: what the columns of a key are called in our own tables. */
export function keyNames(member: Member, alias = ''): string[] {
  return member.key.map((_, i) => `${alias && `${alias}.`}k${i + 1}`)
}

/** That a row of ours and a row of the table have the same key. */
export function sameKey(member: Member, ours: string, theirs: string): string {
  return member.key
    .map((column, i) => `${ours}.k${i + 1} ${member.operators[i]} ${theirs}.${identifier(column)}`)
    .join(' AND ')
}

/** The columns of the key, named as in our own tables. */
function keyAsOurs(member: Member, alias: string): string {
  return member.key.map((column, i) => `${alias}.${identifier(column)} AS k${i + 1}`).join(', ')
}

/** Production's keys of a member, on their way to the database beside it. */
export interface KeyTransfer {
  member: Member
  /** Makes the table that they go to. */
  table: string
  /** Asks production for them. */
  query: string
  /** The types of the key are PostgreSQL's own: the table can be made before the archive is imported. */
  isEarly: boolean
}

export function keyTransfer(member: Member): KeyTransfer {
  const key = member.key.map((name) => member.now.columns.find((column) => column.name === name) as Column)
  const columns = key.map(
    ({ type, collation }, i) => `k${i + 1} ${type}${collation === null ? '' : ` COLLATE ${collation}`}`,
  )
  const names = member.key.map((column) => `r.${identifier(column)}`)
  const hash = member.isAsked ? hashOf(member) : 'NULL'
  return {
    member,
    table: [
      `CREATE SCHEMA IF NOT EXISTS ${OURS};`,
      `DROP TABLE IF EXISTS ${present(member)};`,
      `CREATE UNLOGGED TABLE ${present(member)} (${columns.join(', ')}, hash bigint);`,
    ].join('\n'),
    query: `SELECT ${names.join(', ')}, ${hash} FROM ${ownRows(member.now)} r`,
    isEarly: key.every(
      ({ type, collation }) => !`${type}${collation ?? 'pg_catalog.'}`.replace('pg_catalog.', '').includes('.'),
    ),
  }
}

/** Afterwards. Without statistics PostgreSQL may look for each key among all of them. */
export function analyzeKeys(transfers: readonly KeyTransfer[]): string {
  return transfers.map(({ member }) => `ANALYZE ${present(member)};`).join('\n')
}

/** The lines that send keys out of production, all of one moment. */
export function sendKeys(transfers: readonly KeyTransfer[], restoring: string): string {
  return [
    'BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;',
    ...transfers.map(({ member, query }) => sendRows(query, restoring, present(member))),
    'COMMIT;',
  ].join('\n')
}

/** Of the columns that come back. */
function hashOf({ now, travelling }: Member): string {
  return rowHash(now.columns.filter(({ name }) => travelling.includes(name)))
}

/** What was found of a member. */
const FOUND = record({
  number: aCount,
  /** Rows that come back. */
  lost: aCount,
  /** Of those, rows that a cascade took: they reference others. */
  taken: aCount,
  /** Rows that referenced one that comes back, and that production has: they stay as they are. */
  staying: aCount,
  /** The archive's rows that meet --where; null without it, and for a table that nobody asked for. */
  met: orNull(aCount),
  /** The first keys, a text for each column. */
  keys: listOf(listOf(aText)),
})
export type Found = ReturnType<typeof FOUND>

/** Of a table that is left out: how many of its rows reference one that comes back. */
const LEFT_OUT = record({ leftOut: aText, rows: aCount })
export type FoundLeftOut = ReturnType<typeof LEFT_OUT>

/** Of one of the links: rows that production has, and that referenced one that comes back. It lacks that one, so they don't now. */
const EMPTIED = record({
  /** The link's place among all. */
  emptied: aCount,
  rows: aCount,
  /** The first keys, and what the row referenced; a text for each column. */
  first: listOf(record({ key: listOf(aText), values: listOf(aText) })),
})
export type FoundEmptied = ReturnType<typeof EMPTIED>

/** A line that `findLost` prints. */
export function aFinding(value: unknown): Found | FoundLeftOut | FoundEmptied {
  if (Object.hasOwn(Object(value), 'emptied')) return EMPTIED(value)
  return Object.hasOwn(Object(value), 'leftOut') ? LEFT_OUT(value) : FOUND(value)
}

/** Finds what was lost, and prints a `Found` for each member, and a `FoundLeftOut` for each that is left out. */
export function findLost({ members, links, leftOut }: Family, where: string | undefined): string {
  const asked = members.filter(({ isAsked }) => isAsked)
  return [
    ...(where === undefined ? [] : asked.map((member) => narrow(member, where))),
    ...members.map((member) => {
      const isLost = isLacking(member, 'r') + (where === undefined ? '' : ` AND ${isNarrowed(member)}`)
      // Made by its query, which PostgreSQL then runs on several processors.
      return `CREATE UNLOGGED TABLE ${lost(member)} AS SELECT ${keyAsOurs(member, 'r')}, 0 AS generation FROM ${ownRows(member.then)} r
  ${member.isAsked ? `WHERE ${isLost}` : 'WITH NO DATA'};
ALTER TABLE ${lost(member)} ADD PRIMARY KEY (${keyNames(member)});`
    }),
    followCascades(links),
    ...members.map((member) => `ANALYZE ${lost(member)};`),
    ...members.map((member) => report(member, links, where !== undefined)),
    ...leftOut.map(reportLeftOut),
    ...links.map(reportEmptied),
  ].join('\n')
}

function isLacking(member: Member, row: string): string {
  return `NOT EXISTS (SELECT FROM ${present(member)} p WHERE ${sameKey(member, 'p', row)})`
}

function isNarrowed(member: Member): string {
  return `EXISTS (SELECT FROM ${NARROWED} n WHERE ${sameKey(member, 'n', 'r')})`
}

/**
 * Evaluates what the operator typed as one query of its own (a cursor takes no second statement), with next to no rights,
 * in a function whose caller's rights can't be taken back (SECURITY DEFINER), in a transaction that can write nothing.
 * It travels as hex digits: psql reads no sign of it.
 */
function narrow(member: Member, where: string): string {
  const query = `SELECT ${keyAsOurs(member, identifier(member.now.table))} FROM ${ownRows(member.then)} AS ${identifier(member.now.table)} WHERE (\n${where}\n)`
  const schemas = `SELECT format('GRANT USAGE ON SCHEMA %1$I TO ${WEAK_ROLE}; GRANT SELECT ON ALL TABLES IN SCHEMA %1$I TO ${WEAK_ROLE}', nspname)
    FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'`
  return `CREATE UNLOGGED TABLE ${NARROWED} AS SELECT ${keyAsOurs(member, 'r')} FROM ${ownRows(member.then)} r WITH NO DATA;
${schemas}
\\gexec
SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', oid::regclass) FROM pg_class WHERE relrowsecurity
\\gexec
CREATE FUNCTION ${OURS}.narrow() RETURNS SETOF ${NARROWED} LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT
AS 'BEGIN RETURN QUERY EXECUTE convert_from(decode(''${Buffer.from(query).toString('hex')}'', ''hex''), ''UTF8''); END';
ALTER FUNCTION ${OURS}.narrow() OWNER TO ${WEAK_ROLE};
CREATE TEMP TABLE narrowed AS SELECT * FROM ${NARROWED} WITH NO DATA;
BEGIN READ ONLY;
INSERT INTO pg_temp.narrowed SELECT * FROM ${OURS}.narrow();
COMMIT;
INSERT INTO ${NARROWED} SELECT * FROM pg_temp.narrowed;
ANALYZE ${NARROWED};`
}

/** From generation to generation, until no row is found that references one of the last. */
function followCascades(links: readonly Link[]): string {
  if (links.length === 0) return ''
  const tables = links.map(
    (link, place) =>
      `CREATE UNLOGGED TABLE ${touched(place)} AS SELECT ${keyAsOurs(link.child, 'r')}, false AS is_present FROM ${ownRows(link.child.then)} r WITH NO DATA;`,
  )
  const steps = links.map(
    (link, place) => `    INSERT INTO ${touched(place)} SELECT DISTINCT ${keyNames(link.child, 'c')}, p.k1 IS NOT NULL
      FROM (SELECT ${keyAsOurs(link.child, 'r')} FROM ${children(link)} AND o.generation = ops_generation - 1) c
      LEFT JOIN ${present(link.child)} p ON ${alike(link.child, 'p', 'c')};
    INSERT INTO ${lost(link.child)} SELECT ${keyNames(link.child)}, ops_generation FROM ${touched(place)} WHERE NOT is_present ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS ops_count = ROW_COUNT;
    ops_total := ops_total + ops_count;`,
  )
  const loop = block(
    'ops_generation int := 0; ops_count bigint; ops_total bigint;',
    `  LOOP
    ops_generation := ops_generation + 1;
    ops_total := 0;
${steps.join('\n')}
    EXIT WHEN ops_total = 0;
  END LOOP;`,
  )
  return [...tables, loop].join('\n')
}

/** That two rows of ours have the same key. */
function alike(member: Member, a: string, b: string): string {
  return member.key.map((_, i) => `${a}.k${i + 1} ${member.operators[i]} ${b}.k${i + 1}`).join(' AND ')
}

/** An anonymous block. What is in it, names from outside too, is quoted as one text. */
export function block(declarations: string, body: string): string {
  return `DO ${literal(`DECLARE ${declarations}\nBEGIN\n${body}\nEND`)};`
}

/** `r`, the archive's rows, and `o`, lost rows of the parent that they reference, as FROM and WHERE take it. */
function children({ parent, reference, from, to }: Reach): string {
  const { columns, toColumns, operators } = reference
  const isByKey = to.name === parent.name && toColumns.every((column) => parent.key.includes(column))
  const pairs = columns.map((column, i) => {
    const referenced = toColumns[i] ?? ''
    const value = isByKey ? `o.k${parent.key.indexOf(referenced) + 1}` : `t.${identifier(referenced)}`
    return `${value} ${operators[i]} r.${identifier(column)}`
  })
  if (isByKey) return `${ownRows(from)} r, ${lost(parent)} o WHERE ${pairs.join(' AND ')}`
  return `${ownRows(from)} r, ${ownRows(to)} t, ${lost(parent)} o WHERE ${pairs.join(' AND ')} AND ${sameKey(parent, 'o', 't')}`
}

function report(member: Member, links: readonly Link[], isNarrow: boolean): string {
  const referencing = links.flatMap(({ child }, place) =>
    child === member ? [`SELECT ${keyNames(member)} FROM ${touched(place)} WHERE is_present`] : [],
  )
  const staying = referencing.length === 0 ? '0' : `(SELECT count(*) FROM (${referencing.join(' UNION ')}) c)`
  const texts = keyNames(member).map((name) => `${name}::text`)
  return `SELECT json_build_object('number', ${member.number}, 'lost', count(*),
  'taken', count(*) FILTER (WHERE generation > 0 OR ${!member.isAsked}), 'staying', ${staying},
  'met', ${member.isAsked && isNarrow ? `(SELECT count(*) FROM ${NARROWED})` : 'NULL'},
  'keys', (SELECT coalesce(json_agg(json_build_array(${texts})), '[]') FROM
    (SELECT * FROM ${lost(member)} ORDER BY ${keyNames(member)} LIMIT ${MOST_KEYS}) l)) FROM ${lost(member)};`
}

/** Most keys that are named. */
const MOST_EMPTIED = 10

function reportEmptied({ child, reference }: Link, place: number): string {
  const texts = (columns: readonly string[]): string =>
    `json_build_array(${columns.map((name) => `r.${identifier(name)}::text`).join(', ')})`
  const rows = `${touched(place)} WHERE is_present`
  return `SELECT json_build_object('emptied', ${place}, 'rows', (SELECT count(*) FROM ${rows}), 'first', (SELECT coalesce(json_agg(
    json_build_object('key', ${texts(child.key)}, 'values', ${texts(reference.columns)}) ORDER BY ${keyNames(child, 'f')}), '[]') FROM
  (SELECT * FROM ${rows} ORDER BY ${keyNames(child)} LIMIT ${MOST_EMPTIED}) f JOIN ${ownRows(child.then)} r ON ${sameKey(child, 'f', 'r')}));`
}

function reportLeftOut({ name, reaches }: LeftOut): string {
  const counts = reaches.map((reach) => `(SELECT count(*) FROM ${children(reach)})`)
  return `SELECT json_build_object('leftOut', ${literal(name)}, 'rows', ${counts.join(' + ')});`
}

/** Counts, of a member's rows that are on both sides, and meet --where, those that differ. */
export function countDiffering(member: Member, where: string | undefined): string {
  return `SELECT count(*) FROM ${ownRows(member.then)} r JOIN ${present(member)} p ON ${sameKey(member, 'p', 'r')}
  WHERE p.hash <> ${hashOf(member)}${where === undefined ? '' : ` AND ${isNarrowed(member)}`};`
}

/** The lost rows of a member, with the columns that come back. On one line, as psql's \\copy takes it. */
export function lostRows(member: Member): string {
  const columns = member.travelling.map((name) => `r.${identifier(name)}`)
  return `SELECT ${columns.join(', ')} FROM ${ownRows(member.then)} r JOIN ${lost(member)} l ON ${sameKey(member, 'l', 'r')}`
}
