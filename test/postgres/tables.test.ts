import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku, type Dokku, type Service } from '../../lib/dokku/dokku.ts'
import { surveyTables } from '../../lib/postgres/tables.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { until } from '../support/until.ts'

const test = suite('the survey of the tables')
let sandbox: Sandbox
let dokku: Dokku
let service: Service

const SEEDED = ['public.django_migrations', 'public.libraries_library', 'public.libraries_photo']

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox, { libraries: 20, photos: 2 })
  const shell = createShell({ PATH: '/usr/bin:/bin', HOME: sandbox.home }, new AbortController().signal)
  dokku = createDokku({ shell, cleanup: shell }, [join(sandbox.dir, 'bin/dokku')])
  service = { name: sandbox.service, database: sandbox.database }
})
test.after(() => sandbox.stop())

test('tables with rows, of every schema and name; no partitions, and none that a crash may empty', async () => {
  await sandbox.sql(`
    CREATE SCHEMA "Odd.one"; CREATE TABLE "Odd.one"."a ""b"" 'c'
d" AS SELECT 1; CREATE TABLE empty (id int);
    CREATE TABLE visits (day date) PARTITION BY RANGE (day);
    CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO visits VALUES ('2026-02-28');
    CREATE UNLOGGED TABLE cache AS SELECT 1;`)
  const odd = `Odd.one.a "b" 'c'\nd`
  assert.equal(await surveyTables(dokku, service), { filled: [odd, ...SEEDED, 'public.visits'], unread: [] })
  await sandbox.sql('DROP SCHEMA "Odd.one" CASCADE; DROP TABLE empty, visits, cache;')
})

test("a table that somebody holds, and one whose file is damaged, are not read; the others' answers come all the same", async () => {
  await sandbox.sql("CREATE TABLE damaged AS SELECT repeat('x', 100) FROM generate_series(1, 200); CHECKPOINT;")
  const file = join(
    sandbox.dir,
    'services',
    sandbox.service,
    'data',
    await sandbox.sql("SELECT pg_relation_filepath('damaged');"),
  )
  await sandbox.dokku(['postgres:stop', sandbox.service])
  await writeFile(file, createHash('sha512').update('noise').digest('hex').repeat(200))
  await sandbox.dokku(['postgres:start', sandbox.service])
  const holder = sandbox.dokku(
    ['postgres:connect', sandbox.service],
    'BEGIN; LOCK TABLE libraries_photo; SELECT pg_sleep(60);\n',
  )
  await until(
    async () => (await sandbox.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock';")) !== '0',
  )
  const { filled, unread } = await surveyTables(dokku, service)
  await sandbox.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep';")
  await holder
  await sandbox.sql('DROP TABLE damaged;')
  assert.equal(filled, SEEDED.slice(0, 2))
  assert.equal(unread, ['public.damaged', 'public.libraries_photo'])
})

test('a psqlrc of the image changes nothing', async () => {
  const rc = "\\timing on\n\\x on\n\\pset null '(none)'\n\\set ECHO all\n\\set AUTOCOMMIT off\n\\set ON_ERROR_STOP on\n"
  const path = join(sandbox.dir, 'services', sandbox.service, 'psqlrc')
  await writeFile(path, rc)
  await sandbox.containerProgram(
    'psql',
    `PSQLRC=${path} exec "$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)/psql" "$@"`,
  )
  const { filled } = await surveyTables(dokku, service)
  await sandbox.containerProgram('psql')
  assert.equal(filled, SEEDED)
})

test('a server that does not answer, or has no such database, is a failure that says so', async () => {
  await sandbox.dokku(['postgres:stop', sandbox.service])
  let said = ''
  await surveyTables(dokku, service).catch((error: Error) => {
    said = error.message
  })
  await sandbox.dokku(['postgres:start', sandbox.service])
  assert.match(said, /is not running/)
})

test.run()
