// What happens in production: lost rows are fetched beside its tables, judged, and inserted.

import { aCount, aText, listOf, record } from '../../core/outside.ts'
import { type Catalog, ownRows, quotedName, type Reference, type Unique } from '../../postgres/catalog.ts'
import { AS_THE_APP, FIXED_TEXT, fetchRows } from '../../postgres/session.ts'
import { identifier, literal } from '../../postgres/sql.ts'
import type { Link, Member } from './family.ts'
import { block, keyNames, lostRows, MOST_KEYS, sameKey } from './lost.ts'

/** A member's rows from the archive, with production's columns. */
function back({ number }: Member): string {
  return `pg_temp.back_${number}`
}

/** The keys of a member's rows that were inserted. */
function inserted({ number }: Member): string {
  return `pg_temp.inserted_${number}`
}

/** Rows that stay away, and why: by a table's number, and the row's place among those that were fetched. */
const AWAY = 'pg_temp.away'

function isAway({ number }: Member, alias: string): string {
  return `EXISTS (SELECT FROM ${AWAY} a WHERE a.member = ${number} AND a.place = ${alias}.ctid)`
}

const KEYS = listOf(listOf(aText))

/** What a member got. */
export const anInserted = record({ number: aCount, inserted: aCount })
export type Inserted = ReturnType<typeof anInserted>

/** Rows of a member that stay away, and the first of them. */
const AWAY_ROWS = record({ away: aCount, count: aCount, first: listOf(record({ key: listOf(aText), why: aText })) })
export type Away = ReturnType<typeof AWAY_ROWS>

/** Rows of a member that reference what production lacks. */
const LEANING_ROWS = record({
  leaning: aCount,
  /** The table that is referenced. */
  on: aText,
  rows: aCount,
  /** How many of its rows are lacking. */
  missing: aCount,
  /** The first of those. */
  first: KEYS,
  /** The first keys of the rows that lean on them. */
  keys: KEYS,
})
export type Leaning = ReturnType<typeof LEANING_ROWS>

/** A line that is printed when rows are judged. */
export function aJudgement(value: unknown): Away | Leaning {
  return Object.hasOwn(Object(value), 'leaning') ? LEANING_ROWS(value) : AWAY_ROWS(value)
}

/** What is inserted, and where it comes from. */
export interface Insertion {
  /** The members with rows that come back; a row's parents come before it. */
  members: readonly Member[]
  /** Those between them. */
  links: readonly Link[]
  /** Production's tables. */
  now: Catalog
  /** The name of the database beside production. */
  restoring: string
}

/** The transaction that only looks: it can write nothing but its own temporary tables. */
export function rehearse(insertion: Insertion): string {
  return [
    'BEGIN READ WRITE;',
    makeTables(insertion.members),
    'SET TRANSACTION READ ONLY;',
    judge(insertion),
    'ROLLBACK;',
  ].join('\n')
}

/** The beginning of the one that writes. Prints its `Place`. */
export const BEGIN = `BEGIN READ WRITE;
SELECT json_build_object('transaction', txid_current(), 'database', oid::bigint) FROM pg_database WHERE datname = current_database();`

/** What comes next in it. */
export function prepare(insertion: Insertion): string {
  return [makeTables(insertion.members), judge(insertion)].join('\n')
}

function makeTables(members: readonly Member[]): string {
  return [
    `CREATE TEMP TABLE away (member int, place tid, why text) ON COMMIT DROP;`,
    ...members.flatMap((member) => [
      `CREATE TEMP TABLE back_${member.number} (LIKE ${quotedName(member.now)} INCLUDING GENERATED) ON COMMIT DROP;`,
      // What the archive does not have gets its default when it is inserted.
      ...member.now.columns
        .filter(({ name, notNull, isGenerated }) => notNull && !isGenerated && !member.travelling.includes(name))
        .map(({ name }) => `ALTER TABLE ${back(member)} ALTER ${identifier(name)} DROP NOT NULL;`),
    ]),
  ].join('\n')
}

/** Fetches the rows, and prints an `Away` and a `Leaning` for each member that has such rows. */
function judge({ members, links, now, restoring }: Insertion): string {
  return [
    ...members.map((member) =>
      fetchRows(`${back(member)} (${member.travelling.map(identifier)})`, restoring, lostRows(member)),
    ),
    // Temporary tables have no statistics of their own accord: all that a few rows reference would be read.
    ...members.map((member) => `ANALYZE ${back(member)};`),
    ...members.flatMap((member) => member.now.uniques.map((unique) => keepAway(member, unique))),
    keepReferencingAway(links),
    ...members.map(reportAway),
    ...members.flatMap((member) =>
      member.now.references.map((reference) => reportLeaning(member, reference, { members, now })),
    ),
  ].join('\n')
}

/** Values that somebody has taken since; the key itself may be taken, too. */
function keepAway(member: Member, unique: Unique): string {
  const isKnown = unique.columns.every(
    (name) =>
      member.travelling.includes(name) ||
      member.now.columns.some((column) => column.name === name && column.isGenerated),
  )
  // A new column's default is known when it is there.
  if (!isKnown) return ''
  const { compared, predicate, isNullAlike } = unique
  const values = compared.map(({ expression }, i) => `(${expression}) AS v${i + 1}`).join(', ')
  const rows = (from: string, more = ''): string =>
    `(SELECT ${more}${values} FROM ${from}${predicate ? ` WHERE ${predicate}` : ''})`
  const alike = (other: string): string =>
    compared
      .map(({ operator }, i) => {
        const [a, b] = [`${other}.v${i + 1}`, `b.v${i + 1}`]
        return isNullAlike ? `(${a} ${operator} ${b} OR (${a} IS NULL AND ${b} IS NULL))` : `${a} ${operator} ${b}`
      })
      .join(' AND ')
  const why = unique.isPrimary
    ? 'a row with its key has been inserted since'
    : `its ${compared.map(({ expression }) => expression).join(', ')} is taken (${unique.name})`
  const stay = (isTaken: string): string => `INSERT INTO ${AWAY} SELECT ${member.number}, b.ctid, ${literal(why)}
  FROM ${rows(back(member), 'ctid, ')} b WHERE NOT ${isAway(member, 'b')} AND EXISTS (${isTaken});`
  const isNew = !member.then.uniques.some((other) => sameRule(other) === sameRule(unique))
  return [
    stay(`SELECT FROM ${rows(ownRows(member.now))} p WHERE ${alike('p')}`),
    // Only a rule that the archive did not have can be broken by the archive's own rows.
    ...(isNew
      ? [
          stay(
            `SELECT FROM ${rows(back(member), 'ctid, ')} o WHERE o.ctid < b.ctid AND NOT ${isAway(member, 'o')} AND ${alike('o')}`,
          ),
        ]
      : []),
  ].join('\n')
}

function sameRule({ compared, predicate, isNullAlike }: Unique): string {
  return JSON.stringify([compared, predicate, isNullAlike])
}

/** What references a row that stays away stays away, too. */
function keepReferencingAway(links: readonly Link[]): string {
  const whole = links.filter(
    ({ child, parent, reference }) => reference.from === child.name && reference.to === parent.name,
  )
  const usable = whole.filter(
    ({ child, parent, reference: { columns, toColumns } }) =>
      columns.every((name) => child.travelling.includes(name)) &&
      toColumns.every((name) => parent.travelling.includes(name)),
  )
  if (usable.length === 0) return ''
  const steps = usable.map(
    ({
      child,
      parent,
      reference,
    }) => `    INSERT INTO ${AWAY} SELECT ${child.number}, b.ctid, ${literal(`it references a row of ${parent.name} that stays away`)}
      FROM ${back(child)} b WHERE NOT ${isAway(child, 'b')} AND EXISTS (SELECT FROM ${back(parent)} s WHERE ${pairs(reference, 's')} AND ${isAway(parent, 's')});
    GET DIAGNOSTICS ops_count = ROW_COUNT;
    ops_total := ops_total + ops_count;`,
  )
  return block(
    'ops_count bigint; ops_total bigint;',
    `  LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM ${AWAY});
    ops_total := 0;
${steps.join('\n')}
    EXIT WHEN ops_total = 0;
  END LOOP;`,
  )
}

/** That `b` references a row. */
function pairs({ columns, toColumns, operators }: Reference, row: string): string {
  return columns
    .map((column, i) => `${row}.${identifier(toColumns[i] ?? '')} ${operators[i]} b.${identifier(column)}`)
    .join(' AND ')
}

function keyAsTexts({ key }: Member, alias: string): string {
  return `json_build_array(${key.map((name) => `${alias}.${identifier(name)}::text`).join(', ')})`
}

function reportAway(member: Member): string {
  const rows = `${AWAY} a JOIN ${back(member)} b ON b.ctid = a.place WHERE a.member = ${member.number}`
  return `SELECT json_build_object('away', ${member.number}, 'count', count(*), 'first',
  (SELECT coalesce(json_agg(one), '[]') FROM (SELECT json_build_object('key', ${keyAsTexts(member, 'b')}, 'why', a.why) AS one
    FROM ${rows} ORDER BY ${member.key.map((name) => `b.${identifier(name)}`)} LIMIT ${MOST_KEYS}) l)) FROM ${AWAY} a WHERE a.member = ${member.number};`
}

/** Most rows, and most values, that a message names. */
const MOST_NAMED = 5

function reportLeaning(
  member: Member,
  reference: Reference,
  { members, now }: Pick<Insertion, 'members' | 'now'>,
): string {
  const { columns } = reference
  const to = now.get(reference.to)
  // What a new column gets is not the archive's.
  if (!to || reference.from !== member.name || !columns.every((name) => member.travelling.includes(name))) return ''
  const others = members.filter(({ name }) => name === (to.root ?? to.name))
  const values = columns.map((name) => `b.${identifier(name)}`)
  const rows = `${back(member)} b WHERE ${values.map((value) => `${value} IS NOT NULL`).join(' AND ')} AND NOT ${isAway(member, 'b')}
    AND NOT EXISTS (SELECT FROM ${ownRows(to)} p WHERE ${pairs(reference, 'p')})
    ${others.map((other) => `AND NOT EXISTS (SELECT FROM ${back(other)} s WHERE ${pairs(reference, 's')})`).join(' ')}`
  const texts = `json_build_array(${values.map((value) => `${value}::text`).join(', ')})`
  return `SELECT json_build_object('leaning', ${member.number}, 'on', ${literal(reference.to)}, 'rows', count(*),
  'missing', count(DISTINCT (${values.join(', ')})),
  'first', (SELECT json_agg(one) FROM (SELECT ${texts} AS one FROM ${rows} GROUP BY ${values.join(', ')} ORDER BY ${values.join(', ')} LIMIT ${MOST_NAMED}) l),
  'keys', (SELECT json_agg(one) FROM (SELECT ${keyAsTexts(member, 'b')} AS one FROM ${rows} ORDER BY ${member.key.map((name) => `b.${identifier(name)}`)} LIMIT ${MOST_NAMED}) l)) FROM ${rows} HAVING count(*) > 0;`
}

/**
 * Inserts the rows that don't stay away, all in one statement: PostgreSQL looks at references when a statement has ended, so
 * that rows may reference each other in a circle. Prints how many of each member were inserted.
 */
export function insert({ members }: Insertion): string {
  const steps = members.flatMap((member) => {
    const columns = member.travelling.map(identifier)
    const conflict =
      member.now.key?.isDeferrable === false ? ` ON CONFLICT (${member.key.map(identifier)}) DO NOTHING` : ''
    return [
      `i${member.number} AS (INSERT INTO ${quotedName(member.now)} AS r (${columns}) OVERRIDING SYSTEM VALUE
  SELECT ${columns.map((column) => `b.${column}`)} FROM ${back(member)} b WHERE NOT ${isAway(member, 'b')}${conflict}
  RETURNING ${member.key.map((name) => `r.${identifier(name)}`)})`,
      `k${member.number} AS (INSERT INTO ${inserted(member)} SELECT * FROM i${member.number})`,
    ]
  })
  // In the order of the members: each is asked for, and so inserted, after the one before.
  const counts = members.map(({ number }) => `(${number}, (SELECT count(*) FROM i${number}))`)
  return [
    ...members.map(
      (member) => `CREATE TEMP TABLE inserted_${member.number} ON COMMIT DROP AS
  SELECT ${member.key.map((name, i) => `${identifier(name)} AS k${i + 1}`)} FROM ${quotedName(member.now)} WITH NO DATA;`,
    ),
    AS_THE_APP,
    `WITH ${steps.join(',\n')}\nSELECT json_build_object('number', n, 'inserted', c) FROM (VALUES ${counts}) v (n, c);`,
    ...members.map(requireInserted),
    ...members.flatMap(raiseSequences),
    // What is deferred is looked at now: after this the end of the transaction can bring nothing new.
    'SET CONSTRAINTS ALL IMMEDIATE;',
    // What is left is to name keys.
    FIXED_TEXT,
  ].join('\n')
}

/** What a transaction is told when another attempt may go well (PostgreSQL's serialization_failure). */
const AGAIN = '40001'

/** A row that was inserted under the same key while the statement ran is judged by another attempt. */
function requireInserted(member: Member): string {
  return block(
    '',
    `  IF EXISTS (SELECT FROM ${back(member)} b JOIN ${ownRows(member.now)} r ON ${member.key.map((name, i) => `r.${identifier(name)} ${member.operators[i]} b.${identifier(name)}`).join(' AND ')}
    WHERE NOT ${isAway(member, 'b')} AND NOT EXISTS (SELECT FROM ${inserted(member)} i WHERE ${sameKey(member, 'i', 'b')})) THEN
    RAISE EXCEPTION USING ERRCODE = '${AGAIN}', MESSAGE = ${literal(`rows of ${member.name} were inserted meanwhile`)};
  END IF;`,
  )
}

/** A sequence that is behind would give out a key that is there. */
function raiseSequences(member: Member): string[] {
  const { columns } = member.now
  return columns.flatMap(({ name, sequence }) => {
    if (sequence === null || !member.travelling.includes(name)) return []
    const column = identifier(name)
    const all = member.key[0] === name ? `, (SELECT max(r.${column}) FROM ${ownRows(member.now)} r)` : ''
    return [
      block(
        '',
        `  PERFORM setval(${literal(sequence)}, m.largest::bigint) FROM ${sequence} s,
    (SELECT greatest((SELECT max(b.${column}) FROM ${back(member)} b)${all}) AS largest) m
    WHERE m.largest > s.last_value OR (m.largest = s.last_value AND NOT s.is_called);`,
      ),
    ]
  })
}

/** Prints an `Away` for each member with rows that are not there in the end: a trigger can leave a row out without an error. */
export function reportMissing({ members }: Insertion): string {
  return [
    ...members.map((member) => {
      const triggers = `(SELECT string_agg(tgname, ', ' ORDER BY tgname) FROM pg_trigger
    WHERE tgrelid = ${literal(quotedName(member.now))}::regclass AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 4 = 4)`
      const same = member.key
        .map((name, i) => `r.${identifier(name)} ${member.operators[i]} b.${identifier(name)}`)
        .join(' AND ')
      return `INSERT INTO ${AWAY} SELECT ${member.number}, b.ctid, 'PostgreSQL left it out when it was inserted' || coalesce(': see the trigger ' || ${triggers}, '')
  FROM ${back(member)} b WHERE NOT ${isAway(member, 'b')} AND NOT EXISTS (SELECT FROM ${ownRows(member.now)} r WHERE ${same});`
    }),
    ...members.map(reportAway),
  ].join('\n')
}

/** Prints the keys that were inserted, as COPY reads them. */
export function insertedKeys(member: Member): string {
  return `COPY (SELECT ${keyNames(member)} FROM ${inserted(member)} ORDER BY ${keyNames(member)}) TO STDOUT;`
}
