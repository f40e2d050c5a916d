// A psql in a service's container that is talked to step by step, and that exchanges rows with the server's other databases.

import { randomBytes } from 'node:crypto'
import { Failure } from '../core/failure.ts'
import { lastLines, oneLine } from '../core/format.ts'
import { lines } from '../core/lines.ts'
import { readJson, type Shape } from '../core/outside.ts'
import { settlesWithin } from '../core/patience.ts'
import { quoteAll } from '../core/quote.ts'
import type { Child, Output } from '../core/shell.ts'
import { connectArgs, type Dokku, explainCommand, type Service } from '../dokku/dokku.ts'
import { connecting, LOCK_MS, literal } from './sql.ts'

/** What the sessions are called that look for lost rows, and that insert them. */
export const COMPARE_SESSION = 'book-corners-ops comparison'
export const INSERT_SESSION = 'book-corners-ops insertion'

/** What PostgreSQL refused. */
export class Refused extends Failure {
  constructor(
    message: string,
    /** SQLSTATE, five signs; empty when psql did not name one. */
    readonly state: string,
    /** What it is about, as far as PostgreSQL tells; of rows that are fetched, the table that they go to. */
    readonly about: { schema?: string; table?: string; column?: string; constraint?: string } = {},
  ) {
    super(message)
  }
}

/** A psql that waits for the next script. */
export interface Session {
  /**
   * Runs a script, and gives the lines that it prints, until it has ended. They must all be read.
   * @throws Refused with the first error: it ends the session, and with it a transaction that is open
   */
  lines(script: string): AsyncGenerator<string>
  /** The same for lines that are one JSON value each. */
  values<T>(script: string, shape: Shape<T>): Promise<T[]>
  /** The same for a script that prints nothing. */
  run(script: string): Promise<void>
  /** Ends it; a transaction that is open is rolled back. */
  end(): Promise<void>
}

/** How values are written, and read, when rows travel as text: alike on both sides, later too, and without loss. */
const AS_TEXT = {
  DateStyle: 'ISO,YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
  standard_conforming_strings: 'on',
}

/** Before values are written as text that a session of another time reads, and before it reads them. */
export const FIXED_TEXT = Object.entries(AS_TEXT)
  .map(([name, value]) => `SET ${name} = ${literal(value)};`)
  .join('\n')

/** Afterwards everything is written, and read, as the database has it for its app. */
export const AS_THE_APP = Object.keys(AS_TEXT)
  .map((name) => `RESET ${name};`)
  .join('\n')

/** For the psql that the session's psql starts beside it: the same server, and nothing of what limits the app's queries. */
const BESIDE = {
  ...AS_TEXT,
  default_transaction_read_only: 'off',
  statement_timeout: '0',
  client_min_messages: 'error',
}

/** For psql to notice the end of its input; it does not while it is at a statement. */
const END_MS = 1000

/**
 * Starts a psql in a database of a service.
 * @param name what the server shows of it in pg_stat_activity, also for what it starts beside it
 */
export function openSession(dokku: Dokku, service: Service, name: string): Session {
  const child = dokku.start(connectArgs(service.name))
  const said = lines(child)
  child.stdin.write(
    [
      ...connecting(service.database),
      // With SQLSTATE, which is the same in every language.
      '\\set VERBOSITY verbose',
      '\\set SHOW_CONTEXT errors',
      `SET application_name = ${literal(name)};`,
      `SET lock_timeout = ${LOCK_MS};`,
      'SET idle_in_transaction_session_timeout = 0;',
      'SET default_transaction_read_only = off;',
      // Compiling these queries takes longer than they do.
      'SET jit = off;',
      FIXED_TEXT,
      '\\setenv PGHOST :HOST',
      '\\setenv PGPORT :PORT',
      '\\setenv PGUSER :USER',
      '\\setenv PGCLIENTENCODING UTF8',
      `\\setenv PGAPPNAME ${literal(name)}`,
      `\\setenv PGOPTIONS ${literal(
        Object.entries(BESIDE)
          .map(([key, value]) => `-c ${key}=${value}`)
          .join(' '),
      )}`,
      '',
    ].join('\n'),
  )
  const run = (script: string): AsyncGenerator<string> => answers(child, said, script, service)
  return {
    lines: run,
    values: async <T>(script: string, shape: Shape<T>): Promise<T[]> => {
      const values: T[] = []
      for await (const line of run(script)) values.push(readJson(line, shape, 'PostgreSQL'))
      return values
    },
    run: async (script) => {
      for await (const line of run(script)) throw new Failure(`PostgreSQL said what nobody asked for: ${oneLine(line)}`)
    },
    end: async () => {
      child.stdin.end()
      // Its end is heard of only when all that it says was read.
      child.stdout.resume()
      if (!(await settlesWithin(child.ended, END_MS))) await child.stop()
    },
  }
}

async function* answers(
  child: Child,
  said: AsyncGenerator<string>,
  script: string,
  service: Service,
): AsyncGenerator<string> {
  const mark = `book-corners-ops-${randomBytes(8).toString('hex')}`
  child.stdin.write(`\\echo ${mark} begins\n${script}\n\\echo ${mark}\n`)
  // What a psqlrc prints comes before.
  for (let hasBegun = false; ; ) {
    const { done, value } = await said.next()
    if (done) throw explain(await child.ended, service)
    if (value === mark) return
    if (hasBegun) yield value
    hasBegun ||= value === `${mark} begins`
  }
}

const LONGEST_REASON = 500

/** The first error, with what belongs to it. */
function explain(output: Output, service: Service): Failure {
  const all = output.stderr.split('\n')
  const first = all.findIndex((line) => /\b(ERROR|FATAL|PANIC): /.test(line))
  if (first === -1) return explainCommand(output, service, connectArgs(service.name))
  const [, state = '', message = lastLines(all[first] ?? '')] =
    /\b(?:ERROR|FATAL|PANIC): +(?:([0-9A-Z]{5}): )?(.*)$/.exec(all[first] ?? '') ?? []
  const more = all.slice(first + 1).filter((line) => /^(DETAIL|HINT): /.test(line))
  return new Refused(
    oneLine([message, ...more.slice(0, 2)].join(' · '), LONGEST_REASON),
    state,
    aboutWhat(all.slice(first + 1)),
  )
}

/** Of the lines after an error; only names are taken, for a context can hold a row's values. */
function aboutWhat(all: readonly string[]): Refused['about'] {
  const named = (name: string): string | undefined =>
    all
      .find((line) => line.startsWith(`${name} NAME:`))
      ?.slice(`${name} NAME:`.length)
      .trim()
  const [, copied, copiedColumn] =
    all.map((line) => /\bCOPY (\w+), \S+ \d+(?:, \S+ ([^:]+))?/.exec(line)).find(Boolean) ?? []
  const found = {
    schema: named('SCHEMA'),
    table: named('TABLE') ?? copied,
    column: named('COLUMN') ?? copiedColumn,
    constraint: named('CONSTRAINT'),
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}

/** The arguments of a psql beside the session's own, in another database of the same server. */
function beside(database: string, statement: string): string {
  const options = ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '--no-password']
  return literal(quoteAll(['psql', ...options, '-d', database, '-c', statement]))
}

/**
 * psql's line that sends a query's rows into a table of another database of the same server. Both ends are in the container:
 * no row comes through here.
 */
export function sendRows(query: string, database: string, table: string): string {
  return copyLine(`(${query}) TO PROGRAM ${beside(database, `COPY ${table} FROM STDIN`)}`)
}

/** psql's line that fetches the rows of a query in another database of the same server into a table. */
export function fetchRows(table: string, database: string, query: string): string {
  return copyLine(`${table} FROM PROGRAM ${beside(database, `COPY (${query}) TO STDOUT`)}`)
}

/** psql ends a command of its own at the line's end. @throws Failure for a name that holds one */
function copyLine(copy: string): string {
  if (/[\r\n]/.test(copy))
    throw new Failure('A table or a column has a line break in its name: its rows can only be restored as a whole.')
  return `\\copy ${copy}`
}
