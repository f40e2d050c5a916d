// What a person types to reach a database, for the hints: through Dokku, or through PostgreSQL's own programs.

import { shownUrl } from '../core/database-url.ts'
import { quote, quoteAll } from '../core/quote.ts'
import type { Service } from './dokku.ts'

/** For a psql in it; it takes a script on its stdin, and asks for a password at the terminal. */
export function psqlLine({ name, away }: Service): string {
  return away ? `psql ${quote(shownUrl(away))}` : `sudo dokku postgres:connect ${name}`
}

/** For the database itself, when there is none of its name any more. */
export function createDatabaseLine(service: Service): string {
  const { name, database, away } = service
  return away
    ? `${serverPsqlLine(service)} -c 'CREATE DATABASE "${database}"'`
    : `sudo dokku postgres:enter ${name} createdb -U postgres -E utf8 ${database}`
}

/** For a psql in another database of its server, when its own can't be reached. */
export function serverPsqlLine({ name, away }: Service): string {
  return away
    ? `psql ${quote(shownUrl({ ...away, database: 'postgres' }))}`
    : `sudo dokku postgres:enter ${name} psql -U postgres -d postgres`
}

export function sqlLine(service: Service, statement: string): string {
  return `echo ${quote(statement)} | ${psqlLine(service)}`
}

/** To see what the server said. */
export function logsLine({ name, away }: Service): string {
  return away ? `the server's log, where ${away.host} is run` : `sudo dokku postgres:logs ${name}`
}

/** To see which PostgreSQL it is. */
export function versionLine(service: Service): string {
  return service.away ? sqlLine(service, 'SELECT version();') : `sudo dokku postgres:info ${service.name} --version`
}

/** For a dump of it. @param args of Dokku's command */
export function dumpLine({ away }: Service, args: readonly string[]): string {
  return away ? `pg_dump -Fc ${quote(shownUrl(away))}` : `sudo dokku ${quoteAll(args)}`
}
