import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KEPT } from '../../lib/postgres/marks.ts'
import { keptName, restoringOf, swapSql } from '../../lib/postgres/swap.ts'
import { activity, DROP_OTHERS, holdName } from '../support/damage.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('swap')
let sandbox: Sandbox

const RESTORE = ['latest', '--db-only', '--yes']

function libraries(): Promise<string> {
  return sandbox.sql('SELECT count(*) FROM libraries_library;')
}

async function besides(): Promise<string[]> {
  return (await sandbox.sql("SELECT datname FROM pg_database WHERE datname LIKE 'book_corners_db_%';"))
    .split('\n')
    .filter(Boolean)
}

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox, { libraries: 300, photos: 1 })
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  const { exitCode, stderr } = await sandbox.script('backup.ts')
  assert.is(exitCode, 0, stderr)
})
test.after(() => sandbox.stop())
test.before.each(async () => {
  await sandbox.sql(
    `${DROP_OTHERS}\nDROP TABLE IF EXISTS libraries_photo; DELETE FROM libraries_library WHERE id > 120;`,
  )
})

for (const [what, args, expected] of [
  ['restore', RESTORE, '300'],
  ['undo', ['--undo', '--yes'], '77'],
] as const)
  test(`the swap of a killed run is ended before the next ${what} begins, and renames nothing any more`, async () => {
    // Something to go back to.
    const earlier = keptName(sandbox.database, new Date(Date.now() - 3_600_000))
    if (what === 'undo')
      await sandbox.sql(`CREATE DATABASE "${earlier}" TEMPLATE template0; COMMENT ON DATABASE "${earlier}" IS '${KEPT}';
        \\c "${earlier}"\nCREATE TABLE libraries_library AS SELECT n AS id FROM generate_series(1, 77) n;`)
    const { letGo } = await holdName(sandbox, sandbox.database)
    // In its container psql does not hear that nobody reads it any more.
    await sandbox.fault('postgres:connect', 'take_input; case "$input" in *"RENAME TO"*) exec >/dev/null 2>&1;; esac')
    const run = sandbox.start('restore.ts', RESTORE)
    await activity(sandbox, run, "application_name = 'book-corners-ops swap' AND wait_event_type = 'Lock'")
    run.child.kill('SIGKILL')
    await run.ended
    await sandbox.fault('postgres:connect')
    const next = sandbox.start('restore.ts', args)
    await Promise.race([next.prints(/Ended the swap that an earlier run was at/), next.ended]).finally(letGo)
    const { exitCode, stderr } = await next.ended
    assert.is(exitCode, 0, stderr)
    assert.match(stderr, /Ended the swap that an earlier run was at/)
    const kept = await besides()
    await sleep(2000)
    assert.equal(await besides(), kept)
    assert.is(await libraries(), expected)
  })

test('a swap whose answer is lost has happened all the same, and is reported so', async () => {
  await sandbox.fault(
    'postgres:connect',
    'take_input; case "$input" in *"RENAME TO"*) in_container "$1" psql -v ON_ERROR_STOP=1 -U postgres book_corners_db; echo "connection reset" >&2; exit 1;; esac',
  )
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /is that of book-corners-/)
  assert.is(await libraries(), '300')
})

test('a database that is read only, in odd settings, and busy with temporary tables is restored like any other', async () => {
  await sandbox.sql(`ALTER DATABASE book_corners_db SET default_transaction_read_only TO on;
    ALTER DATABASE book_corners_db SET statement_timeout TO '300ms';
    ALTER DATABASE book_corners_db SET intervalstyle TO sql_standard;`)
  const app = spawn(join(sandbox.dir, 'bin/dokku'), ['postgres:connect', sandbox.service])
  app.stdin.write(
    '\\set QUIET on\nSET statement_timeout = 0;\nSET default_transaction_read_only = off;\nCREATE TEMP TABLE scratch (id int);\n\\echo made\n',
  )
  await once(app.stdout, 'data')
  const dry = await sandbox.script('restore.ts', ['--dry-run', '--db-only'])
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE, {
    env: { VERIFY_SQL: 'SELECT count(*) FROM libraries_library, pg_sleep(0.5)' },
  })
  app.stdin.end()
  assert.is(dry.exitCode, 0, dry.stderr)
  assert.is(exitCode, 0, stderr)
  assert.not.match(stderr, /scratch/)
  assert.is(
    await sandbox.sql('SHOW default_transaction_read_only; SHOW statement_timeout; SHOW intervalstyle;'),
    'on\n300ms\nsql_standard',
  )
  await sandbox.sql(
    `SET statement_timeout = 0; SET default_transaction_read_only = off; ALTER DATABASE book_corners_db RESET ALL;`,
  )
  assert.is(await libraries(), '300')
})

test('names stay within what PostgreSQL takes, whatever the service is called', async () => {
  const long = 'b'.repeat(63)
  const names = [restoringOf({ name: 'db', database: long }).database, keptName(long, new Date())]
  for (const name of names) assert.is(name.length, 63)
  assert.is(new Set(names).size, 2)
  assert.equal(restoringOf({ name: 'x', database: 'db' }), { name: 'x', database: 'db_restoring' })
  assert.is(keptName('db', new Date(2026, 1, 28, 3, 4, 5)), 'db_before_20260228T030405')

  const service = `book-corners-${'x'.repeat(50)}`
  await sandbox.dokku(['postgres:create', service])
  await sandbox.sql('CREATE TABLE libraries_library (id int);', service)
  const env = { DB_SERVICE: service }
  for (const args of [RESTORE, ['--undo', '--yes']]) {
    const { exitCode, stderr } = await sandbox.script('restore.ts', args, { env })
    assert.is(exitCode, 0, stderr)
  }
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_library;', service), '0')
  await sandbox.dokku(['postgres:destroy', service, '--force'])
})

test('the SQL of a swap never renames one database without the other', () => {
  const text = swapSql({ database: 'db', incoming: 'db_restoring', kept: 'db_before_x' })
  const renames = text.match(/ALTER DATABASE/g)?.length ?? 0
  assert.is(
    text.match(
      /BEGIN \\;\nALTER DATABASE "db" RENAME TO "db_before_x" \\;\nALTER DATABASE "db_restoring" RENAME TO "db" \\;\n(COMMENT ON [^;]*\\;\n){2}COMMIT;/g,
    )?.length,
    renames / 2,
  )
})

test.run()
