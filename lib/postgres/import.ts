// The way of a dump into a database, through the one door of Dokku's Postgres plugin that has a stdin and names the database.

import { randomBytes } from 'node:crypto'
import { Failure } from '../core/failure.ts'
import { lastLines, oneLine } from '../core/format.ts'
import { lines } from '../core/lines.ts'
import { settlesWithin } from '../core/patience.ts'
import { quote } from '../core/quote.ts'
import type { Child, Output } from '../core/shell.ts'
import { logsLine, psqlLine, sqlLine, versionLine } from '../dokku/by-hand.ts'
import { connectArgs, type Dokku, explainCommand, neighbour, type Service } from '../dokku/dokku.ts'
import { BARE, literal, sql } from './sql.ts'

/** A `pg_restore` in the service's container that waits for a dump on its stdin. */
interface Import extends Child {
  /**
   * Waits until it has ended. To be called at once, and awaited while the dump is sent.
   * @throws Failure unless `pg_restore` took a whole dump without any error
   */
  finish(): Promise<void>
}

/** What takes a dump, and for which database. */
export interface Opened {
  into: Service
  target: Import
}

/** What the session of an import's psql is called on the server. It lasts as long as the shell does. */
export const IMPORT_SESSION = 'book-corners-ops import'

/**
 * What psql is told. `\!` runs a shell in the container that has psql's stdin and stdout, so that the dump, which comes
 * later on that stdin, goes to `pg_restore`.
 *
 * A dump holds what visitors typed: not one byte of it may be read by psql as a command. So the shell first stops psql
 * (SIGSTOP): whatever happens to the shell afterwards, psql reads nothing any more, and nothing ever lets it go on. Only
 * then the shell says that it is there, and only then the dump is sent. When `pg_restore` has ended the shell says
 * how, swallows what still comes and kills psql.
 *
 * The shell ignores signals, and ends with status 0: without psql it is a child of the container's first process, and that
 * is PostgreSQL, which takes a child that ends by a signal for a crash of its own (16 and before).
 */
function importScript(database: string, mark: string): string {
  const restore = `pg_restore --exit-on-error --no-owner --no-acl --no-password -d ${quote(database)}`
  return [
    ...BARE.slice(0, 4),
    '\\c postgres',
    `SET application_name = ${literal(IMPORT_SESSION)};`,
    `SELECT string_agg('-c ' || name || '=' || value, ' ') AS limits FROM pg_settings JOIN (VALUES ${WITHOUT_LIMITS.map(
      ([name, value]) => `(${literal(name)}, ${literal(value)})`,
    )}) v (name, value) USING (name) WHERE context = 'user' OR current_setting('is_superuser') = 'on' \\gset`,
    // Where psql is connected, pg_restore may connect, too.
    '\\setenv PGHOST :HOST',
    '\\setenv PGPORT :PORT',
    '\\setenv PGUSER :USER',
    '\\setenv PGOPTIONS :limits',
    // Whatever the image, or its psqlrc, sets for others.
    ...['PGAPPNAME', 'PGDATABASE', 'PGTARGETSESSIONATTRS', 'PGCLIENTENCODING'].map((name) => `\\setenv ${name}`),
    `\\! trap '' HUP INT QUIT PIPE TERM; kill -STOP $PPID && echo ${quote(mark)} ready && { ${restore}; echo ${quote(mark)} $?; }; cat >/dev/null; kill -KILL $PPID; exit 0`,
    '',
  ].join('\n')
}

/** What a server may set for the app's sessions, and an import can't bear; each version has some of them. */
const WITHOUT_LIMITS = [
  ['default_transaction_read_only', 'off'],
  ['default_transaction_deferrable', 'off'],
  // While Borg is slow the import waits.
  ['idle_session_timeout', '0'],
  ['event_triggers', 'off'],
] as const

/** How long a container may take to run a shell. */
const READY_MS = 60_000
/** For psql to end after the shell has spoken. */
const END_MS = 10_000
const WATCH_MS = 3000
const MISSED_MS = 1000
const MOST_MISSES = 3

/**
 * Starts `pg_restore` in the container of a service, for one of its databases, which is empty. Nothing of a dump may be
 * sent before this has resolved; the database need not be there before that: `pg_restore` first reads what is in the dump.
 * @param stallMs a silence that is too long; of the shell at most a minute is borne
 * @throws Failure when the container does not answer
 */
export async function openImport(dokku: Dokku, into: Service, stallMs: number): Promise<Import> {
  const mark = `book-corners-ops-${randomBytes(8).toString('hex')}`
  const child = dokku.start(connectArgs(into.name))
  const said = lines(child)
  child.stdin.write(importScript(into.database, mark))
  const ready = nextAnswer(said, mark)
  const readyMs = Math.min(stallMs, READY_MS)
  if (!(await settlesWithin(ready, readyMs))) {
    await child.stop()
    throw new Failure(
      `The container of ${into.name} did not run a shell within ${readyMs / 1000} s.`,
      `Try it by hand: echo '\\! echo ready' | ${psqlLine(into)}`,
    )
  }
  if ((await ready) !== 'ready') throw explainCommand(await child.ended, into, connectArgs(into.name))
  return { ...child, finish: () => finish(dokku, into, child, nextAnswer(said, mark)) }
}

/** The next line of the shell's own, without its mark; undefined when there comes none. A psqlrc may print other lines. */
async function nextAnswer(said: AsyncGenerator<string>, mark: string): Promise<string | undefined> {
  for (;;) {
    const { done, value } = await said.next()
    if (done) return undefined
    if (value.startsWith(`${mark} `)) return value.slice(mark.length + 1)
  }
}

async function finish(dokku: Dokku, into: Service, child: Child, answer: Promise<string | undefined>): Promise<void> {
  for (let misses = 0; !(await settlesWithin(answer, misses === 0 ? WATCH_MS : MISSED_MS)); ) {
    // Should the shell be killed, nobody says how `pg_restore` has ended.
    const isWaitedFor = child.stdin.writableFinished || child.stdin.writableNeedDrain
    misses = !isWaitedFor || (await isAtWork(dokku, into)) ? 0 : misses + 1
    if (misses === MOST_MISSES)
      throw new Failure(
        `The import into ${into.database} has ended in the container of ${into.name}, and nobody says how.`,
        `Something killed its shell. Look: ${logsLine(into)}`,
      )
  }
  const status = await answer
  if (status === '0') return void (await child.ended)
  child.stdin.end()
  if (await settlesWithin(child.ended, END_MS)) throw explainImport(await child.ended, status, into)
  throw explainImport({ exitCode: null, signal: null, stdout: '', stderr: '' }, status, into)
}

/** Whether `pg_restore` is connected. While the server can't be asked, that is believed. */
async function isAtWork(dokku: Dokku, into: Service): Promise<boolean> {
  const found = await sql(
    dokku,
    neighbour(into, 'postgres'),
    `SELECT 1 FROM pg_stat_activity WHERE datname = ${literal(into.database)} AND application_name = 'pg_restore' LIMIT 1;`,
  ).catch(() => '1')
  return found.trim() !== ''
}

/** @param status what the shell said: the exit status of `pg_restore`; undefined when the connection broke before */
function explainImport(output: Output, status: string | undefined, into: Service): Failure {
  const said = whyOf(output.stderr)
  if (status === undefined)
    return new Failure(
      `The connection to ${into.away ? into.name : `the container of ${into.name}`} broke${said ? `: ${said}` : '.'}`,
      `Look: ${logsLine(into)}`,
    )
  if (status === '127') return new Lacking(`It has no pg_restore: ${said}`, `Look: ${versionLine(into)}`)
  const failed = `pg_restore failed with exit status ${status}${said ? `: ${said}` : ' and said nothing.'}`
  const need = NEEDS.find(([pattern]) => pattern.test(said))
  if (need) return new Lacking(failed, need[1](into, need[0].exec(said)?.slice(1).find(Boolean) ?? ''))
  return UNQUALIFIED.test(said) ? new Unqualified(failed) : new Failure(failed)
}

/** The dump is as it should be, but its server has not got, or can't bear, what it needs. */
export class Lacking extends Failure {}

/** A function in the dump calls something by a name without its schema. */
export class Unqualified extends Failure {}

const UNQUALIFIED =
  /\b(?:function|relation|type|operator)\b.{0,300}\bdoes not exist\b.{0,600}\bCONTEXT: +(?:SQL|PL\/pgSQL) function/

/** What PostgreSQL says when something outside the database is missing, and the way to it. */
const NEEDS: readonly [pattern: RegExp, hint: (into: Service, what: string) => string][] = [
  [
    /role "([^"]{1,200})" does not exist/,
    (into, role) => `If it is to exist, make it: ${sqlLine(into, `CREATE ROLE "${role}";`)}`,
  ],
  [
    /tablespace "([^"]{1,200})" does not exist/,
    (into, tablespace) =>
      `Make one, within the server's own data: ${sqlLine(into, `SET allow_in_place_tablespaces = on; CREATE TABLESPACE "${tablespace}" LOCATION '';`)}`,
  ],
  [
    /extension "([^"]{1,200})" is not available|could not open extension control file "[^"]{0,300}\/([^"/]{1,200})\.control"|(could not access file|could not load library|must be loaded via|extension "[^"]{1,200}" has no installation script|could not find function)/,
    (into) =>
      `See which the server has: ${sqlLine(into, 'SELECT name, default_version FROM pg_available_extensions;')}. What is only in the container, and not in its image, no other service has.`,
  ],
  [
    /(could not create locale|could not open (?:collator|dictionary|stop-word|affix|thesaurus)|encoding conversion|invalid locale|could not open \S+ file)/,
    (into) => `Its image was another one: ${versionLine(into)}`,
  ],
  [
    /(unsupported version \([\d.]+\) in file header|unrecognized configuration parameter)/,
    (into) => `The dump is of a newer PostgreSQL. Look: ${versionLine(into)}`,
  ],
  [
    /permission denied to create extension "([^"]{1,200})"|must be owner of extension ([^\s:]{1,200})/,
    () =>
      'Restore with the role that may make extensions, mostly the one that the provider gives at first, in DATABASE_URL. See docs/growing.md',
  ],
  [/(No space left on device|could not extend file)/, () => 'Make room: df -h; sudo docker system df'],
  [
    /(out of shared memory|out of memory|sorry, too many clients|remaining connection slots)/,
    (into) => `Look: ${logsLine(into)}`,
  ],
  [
    /(server closed the connection|terminating connection|connection to server|the database system is)/,
    (into) => `The server went away meanwhile. Look: ${logsLine(into)}`,
  ],
]

/** The first error of `pg_restore` with its details: it ends at the first, but says more after it, and blank lines. */
function whyOf(stderr: string): string {
  // Killing psql is the last thing that the shell does, and the shell that called it here may report it.
  const all = stderr.split('\n').filter((line) => !/: line \d+: +\d+ Killed\b/.test(line))
  const first = all.findIndex((line) => line.startsWith('pg_restore: error: '))
  if (first === -1) return oneLine(lastLines(all.join('\n')), LONGEST_REASON)
  // What it was at follows, with all its text.
  const rest = all.slice(first + 1)
  const end = rest.findIndex((line) => line.startsWith('Command was: '))
  const details = (end === -1 ? rest : rest.slice(0, end)).filter((line) => /^(DETAIL|HINT|CONTEXT): /.test(line))
  return oneLine([all[first], ...details, ...(end === -1 ? [] : [rest[end]])].join(' · '), LONGEST_REASON)
}

const LONGEST_REASON = 700
