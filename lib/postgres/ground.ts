// What the database beside production needs: its properties, rights and room.

import { EXIT, Failure } from '../core/failure.ts'
import { bytes } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { aBoolean, aNumber, aText, type Found, listOf, optional, orNull, record } from '../core/outside.ts'
import { createDatabaseLine, sqlLine } from '../dokku/by-hand.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { MAY_END } from './rights.ts'
import { answering, identifier, literal, rows, serverOf } from './sql.ts'

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

export type DatabaseProperties = Found<typeof PROPERTIES>

/** Production's database, and the room beside it. */
export interface Ground {
  properties: DatabaseProperties
  /** On the disk of the server's data; undefined where that can't be known. */
  freeBytes: number | undefined
  /** Transactions that were prepared in it, and neither committed nor rolled back: it can't be renamed before. */
  prepared: string[]
  /** Why this role can't replace it, a phrase each. */
  obstacles: string[]
}

/**
 * Looks at production's database from outside, in whatever state it is; changes nothing.
 * @param clearing what may make room on the disk: that is measured afterwards
 */
export async function surveyGround(
  dokku: Dokku,
  production: Service,
  clearing: Promise<void> = Promise.resolve(),
): Promise<Ground> {
  const { name, database } = production
  const reading = rows(
    answering(dokku),
    serverOf(production),
    `SELECT (to_jsonb(d) - 'datacl') || jsonb_build_object('encodingName', pg_encoding_to_char(encoding),
       'owner', pg_get_userbyid(datdba), 'tablespace', spcname, 'folder', (SELECT setting FROM pg_settings WHERE name = 'data_directory'), ${RIGHTS},
       'prepared', (SELECT coalesce(json_agg(gid), '[]') FROM pg_prepared_xacts WHERE database = datname))
     FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = ${literal(database)};`,
    record({ ...PROPERTIES, ...RIGHTS_SHAPE, folder: orNull(aText), prepared: listOf(aText) }),
  )
  const [[found]] = await Promise.all([reading, clearing])
  if (!found)
    throw new Failure(
      `The server of ${name} has no database ${database}.`,
      `If it was dropped, make an empty one, and restore into that: ${createDatabaseLine(production)}`,
    )
  const { folder, prepared, role, mayCreate, owns, strangers, ...properties } = found
  const freeBytes = folder === null ? undefined : await askRoom(dokku, production, folder)
  return { properties, freeBytes, prepared, obstacles: obstaclesOf({ role, mayCreate, owns, strangers }, properties) }
}

/** Free bytes on the disk of a folder of the server; undefined where only the server's own machine could tell. */
async function askRoom(dokku: Dokku, { name, away }: Service, folder: string): Promise<number | undefined> {
  if (away) return undefined
  const output = await dokku.run(['postgres:enter', name, 'df', '-Pk', folder])
  const available = /^\S.*?\s\d+\s+\d+\s+(\d+)\s+\d+%/m.exec(output.stdout)?.[1]
  return output.exitCode === 0 && available !== undefined ? Number(available) * 1024 : undefined
}

/** What the role may do that a restore takes; in a query on pg_database. Who runs the server looks in now and then: that is over soon. */
const RIGHTS = `'role', current_user, 'owns', pg_has_role(datdba, 'USAGE'),
  'mayCreate', (SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user),
  'strangers', (SELECT coalesce(json_agg(DISTINCT usename), '[]') FROM pg_stat_activity
    WHERE pg_stat_activity.datname = d.datname AND usesysid IN (SELECT oid FROM pg_roles WHERE NOT rolsuper) AND NOT ${MAY_END})`
const RIGHTS_SHAPE = { role: aText, owns: aBoolean, mayCreate: aBoolean, strangers: listOf(aText) }

function obstaclesOf(
  { role, owns, mayCreate, strangers }: Found<typeof RIGHTS_SHAPE>,
  { owner }: Pick<DatabaseProperties, 'owner'>,
): string[] {
  return [
    ...(mayCreate
      ? []
      : [
          `the role ${role} may not create databases: as an administrator type ALTER ROLE ${identifier(role)} CREATEDB;`,
        ]),
    ...(owns
      ? []
      : [
          `the database belongs to ${owner}, and the role ${role} is no member of that: GRANT ${identifier(owner)} TO ${identifier(role)};`,
        ]),
    ...(strangers.length === 0
      ? []
      : [
          `the role ${role} may not end the connections of ${strangers.join(', ')}: GRANT pg_signal_backend TO ${identifier(role)};`,
        ]),
  ]
}

/** @throws Failure when something in production would stop the swap, whoever agrees to it */
export function requireFree({ prepared: [first], obstacles }: Ground, production: Service): void {
  if (obstacles.length > 0)
    throw new Failure(
      `With this role ${production.name} can't be replaced: ${obstacles.join('. And ')}`,
      'Or restore with an administrator in DATABASE_URL, in an env file of its own: restore --env-file. Without either: docs/growing.md',
      EXIT.usage,
    )
  if (first !== undefined)
    throw new Failure(
      `Production can't be replaced: it has a prepared transaction that nobody has ended: ${first}`,
      `Ask whose it is. To roll it back: ${sqlLine(production, `ROLLBACK PREPARED ${literal(first)}`)}`,
    )
}

/** What an imported dump takes on the disk, with its indexes, about. */
export function neededBytes(dumpBytes: number, isCompressed: boolean): number {
  return dumpBytes * (isCompressed ? 6 : 2)
}

/** @throws Failure when there is not enough room for what is imported */
export function requireRoom(ground: Ground | undefined, needed: number, log: Log): void {
  if (ground?.freeBytes === undefined) log.warn('How much room there is for the database could not be found out.')
  else if (ground.freeBytes < needed)
    throw new Failure(
      `The restore needs about ${bytes(needed)} for a copy of the database, but only ${bytes(ground.freeBytes)} are free.`,
      'Make room: databases kept by earlier restores are listed by restore --undo, images by: sudo docker system df',
    )
}
