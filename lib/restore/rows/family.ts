// The tables that a rescue of rows is about: those that were asked for, and all whose rows reference theirs.

import { Failure } from '../../core/failure.ts'
import { plural } from '../../core/format.ts'
import type { Catalog, Column, Reference, Table, TableName } from '../../postgres/catalog.ts'

/** A table whose rows may come back. */
export interface Member {
  /** Stands for the table in the names of our own tables. */
  number: number
  name: TableName
  /** In production. */
  now: Table
  /** In the archive. */
  then: Table
  isAsked: boolean
  key: readonly string[]
  /** Compares a column of the key with itself. */
  operators: readonly string[]
  /** The columns that come back: both have them, and production does not compute them. */
  travelling: readonly string[]
}

/** A reference to a member's rows. */
export interface Reach {
  parent: Member
  reference: Reference
  /** The archive's two tables, of which each may be a partition. */
  from: Table
  to: Table
}

/** A reference from a member's rows to another member's, or its own. */
export interface Link extends Reach {
  child: Member
}

/** A table whose rows reference a member's, and can't come back. */
export interface LeftOut {
  name: TableName
  why: string
  /** Production has the table. */
  isThere: boolean
  reaches: readonly Reach[]
}

export interface Family {
  members: readonly Member[]
  /** As the archive and production have them together: a cascade went by them. */
  links: readonly Link[]
  leftOut: readonly LeftOut[]
}

/**
 * Finds the members, and how they hang together. Pure.
 * @param asked names of production's tables
 * @param then the archive's tables; before it is imported, production's own are taken for them
 * @throws Failure when the rows of a table that was asked for can't be told apart, or brought back
 */
export function findFamily(asked: readonly TableName[], now: Catalog, then: Catalog): Family {
  for (const name of asked) requireRescuable(name, now, then)
  const references = allReferences(now, then)
  const rootOf = (name: TableName): TableName => (then.get(name) ?? now.get(name))?.root ?? name
  const names = [...asked]
  for (const name of names)
    for (const { from, to } of references)
      if (rootOf(to) === name && !names.includes(rootOf(from)) && isRescuable(rootOf(from), now, then))
        names.push(rootOf(from))
  const numbers = [...now.keys()]
  const members = new Map(
    names.map((name) => [name, memberOf(name, { now, then, number: numbers.indexOf(name), asked })] as const),
  )
  const reaches = references.flatMap((reference) => {
    const parent = members.get(rootOf(reference.to))
    const [from, to] = [then.get(reference.from), then.get(reference.to)]
    return parent && from && to ? [{ parent, reference, from, to }] : []
  })
  const links = reaches.flatMap((reach) => {
    const child = members.get(rootOf(reach.reference.from))
    return child ? [{ ...reach, child }] : []
  })
  const others = new Set(reaches.map(({ reference }) => rootOf(reference.from)).filter((name) => !members.has(name)))
  const leftOut = [...others].map((name) => ({
    name,
    why: whyNot(name, now, then) ?? '',
    isThere: now.has(name),
    reaches: reaches.filter(({ reference }) => rootOf(reference.from) === name),
  }))
  return { members: [...members.values()], links, leftOut }
}

/** Those of both, each once, as far as the archive has their columns. */
function allReferences(now: Catalog, then: Catalog): Reference[] {
  const has = (table: TableName, columns: readonly string[]): boolean =>
    columns.every((name) => then.get(table)?.columns.some((column) => column.name === name))
  const all = [...then.values(), ...now.values()].flatMap(({ references }) => references)
  const known = all.filter(({ from, columns, to, toColumns }) => has(from, columns) && has(to, toColumns))
  const same = ({ from, columns, to, toColumns }: Reference): string => JSON.stringify([from, columns, to, toColumns])
  return [...new Map(known.map((reference) => [same(reference), reference])).values()]
}

interface Around {
  now: Catalog
  then: Catalog
  number: number
  asked: readonly TableName[]
}

function memberOf(name: TableName, { now: all, then: others, number, asked }: Around): Member {
  const [now, then] = [all.get(name), others.get(name)]
  if (!now?.key || !then) throw new Failure(`The table ${name} can't be compared.`)
  const travelling = now.columns
    .filter((column) => !column.isGenerated && then.columns.some((other) => other.name === column.name))
    .map((column) => column.name)
  const { columns: key, operators } = now.key
  return { number, name, now, then, isAsked: asked.includes(name), key, operators, travelling }
}

function requireRescuable(name: TableName, now: Catalog, then: Catalog): void {
  const why = whyNot(name, now, then)
  if (why)
    throw new Failure(
      `The rows of ${name} can't be brought back alone: ${why}.`,
      'Look around in the archive instead: restore --test ARCHIVE',
    )
}

function isRescuable(name: TableName, now: Catalog, then: Catalog): boolean {
  return whyNot(name, now, then) === undefined
}

const KINDS = {
  v: 'it is a view, which shows the rows of tables',
  m: 'it is a materialized view',
  f: 'it is on another server',
}

/** Why rows of a table can't be told apart or brought back; undefined when they can. */
function whyNot(name: TableName, all: Catalog, others: Catalog): string | undefined {
  const [now, then] = [all.get(name), others.get(name)]
  if (!now) return 'production has no such table any more'
  if (now.extension) return `it belongs to the extension ${now.extension}`
  if (now.kind !== 'r' && now.kind !== 'p') return KINDS[now.kind]
  if (now.root) return `it is a partition. Name the partitioned table: --rows ${now.root}`
  if (!now.key) return 'it has no primary key, by which rows are told apart'
  if (!then) return 'the archive has no such table'
  if (!then.key) return 'it had no primary key when the archive was made'
  if (String(then.key.columns) !== String(now.key.columns))
    return `its primary key is now (${now.key.columns.join(', ')}), and was (${then.key.columns.join(', ')})`
  const moved = now.key.columns.find((column) => !isComparable(typeOf(now, column), typeOf(then, column)))
  return moved && `its primary key's ${moved} is now ${typeOf(now, moved)}, and was ${typeOf(then, moved)}`
}

function typeOf({ columns }: Table, name: string): string {
  return columns.find((column) => column.name === name)?.type ?? ''
}

/** Whether two types of a key's column compare: one and the same, numbers with numbers, texts with texts. */
function isComparable(a: string, b: string): boolean {
  const kinds = [/^(smallint|integer|bigint|numeric(\(.*\))?)$/, /^(text|character varying(\(\d+\))?)$/]
  return a === b || kinds.some((kind) => kind.test(a) && kind.test(b))
}

/** What of a table stays behind, or is made up: a line each. */
export function movedOn({ name, now, then }: Member): string[] {
  const without = (a: Table, b: Table): Column[] =>
    a.columns.filter((column) => !column.isGenerated && !b.columns.some((other) => other.name === column.name))
  const list = (columns: Column[]): string => columns.map((column) => column.name).join(', ')
  const [gone, added] = [without(then, now), without(now, then)]
  return [
    ...(gone.length > 0
      ? [
          `${name} has no ${list(gone)} any more: what the archive has in ${gone.length === 1 ? 'it' : 'them'} stays behind`,
        ]
      : []),
    ...(added.length > 0
      ? [`${name} has ${list(added)} only since the archive: the rows get the ${plural(added.length, 'default')} there`]
      : []),
  ]
}

/** @throws Failure when production wants a value that the archive does not have */
export function requireDefaults({ name, now, then }: Member): void {
  const wanting = now.columns.find(
    (column) => column.notNull && !column.isFilled && !then.columns.some((other) => other.name === column.name),
  )
  if (wanting)
    throw new Failure(
      `Rows of ${name} can't be brought back: its column ${wanting.name} is newer than the archive, may not be empty, and has no default.`,
      `Give it one, and take it away again afterwards: ALTER TABLE ${name} ALTER ${wanting.name} SET DEFAULT …`,
    )
}

/** The members in an order in which parents come before their children, as far as there are no circles. Pure. */
export function parentsFirst(members: readonly Member[], links: readonly Link[]): Member[] {
  const ordered = new Set<Member>()
  const begun = new Set<Member>()
  const add = (member: Member): void => {
    if (begun.has(member)) return
    begun.add(member)
    for (const { child, parent } of links) if (child === member && members.includes(parent)) add(parent)
    ordered.add(member)
  }
  members.forEach(add)
  return [...ordered]
}
