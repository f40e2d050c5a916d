// The tables that an operator names: as SQL writes them, or as the catalog has them.

import { EXIT, Failure } from '../../core/failure.ts'
import { nearest } from '../../core/format.ts'
import type { Catalog, TableName } from '../../postgres/catalog.ts'
import { requireExpression } from '../../postgres/expression.ts'

/** What the operator wants back. */
export interface Wish {
  tables: readonly Wanted[]
  /** A condition on the archive's rows of the one table. */
  where: string | undefined
}

/** @throws Failure (exit status 2) when what was typed after --rows or --where is none */
export function readWish({ rows = '', where }: Readonly<Record<string, string>>): Wish {
  const tables = parseTables(rows)
  if (where !== undefined) {
    if (tables.length > 1)
      throw new Failure(
        '--where is about the columns of one table: name one with --rows.',
        'See: restore --help',
        EXIT.usage,
      )
    requireExpression(where, '--where')
  }
  return { tables, where }
}

/** A name as it was typed, and its parts without quotes: with or without the schema. */
interface Wanted {
  typed: string
  parts: { name: string; isQuoted: boolean }[]
}

/** With this table's rows Django knows which migrations ran: rows of another time would make it lie. */
const MIGRATIONS = 'django_migrations'

/**
 * Reads `TABLE[,TABLE…]`; a comma or a dot in quotes belongs to the name. Pure.
 * @throws Failure (exit status 2) for what is no table's name, and for tables whose rows nobody may bring back
 */
function parseTables(text: string): Wanted[] {
  return splitOutsideQuotes(text, ',').map((typed) => {
    const parts = splitOutsideQuotes(typed, '.').map((part) => {
      const isQuoted = /^"(?:[^"]|"")+"$/.test(part)
      return { name: isQuoted ? part.slice(1, -1).replaceAll('""', '"') : part, isQuoted }
    })
    if (parts.length > 2 || parts.some(({ name, isQuoted }) => name === '' || (!isQuoted && name.includes('"'))))
      throw new Failure(
        `--rows takes names of tables, with commas between them: ${typed || 'one is empty'}.`,
        'For example: --rows libraries_library,libraries_review',
        EXIT.usage,
      )
    const [schema, table] = [parts.at(-2)?.name.toLowerCase() ?? '', parts.at(-1)?.name.toLowerCase() ?? '']
    if (schema.startsWith('pg_') || schema === 'information_schema' || table.startsWith('pg_'))
      throw new Failure(`${typed} is a table of PostgreSQL itself: its rows don't come back.`, '', EXIT.usage)
    if (table === MIGRATIONS)
      throw new Failure(
        `${typed} says which migrations ran on this database. The archive's rows would be wrong here.`,
        "To go back to the archive's schema, too, restore the whole database: restore --db-only ARCHIVE",
        EXIT.usage,
      )
    return { typed, parts }
  })
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts = ['']
  let isQuoted = false
  for (const sign of text) {
    if (sign === '"') isQuoted = !isQuoted
    if (sign === separator && !isQuoted) parts.push('')
    else parts.push(`${parts.pop()}${sign}`)
  }
  return parts.map((part) => part.trim())
}

/**
 * Production's tables that were named, each once. Pure.
 * @throws Failure with the nearest names for one that is not there, or with all that it may be
 */
export function findTables(wanted: readonly Wanted[], catalog: Catalog): TableName[] {
  return [...new Set(wanted.map((one) => findTable(one, catalog)))]
}

function findTable({ typed, parts }: Wanted, catalog: Catalog): TableName {
  const tables = [...catalog.values()]
  // As it was typed first, then as SQL reads it.
  for (const folded of [false, true]) {
    const [table = '', schema] = parts
      .map(({ name, isQuoted }) => (folded && !isQuoted ? name.toLowerCase() : name))
      .reverse()
    const found = tables.filter((one) => one.table === table && (schema === undefined || one.schema === schema))
    if (found.length > 1)
      throw new Failure(
        `There are ${found.length} tables ${typed}.`,
        `Name one: ${found.map(({ name }) => name).join(', ')}`,
      )
    if (found[0]) return found[0].name
  }
  const name = parts.map((part) => part.name).join('.')
  const candidates = tables.flatMap((one) => (parts.length > 1 ? [one.name] : [one.table]))
  const near = nearest(name, [...new Set(candidates)], 3)
  throw new Failure(
    `Production has no table ${typed}.`,
    near.length > 0
      ? `Did you mean ${near.join(', or ')}?`
      : `It has: ${candidates.slice(0, 10).join(', ')}${candidates.length > 10 ? ', …' : ''}`,
  )
}
