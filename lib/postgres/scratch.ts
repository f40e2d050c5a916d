import { Failure } from '../core/failure.ts'
import { bytes, plural } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { transfer } from '../core/transfer.ts'
import { connectArgs, type Dokku, plainDumpArgs, type Service } from '../dokku/dokku.ts'
import { explainDokku } from '../dokku/errors.ts'
import { BARE, compareCounts, countRows, identifier, literal, rows, sql } from './sql.ts'
import { restoringName } from './swap.ts'

/** Removes the copy that an earlier run left half-way, and whatever still writes to it. */
export async function clearRestoring(dokku: Dokku, { name, database }: Service, log: Log): Promise<void> {
  const restoring = restoringName(database)
  const [found] = await rows<number>(dokku, name, `SELECT 1 FROM pg_database WHERE datname = ${literal(restoring)};`)
  if (!found) return
  log.info(`Removing the database ${restoring} that an earlier run left`)
  await sql(dokku, name, `DROP DATABASE IF EXISTS ${identifier(restoring)} WITH (FORCE);`, 'postgres')
}

/** A row of pg_database as `to_jsonb` gives it; the columns differ between versions (PostgreSQL 13 to 18). */
interface DatabaseProperties {
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

/**
 * Whether production's server has room for the two copies that a restore makes beside it.
 * @param dumpBytes of the archive's dump
 */
export async function databaseSpace(
  dokku: Dokku,
  { name, database }: Service,
  dumpBytes: number,
): Promise<{ needed: number; free: number | undefined }> {
  const [production] = await rows<{ bytes: number; folder: string }>(
    dokku,
    name,
    "SELECT json_build_object('bytes', pg_database_size(current_database()), 'folder', current_setting('data_directory'));",
  )
  if (!production)
    throw new Failure(`PostgreSQL does not say how large ${database} is.`, `Look: sudo dokku postgres:connect ${name}`)
  const needed = 2 * Math.max(production.bytes, dumpBytes)
  const output = await dokku.run(['postgres:enter', name, 'df', '-Pk', production.folder])
  const available = /^\S.*?\s\d+\s+\d+\s+(\d+)\s+\d+%/m.exec(output.stdout)?.[1]
  return { needed, free: output.exitCode === 0 && available !== undefined ? Number(available) * 1024 : undefined }
}

/** @throws Failure when there is not enough */
export async function requireDatabaseSpace(dokku: Dokku, service: Service, dumpBytes: number, log: Log): Promise<void> {
  const { needed, free } = await databaseSpace(dokku, service, dumpBytes)
  if (free === undefined) log.warn(`How much room the disk of ${service.name} has could not be found out.`)
  else if (free < needed)
    throw new Failure(
      `The restore needs ${bytes(needed)} for two copies of the database, but only ${bytes(free)} are free.`,
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
 * Copies the proved database beside production, on its server, while the app goes on. The copy is one transaction,
 * committed only after the dump's program exited 0; then the rows of every table must be as many as in the proved one.
 */
export async function copyAside(
  dokku: Dokku,
  proved: Service,
  production: Service,
  stallMs: number,
  log: Log,
): Promise<void> {
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
  // The server would go on with this after an interruption, and nobody would clear it.
  await sql(dokku.lasting, production.name, createDatabaseSql(restoring, properties), 'postgres')

  const source = dokku.start(plainDumpArgs(proved))
  const target = dokku.start(connectArgs(production.name))
  target.stdout.resume()
  // Were the connection not where it should be, the division stops psql before it has changed anything.
  const begin = [
    ...BARE.slice(0, 4),
    `\\c ${identifier(restoring)}`,
    `SELECT 1 / (current_database() = ${literal(restoring)})::int;`,
    'BEGIN;',
    '',
  ]
  target.stdin.write(begin.join('\n'))
  await transfer(source, target, {
    names: ['the test service', 'production'],
    stallMs,
    onBytes: (count) => log.status(`Copying: ${bytes(count)}`),
    whole: async () => {
      const output = await source.ended
      if (output.exitCode !== 0) throw explainDokku(output, `postgres:enter ${proved.name} pg_dump`)
    },
    ending: '\nCOMMIT;\n',
    result: async () => {
      const output = await target.ended
      if (output.exitCode !== 0) throw explainDokku(output, `postgres:connect ${production.name}`)
    },
  })
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
