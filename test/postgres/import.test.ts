import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { createShell, type Shell } from '../../lib/core/shell.ts'
import { transfer } from '../../lib/core/transfer.ts'
import { createDokku, type Dokku, type Service } from '../../lib/dokku/dokku.ts'
import { openImport } from '../../lib/postgres/import.ts'
import { containerProcesses, endIfThere, processesThatStay, type RunningProcess } from '../support/processes.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'
import { until } from '../support/until.ts'

const test = suite('the import')
let sandbox: Sandbox
let shell: Shell
let dokku: Dokku
let into: Service

const STALL_MS = 60_000
const LIBRARIES = 400

/** What visitors typed into the first column of a table: commands for psql, were it ever to read them. */
function hostile(): string[] {
  return [
    'DROP TABLE libraries_library;',
    `\\! touch ${marker()}`,
    ';DROP TABLE libraries_library;',
    `\\o ${marker()}`,
    `COPY (SELECT 1) TO PROGRAM 'touch ${marker()}';`,
    '\\connect book_corners_db\nDROP TABLE libraries_library;',
    '$$;\';"; DROP TABLE libraries_library; --',
  ]
}

function marker(): string {
  return join(sandbox.dir, 'services', sandbox.service, 'executed')
}

/** As `COPY`, where a line begins with the first column; and as INSERT, where what was typed stands as it is, newlines too. */
const FORMATS: Record<string, string[]> = { copied: [], inserted: ['--inserts'] }

function dumpFile(format: string): string {
  return join(sandbox.dir, `${format}.dump`)
}

const RESTORING = 'book_corners_db_restoring'
const MAKE_DATABASE = `DROP DATABASE IF EXISTS ${RESTORING} WITH (FORCE); CREATE DATABASE ${RESTORING} TEMPLATE template0;`

test.before(async () => {
  sandbox = await startSandbox()
  const env = { PATH: '/usr/bin:/bin', HOME: sandbox.home }
  shell = createShell(env, new AbortController().signal)
  dokku = createDokku({ shell, cleanup: shell }, [join(sandbox.dir, 'bin/dokku')])
  into = { name: sandbox.service, database: RESTORING }
  const values = hostile().flatMap((text) => [
    `('${text.replaceAll("'", "''")}')`,
    `('\n${text.replaceAll("'", "''")}\n')`,
  ])
  await sandbox.sql(`
    CREATE TABLE libraries_library (name text, description text);
    INSERT INTO libraries_library
      SELECT text, repeat(md5(i::text), 20) FROM generate_series(1, ${LIBRARIES}) i, (VALUES ${values.join(', ')}) typed (text);
    CREATE INDEX ON libraries_library (description);
    ${MAKE_DATABASE}`)
  for (const [format, options] of Object.entries(FORMATS)) {
    const args = ['postgres:enter', into.name, 'pg_dump', '-Fc', '-Z0', ...options, '-U', 'postgres', sandbox.database]
    // Through a pipe, as Docker does it: into a file, pg_dump 17 leaves at its end what nothing of the data needs.
    const command = `${join(sandbox.dir, 'bin/dokku')} --quiet ${args.join(' ')} | cat > ${dumpFile(format)}`
    assert.is((await sandbox.borgShell(command)).exitCode, 0)
  }
})
test.after(() => sandbox.stop())
test.before.each(async () => {
  await sandbox.containerProgram('pg_restore')
  await rm(marker(), { force: true })
  await emptyDatabase()
})

/** Mostly nothing came into it. */
async function emptyDatabase(): Promise<void> {
  await sandbox.sql(`\\c ${into.database}
    SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace) AS is_empty \\gset
    \\if :is_empty
    \\else
    \\c ${sandbox.database}
    ${MAKE_DATABASE}
    \\endif`)
}

/** Sends a dump through the door, as a restore does. */
async function bring(format = 'copied', stallMs = STALL_MS): Promise<void> {
  const target = await openImport(dokku, into, stallMs)
  const source = shell.start(['cat', dumpFile(format)])
  await transfer(source, target, {
    names: ['the file', 'the import'],
    stallMs,
    whole: async () => assert.is((await source.ended).exitCode, 0),
    result: () => target.finish(),
  })
}

async function failing(promise: Promise<unknown>): Promise<Failure> {
  const failure = await promise.then(
    () => assert.unreachable('it went well'),
    (error: unknown) => error,
  )
  assert.instance(failure, Failure, String((failure as Error).stack))
  return failure as Failure
}

async function rowsOf(database: string): Promise<string> {
  return sandbox.sql(`\\c ${database}\nSELECT count(*), count(DISTINCT name) FROM libraries_library;`)
}

function containerIsEmpty(): void {
  assert.equal(
    processesThatStay(() => containerProcesses(sandbox.dir).map(({ command }) => command)),
    [],
  )
}

async function nothingWasExecuted(): Promise<void> {
  assert.is(existsSync(marker()), false, 'a line of the dump was run')
  assert.is(await rowsOf(sandbox.database), expected())
}

function expected(): string {
  return `${LIBRARIES * hostile().length * 2}|${hostile().length * 2}`
}

for (const format of Object.keys(FORMATS))
  test(`a dump with hostile lines, ${format}, is imported as it is`, async () => {
    await bring(format)
    assert.is(await rowsOf(into.database), expected())
    await nothingWasExecuted()
    containerIsEmpty()
  })

// Where pg_restore, or the shell that runs it, is stopped; and what is said of it.
const READ_SOME = 'head -c 300000 >/dev/null'
const STOPS: [what: string, program: string, says: RegExp][] = [
  [
    'pg_restore fails before it reads anything',
    'echo "pg_restore: error: no" >&2; exit 1',
    /exit status 1: pg_restore: error: no$/,
  ],
  [
    'pg_restore fails in the middle, as on a full disk',
    `${READ_SOME}; printf 'pg_restore: error: could not extend file\\nDETAIL: No space left on device\\n\\n\\n' >&2; exit 1`,
    /could not extend file · DETAIL: No space left on device$/,
  ],
  ['pg_restore fails at the end', 'cat >/dev/null; exit 1', /exit status 1 and said nothing\.$/],
  ['pg_restore is killed at once', 'kill -KILL $$', /exit status 137/],
  ['pg_restore is killed in the middle', `${READ_SOME}; kill -KILL $$`, /exit status 137/],
  ['pg_restore says that it went well and has taken nothing', 'exit 0', /^$/],
]
for (const format of Object.keys(FORMATS))
  for (const [what, program, says] of STOPS)
    test(`nothing of a dump, ${format}, is executed when ${what}`, async () => {
      await sandbox.containerProgram('pg_restore', program)
      if (says.source === '^$') await bring(format)
      else assert.match((await failing(bring(format))).message, says)
      containerIsEmpty()
      await nothingWasExecuted()
    })

test('a container without pg_restore is said to have none', async () => {
  await sandbox.containerProgram('pg_restore', 'echo "sh: 1: pg_restore: not found" >&2; exit 127')
  assert.match((await failing(bring())).message, /has no pg_restore: sh: 1: pg_restore: not found/)
  containerIsEmpty()
  await nothingWasExecuted()
})

// Nobody is left who says how it ended, and psql, which would read on, stays stopped.
for (const [format, when, program] of [
  ['copied', 'at once, with pg_restore', 'kill -KILL $PPID; exit 1'],
  ['inserted', 'at once, with pg_restore', 'kill -KILL $PPID; exit 1'],
  ['copied', 'in the middle, with pg_restore', `${READ_SOME}; kill -KILL $PPID; exit 1`],
  ['inserted', 'in the middle, with pg_restore', `${READ_SOME}; kill -KILL $PPID; exit 1`],
  ['inserted', 'in the middle, while pg_restore goes on', `${READ_SOME}; kill -KILL $PPID; exec cat >/dev/null`],
  ['inserted', 'at the end', 'cat >/dev/null; kill -KILL $PPID'],
] as const)
  test(`nothing of a dump, ${format}, is executed when the shell is killed ${when}`, async () => {
    await sandbox.containerProgram('pg_restore', program)
    const { message } = await failing(bring(format))
    await nothingWasExecuted()
    assert.match(message, /nobody says how/)
    const left = (): RunningProcess[] => containerProcesses(sandbox.dir).filter(({ state }) => state !== 'Z')
    // What only ends by itself may need a moment.
    await until(() => left().length === 1)
    assert.equal(
      left().map(({ state, command }) => `${state} ${command.split(' ')[0]}`),
      ['T psql'],
    )
    for (const { pid } of left()) endIfThere(pid, 'SIGKILL')
    await nothingWasExecuted()
  })

test('our own death in the middle ends the import, and nothing of the dump is executed', async () => {
  const held = join(sandbox.dir, 'services', sandbox.service, 'held')
  await sandbox.containerProgram(
    'pg_restore',
    `${READ_SOME}; touch ${held}; sleep 1; PATH=\${PATH#*:} exec pg_restore "$@"`,
  )
  const target = await openImport(dokku, into, STALL_MS)
  const source = shell.start(['cat', dumpFile('inserted')])
  source.stdout.pipe(target.stdin, { end: false })
  while (!existsSync(held)) await sleep(50)
  process.kill(-target.pid, 'SIGKILL')
  await Promise.all([source.stop(), failing(target.finish())])
  containerIsEmpty()
  await nothingWasExecuted()
})

test('a dump that was cut short is no import', async () => {
  const whole = await readFile(dumpFile('copied'))
  for (const end of [20_000, whole.length - 200]) {
    await writeFile(dumpFile('cut'), whole.subarray(0, end))
    assert.match((await failing(bring('cut'))).message, /end of file|unexpected/)
    await emptyDatabase()
  }
  containerIsEmpty()
})

test('the first error is told, with what belongs to it', async () => {
  await sandbox.sql(`\\c ${into.database}\nCREATE TABLE libraries_library (id int);`)
  const { message } = await failing(bring())
  assert.match(
    message,
    /^pg_restore failed with exit status 1: pg_restore: error: .*relation "libraries_library" already exists/,
  )
  containerIsEmpty()
})

test('a container whose shell does not answer is a failure that says so', async () => {
  await sandbox.fault('postgres:connect', 'exec sleep 60')
  const { message, hint } = await failing(bring('copied', 1000))
  await sandbox.fault('postgres:connect')
  assert.match(message, /^The container of book-corners-db did not run a shell within 1 s\.$/)
  assert.match(hint, /postgres:connect book-corners-db/)
})

test('a container that is not running is said to be stopped', async () => {
  await sandbox.fault(
    'postgres:connect',
    'echo "Error response from daemon: No such container: dokku.postgres.book-corners-db" >&2; exit 1',
  )
  const { message } = await failing(bring())
  await sandbox.fault('postgres:connect')
  assert.match(message, /^The Postgres service book-corners-db is not running/)
})

test('a psqlrc that prints and echoes changes nothing', async () => {
  const psqlrc = join(sandbox.dir, 'services', sandbox.service, 'psqlrc')
  await writeFile(psqlrc, '\\timing on\n\\x auto\n\\set ECHO all\n\\set AUTOCOMMIT off\n\\echo hello\n', {
    mode: 0o644,
  })
  await sandbox.containerProgram('psql', `PSQLRC=${psqlrc} PATH=\${PATH#*:} exec psql "$@"`)
  try {
    await bring()
  } finally {
    await sandbox.containerProgram('psql')
  }
  assert.is(await rowsOf(into.database), expected())
  containerIsEmpty()
})

test.run()
