// The swap: one transaction renames production's database and the one that becomes production.

import { Failure, reason } from '../core/failure.ts'
import { aCount, aText, listOf, record } from '../core/outside.ts'
import { quoteAll } from '../core/quote.ts'
import { retry } from '../core/retry.ts'
import { localTimestamp } from '../core/times.ts'
import { psqlLine, sqlLine } from '../dokku/by-hand.ts'
import { type Dokku, neighbour, type Service } from '../dokku/dokku.ts'
import { commentBefore, DISPOSABLE, KEPT, keptComment } from './marks.ts'
import { MAY_END } from './rights.ts'
import { identifier, literal, rows, serverOf, sql } from './sql.ts'

/** PostgreSQL cuts longer names short without a word (NAMEDATALEN - 1). */
const LONGEST_NAME = 63
const STAMP_LENGTH = 'YYYYMMDDTHHMMSS'.length

function fitted(database: string, suffix: string, more = 0): string {
  return database.slice(0, LONGEST_NAME - suffix.length - more) + suffix
}

/** The database that will become production, on production's server. */
export function restoringOf(service: Service): Service {
  return neighbour(service, fitted(service.database, '_restoring'))
}

function keptPrefix(database: string): string {
  return fitted(database, '_before_', STAMP_LENGTH)
}

/** `<database>_before_20260228T030000`: what a swap keeps. */
export function keptName(database: string, date: Date): string {
  return keptPrefix(database) + localTimestamp(date).replace(/[-:]/g, '')
}

/** A database that a swap kept. */
export interface KeptDatabase {
  name: string
  bytes: number
  /** What hangs on it, and keeps it from being dropped: logical replication slots, which keep WAL, too. */
  slots: string[]
  subscriptions: string[]
}

/** What swaps have left on a server. */
interface Left {
  /** The databases that earlier swaps kept, newest first. Others that are only named so are somebody's. */
  kept: KeptDatabase[]
  /** The subscriptions of production's database: where it is a restored one, none of them is at work. */
  subscriptions: string[]
}

const LEFT = record({
  kept: listOf(record({ name: aText, bytes: aCount, slots: listOf(aText), subscriptions: listOf(aText) })),
  subscriptions: listOf(aText),
})

export async function lookAtLeft(dokku: Dokku, service: Service): Promise<Left> {
  const [{ kept, subscriptions } = { kept: [], subscriptions: [] }] = await rows(
    dokku,
    serverOf(service),
    `SELECT json_build_object('kept', (SELECT coalesce(json_agg(json_build_object('name', datname, 'bytes', pg_database_size(d.oid),
         'slots', (SELECT coalesce(json_agg(slot_name), '[]') FROM pg_replication_slots WHERE database = datname),
         'subscriptions', (SELECT coalesce(json_agg(subname), '[]') FROM pg_subscription WHERE subdbid = d.oid))), '[]')
       FROM pg_database d WHERE starts_with(datname, ${literal(keptPrefix(service.database))})
         AND starts_with(shobj_description(d.oid, 'pg_database'), ${literal(KEPT)})),
     'subscriptions', (SELECT coalesce(json_agg(subname), '[]') FROM pg_subscription
       WHERE NOT subenabled AND subdbid = (SELECT oid FROM pg_database WHERE datname = ${literal(service.database)})));`,
    LEFT,
  )
  return { kept: kept.sort((a, b) => (a.name < b.name ? 1 : -1)), subscriptions }
}

/** The databases that earlier swaps kept, newest first. */
export async function listKept(dokku: Dokku, service: Service): Promise<KeptDatabase[]> {
  return (await lookAtLeft(dokku, service)).kept
}

/** What a person types to drop one, with what hangs on it: one line. */
export function dropLine(service: Service, { name, slots, subscriptions }: KeptDatabase): string {
  const drop = `DROP DATABASE ${identifier(name)};`
  if (slots.length === 0 && subscriptions.length === 0) return sqlLine(service, drop)
  const script = [
    `\\c ${identifier(name)}`,
    // The publisher's slot is the new database's to use.
    ...subscriptions
      .map(identifier)
      .map(
        (it) =>
          `ALTER SUBSCRIPTION ${it} DISABLE; ALTER SUBSCRIPTION ${it} SET (slot_name = NONE); DROP SUBSCRIPTION ${it};`,
      ),
    ...slots.map((slot) => `SELECT pg_drop_replication_slot(${literal(slot)});`),
    '\\c postgres',
    drop,
  ]
  return `printf '%s\\n' ${quoteAll(script)} | ${psqlLine(service)}`
}

/** What the session of a swap is called on the server. */
export const SWAP_SESSION = 'book-corners-ops swap'

const ATTEMPTS = 20
const TAKEN = 'there is a database of that name already'

interface SwapNames {
  /** Production's. */
  database: string
  /** Becomes production's. */
  incoming: string
  /** What production's is called afterwards. */
  kept: string
}

/**
 * Sets psql's variables to the comments of both afterwards, as SQL: the mark goes with the database that is put aside;
 * production has the comment that was its own.
 */
function commentsSql({ database, incoming }: SwapNames): string {
  const comment = (name: string): string =>
    `(SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = ${literal(name)})`
  return `SELECT quote_nullable(${keptComment('own')}) AS kept_comment,
  quote_nullable(CASE theirs WHEN ${literal(DISPOSABLE)} THEN own ELSE ${commentBefore('theirs')} END) AS own_comment
FROM (SELECT ${comment(database)} AS own, ${comment(incoming)} AS theirs) found \\gset`
}

/**
 * The script of a swap: ends every connection to both databases and renames them in one transaction, in one message to
 * the server, so that hardly anybody comes back in between. Somebody who does makes the whole transaction fail, and it is tried again.
 */
export function swapSql(names: SwapNames): string {
  const { database, incoming, kept } = names
  const attempt = [
    `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN (${literal(database)}, ${literal(incoming)}) AND pid <> pg_backend_pid() AND ${MAY_END} \\;`,
    'BEGIN \\;',
    `ALTER DATABASE ${identifier(database)} RENAME TO ${identifier(kept)} \\;`,
    `ALTER DATABASE ${identifier(incoming)} RENAME TO ${identifier(database)} \\;`,
    `COMMENT ON DATABASE ${identifier(kept)} IS :kept_comment \\;`,
    `COMMENT ON DATABASE ${identifier(database)} IS :own_comment \\;`,
    'COMMIT;',
    'ROLLBACK;',
    `SELECT EXISTS (SELECT FROM pg_database WHERE datname = ${literal(kept)}) AS swapped \\gset`,
    '\\if :swapped',
    '\\q',
    '\\endif',
    'SELECT pg_sleep(0.1);',
  ].join('\n')
  return [
    `SET application_name = ${literal(SWAP_SESSION)};`,
    `SELECT EXISTS (SELECT FROM pg_database WHERE datname = ${literal(kept)}) AS taken \\gset`,
    '\\if :taken',
    `DO $$ BEGIN RAISE EXCEPTION $m$${TAKEN}$m$; END $$;`,
    '\\endif',
    commentsSql(names),
    // RENAME itself waits up to five seconds for others to leave: it is better to send them away again.
    "SET statement_timeout = '1500ms';",
    '\\set ON_ERROR_STOP off',
    ...Array.from({ length: ATTEMPTS }, () => attempt),
    '\\set ON_ERROR_STOP on',
    // psql's exit status 3; each attempt has said its reason.
    'DO $$ BEGIN RAISE EXCEPTION $m$the databases could not be swapped$m$; END $$;',
  ].join('\n')
}

class NameTaken extends Failure {}

/** Nothing was renamed. */
export class NotSwapped extends Failure {}

/**
 * Makes `incoming` production; what was production stays under a new name, which is returned.
 * @throws NotSwapped when nothing was renamed; another Failure when that is not known
 */
export async function swap(dokku: Dokku, service: Service, incoming: string): Promise<string> {
  // Another swap may have had this very second's name.
  return retry(
    () =>
      swapAs(dokku, service, { database: service.database, incoming, kept: keptName(service.database, new Date()) }),
    {
      attempts: 10,
      waitMs: (error) => (error instanceof NameTaken ? 200 : undefined),
    },
  )
}

async function swapAs(dokku: Dokku, service: Service, names: SwapNames): Promise<string> {
  const { kept } = names
  try {
    await sql(dokku, serverOf(service), swapSql(names))
  } catch (error) {
    if (reason(error).includes(TAKEN)) throw new NameTaken(reason(error))
    // When the connection breaks after the transaction, only the news of it is lost.
    const known = await listKept(dokku, service).catch(() => undefined)
    if (!known)
      throw new Failure(
        `Whether the databases were swapped is not known: ${reason(error)}`,
        `Look: ${sqlLine(service, '\\l')}. Then: restore --undo, which lists what is kept`,
      )
    if (!known.some(({ name }) => name === kept))
      throw new NotSwapped(
        `The databases could not be swapped: ${reason(error)}`,
        `Look who is in the way: ${sqlLine(service, 'SELECT pid, usename, application_name, state, query FROM pg_stat_activity; SELECT gid, database FROM pg_prepared_xacts;')}`,
      )
  }
  return kept
}
