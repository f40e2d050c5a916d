import { spawn } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { atTerminal as runAtTerminal } from '../support/terminal.ts'

const test = suite('restore the database')
let sandbox: Sandbox
let archive: string

const RESTORE = ['--db-only', '--yes']

async function counts(): Promise<string> {
  for (;;) {
    try {
      return await sandbox.sql(
        'SELECT (SELECT count(*) FROM libraries_library), (SELECT count(*) FROM libraries_photo);',
      )
    } catch (error) {
      // The swap of a run that was killed may still be sending everybody away.
      if (!/terminating connection due to administrator command/.test(String(error))) throw error
    }
  }
}

async function databases(): Promise<string[]> {
  return (
    await sandbox.sql(
      "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1;",
    )
  ).split('\n')
}

async function services(): Promise<string> {
  return (await sandbox.dokku(['postgres:list'])).stdout.trim()
}

const OLD = '300|10'
const DAMAGED = '120|0'

/** What the operator wants undone: rows gone, and a newer table that references an old one. */
async function damage(): Promise<void> {
  await sandbox.sql(`
    DROP TABLE IF EXISTS newer;
    DELETE FROM libraries_photo; DELETE FROM libraries_library WHERE id > 120;
    CREATE TABLE newer (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library);
    INSERT INTO newer (library_id) SELECT id FROM libraries_library;`)
}

/** Back to the damaged state, whatever a test has left. */
async function reset(): Promise<void> {
  for (const database of await databases())
    if (database !== sandbox.database) await sandbox.sql(`DROP DATABASE "${database}" WITH (FORCE);`)
  await sandbox.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public;')
  await seed(sandbox, { libraries: 300, photos: 10 })
  await damage()
}

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox, { libraries: 300, photos: 10 })
  await sandbox.sql(
    `ALTER DATABASE book_corners_db SET work_mem TO '7MB'; ALTER DATABASE book_corners_db SET search_path TO "$user", public;`,
  )
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  const { stdout } = await sandbox.script('backup.ts', ['--json'])
  archive = JSON.parse(stdout).archive
})
test.after(() => sandbox.stop())
test.before.each(reset)

test('rows and tables are as in the archive, a newer table that references an old one notwithstanding', async () => {
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', RESTORE)
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(), OLD)
  assert.is(await sandbox.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'newer';"), '0')
  assert.is(await sandbox.sql('SHOW work_mem;'), '7MB', 'the settings of the database came along')
  assert.is(await sandbox.sql('SHOW search_path;'), '"$user", public')
  assert.match(stderr, /public\.libraries_library +120 +300 +\+180/)
  assert.match(stderr, /production: 120\n.*restored: +300/)
  const kept = (await databases()).find((name) => name.startsWith('book_corners_db_before_'))
  assert.ok(kept)
  assert.match(stdout, `kept as ${kept}`)
  assert.match(stdout, `DROP DATABASE "${kept}"`)
  assert.is(await services(), 'book-corners-db', 'the test service is gone')
  assert.match(await readFile(join(sandbox.dir, 'apps/book-corners/restarts'), 'utf8'), /\d/)
})

test('--undo swaps the kept database back, and is itself undone', async () => {
  await sandbox.script('restore.ts', RESTORE)
  // Straight away, perhaps in the same second: its name must not be in the way.
  const back = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(back.exitCode, 0, back.stderr)
  assert.is(await counts(), DAMAGED)
  const again = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(again.exitCode, 0, again.stderr)
  assert.is(await counts(), OLD)
  assert.is((await databases()).length, 2)
})

test('--undo without a kept database, or with an unknown one, changes nothing', async () => {
  const none = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(none.exitCode, 1)
  assert.match(none.stderr, /No database of an earlier restore is kept/)
  await sandbox.script('restore.ts', RESTORE)
  const unknown = await sandbox.script('restore.ts', ['--undo', 'nope', '--yes'])
  assert.is(unknown.exitCode, 1)
  assert.match(unknown.stderr, /nope is not kept.*\n.*Kept are: book_corners_db_before_/)
  assert.is(await counts(), OLD)
})

test('without a terminal and without --yes nothing begins', async () => {
  for (const args of [[], [archive], ['--undo'], ['--db-only']]) {
    const { exitCode, stderr } = await sandbox.script('restore.ts', args)
    assert.is(exitCode, 2)
    assert.match(stderr, /--yes/)
  }
  assert.is((await sandbox.script('restore.ts', ['--test'])).exitCode, 2)
  assert.is(await counts(), DAMAGED)
})

/** Types at a terminal: `script` gives the program one. */
function atTerminal(args: string[], answer: (output: string) => string | undefined) {
  return runAtTerminal('restore.ts', args, {
    env: { PATH: '/usr/bin:/bin', HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
    prompt: /to go on: |archive\? \[1\] /,
    answer,
  })
}

test('at a terminal an archive is picked, and only the name of the app changes production', async () => {
  const wrong = await atTerminal(['--db-only'], (output) => (output.endsWith('[1] ') ? '1\r' : 'yes\r'))
  assert.is(wrong.status, 1, wrong.output)
  assert.match(wrong.output, /nothing was changed/)
  assert.is(await counts(), DAMAGED)
  assert.is(await services(), 'book-corners-db')

  const interrupted = await atTerminal(['--db-only', archive], () => '\u0003')
  assert.is(interrupted.status, 130, interrupted.output)
  assert.is(await counts(), DAMAGED)
  assert.is(await services(), 'book-corners-db')

  const right = await atTerminal(['--db-only', archive], () => 'book-corners\r')
  assert.is(right.status, 0, right.output)
  assert.is(await counts(), OLD)
})

test('an unknown archive is answered with the nearest names', async () => {
  const { exitCode, stderr } = await sandbox.script('restore.ts', [archive.replace(/\d$/, 'x'), ...RESTORE])
  assert.is(exitCode, 1)
  assert.match(stderr, /There is no archive/)
  assert.match(stderr, new RegExp(`Did you mean[\\s\\S]*${archive}`))
  const unlike = await sandbox.script('restore.ts', ['nope', ...RESTORE])
  assert.match(unlike.stderr, new RegExp(`There is no archive nope[\\s\\S]*newest[\\s\\S]*${archive}`))
})

test('an archive that was renamed to be kept restores by its name', async () => {
  await sandbox.borg(['rename', `::${archive}`, 'before-the-migration'])
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['before-the-migration', ...RESTORE])
  await sandbox.borg(['rename', '::before-the-migration', archive])
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(), OLD)
})

test('an archive of the bash scripts restores: compressed, and under its old path', async () => {
  const work = join(sandbox.dir, 'legacy')
  await mkdir(join(work, 'tmp/book-corners-backup'), { recursive: true })
  await sandbox.sql("DROP TABLE newer; INSERT INTO libraries_library (name) VALUES ('of the old script');")
  const dump = join(work, 'tmp/book-corners-backup/db.dump')
  const child = spawn('sh', [
    '-c',
    '"$1" postgres:export book-corners-db > "$2"',
    'sh',
    join(sandbox.dir, 'bin/dokku'),
    dump,
  ])
  await new Promise((resolve) => child.on('close', resolve))
  const name = 'book-corners-2026-01-01T03:00:00'
  const created = await sandbox.borg(
    ['create', '--timestamp', '2026-01-01T03:00:00', `::${name}`, 'tmp/book-corners-backup'],
    { cwd: work },
  )
  assert.is(created.exitCode, 0, created.stderr)
  await damage()
  const list = await sandbox.script('restore.ts', ['--list'])
  assert.match(list.stdout, new RegExp(`${name} .*release unknown`))
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...RESTORE])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 0, stderr)
  assert.is(await sandbox.sql("SELECT count(*) FROM libraries_library WHERE name = 'of the old script';"), '1')
})

test('a dump that was cut short touches nothing', async () => {
  const dump = (
    await sandbox.dokku([
      'postgres:enter',
      sandbox.service,
      'pg_dump',
      '-Fc',
      '-Z0',
      '-U',
      'postgres',
      '-d',
      sandbox.database,
    ])
  ).stdout
  assert.ok(dump.length > 1000)
  const name = 'book-corners-2026-01-02T03:00:00'
  const whole = await sandbox.borg(['extract', '--stdout', `::${archive}`, 'db.dump'])
  const work = join(sandbox.dir, 'cut')
  await mkdir(work, { recursive: true })
  // As text the bytes may be damaged, too; what matters is that the end is missing.
  await writeFile(join(work, 'db.dump'), whole.stdout.slice(0, -200))
  await sandbox.borg(['create', '--timestamp', '2026-01-02T03:00:00', `::${name}`, 'db.dump'], { cwd: work })
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...RESTORE])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 1)
  assert.match(stderr, /does not import cleanly/)
  assert.match(stderr, /Production was not touched/)
  assert.is(await counts(), DAMAGED)
  assert.is(await services(), 'book-corners-db')
})

test('a dump of another kind, however large, is refused at once', async () => {
  const name = 'book-corners-2026-01-02T03:00:00'
  const rest = '--stdin-name db.dump --timestamp 2026-01-02T03:00:00'
  await sandbox.borgShell(`head -c 20000000 /dev/zero | borg create ${rest} ::${name} -`)
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...RESTORE])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 1)
  assert.match(stderr, /db\.dump of \S+ is not a custom-format dump/)
  assert.is(await counts(), DAMAGED)
  assert.is(await services(), 'book-corners-db')
  assert.equal(sandbox.strays(), [])
})

test('a Borg that gives nothing is not waited for longer than a stall, and that is said', async () => {
  const bin = join(sandbox.dir, 'shims')
  await mkdir(bin, { recursive: true })
  const silent = '#!/bin/sh\ncase "$*" in *--stdout*) exec sleep 60;; esac\nexec /usr/bin/borg "$@"\n'
  await writeFile(join(bin, 'borg'), silent, { mode: 0o755 })
  const env = { PATH: `${bin}:/usr/bin:/bin`, DUMP_STALL_SECONDS: '1' }
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE, { env })
  await rm(join(bin, 'borg'))
  assert.is(exitCode, 1)
  assert.match(stderr, /Borg gave no data of db\.dump for 1 s\.[\s\S]*DUMP_STALL_SECONDS/)
  assert.is(await counts(), DAMAGED)
  assert.is(await services(), 'book-corners-db')
  assert.equal(sandbox.strays(), [])
})

const FAULTS: [what: string, command: string, snippet: string][] = [
  ['the test service cannot be created', 'postgres:create', 'echo " !     no image" >&2; exit 1'],
  ['the import fails', 'postgres:import', 'head -c 1000 >/dev/null; echo "pg_restore: error: disk full" >&2; exit 1'],
  ['the import takes nothing and says it went well', 'postgres:import', 'cat > /dev/null; exit 0'],
  ['the copy is cut short', 'postgres:enter', 'case "$*" in *-Fp*) echo "CREATE TABLE cut (id int);"; exit 1;; esac'],
  [
    'the copy is cut short without a word',
    'postgres:enter',
    'case "$*" in *-Fp*) echo "CREATE TABLE cut (id int);"; exit 0;; esac',
  ],
  ['PostgreSQL refuses the copy', 'postgres:enter', 'case "$*" in *-Fp*) echo "SELECT 1/0;"; exit 0;; esac'],
]
for (const [what, command, snippet] of FAULTS) {
  test(`production stays as it was when ${what}`, async () => {
    await sandbox.fault(command, snippet)
    const { exitCode, stdout } = await sandbox.script('restore.ts', RESTORE)
    await sandbox.fault(command)
    assert.is(exitCode, 1)
    assert.is(stdout, '')
    assert.is(await counts(), DAMAGED)
    assert.equal(await databases(), [sandbox.database])
    assert.is(await services(), 'book-corners-db')
    assert.equal(sandbox.strays(), [])
  })
}

test("Borg's connection cut while it gives the dump is a failure with its reason", async () => {
  const bin = join(sandbox.dir, 'shims')
  await mkdir(bin, { recursive: true })
  const message =
    '{"type":"log_message","levelname":"ERROR","msgid":"ConnectionClosed","message":"Connection closed by remote host"}'
  await writeFile(
    join(bin, 'borg'),
    `#!/bin/sh\ncase "$*" in *--stdout*) /usr/bin/borg "$@" | head -c 30000; echo '${message}' >&2; exit 2;; esac\nexec /usr/bin/borg "$@"\n`,
    { mode: 0o755 },
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE, { env: { PATH: `${bin}:/usr/bin:/bin` } })
  await rm(join(bin, 'borg'))
  assert.is(exitCode, 1)
  assert.match(stderr, /can't be reached/)
  assert.is(await counts(), DAMAGED)
  assert.is(await services(), 'book-corners-db')
})

// Each step is held open by a fault, the script is killed in it, and the next run must clear up and succeed.
const STEPS: [step: string, prints: RegExp, hold: [command: string, snippet: string][]][] = [
  ['before the test service is made', /Creating the test service/, [['postgres:create', 'sleep 1.5']]],
  ['while it imports', /Importing the dump/, [['postgres:import', 'sleep 1.5']]],
  ['after the import', /public\.libraries_library/, [['git:report', 'sleep 1.5']]],
  ['while it copies', /Copying book_corners_db/, [['postgres:enter', 'case "$*" in *-Fp*) sleep 1.5;; esac']]],
  ['around the swap', /Copying book_corners_db/, []],
  ['while the app restarts', /Restarting/, [['ps:restart', 'sleep 1.5']]],
]
for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const) {
  for (const [step, prints, hold] of signal === 'SIGINT' ? STEPS.slice(1, 2) : STEPS) {
    test(`${signal} ${step}: production is wholly the old or the new one, and the next run succeeds`, async () => {
      for (const [command, snippet] of hold) await sandbox.fault(command, snippet)
      const run = sandbox.start('restore.ts', RESTORE)
      await run.prints(prints)
      await sleep(hold.length > 0 ? 300 : 350 + Math.random() * 500)
      run.child.kill(signal)
      const killed = await run.ended
      for (const [command] of hold) await sandbox.fault(command)
      const state = await counts()
      assert.ok(state === OLD || state === DAMAGED, `${step}: ${state}`)
      if (signal !== 'SIGKILL') {
        const expected = { SIGTERM: 143, SIGINT: 130 }[signal]
        assert.ok(
          killed.exitCode === expected || (killed.exitCode === 0 && state === OLD),
          `${killed.exitCode}: ${killed.stderr}`,
        )
        assert.is(await services(), 'book-corners-db', 'it clears up after itself')
        assert.equal(
          (await databases()).filter((name) => name.endsWith('_restoring')),
          [],
        )
      }
      const next = await sandbox.script('restore.ts', RESTORE)
      assert.is(next.exitCode, 0, next.stderr)
      assert.is(await counts(), OLD)
      assert.is(await services(), 'book-corners-db')
      assert.equal(
        (await databases()).filter((name) => name.endsWith('_restoring')),
        [],
      )
      assert.equal(sandbox.strays(), [])
    })
  }
}

test('what a killed run left is cleared by the next, which says so', async () => {
  await sandbox.fault('postgres:enter', 'case "$*" in *-Fp*) touch "$root/copying"; sleep 3;; esac')
  const run = sandbox.start('restore.ts', RESTORE)
  await run.reaches(join(sandbox.dir, 'copying'))
  await sleep(300)
  run.child.kill('SIGKILL')
  await run.ended
  await sandbox.fault('postgres:enter')
  const next = await sandbox.script('restore.ts', RESTORE)
  assert.is(next.exitCode, 0)
  assert.match(next.stderr, /Removing the test service book-corners-db-test that an earlier run left/)
  assert.match(next.stderr, /Removing the database book_corners_db_restoring that an earlier run left/)
})

test('a service that somebody keeps under the name of the test service is not removed', async () => {
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  await sandbox.sql('CREATE TABLE precious (id int);', 'book-corners-db-test')
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  assert.is(exitCode, 1)
  assert.match(stderr, /was not made by these scripts/)
  assert.is(await sandbox.sql('SELECT count(*) FROM precious;', 'book-corners-db-test'), '0')
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
})

test('nor is it when a run was killed before it had made its own', async () => {
  await sandbox.fault('postgres:create', 'touch "$root/creating"; sleep 1; exit 1')
  const run = sandbox.start('restore.ts', RESTORE)
  await run.reaches(join(sandbox.dir, 'creating'))
  run.child.kill('SIGKILL')
  await run.ended
  await sandbox.fault('postgres:create')
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  await sandbox.sql('CREATE TABLE precious (id int);', 'book-corners-db-test')
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  assert.is(exitCode, 1)
  assert.match(stderr, /was not made by these scripts/)
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
})

test('a production database that was dropped: how to make an empty one is said, and into that it restores', async () => {
  await sandbox.sql(`\\c postgres\nDROP DATABASE book_corners_db WITH (FORCE);`)
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  assert.is(exitCode, 1)
  const [, command = ''] = /sudo dokku (postgres:enter .*)$/m.exec(stderr) ?? []
  const made = await sandbox.dokku(command.split(' '))
  assert.is(made.exitCode, 0, command)
  const again = await sandbox.script('restore.ts', RESTORE)
  assert.is(again.exitCode, 0, again.stderr)
  assert.is(await counts(), OLD)
})

test('a service of that name that cannot be asked whose it is is not removed', async () => {
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  await sandbox.sql('CREATE TABLE precious (id int);', 'book-corners-db-test')
  await sandbox.fault(
    'postgres:connect',
    'case "$1" in *-test) echo "Error response from daemon: container abc is not running" >&2; exit 1;; esac',
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 1)
  assert.match(stderr, /can't be asked whose it is.*not running/)
  assert.match(stderr, /postgres:start book-corners-db-test/)
  assert.is(await sandbox.sql('SELECT count(*) FROM precious;', 'book-corners-db-test'), '0')
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
})

test('a test service whose server is slow to start is waited for', async () => {
  await sandbox.fault(
    'postgres:connect',
    'case "$1" in *-test) if [ "$(wc -c < "$root/slow" 2>/dev/null || echo 0)" -lt 3 ]; then printf x >> "$root/slow"; echo "psql: error: connection to server on socket failed" >&2; exit 2; fi;; esac',
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(), OLD)
})

test('an app that keeps coming back does not stop the swap, and is away for a moment only', async () => {
  // Several clients that query, and reconnect at once when they are sent away.
  const psql = `while :; do "${join(sandbox.dir, 'bin/dokku')}" postgres:connect book-corners-db >/dev/null 2>&1 <<< "SELECT count(*) FROM libraries_library; SELECT pg_sleep(0.2); SELECT pg_sleep(0.2);"; done`
  const apps = [1, 2, 3].map(() => spawn('bash', ['-c', psql], { stdio: 'ignore', detached: true }))
  await sleep(500)
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  for (const app of apps) process.kill(-(app.pid ?? 0), 'SIGKILL')
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(), OLD)
})

test('an app that cannot be sent away leaves everything as it was, and the reason is said', async () => {
  await sandbox.script('restore.ts', ['--test', '--yes'])
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
  // A prepared transaction holds its database although nobody is connected.
  const swapFails =
    'input=$(cat); case "$input" in *"_before_"*pg_terminate*|*pg_terminate*"_before_"*) echo "ERROR:  database is being accessed by other users" >&2; exit 3;; esac; exec < <(printf "%s\\n" "$input")'
  await sandbox.fault('postgres:connect', swapFails)
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 1)
  assert.match(stderr, /being accessed by other users/)
  assert.is(await counts(), DAMAGED)
  assert.equal(await databases(), [sandbox.database])
})

test('an app that does not restart is said, and so is the way back', async () => {
  // Dokku says it on stdout.
  await sandbox.fault('ps:restart', 'echo " !     App did not start"; exit 1')
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('ps:restart')
  assert.is(exitCode, 1)
  assert.match(stderr, /restored, but book-corners did not restart: App did not start[\s\S]*restore --undo/)
  assert.is(await counts(), OLD)
})

test('--test proves the archive, leaves the test service, and does not touch production', async () => {
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', [archive, '--test', '--yes'])
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /postgres:connect book-corners-db-test/)
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_library;', 'book-corners-db-test'), '300')
  assert.match(
    (await sandbox.dokku(['postgres:info', 'book-corners-db-test', '--version'])).stdout,
    /^postgis\/postgis:17-3\.5$/m,
  )
  assert.is(await counts(), DAMAGED)
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
})

test('PostGIS comes along, where the machine has it', async () => {
  const available = await sandbox.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis';")
  if (available === '0') return
  await sandbox.sql(`CREATE EXTENSION postgis; CREATE TABLE place (id int, at geometry(Point, 4326));
    INSERT INTO place SELECT i, ST_SetSRID(ST_MakePoint(i, i), 4326) FROM generate_series(1, 50) i;`)
  const { stdout } = await sandbox.script('backup.ts', ['--json'])
  const name = JSON.parse(stdout).archive
  await sandbox.sql('DELETE FROM place;')
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...RESTORE])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 0, stderr)
  assert.is(
    await sandbox.sql('SELECT count(DISTINCT ST_AsText(at)), ST_AsText(ST_Extent(at)) FROM place;'),
    '50|POLYGON((1 1,1 50,50 50,50 1,1 1))',
  )
})

test('too little room is found before anything begins', async () => {
  await sandbox.fault(
    'postgres:enter',
    'case "$*" in *" df "*) printf "Filesystem 1024-blocks Used Available Capacity Mounted on\\n/dev/x 1000 900 100 90%% /data\\n"; exit 0;; esac',
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:enter')
  assert.is(exitCode, 1)
  assert.match(stderr, /only 102\.40 kB are free/)
  assert.not.match(stderr, /Creating the test service/)
})

test.run()
