// The database beside production that a restore imports into: made, filled in, and cleared when a run was killed.

import { Failure, reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import { aBoolean, aCount, aText, listOf, oneOf, record } from '../core/outside.ts'
import { retry } from '../core/retry.ts'
import { sqlLine } from '../dokku/by-hand.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import type { DatabaseProperties, Ground } from './ground.ts'
import { IMPORT_SESSION, type Opened, openImport } from './import.ts'
import { DISPOSABLE } from './marks.ts'
import { MAY_END } from './rights.ts'
import { COMPARE_SESSION, INSERT_SESSION } from './session.ts'
import { ANSWER_MS, answering, attempt, identifier, literal, rows, serverOf, sql } from './sql.ts'
import { restoringOf, SWAP_SESSION } from './swap.ts'

/** What the session is called that makes the database: without its run it goes on to the end. */
const CREATE_SESSION = 'book-corners-ops create'

/**
 * Clears what a killed run left on production's server, in one session: a swap that its psql is still at, an import that goes on
 * in the container without it, and the database that it was for.
 * @throws Failure when one of them does not end, and when somebody else's database has that name
 */
export async function clearRestoring(dokku: Dokku, production: Service, log: Log): Promise<void> {
  const { database } = restoringOf(production)
  const server = serverOf(production)
  const [left] = await rows(dokku, server, clearSql(database, server.database), LEFT)
  for (const session of left?.sessions ?? [])
    log.info(`Ended the ${session.split(' ').at(-1)} that an earlier run was at`)
  if (left?.database === 'other') throw notOurs(production)
  if (left?.database === 'removed') log.info(`Removed the database ${database} that an earlier run left`)
}

function notOurs(production: Service): Failure {
  const { database } = restoringOf(production)
  return new Failure(
    `On the server of ${production.name} there is a database ${database}, and these scripts have not made it.`,
    `Give it another name: ${sqlLine(production, `ALTER DATABASE ${identifier(database)} RENAME TO ${identifier(`${database}_by_hand`)};`)}`,
  )
}

/**
 * The database beside production, if there is one: of a restore that is at work, or of one that was killed.
 * @throws Failure when it is somebody else's
 */
export async function findRestoring(dokku: Dokku, production: Service): Promise<{ bytes: number } | undefined> {
  const [found] = await rows(
    dokku,
    serverOf(production),
    `SELECT json_build_object('bytes', pg_database_size(oid),
       'ours', coalesce(shobj_description(oid, 'pg_database') = ${literal(DISPOSABLE)}, false))
     FROM pg_database WHERE datname = ${literal(restoringOf(production).database)};`,
    record({ bytes: aCount, ours: aBoolean }),
  )
  if (found && !found.ours) throw notOurs(production)
  return found
}

/** What was there. */
const LEFT = record({ sessions: listOf(aText), database: oneOf('none', 'removed', 'other') })

/**
 * Ends every kind of our sessions, waits until they are gone, and drops the database if it is ours; prints a `LEFT`.
 * An import ends by itself when `pg_restore` has lost its connection, also one that is only about to connect. Only when it
 * does not, because its shell was killed, its psql loses the connection, too: what is left of it reaches no database.
 */
function clearSql(restoring: string, here: string): string {
  const atOnce = `application_name IN (${[SWAP_SESSION, CREATE_SESSION, COMPARE_SESSION, INSERT_SESSION].map(literal)})`
  const ours = `(${atOnce} OR application_name = ${literal(IMPORT_SESSION)})`
  const mark = "shobj_description(oid, 'pg_database')"
  return `SELECT coalesce(json_agg(application_name), '[]') AS sessions,
  coalesce(bool_or(application_name = ${literal(CREATE_SESSION)}), false) AS made FROM pg_stat_activity WHERE ${ours} \\gset
DO $$ BEGIN
  FOR i IN 1..400 LOOP
    PERFORM pg_stat_clear_snapshot();
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE (${atOnce} OR datname = ${literal(restoring)} OR (i > 200 AND ${ours})) AND ${MAY_END};
    IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE ${ours}) THEN RETURN; END IF;
    PERFORM pg_sleep(0.05);
  END LOOP;
  RAISE EXCEPTION 'a session of an earlier run does not end';
END $$;
-- Ended just now, it may have made the database and not yet marked it.
SELECT coalesce(max(CASE WHEN ${mark} = ${literal(DISPOSABLE)} OR :'made' THEN 'removed' ELSE 'other' END), 'none') AS found
  FROM pg_database WHERE datname = ${literal(restoring)} \\gset
SELECT :'found' = 'removed' AS is_ours \\gset
\\if :is_ours
${dropSql(restoring, here)}
\\endif
SELECT json_build_object('sessions', :'sessions'::json, 'database', :'found');`
}

/** With its subscriptions: the publisher's slots are not theirs to drop, but production's. */
function dropSql(restoring: string, here: string): string {
  return `SELECT EXISTS (SELECT FROM pg_subscription
  WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = ${literal(restoring)})) AS is_subscribed \\gset
\\if :is_subscribed
\\c ${identifier(restoring)}
-- An event trigger of the app's must not keep them.
SET session_replication_role = replica;
SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname), format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname),
  format('DROP SUBSCRIPTION %I', subname) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
\\gexec
\\c ${identifier(here)}
\\endif
SET statement_timeout = 0;
DROP DATABASE IF EXISTS ${identifier(restoring)} WITH (FORCE);`
}

/** `CREATE DATABASE` for one with the same encoding, locale and owner. Pure. */
export function createDatabaseSql(name: string, properties: DatabaseProperties): string {
  const { datlocprovider: provider, daticurules } = properties
  const locale = properties.datlocale ?? properties.daticulocale
  return [
    `CREATE DATABASE ${identifier(name)} TEMPLATE template0`,
    `OWNER ${identifier(properties.owner)}`,
    // Only who owns the server may name this one; it is the template's own.
    ...(properties.tablespace === 'pg_default' ? [] : [`TABLESPACE ${identifier(properties.tablespace)}`]),
    `ENCODING ${literal(properties.encodingName)}`,
    `LC_COLLATE ${literal(properties.datcollate)}`,
    `LC_CTYPE ${literal(properties.datctype)}`,
    ...(provider === 'i' ? [`LOCALE_PROVIDER icu ICU_LOCALE ${literal(locale ?? '')}`] : []),
    ...(provider === 'i' && daticurules ? [`ICU_RULES ${literal(daticurules)}`] : []),
    ...(provider === 'b' ? [`LOCALE_PROVIDER builtin BUILTIN_LOCALE ${literal(locale ?? '')}`] : []),
    `CONNECTION LIMIT ${properties.datconnlimit};`,
  ].join(' ')
}

// `ALTER DATABASE … SET` of the one for the other. A setting that is a list is stored quoted already (PostgreSQL's GUC_LIST_QUOTE).
function settingsSql(from: string, to: string): string {
  return `
SELECT format('ALTER %s SET %I TO %s;',
  CASE WHEN setrole = 0 THEN format('DATABASE %I', ${literal(to)}) ELSE format('ROLE %s IN DATABASE %I', setrole::regrole, ${literal(to)}) END,
  split_part(setting, '=', 1),
  CASE WHEN lower(split_part(setting, '=', 1)) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
    THEN coalesce(nullif(substr(setting, strpos(setting, '=') + 1), ''), '''''') ELSE quote_literal(substr(setting, strpos(setting, '=') + 1)) END)
FROM pg_db_role_setting, unnest(setconfig) AS setting
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = ${literal(from)})`
}

// Who may connect to it, and make schemas and temporary tables in it.
function databaseRightsSql(from: string, to: string): string {
  return `
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %I;', ${literal(to)}, pg_get_userbyid(datdba))
FROM pg_database WHERE datname = ${literal(from)} AND datacl IS NOT NULL
\\gexec
SELECT format('GRANT %s ON DATABASE %I TO %s%s;', privilege_type, ${literal(to)},
  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_database, aclexplode(datacl) WHERE datname = ${literal(from)}
\\gexec`
}

/** The statements that give another database what `ALTER DATABASE … SET` gave production's. */
export function readSettings(dokku: Dokku, production: Service, target: Service): Promise<string[]> {
  return rows(
    answering(dokku),
    serverOf(production),
    `SELECT to_json(statement) FROM (${settingsSql(production.database, target.database)}) s (statement);`,
    aText,
  )
}

/**
 * Makes the empty database that will become production, with production's encoding, locale, owner and tablespace, and starts
 * its import. The server would go on with the one after an interruption: it is not cut short.
 */
export async function openRestoring(
  dokku: Dokku,
  production: Service,
  { properties }: Ground,
  { stallMs, log }: { stallMs: number; log: Log },
): Promise<Opened> {
  const into = restoringOf(production)
  const create = `SET application_name = ${literal(CREATE_SESSION)};
${createDatabaseSql(into.database, properties)}
COMMENT ON DATABASE ${identifier(into.database)} IS ${literal(DISPOSABLE)};`
  return retry(
    async (number) => {
      // A killed run's psql may have made it only just now, when what that run left had been looked for.
      if (number > 1) await clearRestoring(dokku.lasting, production, log)
      const [opening, making] = await Promise.allSettled([
        openImport(dokku, into, stallMs),
        sql(dokku.lasting, serverOf(production), create),
      ])
      if (making.status === 'rejected') {
        if (opening.status === 'fulfilled') await opening.value.stop()
        throw making.reason
      }
      if (opening.status === 'rejected') throw opening.reason
      return { into, target: opening.value }
    },
    { attempts: 3, waitMs: (error) => (/already exists|duplicate key/.test(reason(error)) ? 500 : undefined) },
  )
}

/**
 * What a dump does not hold: production's settings, and who may connect. Not before the import: production may be set to be
 * read only, or to read dates otherwise than pg_dump writes them.
 * @returns what the server refused, each with the reason
 */
export async function adoptSettings(dokku: Dokku, production: Service): Promise<string[]> {
  const restoring = restoringOf(production)
  const names = [production.database, restoring.database] as const
  // One query writes the next: psql's \gexec runs each row of a result as a statement.
  const script = `${settingsSql(...names)}\n\\gexec\n${databaseRightsSql(...names)}`
  return (await attempt(dokku, serverOf(production), script, { timeoutMs: ANSWER_MS })).errors
}
