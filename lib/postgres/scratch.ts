// The database beside production that a restore imports into: made, filled in, and cleared when a run was killed.

import { Failure, reason } from '../core/failure.ts'
import { bytes } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { aCount, aNumber, aText, type Found, optional, orNull, record } from '../core/outside.ts'
import { retry } from '../core/retry.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { IMPORT_SESSION } from './import.ts'
import { identifier, literal, rows, serverOf, sql } from './sql.ts'
import { restoringOf, SWAP_SESSION } from './swap.ts'

/** What the session is called that makes the database: without its run it goes on to the end. */
const CREATE_SESSION = 'book-corners-ops create'

/**
 * Clears what a killed run left on production's server: a swap that its psql is still at, an import that goes on in the
 * container without it, and the database that it was for. Nobody else's can be there, since the lock is ours.
 * @throws Failure when one of them does not end
 */
export async function clearRestoring(dokku: Dokku, production: Service, log: Log): Promise<void> {
  const restoring = restoringOf(production)
  const left = await rows(
    dokku,
    serverOf(production),
    endStraysSql(restoring.database),
    record({ session: optional(aText), database: optional(aText) }),
  )
  for (const { session } of left)
    if (session) log.info(`Ended the ${session.split(' ').at(-1)} that an earlier run was at`)
  if (!left.some(({ database }) => database)) return
  log.info(`Removing the database ${restoring.database} that an earlier run left`)
  await sql(dokku, serverOf(production), `DROP DATABASE IF EXISTS ${identifier(restoring.database)} WITH (FORCE);`)
}

/**
 * Ends every kind of our sessions, prints which there were, returns when they are gone, and prints whether there is the database.
 * An import ends by itself when `pg_restore` has lost its connection, also one that is only about to connect. Only when it
 * does not, because its shell was killed, its psql loses the connection, too: what is left of it reaches no database.
 */
function endStraysSql(restoring: string): string {
  const atOnce = `application_name IN (${literal(SWAP_SESSION)}, ${literal(CREATE_SESSION)})`
  const ours = `(${atOnce} OR application_name = ${literal(IMPORT_SESSION)})`
  return `SELECT json_build_object('session', application_name) FROM pg_stat_activity WHERE ${ours};
DO $$ BEGIN
  FOR i IN 1..400 LOOP
    PERFORM pg_stat_clear_snapshot();
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE ${atOnce} OR datname = ${literal(restoring)} OR (i > 200 AND ${ours});
    IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE ${ours}) THEN RETURN; END IF;
    PERFORM pg_sleep(0.05);
  END LOOP;
  RAISE EXCEPTION 'a session of an earlier run does not end';
END $$;
SELECT json_build_object('database', datname) FROM pg_database WHERE datname = ${literal(restoring)};`
}

/** A row of pg_database as `to_jsonb` gives it; the columns differ between versions (PostgreSQL 13 to 18). */
const PROPERTIES = {
  encodingName: aText,
  owner: aText,
  tablespace: aText,
  datcollate: aText,
  datctype: aText,
  datconnlimit: aNumber,
  /** `c` libc, `i` ICU, `b` builtin; since 15. */
  datlocprovider: optional(aText),
  /** The locale of ICU or builtin: `daticulocale` in 15 and 16, `datlocale` since 17. */
  daticulocale: optional(orNull(aText)),
  datlocale: optional(orNull(aText)),
  daticurules: optional(orNull(aText)),
}
type DatabaseProperties = Found<typeof PROPERTIES>

/** `CREATE DATABASE` for one with the same encoding, locale and owner. Pure. */
export function createDatabaseSql(name: string, properties: DatabaseProperties): string {
  const { datlocprovider: provider, daticurules } = properties
  const locale = properties.datlocale ?? properties.daticulocale
  return [
    `CREATE DATABASE ${identifier(name)} TEMPLATE template0`,
    `OWNER ${identifier(properties.owner)}`,
    `TABLESPACE ${identifier(properties.tablespace)}`,
    `ENCODING ${literal(properties.encodingName)}`,
    `LC_COLLATE ${literal(properties.datcollate)}`,
    `LC_CTYPE ${literal(properties.datctype)}`,
    ...(provider === 'i' ? [`LOCALE_PROVIDER icu ICU_LOCALE ${literal(locale ?? '')}`] : []),
    ...(provider === 'i' && daticurules ? [`ICU_RULES ${literal(daticurules)}`] : []),
    ...(provider === 'b' ? [`LOCALE_PROVIDER builtin BUILTIN_LOCALE ${literal(locale ?? '')}`] : []),
    `CONNECTION LIMIT ${properties.datconnlimit};`,
  ].join(' ')
}

/** Production's database and the room beside it, in bytes. */
export interface Ground {
  properties: DatabaseProperties
  sizeBytes: number
  /** On the disk of the server's data; undefined where that can't be known. */
  freeBytes: number | undefined
}

/** Looks at production's database; changes nothing. */
export async function surveyGround(dokku: Dokku, production: Service): Promise<Ground> {
  const { name, database } = production
  const [found] = await rows(
    dokku,
    production,
    `SELECT (to_jsonb(d) - 'datacl') || jsonb_build_object('encodingName', pg_encoding_to_char(encoding),
       'owner', pg_get_userbyid(datdba), 'tablespace', spcname,
       'bytes', pg_database_size(d.oid), 'folder', current_setting('data_directory'))
     FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = current_database();`,
    record({ ...PROPERTIES, bytes: aCount, folder: aText }),
  )
  if (!found)
    throw new Failure(
      `PostgreSQL does not describe the database ${database}.`,
      `Look: sudo dokku postgres:connect ${name}`,
    )
  const { bytes: sizeBytes, folder, ...properties } = found
  const output = await dokku.run(['postgres:enter', name, 'df', '-Pk', folder])
  const available = /^\S.*?\s\d+\s+\d+\s+(\d+)\s+\d+%/m.exec(output.stdout)?.[1]
  const freeBytes = output.exitCode === 0 && available !== undefined ? Number(available) * 1024 : undefined
  return { properties, sizeBytes, freeBytes }
}

/** What a restore needs: one more copy, of what is larger. */
export function neededBytes({ sizeBytes }: Ground, dumpBytes: number): number {
  return Math.max(sizeBytes, dumpBytes)
}

/** @throws Failure when there is not enough room for one more copy of the database */
export function requireRoom(ground: Ground, dumpBytes: number, log: Log): void {
  const needed = neededBytes(ground, dumpBytes)
  if (ground.freeBytes === undefined) log.warn('How much room there is for the database could not be found out.')
  else if (ground.freeBytes < needed)
    throw new Failure(
      `The restore needs ${bytes(needed)} for a copy of the database, but only ${bytes(ground.freeBytes)} are free.`,
      'Make room: databases kept by earlier restores are listed by restore --undo, images by: sudo docker system df',
    )
}

// `ALTER DATABASE … SET` of the one for the other. A setting that is a list is stored quoted already (PostgreSQL's GUC_LIST_QUOTE).
function copySettings(from: string, to: string): string {
  return `
SELECT format('ALTER %s SET %I TO %s',
  CASE WHEN setrole = 0 THEN format('DATABASE %I', ${literal(to)}) ELSE format('ROLE %s IN DATABASE %I', setrole::regrole, ${literal(to)}) END,
  split_part(setting, '=', 1),
  CASE WHEN lower(split_part(setting, '=', 1)) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
    THEN substr(setting, strpos(setting, '=') + 1) ELSE quote_literal(substr(setting, strpos(setting, '=') + 1)) END)
FROM pg_db_role_setting, unnest(setconfig) AS setting
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = ${literal(from)})
\\gexec`
}

/**
 * Makes the empty database that will become production, with production's encoding, locale, owner and tablespace.
 * The server would go on with that after an interruption: it is not cut short.
 */
export async function createRestoring(dokku: Dokku, production: Service, { properties }: Ground): Promise<Service> {
  const restoring = restoringOf(production)
  const server = serverOf(production)
  const create = `SET application_name = ${literal(CREATE_SESSION)};\n${createDatabaseSql(restoring.database, properties)}`
  await retry(
    async (attempt) => {
      // A killed run's psql may have made it only just now, when what that run left had been looked for.
      if (attempt > 1)
        await sql(dokku.lasting, server, `DROP DATABASE IF EXISTS ${identifier(restoring.database)} WITH (FORCE);`)
      await sql(dokku.lasting, server, create)
    },
    { attempts: 3, waitMs: (error) => (/already exists|duplicate key/.test(reason(error)) ? 500 : undefined) },
  )
  return restoring
}

/**
 * What a dump does not hold: production's settings. Not before the import: production may be set to be read only, or to read
 * dates otherwise than pg_dump writes them.
 */
export async function adoptSettings(dokku: Dokku, production: Service): Promise<void> {
  const restoring = restoringOf(production)
  await sql(dokku, serverOf(production), copySettings(production.database, restoring.database))
}

/** Makes the statistics that PostgreSQL plans queries by. */
export async function analyze(dokku: Dokku, database: Service): Promise<void> {
  await sql(dokku, database, 'ANALYZE;')
}
