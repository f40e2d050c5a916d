import { setTimeout as sleep } from 'node:timers/promises'
import { BARE, compareCounts, countRows, identifier, literal, rows, sql } from './database.ts'
import { connectArgs, type Dokku, explainDokku, plainDumpArgs, type Service } from './dokku.ts'
import { Failure, reason } from './failure.ts'
import { bytes, localTimestamp, plural } from './format.ts'
import type { Log } from './log.ts'
import { pump } from './pump.ts'

/** PostgreSQL cuts longer names short without a word (NAMEDATALEN - 1). */
const LONGEST_NAME = 63
const STAMP_LENGTH = 'YYYYMMDDTHHMMSS'.length

const fitted = (database: string, suffix: string, more = 0): string =>
  database.slice(0, LONGEST_NAME - suffix.length - more) + suffix

/** The copy that will become production, on production's server. */
export const restoringName = (database: string): string => fitted(database, '_restoring')

const keptPrefix = (database: string): string => fitted(database, '_before_', STAMP_LENGTH)

/** `<database>_before_20260228T030000`: what a swap keeps. */
export const keptName = (database: string, date: Date): string =>
  keptPrefix(database) + localTimestamp(date).replace(/[-:]/g, '')

/** A database that a swap kept. */
export interface Kept {
  name: string
  bytes: number
}

/** The databases that earlier swaps kept, newest first. */
export const listKept = async (dokku: Dokku, { name, database }: Service): Promise<Kept[]> => {
  const all = await rows<Kept>(
    dokku,
    name,
    `SELECT json_build_object('name', datname, 'bytes', pg_database_size(oid)) FROM pg_database
     WHERE starts_with(datname, ${literal(keptPrefix(database))});`,
  )
  return all.sort((a, b) => (a.name < b.name ? 1 : -1))
}

/** What the session of a swap is called on the server. */
const SWAP_SESSION = 'book-corners-ops swap'

/**
 * Ends the swap that a killed run was at: its psql goes on without it for as long as the app is in the way, and must
 * not rename anything under this run. Nobody else's can be there, since the lock is ours. Returns when it has ended.
 */
export const endStraySwap = async (dokku: Dokku, { name }: Service, log: Log): Promise<void> => {
  const found = await sql(
    dokku,
    name,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ${literal(SWAP_SESSION)};
     DO $$ BEGIN
       FOR i IN 1..200 LOOP
         PERFORM pg_stat_clear_snapshot();
         IF NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = ${literal(SWAP_SESSION)}) THEN RETURN; END IF;
         PERFORM pg_sleep(0.05);
       END LOOP;
       RAISE EXCEPTION 'the swap of an earlier run does not end';
     END $$;`,
    'postgres',
  )
  if (found.trim()) log.info('Ended the swap that an earlier run was at')
}

/** Removes the copy that an earlier run left half-way, and whatever still writes to it. */
export const clearRestoring = async (dokku: Dokku, { name, database }: Service, log: Log): Promise<void> => {
  const restoring = restoringName(database)
  const [found] = await rows<number>(dokku, name, `SELECT 1 FROM pg_database WHERE datname = ${literal(restoring)};`)
  if (!found) return
  log.info(`Removing the database ${restoring} that an earlier run left`)
  await sql(dokku, name, `DROP DATABASE IF EXISTS ${identifier(restoring)} WITH (FORCE);`, 'postgres')
}

/** A row of pg_database as `to_jsonb` gives it; the columns differ between versions (PostgreSQL 13 to 18). */
export interface DatabaseProperties {
  encodingName: string
  owner: string
  tablespace: string
  datcollate: string
  datctype: string
  datconnlimit: number
  /** `c` libc, `i` ICU, `b` builtin; since 15. */
  datlocprovider?: string
  /** The locale of ICU or builtin: `daticulocale` in 15 and 16, `datlocale` since 17. */
  daticulocale?: string | null
  datlocale?: string | null
  daticurules?: string | null
}

/** `CREATE DATABASE` for one with the same encoding, locale and owner. Pure. */
export const createDatabaseSql = (name: string, properties: DatabaseProperties): string => {
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

// `ALTER DATABASE … SET` of the one for the other. A setting that is a list is stored quoted already (PostgreSQL's GUC_LIST_QUOTE).
const copySettings = (from: string, to: string): string => `
SELECT format('ALTER %s SET %I TO %s',
  CASE WHEN setrole = 0 THEN format('DATABASE %I', ${literal(to)}) ELSE format('ROLE %s IN DATABASE %I', setrole::regrole, ${literal(to)}) END,
  split_part(setting, '=', 1),
  CASE WHEN lower(split_part(setting, '=', 1)) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
    THEN substr(setting, strpos(setting, '=') + 1) ELSE quote_literal(substr(setting, strpos(setting, '=') + 1)) END)
FROM pg_db_role_setting, unnest(setconfig) AS setting
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = ${literal(from)})
\\gexec`

/**
 * Copies the proved database beside production, on its server, while the app goes on. The copy is one transaction,
 * committed only after the dump's program exited 0; then the rows of every table must be as many as in the proved one.
 *
 * @param lasting makes the empty database: the server would go on with that after an interruption, and nobody would clear it
 */
export const copyAside = async (
  dokku: Dokku,
  lasting: Dokku,
  proved: Service,
  production: Service,
  stallMs: number,
  log: Log,
): Promise<void> => {
  const restoring = restoringName(production.database)
  const [properties] = await rows<DatabaseProperties>(
    dokku,
    production.name,
    `SELECT (to_jsonb(d) - 'datacl') || jsonb_build_object('encodingName', pg_encoding_to_char(encoding),
       'owner', pg_get_userbyid(datdba), 'tablespace', spcname)
     FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = current_database();`,
  )
  if (!properties) throw new Failure(`PostgreSQL does not describe the database ${production.database}.`)
  log.info(`Copying ${proved.database} of ${proved.name} to ${restoring} of ${production.name}; the app goes on`)
  await sql(lasting, production.name, createDatabaseSql(restoring, properties), 'postgres')

  const source = dokku.start(plainDumpArgs(proved))
  const target = dokku.start(connectArgs(production.name))
  target.stdout.resume()
  try {
    // Were the connection not where it should be, the division stops psql before it has changed anything.
    const begin = [
      ...BARE.slice(0, 4),
      `\\c ${identifier(restoring)}`,
      `SELECT 1 / (current_database() = ${literal(restoring)})::int;`,
      'BEGIN;',
      '',
    ]
    target.stdin.write(begin.join('\n'))
    const feed = async (): Promise<void> => {
      await pump(source, target, ['the test service', 'production'], stallMs, (count) =>
        log.status(`Copying: ${bytes(count)}`),
      )
      // psql has ended: `copied` says how.
      if (target.stdin.destroyed) return void (await source.stop())
      const output = await source.ended
      if (output.exitCode !== 0) throw explainDokku(output, `postgres:enter ${proved.name} pg_dump`)
      target.stdin.end('\nCOMMIT;\n')
    }
    const copied = target.ended.then((output) => {
      if (output.exitCode !== 0) throw explainDokku(output, `postgres:connect ${production.name}`)
    })
    await Promise.all([feed(), copied])
  } catch (error) {
    await Promise.all([source.stop(), target.stop()])
    throw error
  }
  const [from, to] = await Promise.all([
    countRows(dokku, proved.name),
    countRows(dokku, production.name, restoring),
    // Without statistics the app's first queries would be slow.
    sql(dokku, production.name, 'ANALYZE;', restoring),
  ])
  const different = compareCounts(from, to).filter(({ production: a, restored: b }) => a !== b)
  if (different.length > 0)
    throw new Failure(
      `The copy differs from the proved database in ${plural(different.length, 'table')}, first ${different[0]?.table}.`,
      'Production was not touched. Try again; if it stays so, keep the log and look: restore --test',
    )
  // Not before: production may be set to be read only, or to read dates otherwise than pg_dump writes them.
  await sql(dokku, production.name, copySettings(production.database, restoring), 'postgres')
}

const ATTEMPTS = 20

/**
 * The script of a swap: ends every connection to both databases and renames them in one transaction, in one message to
 * the server, so that hardly anybody comes back in between. Somebody who does makes the whole transaction fail, and it is tried again.
 */
export const swapSql = (database: string, incoming: string, kept: string): string => {
  const attempt = [
    `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN (${literal(database)}, ${literal(incoming)}) AND pid <> pg_backend_pid() \\;`,
    'BEGIN \\;',
    `ALTER DATABASE ${identifier(database)} RENAME TO ${identifier(kept)} \\;`,
    `ALTER DATABASE ${identifier(incoming)} RENAME TO ${identifier(database)} \\;`,
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
    // RENAME itself waits up to five seconds for others to leave: it is better to send them away again.
    "SET statement_timeout = '1500ms';",
    '\\set ON_ERROR_STOP off',
    ...Array.from({ length: ATTEMPTS }, () => attempt),
    '\\set ON_ERROR_STOP on',
    // psql's exit status 3; each attempt has said its reason.
    'DO $$ BEGIN RAISE EXCEPTION $m$the databases could not be swapped$m$; END $$;',
  ].join('\n')
}

/**
 * Makes `incoming` production; what was production stays under a new name, which is returned.
 * @throws Failure when nothing was renamed
 */
export const swap = async (dokku: Dokku, service: Service, incoming: string): Promise<string> => {
  const isThere = async (name: string): Promise<boolean> =>
    (await listKept(dokku, service)).some((kept) => kept.name === name)
  let kept = keptName(service.database, new Date())
  // Another swap had this very second's name.
  while (await isThere(kept)) {
    await sleep(200)
    kept = keptName(service.database, new Date())
  }
  try {
    await sql(dokku, service.name, swapSql(service.database, incoming, kept), 'postgres')
  } catch (error) {
    // When the connection breaks after the transaction, only the news of it is lost.
    if (!(await isThere(kept).catch(() => false)))
      throw new Failure(
        `The databases could not be swapped: ${reason(error)}`,
        `Production is as it was. Look who is in the way: echo 'SELECT pid, application_name, state, query FROM pg_stat_activity; SELECT gid, database FROM pg_prepared_xacts;' | sudo dokku postgres:connect ${service.name}`,
      )
  }
  return kept
}
