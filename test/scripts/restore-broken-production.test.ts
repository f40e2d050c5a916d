// Production may be as broken as it likes: it is read to inform, and stops no restore, no test and no drill.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { backUpAndDamage, counts, DAMAGED, DROP_OTHERS, databases, OLD, services } from '../support/damage.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('restore of a broken production')
let sandbox: Sandbox

const RESTORE = ['latest', '--db-only', '--yes']

test.before(async () => {
  sandbox = await startSandbox()
  await backUpAndDamage(sandbox)
})
test.after(() => sandbox.stop())

async function holdTable(table: string): Promise<() => void> {
  const client = spawn(join(sandbox.dir, 'bin/dokku'), ['postgres:connect', sandbox.service])
  client.stdin.write(`\\set QUIET on\nSET application_name = 'somebody';\nBEGIN;\nLOCK TABLE ${table};\n\\echo held\n`)
  await once(client.stdout, 'data')
  return () => client.stdin.end('ROLLBACK;\n')
}

test('a psqlrc in the image changes nothing of what is read, and of what is done', async () => {
  const psqlrc = join(sandbox.dir, 'psqlrc')
  await writeFile(
    psqlrc,
    [
      '\\timing on',
      '\\x on',
      "\\pset null '(null)'",
      '\\pset numericlocale on',
      '\\set ECHO all',
      '\\set AUTOCOMMIT off',
      '\\set ON_ERROR_STOP off',
      '\\set SINGLELINE on',
      '\\set FETCH_COUNT 1',
      '\\set VERBOSITY verbose',
      '\\pset fieldsep ;',
      '\\encoding LATIN1',
      '\\setenv PGAPPNAME somebody',
      '\\setenv PGSERVICE nowhere',
      '\\echo welcome',
      'SELECT 1;',
      '\\o /dev/null',
    ].join('\n'),
    { mode: 0o644 },
  )
  await sandbox.containerProgram(
    'psql',
    `PSQLRC='${psqlrc}' PGTARGETSESSIONATTRS=read-write exec '${sandbox.postgresBin}/psql' "$@"`,
  )
  const preview = await sandbox.script('restore.ts', ['--dry-run', '--db-only', '--json'])
  const restored = await sandbox.script('restore.ts', RESTORE)
  const back = await sandbox.script('restore.ts', ['--undo', '--yes'])
  await sandbox.containerProgram('psql')
  assert.is(preview.exitCode, 0, preview.stderr)
  assert.is(JSON.parse(preview.stdout).database.tables['public.libraries_library'], 120)
  assert.is(restored.exitCode, 0, restored.stderr)
  assert.match(restored.stderr, /\blibraries_library +120 +300 +180 +0/)
  assert.is(back.exitCode, 0, back.stderr)
  assert.is(await counts(sandbox), DAMAGED)
})

/** Damages the file of one table on the disk, and removes another's. */
async function damageFiles(): Promise<void> {
  const [library = '', migrations = ''] = (
    await sandbox.sql(
      "SELECT pg_relation_filepath('libraries_library') || ' ' || pg_relation_filepath('django_migrations'); CHECKPOINT;",
    )
  ).split(' ')
  await sandbox.dokku(['postgres:stop', sandbox.service])
  const data = join(sandbox.dir, 'services', sandbox.service, 'data')
  const file = await open(join(data, library), 'r+')
  await file.write(Buffer.alloc(4096, 0xff), 0, 4096, 0)
  await file.close()
  await rm(join(data, migrations))
  await sandbox.dokku(['postgres:start', sandbox.service])
}

test('a table that is locked or damaged is shown as such, and holds up nobody; a database that somebody else has named like ours is neither removed nor swapped in; the room that a restore needs is that of the archive', async () => {
  const bytes = Number(await sandbox.sql('SELECT pg_database_size(current_database());'))
  await sandbox.sql(`${DROP_OTHERS}
    CREATE DATABASE book_corners_db_restoring; CREATE DATABASE book_corners_db_before_20260228T030000;`)
  await damageFiles()
  const letGo = await holdTable('libraries_photo')
  const preview = await sandbox.script('restore.ts', ['--dry-run', '--db-only'])
  const drilled = await sandbox.script('restore.ts', ['--drill'])
  letGo()
  for (const { exitCode, stderr } of [preview, drilled]) assert.is(exitCode, 0, stderr)
  assert.match(
    preview.stdout,
    /public\.libraries_photo is locked by process \d+ \(postgres, somebody, idle in transaction\)/,
  )
  assert.match(preview.stdout, /public\.libraries_library is unreadable: invalid page/)
  assert.match(preview.stdout, /public\.django_migrations is unreadable: could not open file/)
  assert.match(drilled.stderr, /\blibraries_photo +locked +10/)
  assert.equal((await databases(sandbox)).length, 3)
  await replaces(Math.floor(bytes / 1024 / 2))
})

/** @param freeKb less than production takes, more than the archive */
async function replaces(freeKb: number): Promise<void> {
  const restored = await sandbox.script('restore.ts', RESTORE)
  assert.is(restored.exitCode, 1)
  assert.match(restored.stderr, /book_corners_db_restoring, and these scripts have not made it/)
  const [, rename = ''] = /echo '(ALTER DATABASE .*)' \|/.exec(restored.stderr) ?? []
  assert.is((await sandbox.dokku(['postgres:connect', sandbox.service], `${rename}\n`)).exitCode, 0)
  const none = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(none.exitCode, 1)
  assert.match(none.stderr, /No database of an earlier restore is kept/)
  await sandbox.fault(
    'postgres:enter',
    `case "$*" in *" df "*) printf "Filesystem 1024-blocks Used Available Capacity Mounted on\\n/dev/x 1000 900 ${freeKb} 90%% /data\\n"; exit 0;; esac`,
  )
  const again = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:enter')
  assert.is(again.exitCode, 0, again.stderr)
  assert.is(await counts(sandbox), OLD)
  const names = await databases(sandbox)
  for (const name of ['restoring_by_hand', 'before_20260228t030000'])
    assert.ok(names.includes(`book_corners_db_${name}`), names.join())
}

test('a catalog of production that can no longer be read stops nothing either', async () => {
  const path = await sandbox.sql("SELECT pg_relation_filepath('pg_class');")
  await sandbox.sql('CHECKPOINT;')
  await sandbox.dokku(['postgres:stop', sandbox.service])
  const file = await open(join(sandbox.dir, 'services', sandbox.service, 'data', path), 'r+')
  await file.write(Buffer.alloc(8192, 0xff), 0, 8192, 0)
  await file.close()
  await sandbox.dokku(['postgres:start', sandbox.service])
  const proved = await sandbox.script('restore.ts', ['--test', '--yes'])
  assert.is(proved.exitCode, 0, proved.stderr)
  assert.match(proved.stderr, /Production can't be read/)
  const restored = await sandbox.script('restore.ts', RESTORE)
  assert.is(restored.exitCode, 1)
  // Dokku connects to that database before anything else: the way around it is told, and leads out.
  const commands = [...restored.stderr.matchAll(/ {2}sudo dokku (postgres:enter .*)$/gm)].map(
    ([, words]) => words ?? '',
  )
  assert.is(commands.length, 2, restored.stderr)
  for (const words of commands) {
    const typed = await sandbox.launch('sh', ['-c', `${join(sandbox.dir, 'bin/dokku')} ${words}`]).ended
    assert.is(typed.exitCode, 0, typed.stderr)
  }
  const again = await sandbox.script('restore.ts', RESTORE)
  assert.is(again.exitCode, 0, again.stderr)
  assert.is(await counts(sandbox), OLD)
})

test("production's container is down: a drill proves the archive all the same", async () => {
  await sandbox.dokku(['postgres:stop', sandbox.service])
  const drilled = await sandbox.script('restore.ts', ['--drill'])
  const preview = await sandbox.script('restore.ts', ['--dry-run', '--db-only'])
  const restored = await sandbox.script('restore.ts', RESTORE)
  await sandbox.dokku(['postgres:start', sandbox.service])
  for (const { exitCode, stderr } of [drilled, preview]) assert.is(exitCode, 0, stderr)
  assert.match(drilled.stderr, /Production can't be read/)
  assert.is(restored.exitCode, 1)
  assert.match(restored.stderr, /postgres:start book-corners-db/)
})

test('all connections are used up: the app that has them is named, with how it lets go of them', async () => {
  await sandbox.fault(
    'postgres:connect',
    'case "$1" in *-test) ;; *) echo "psql: error: connection to server on socket failed: FATAL:  sorry, too many clients already" >&2; exit 2;; esac',
  )
  const restored = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:connect')
  assert.is(restored.exitCode, 1)
  assert.match(restored.stderr, /sudo dokku ps:stop book-corners\. Afterwards: sudo dokku ps:start book-corners/)
})

test('a service named like the test service, whose tables are in another database, or which is empty, is not removed', async () => {
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  const empty = await sandbox.script('restore.ts', ['--drill'])
  assert.is(empty.exitCode, 1)
  assert.match(empty.stderr, /was not made by these scripts/)
  await sandbox.sql('CREATE DATABASE staging;', 'book-corners-db-test')
  const other = await sandbox.script('restore.ts', ['--test', '--yes'])
  assert.is(other.exitCode, 1)
  assert.match(await services(sandbox), /book-corners-db-test/)
  assert.is(
    await sandbox.sql("SELECT count(*) FROM pg_database WHERE datname = 'staging';", 'book-corners-db-test'),
    '1',
  )
})

test.run()
