// One explanation of a Dokku command that failed, here or over SSH.

import { type Address, placeOf, shownUrl } from '../core/database-url.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { sshLine } from '../core/host.ts'
import { quote } from '../core/quote.ts'
import type { Output } from '../core/shell.ts'

/** The service exists, but its container is stopped or gone. */
export class NotRunning extends Failure {}

/** There is no Dokku on this machine, or no more. */
export class NotInstalled extends Failure {}

/**
 * The failure behind a Dokku command that did not end well: the cause, and the next command to type.
 * @param what the command without its options, e.g. `postgres:connect book-corners-db`
 * @param host of a command that was sent over SSH
 */
export function explainDokku(output: Output, what: string, host?: string): Failure {
  const [command = '', subject = ''] = what.split(' ')
  const dokku = host === undefined ? 'sudo dokku' : sshLine('dokku', host)
  const said = saidBy(output, command)
  if (output.exitCode === 20 || /App \S+ does not exist/.test(output.stderr))
    return new Failure(
      `Dokku has no app ${subject}.`,
      `Check DOKKU_APP against: ${dokku} apps:list. A new app is created first, on the server: dokku apps:create ${subject}`,
      EXIT.usage,
    )
  const known = host === undefined ? explainLocal(output.stderr, what, said) : undefined
  if (known) return known
  const how = output.signal ? `was ended by ${output.signal}` : `failed with exit status ${output.exitCode}`
  return new Failure(
    `dokku ${what} ${how}${said ? `: ${said}` : ' and said nothing.'}`,
    host === undefined ? `Try it by hand: sudo dokku ${what}` : 'Look: deploy --status',
  )
}

/** The failure behind a program that was run for a database away from Dokku. @param program of PostgreSQL's that was run */
export function explainAway({ exitCode, signal, stderr }: Output, program: string, address: Address): Failure {
  const said = firstError(stderr) ?? lastLines(stderr)
  if (POOLERS_WORDS.test(stderr)) return explainPooler(address, said)
  const tryIt = `Try it by hand: psql ${quote(shownUrl(address))}`
  const known = AWAY.find(([pattern]) => pattern.test(stderr))
  if (known) return new Failure(`${known[1](placeOf(address), address)}: ${said}`, `${known[2](address)} ${tryIt}`)
  const how = signal ? `was ended by ${signal}` : `failed with exit status ${exitCode}`
  return new Failure(`${program} at ${placeOf(address)} ${how}${said ? `: ${said}` : ' and said nothing.'}`, tryIt)
}

/** A pooler may give each transaction another connection; `SET` and a change of the database don't work there. */
export function explainPooler(address: Address, said?: string): Failure {
  return new Failure(
    `${placeOf(address)} is a connection pooler${said ? `: ${said}` : ': what the connection is told does not reach the server.'}`,
    "Give the server's direct address in DATABASE_URL, mostly another port or host of the same provider.",
    EXIT.usage,
  )
}

/** PgBouncer's, and those of Amazon's proxy: they don't take what a server takes. */
const POOLERS_WORDS = /unsupported (options )?startup parameter|doesn't support command-line options/

const AWAY: readonly [
  pattern: RegExp,
  what: (place: string, address: Address) => string,
  fix: (address: Address) => string,
][] = [
  [
    /password authentication failed|no password supplied|authentication failed for user/,
    (place, { user }) => `${place} refuses the user ${user}`,
    () => 'Compare user and password of DATABASE_URL with the provider; special signs in them are written %XX.',
  ],
  [
    /no pg_hba\.conf entry/,
    (place) => `${place} does not let this machine in`,
    () => "Add this machine's address to those that the provider lets in.",
  ],
  [
    /FATAL: +database "[^"]+" does not exist/,
    (place, { database }) => `${place} has no database ${database}`,
    ({ database, ...address }) =>
      `Compare the name in DATABASE_URL. If it was dropped, make an empty one, and restore into that: psql ${quote(shownUrl({ ...address, database: 'postgres' }))} -c 'CREATE DATABASE "${database}"'.`,
  ],
  [
    /certificate|\bSSL\b/,
    (place) => `The encrypted connection to ${place} failed`,
    () =>
      "With a certificate authority of the provider's own, download its certificate: ?sslmode=verify-full&sslrootcert=/FILE in DATABASE_URL; sslmode=require encrypts without knowing to whom.",
  ],
  [
    /could not translate host name|Connection refused|timed out|timeout expired|No route to host|Network is unreachable/,
    (place) => `The database at ${place} can't be reached`,
    () => 'Check host and port of DATABASE_URL, and whether the provider lets this machine in.',
  ],
]

// What the Postgres plugin prints on stdout is data, perhaps a database's; others say even their errors there.
function saidBy({ stdout, stderr }: Output, command: string): string {
  const isData = command.startsWith('postgres:') && !/^postgres:(create|destroy)$/.test(command)
  return firstError(stderr) ?? (lastLines(stderr) || (isData ? '' : lastLines(stdout)))
}

/** PostgreSQL's first error, with what its programs say to it: the lines behind it, as many as there may be, come of it. */
function firstError(stderr: string): string | undefined {
  const lines = stderr.split('\n')
  const at = lines.findIndex((line) => /^(\w+: )?(error|ERROR|FATAL|PANIC): /.test(line))
  return at === -1 ? undefined : lastLines(lines.slice(at, at + MOST_LINES).join('\n'), MOST_LINES)
}

const MOST_LINES = 4

function explainLocal(stderr: string, what: string, said: string): Failure | undefined {
  const [command = '', service = ''] = what.split(' ')
  if (/^(sudo|.*exec): (\S*\/)?dokku: (command )?not found|: spawn (\S*\/)?dokku ENOENT$/m.test(stderr))
    return new NotInstalled(
      `Dokku is not installed here: ${said}`,
      'Run this on the Dokku host itself. It is that host? Check DOKKU_COMMAND.',
    )
  // Dokku calls sudo itself for some of its work: only a call that needs nothing more shows that it is ours.
  if (/^postgres:(info|exists)$/.test(command) && /^sudo:|may not run sudo/m.test(stderr))
    return new Failure(
      `This user may not call Dokku: ${said}`,
      "Allow it: echo 'deploy ALL=(ALL) NOPASSWD: /usr/bin/dokku' | sudo tee /etc/sudoers.d/deploy-dokku",
    )
  if (/command not found|: not found|ENOENT/.test(stderr) && /dokku|sudo/.test(stderr))
    return new Failure(`Dokku can't be called: ${said}`, 'Check DOKKU_COMMAND; it runs on the Dokku host itself.')
  if (/Postgres service \S+ does not exist/.test(stderr))
    return new Failure(`Dokku: ${said}`, 'Check DB_SERVICE against: sudo dokku postgres:list')
  if (
    command.startsWith('postgres:') &&
    service &&
    /container does not exist|No such container|container (\S+ )?is not running/i.test(stderr)
  )
    return new NotRunning(
      `The Postgres service ${service} is not running: ${said}`,
      `Start it: sudo dokku postgres:start ${service}`,
    )
  const [, lost] = /FATAL: +database "([^"]+)" does not exist(?!\s+DETAIL)/.exec(stderr) ?? []
  return lost === undefined
    ? undefined
    : new Failure(
        `Dokku: ${said}`,
        `If it was dropped, make an empty one, and restore into that: sudo dokku postgres:enter ${service} createdb -U postgres -E utf8 ${lost}`,
      )
}
