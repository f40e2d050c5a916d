// The files that take rows out again which `restore --rows` brought back: their names, and what their heads tell.

import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { stateFolder } from '../cli/state.ts'
import { Failure } from '../core/failure.ts'
import { plural, printable } from '../core/format.ts'
import { aBoolean, aCount, pairOf, record, tryJson } from '../core/outside.ts'
import { quote } from '../core/quote.ts'
import type { Env } from '../core/shell.ts'
import { localTimestamp } from '../core/times.ts'
import { psqlLine } from '../dokku/by-hand.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { FIXED_TEXT } from './session.ts'
import { ANSWER_MS, attempt, identifier, literal, rows, serverOf } from './sql.ts'

/** Where the rows were inserted. */
export const aPlace = record({
  /** The number of the transaction that inserted them. */
  transaction: aCount,
  /** The database's own number (OID): a swap gives its name to another one. */
  database: aCount,
})
export type Place = ReturnType<typeof aPlace>

/** What a file says of itself. */
export interface About {
  archive: string
  production: Service
  place: Place
  /** How many rows of each table came back. */
  inserted: readonly { name: string; rows: number }[]
}

/** Of a file that is made now. */
export function wayBackPath(env: Env, { transaction }: Place): string {
  const stamp = localTimestamp(new Date()).replaceAll(':', '')
  return join(stateFolder(env), `rows-brought-back-${stamp}-${transaction}.sql`)
}

/** The lines that a file begins with; psql passes over them. */
export function headOf({ archive, production, inserted }: About, path: string): string {
  return `${titleOf(production, printable(archive))}
${inserted
  .filter((one) => one.rows > 0)
  .map((one) => `${ROWS}${plural(one.rows, 'row')} of ${printable(one.name)}\n`)
  .join('')}-- To take them out again, all of them or, if a row that is not in this file references one of them, none:
--   ${commandOf(production, path)}
`
}

/** The condition of a file that another database is production now. */
export function isAnother({ database }: Place): string {
  return `(SELECT oid FROM pg_database WHERE datname = current_database()) <> ${database}`
}

function titleOf({ database, name }: Service, archive: string): string {
  return `-- Rows that restore --rows brought back from ${archive} into ${database} of ${name}, by their keys:`
}

/** What a line of the head begins with that tells of a table's rows. */
const ROWS = '--   * '

/** What a person types to take the rows out again. */
export function commandOf(production: Service, path: string): string {
  return `${psqlLine(production)} < ${quote(path)}`
}

/** A head is not longer, but for a database of very many tables. */
const HEAD_BYTES = 32 * 1024

/** A file that is there. */
export interface WayBack {
  path: string
  at: Date
  archive: string
  /** A phrase for each table. */
  inserted: string[]
  /**
   * `useless`: its rows went into what is not production now, or never came back; `gone`: production has none of its rows any
   * more; `usable`: it has some, or nobody knows.
   */
  state: 'usable' | 'gone' | 'useless'
}

/** Those of a database's, newest first. */
export async function findWayBacks(env: Env, dokku: Dokku, production: Service): Promise<WayBack[]> {
  const files = await findFiles(stateFolder(env), production)
  if (files.length === 0) return []
  // Of a file that was not finished the rows are not there. A transaction that is no more known of is an old one.
  const there = await rows(
    dokku,
    serverOf(production),
    `SELECT json_build_object('transaction', n, 'database', (SELECT oid::bigint FROM pg_database WHERE datname = ${literal(production.database)}))
     FROM unnest(ARRAY[${files.map(({ place }) => place.transaction)}]::bigint[]) n
     WHERE CASE WHEN n < txid_snapshot_xmax(txid_current_snapshot()) THEN coalesce(txid_status(n), 'committed') = 'committed' END;`,
    aPlace,
  )
  const usable = files.filter(({ place }) =>
    there.some(({ transaction, database }) => transaction === place.transaction && database === place.database),
  )
  const gone = await findGone(dokku, production, usable)
  return files.map((found) => {
    const { place: _, ...file } = found
    return { ...file, state: gone.has(found) ? 'gone' : usable.includes(found) ? 'usable' : 'useless' }
  })
}

type Found = Omit<WayBack, 'state'> & { place: Place }

/** What is sent to production at most, to be looked for: more than 100,000 keys that are numbers. */
const MOST_BYTES = 2 * 1024 * 1024

/** Those of which production has no row. One question for all of them, the newest first; what is too large is not asked for. */
async function findGone(dokku: Dokku, production: Service, files: readonly Found[]): Promise<Set<Found>> {
  let bytes = 0
  const asked: string[] = []
  for (const [i, { path }] of files.entries()) {
    const { size } = await stat(path).catch(() => ({ size: MOST_BYTES }))
    bytes += size
    if (bytes > MOST_BYTES) break
    const tables = readKeys(await readFile(path, 'utf8').catch(() => ''))
    if (tables.length > 0)
      asked.push(`SELECT json_build_array(${i}, ${tables.map(({ isThere }) => isThere).join('\n  OR ')});`)
  }
  if (asked.length === 0) return new Set()
  // A table that is no more, or a key of another type, is an error of its file's question alone.
  const script = `${FIXED_TEXT}\nSET lock_timeout = '2s';\n${asked.join('\n')}`
  const { lines } = await attempt(dokku, production, script, { timeoutMs: ANSWER_MS }).catch((error: unknown) => {
    // Whoever goes back from a database that does not answer still has to hear of the files.
    if (error instanceof Failure) return { lines: [] }
    throw error
  })
  const answers = lines.flatMap((line) => {
    const answer = tryJson(line, pairOf(aCount, aBoolean))
    return answer ? [answer] : []
  })
  return new Set(answers.flatMap(([i, isThere]) => (isThere ? [] : (files[i] ?? []))))
}

/** The line before a table's keys. */
export function keysLine(number: number, key: readonly string[], table: string): string {
  return `CREATE TEMP TABLE keys_${number} ON COMMIT DROP AS SELECT ${key.map((name, i) => `${identifier(name)} AS k${i + 1}`).join(', ')} FROM ${table} WITH NO DATA;`
}

const NAME = '"(?:[^"]|"")+"'
const KEYS_LINE = new RegExp(
  `^CREATE TEMP TABLE keys_\\d+ ON COMMIT DROP AS SELECT (${NAME} AS k\\d+(?:, ${NAME} AS k\\d+)*) FROM ((?:ONLY )?(${NAME}\\.${NAME})) WITH NO DATA;$`,
)

/** Of each table of a file, the condition that production has one of its rows: of names and values alone. */
function readKeys(text: string): { isThere: string }[] {
  const all = text.split('\n')
  return all.flatMap((line, at) => {
    const [, columns, own, table] = KEYS_LINE.exec(line) ?? []
    if (columns === undefined) return []
    const names = [...columns.matchAll(new RegExp(`(${NAME}) AS k`, 'g'))].map(([, name = '']) => name)
    const bare = names.map((name) => name.slice(1, -1).replaceAll('""', '"'))
    // Behind the line that begins the COPY.
    const keys = all.slice(at + 2, all.indexOf('\\.', at)).map((key) => {
      const values = key.split('\t').map(uncopied)
      return Object.fromEntries(bare.map((name, i) => [name, values[i]]))
    })
    return [
      {
        isThere: `EXISTS (SELECT FROM json_populate_recordset(NULL::${table}, ${literal(JSON.stringify(keys))}) k JOIN ${own} r USING (${names}))`,
      },
    ]
  })
}

const ESCAPED: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }

/** A value as COPY writes it. */
function uncopied(text: string): string {
  return text.replace(/\\(.)/g, (_, sign: string) => ESCAPED[sign] ?? sign)
}

/** What is no file of this production's is passed over. */
async function findFiles(folder: string, production: Service): Promise<Found[]> {
  const names = await readdir(folder).catch(() => [])
  const found = await Promise.all(
    names
      .sort()
      .reverse()
      .map((name) => readHead(folder, name, production)),
  )
  return found.flatMap((one) => one ?? [])
}

async function readHead(folder: string, name: string, production: Service): Promise<Found | undefined> {
  const [, day, hour, minute, second, transaction] =
    /^rows-brought-back-(\d{4}-\d\d-\d\d)T(\d\d)(\d\d)(\d\d)-(\d+)\.sql$/.exec(name) ?? []
  if (transaction === undefined) return undefined
  const path = join(folder, name)
  const text = await beginningOf(path).catch(() => '')
  const [title = '', ...others] = text.split('\n')
  const [before = '', after = ''] = titleOf(production, '\n').split('\n')
  const [, database] = /current_database\(\)\) <> (\d+) THEN/.exec(text) ?? []
  if (!title.startsWith(before) || !title.endsWith(after) || database === undefined) return undefined
  return {
    path,
    at: new Date(`${day}T${hour}:${minute}:${second}`),
    archive: printable(title.slice(before.length, -after.length)),
    inserted: others.flatMap((line) => (line.startsWith(ROWS) ? [printable(line.slice(ROWS.length))] : [])),
    place: { transaction: Number(transaction), database: Number(database) },
  }
}

async function beginningOf(path: string): Promise<string> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(HEAD_BYTES) })
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}
