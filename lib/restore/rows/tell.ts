// What a rescue of rows says: the preview, what stopped it, and what was done; as text, and as JSON.

import { Failure } from '../../core/failure.ts'
import { oneLine, plural, printable } from '../../core/format.ts'
import { listing } from '../../core/layout.ts'
import { isoLocal, moment } from '../../core/times.ts'
import { quotedName } from '../../postgres/catalog.ts'
import { identifier, literal } from '../../postgres/sql.ts'
import type { ChosenArchive } from '../restore.ts'
import { type LeftOut, type Link, type Member, movedOn } from './family.ts'
import type { Inserted, Leaning } from './insertion.ts'
import type { Found, FoundEmptied } from './lost.ts'
import type { Judged } from './transaction.ts'

/** What is known of a rescue before anybody is asked. */
export interface Rescue extends Judged {
  archive: ChosenArchive
  /** The tables that were asked for, and those with rows that come back. */
  members: readonly Member[]
  found: ReadonlyMap<Member, Found>
  /** Rows that are on both sides, and differ, of the tables that were asked for. */
  differing: ReadonlyMap<Member, number>
  /** Tables whose rows can't come back, with how many they are. */
  leftOut: readonly { table: LeftOut; rows: number }[]
  /** Links by which rows that production has referenced rows that come back. */
  emptied: readonly Emptied[]
}

interface Emptied extends FoundEmptied {
  link: Link
}

/** Most names in a text. */
const MOST_NAMED = 10

/** How many rows of a member come back. */
export function comingBack({ found, away }: Rescue, member: Member): number {
  return (found.get(member)?.lost ?? 0) - (away.find((one) => one.away === member.number)?.count ?? 0)
}

function keyText(key: readonly string[]): string {
  return oneLine(key.length === 1 ? (key[0] ?? '') : `(${key.join(', ')})`)
}

function keysText(keys: readonly string[][], count: number): string {
  return `${keys.slice(0, MOST_NAMED).map(keyText).join(', ')}${count > MOST_NAMED ? ', …' : ''}`
}

/**
 * What would come back, what stays away and why, and what else to know.
 * @param columns of the terminal
 */
export function describeRescue(rescue: Rescue, columns?: number): string {
  const { members, found, differing, away } = rescue
  const number = (count: number | undefined): string => (count ? count.toLocaleString('en') : '')
  const noted = notes(rescue).map((note) => `  ${printable(note)}`)
  const rows = members.map((member) => {
    const { lost = 0, taken = 0 } = found.get(member) ?? {}
    const staying = away.find((one) => one.away === member.number)?.count
    const differ = member.isAsked ? (differing.get(member) ?? 0).toLocaleString('en') : ''
    return [
      `  ${member.name}`,
      number(lost - taken),
      number(taken),
      number(staying),
      number(comingBack(rescue, member)) || '0',
      differ,
    ]
  })
  const [asked] = members.filter(({ isAsked }) => isAsked)
  const met = asked && found.get(asked)?.met
  if (asked && met === 0)
    return [`No row of ${printable(asked.name)} in ${named(rescue.archive)} meets this condition.`, ...noted].join('\n')
  return [
    heading(rescue, asked?.name ?? '', met ?? undefined),
    listing(
      { head: ['  table', 'lost', 'taken along', 'stay away', 'come back', 'differ'], rows, right: [1, 2, 3, 4, 5] },
      columns,
    ),
    ...noted,
  ].join('\n')
}

function named({ name, start }: ChosenArchive): string {
  return `${name}${start ? ` (${moment(start)})` : ''}`
}

/** @param met how many rows meet --where */
function heading(rescue: Rescue, table: string, met: number | undefined): string {
  const archive = named(rescue.archive)
  const isLacking = rescue.members.some((member) => (rescue.found.get(member)?.lost ?? 0) > 0)
  if (isLacking) return `Rows of ${archive} that production lacks:`
  if (met === undefined) return `Production lacks no row of ${archive}:`
  return `${plural(met, 'row')} of ${printable(table)} in ${archive} ${met === 1 ? 'meets' : 'meet'} this condition, and production has ${met === 1 ? 'it' : 'them all'}:`
}

/** Whatever the numbers alone don't say, a line each. */
function notes({ members, found, away, leftOut, differing, emptied }: Rescue): string[] {
  const coming = members.filter((member) => (found.get(member)?.lost ?? 0) > 0)
  return [
    ...coming.map((member) => {
      const { keys = [], lost = 0 } = found.get(member) ?? {}
      return `${member.name} (${member.key.join(', ')}): ${keysText(keys, lost)}`
    }),
    ...away.flatMap(({ away: table, count, first }) => {
      const name = members.find((member) => member.number === table)?.name
      const named = first.slice(0, MOST_NAMED).map(({ key, why }) => `${name} ${keyText(key)} stays away: ${why}`)
      return [...named, ...(count > MOST_NAMED ? [`${name}: ${count - MOST_NAMED} more stay away`] : [])]
    }),
    ...coming.flatMap(movedOn),
    ...members.flatMap(({ name, then, now }) => {
      const heirs = [...new Set([...now.heirs, ...then.heirs])]
      return heirs.length > 0
        ? [
            `Only ${name}'s own rows are looked at, not those of the tables that inherit from it. Name those as well: --rows ${heirs.join(',')}`,
          ]
        : []
    }),
    ...emptied.flatMap(describeEmptied),
    ...leftOut.map(
      ({ table: { name, why }, rows }) =>
        `${plural(rows, 'row')} of ${name} referenced such rows and can't come back: ${why}`,
    ),
    ...([...differing.values()].some((count) => count > 0) ? ['Rows that differ stay as production has them'] : []),
  ]
}

const ON_DELETE = { a: '', r: '', c: '', n: ' (ON DELETE SET NULL)', d: ' (ON DELETE SET DEFAULT)' }

/** Rows that exist stay as they are: says which reference each had, and how to set it by hand. */
function describeEmptied({ link: { child, reference }, rows, first }: Emptied): string[] {
  const [one] = first
  const keys = first.map(({ key }) => key)
  const { from, to, columns, onDelete } = reference
  // Without its foreign key a row may have kept what it referenced.
  const isHeld = child.now.references.some(
    (other) => other.from === from && other.to === to && String(other.columns) === String(columns),
  )
  if (!isHeld)
    return [
      `${plural(rows, 'row')} of ${child.name} referenced such rows in the archive; production has them, and they stay as they are: ${keysText(keys, rows)}`,
    ]
  const equal = (names: readonly string[], values: readonly string[]): string[] =>
    names.map((name, i) => `${identifier(name)} = ${literal(values[i] ?? '')}`)
  return [
    `${plural(rows, 'row')} of ${child.name} referenced such rows in the archive and don't any more${ON_DELETE[onDelete]}: ${keysText(keys, rows)}`,
    `They stay as they are. To set such a reference once the rows are back: UPDATE ${quotedName(child.now)} SET ${equal(columns, one?.values ?? []).join(', ')} WHERE ${equal(child.key, one?.key ?? []).join(' AND ')};`,
    ...(rows > 1
      ? [`What each of them referenced: restore --test ARCHIVE, then ${child.name}.${columns.join(', ')}`]
      : []),
  ]
}

/** @throws Failure when rows would reference what production lacks */
export function requireSupport(members: readonly Member[], { leaning }: Judged): void {
  if (leaning.length === 0) return
  const nameOf = (one: Leaning): string => members.find(({ number }) => number === one.leaning)?.name ?? ''
  const lines = leaning.map(
    (one) =>
      `  ${plural(one.rows, 'row')} of ${nameOf(one)} (${keysText(one.keys, one.rows > one.keys.length ? Number.POSITIVE_INFINITY : 0)}) reference ${plural(one.missing, 'row')} of ${one.on}: ${keysText(one.first, one.missing > one.first.length ? Number.POSITIVE_INFINITY : 0)}`,
  )
  const asked = members.filter(({ isAsked }) => isAsked).map(({ name }) => name)
  const more = [...new Set(leaning.map(({ on }) => on))]
  throw new Failure(
    `The rows lean on rows that production lacks, and that nobody asked for:\n${lines.map(printable).join('\n')}`,
    `If those were lost, too: --rows ${[...new Set([...asked, ...more])].join(',')}. If they were deleted on purpose, narrow by --where.`,
  )
}

/** What was asked for and did not come back. @throws Failure that names it */
export function requireAll(rescue: Rescue): void {
  const { members, away, leftOut } = rescue
  const lines = [
    ...away.flatMap(({ away: number, count, first }) => {
      const name = members.find((member) => member.number === number)?.name ?? ''
      return [
        ...first.slice(0, MOST_NAMED).map(({ key, why }) => `${name} ${keyText(key)}: ${why}`),
        ...(count > MOST_NAMED ? [`${name}: ${count - MOST_NAMED} more`] : []),
      ]
    }),
    ...leftOut
      .filter(({ table }) => table.isThere)
      .map(({ table, rows }) => `${plural(rows, 'row')} of ${table.name}: ${table.why}`),
  ]
  if (lines.length === 0) return
  throw new Failure(
    `Not brought back:\n${lines.map((line) => `  ${printable(line)}`).join('\n')}`,
    'Everything else is there. To see such rows as they were: restore --test ARCHIVE',
  )
}

/** @param done undefined as long as nothing is done */
export function rescueJson(
  rescue: Rescue,
  done?: { inserted: readonly Inserted[]; file: string | undefined },
): unknown {
  const { archive, members, found, differing, away, leftOut, emptied } = rescue
  return {
    archive: archive.name,
    start: archive.start ? isoLocal(archive.start) : null,
    tables: members.map((member) => {
      const { lost = 0, taken = 0, staying = 0, keys = [] } = found.get(member) ?? {}
      const kept = away.find((one) => one.away === member.number)
      return {
        table: member.name,
        asked: member.isAsked,
        lost: lost - taken,
        takenAlong: taken,
        differ: member.isAsked ? (differing.get(member) ?? 0) : null,
        staying,
        stayAway: kept?.count ?? 0,
        broughtBack: done ? (done.inserted.find(({ number }) => number === member.number)?.inserted ?? 0) : null,
        key: member.key,
        keys,
        keysAway: kept?.first ?? [],
        notes: movedOn(member),
      }
    }),
    leftOut: leftOut.map(({ table: { name, why }, rows }) => ({ table: name, rows, why })),
    emptied: emptied.map(({ link: { child, reference }, rows, first }) => ({
      table: child.name,
      columns: reference.columns,
      rows,
      first,
    })),
    file: done?.file ?? null,
  }
}
