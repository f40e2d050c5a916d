// What a database needs of its server, beside itself: read from production's server, given to a test service.

import { reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import { aBoolean, aText, listOf, record } from '../core/outside.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import type { Ground } from './ground.ts'
import { DISPOSABLE } from './marks.ts'
import { createDatabaseSql, readSettings } from './scratch.ts'
import { answering, attempt, identifier, literal, rows, serverOf, sql } from './sql.ts'

/** Statements for the server of a test service. */
interface Surroundings {
  /** Roles, without passwords and without the right to log in. */
  roles: string[]
  /** Tablespaces, as folders within the server's own data. */
  tablespaces: string[]
}

/** @throws Failure when production's server does not answer */
export async function readSurroundings(dokku: Dokku, production: Service): Promise<Surroundings> {
  const [found = { roles: [], tablespaces: [] }] = await rows(
    answering(dokku),
    serverOf(production),
    `SELECT json_build_object(
      'roles', (SELECT coalesce(json_agg(format('CREATE ROLE %I NOLOGIN;', rolname)), '[]') FROM pg_roles WHERE rolname !~ '^pg_'),
      'tablespaces', (SELECT coalesce(json_agg(format('CREATE TABLESPACE %I LOCATION %L;', spcname, '')), '[]')
        FROM pg_tablespace WHERE spcname !~ '^pg_'));`,
    record({ roles: listOf(aText), tablespaces: listOf(aText) }),
  )
  return found
}

/**
 * Gives a test service what production's server has. What it can't have is told: only a dump that needs it will fail.
 * @param ground of production
 */
export async function giveSurroundings(
  dokku: Dokku,
  test: Service,
  { roles, tablespaces }: Surroundings,
  { ground, log }: { ground: Ground; log: Log },
): Promise<void> {
  const script = [...roles, 'SET allow_in_place_tablespaces = on;', ...tablespaces].join('\n')
  const { errors } = await attempt(dokku, serverOf(test), script)
  tell(log, test, errors)
  await giveLocale(dokku, test, ground).catch((error: unknown) => tell(log, test, [reason(error)]))
}

function tell(log: Log, test: Service, errors: readonly string[]): void {
  const news = errors.filter((error) => !error.endsWith('already exists'))
  if (news.length > 0)
    log.warn(`The service ${test.name} can't have all that production's server has: ${news.join('; ')}`)
}

/** Makes its database anew where it is not of production's encoding and locale: `postgres:create` takes the image's. */
async function giveLocale(dokku: Dokku, { name, database }: Service, { properties }: Ground): Promise<void> {
  const { encodingName, datcollate, datctype, datlocprovider = 'c', daticulocale, datlocale } = properties
  const server = serverOf({ name, database })
  const [same] = await rows(
    dokku,
    server,
    `SELECT to_json(pg_encoding_to_char(encoding) = ${literal(encodingName)} AND datcollate = ${literal(datcollate)} AND datctype = ${literal(datctype)}
       AND coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = ${literal(datlocprovider)}
       AND coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', '') = ${literal(datlocale ?? daticulocale ?? '')})
     FROM pg_database d WHERE datname = ${literal(database)};`,
    aBoolean,
  )
  if (same) return
  await sql(
    dokku,
    server,
    `DROP DATABASE ${identifier(database)} WITH (FORCE);
${createDatabaseSql(database, { ...properties, owner: 'postgres', tablespace: 'pg_default', datconnlimit: -1 })}
COMMENT ON DATABASE ${identifier(database)} IS ${literal(DISPOSABLE)};`,
  )
}

/** After the import, as in a restore: production's settings. */
export async function giveSettings(dokku: Dokku, production: Service, test: Service, log: Log): Promise<void> {
  const statements = await readSettings(dokku, production, test)
  if (statements.length === 0) return
  tell(log, test, (await attempt(dokku, serverOf(test), statements.join('\n'))).errors)
}
