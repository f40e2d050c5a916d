import { spawn } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { programs } from '../support/borg.ts'
import { backUpAndDamage, counts, DAMAGED, databases, OLD, reset } from '../support/damage.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'
import { atTerminal as runAtTerminal } from '../support/terminal.ts'

const test = suite('restore the database')
let sandbox: Sandbox
let archive: string

const AGREED = ['--db-only', '--yes']
const RESTORE = ['latest', ...AGREED]

test.before(async () => {
  sandbox = await startSandbox()
  archive = await backUpAndDamage(sandbox)
  await sandbox.sql(
    `ALTER DATABASE book_corners_db SET work_mem TO '7MB'; ALTER DATABASE book_corners_db SET search_path TO "$user", public;`,
  )
})
test.after(() => sandbox.stop())
test.before.each(() => reset(sandbox))

/** An app of several clients that query, and reconnect at once when they are sent away. @returns ends it */
async function busyApp(): Promise<() => void> {
  const psql = `while :; do "${join(sandbox.dir, 'bin/dokku')}" postgres:connect book-corners-db >/dev/null 2>&1 <<< "SELECT count(*) FROM libraries_library; SELECT pg_sleep(0.2); SELECT pg_sleep(0.2);"; done`
  const clients = [1, 2, 3].map(() => spawn('bash', ['-c', psql], { stdio: 'ignore', detached: true }))
  await sleep(500)
  return () => {
    for (const client of clients) process.kill(-(client.pid ?? 0), 'SIGKILL')
  }
}

test('rows and tables are as in the archive, a newer table that references an old one and an app that keeps coming back notwithstanding', async () => {
  // There is no test service, and the app is not restarted.
  const unused = ['postgres:create', 'postgres:import', 'ps:restart']
  for (const command of unused) await sandbox.fault(command, 'exit 1')
  await sandbox.sql("INSERT INTO libraries_library (name) VALUES ('since'), ('since, too');")
  const endApp = await busyApp()
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', RESTORE)
  endApp()
  for (const command of unused) await sandbox.fault(command)
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(sandbox), OLD)
  assert.is(
    await sandbox.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'newer'; SHOW work_mem; SHOW search_path;"),
    '0\n7MB\n"$user", public',
    'the settings of the database came along',
  )
  assert.match(stderr, /table +production +archive +comes back +leaves +changed\n/)
  assert.match(stderr, /\blibraries_library +122 +300 +180 +2 +0\n/)
  assert.match(stderr, /\bnewer +120 +no table +0 +120 +0\n/)
  assert.match(stderr, /production: 122\n.*restored: +300/)
  const kept = (await databases(sandbox)).find((name) => name.startsWith('book_corners_db_before_'))
  assert.ok(kept)
  assert.match(stdout, `kept as ${kept}`)
  assert.match(stdout, `DROP DATABASE "${kept}"`)
  assert.match(stderr, /postgres:connect book-corners-db, and there: \\c book_corners_db_restoring/)
  assert.match(stdout, /sudo dokku ps:restart book-corners$/m)
  await thereAndBack(stdout)
  await changedAlone()
  await oneOfSeveral()
})

/** @param restored what the restore printed */
async function thereAndBack(restored: string): Promise<void> {
  const unknown = await sandbox.script('restore.ts', ['--undo', 'nope', '--yes'])
  assert.is(unknown.exitCode, 1)
  assert.match(unknown.stderr, /nope is not kept.*\n.*Kept are: book_corners_db_before_/)
  const dry = await sandbox.script('restore.ts', ['--undo', '--dry-run'])
  assert.is(dry.exitCode, 0, dry.stderr)
  assert.match(dry.stderr, /book_corners_db_before_\S+ was production until \w{3} \d+ \w{3} .*\d\d:\d\d [A-Z]/)
  assert.match(dry.stderr, /\blibraries_library +300 +122 +2 +180 +0\n/)
  assert.match(dry.stderr, / production: 300\n\S+ +kept: +122\n/)
  const check = await sandbox.script('backup.ts', ['--check'])
  assert.match(
    check.stdout,
    /pass {2}kept databases +1 database of before a restore, [\d.]+ MB: book_corners_db_before_/,
  )
  const [dropIt = 'none'] = /echo 'DROP DATABASE .*/.exec(restored) ?? []
  assert.ok(check.stdout.includes(`When all is well, drop it: ${dropIt}`), 'the closing lines are gone by then')
  assert.not.match(check.stdout, /unfinished|brought-back rows/)
  assert.is(await counts(sandbox), OLD)
  // Straight away, perhaps in the same second: its name must not be in the way.
  const back = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(back.exitCode, 0, back.stderr)
  assert.is(await counts(sandbox), '122|0')
  assert.match(back.stdout, /^Production is again as it was before the restore of book-corners-\d\S+\.$/m)
  assert.match(back.stdout, /runs with the data of before the restore of book-corners-\d\S+\.$/m)
  const again = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(again.exitCode, 0, again.stderr)
  assert.match(again.stdout, /^Production is again as it was before restore --undo to book_corners_db_before_\w+\.$/m)
  assert.is(await counts(sandbox), OLD)
  assert.is((await databases(sandbox)).length, 2)
}

/** Rows that were only changed are counted before anybody agrees, and the preview says how to see it. */
async function changedAlone(): Promise<void> {
  await sandbox.sql("UPDATE libraries_library SET name = 'x';")
  const date = archive.slice('book-corners-'.length, -3)
  const dry = await sandbox.script('restore.ts', ['--dry-run', '--db-only', date])
  assert.is(dry.exitCode, 0, dry.stderr)
  assert.match(dry.stdout, `A restore of ${archive} `)
  assert.match(
    dry.stdout,
    new RegExp(`\\n +restore --db-only ${archive}\\n.*\\n +restore --rows TABLE --dry-run ${archive}\\n$`),
  )
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', RESTORE)
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /\blibraries_library +300 +300 +0 +0 +300\n/)
  assert.not.match(stderr, /No table/)
  assert.match(stdout, /^ {2}\w+, [\d.]+ MB, before the restore of book-corners-\d\S+\. To drop it:$/m)
  assert.match(stdout, /^ {2}\w+, [\d.]+ MB, before restore --undo to \w+\. To drop it:$/m)
}

/** Of several each is told with what put it aside, and none is taken without its name. */
async function oneOfSeveral(): Promise<void> {
  for (const flag of ['--dry-run', '--yes']) {
    const refused = await sandbox.script('restore.ts', ['--undo', flag])
    assert.is(refused.exitCode, 2, refused.stderr)
    assert.match(
      refused.stderr,
      /2 databases of earlier restores are kept, and .*\n.*database +production as of +before +size\n.*(just now|ago) +the restore of book-corners-\d\S+ +[\d.]+ MB\n.* restore --undo to \w+ +[\d.]+ MB\n.*! takes that undo back: what it took out of production comes back\n/,
    )
    assert.ok(refused.stderr.includes(`Name one: restore --undo DATABASE ${flag}\n`), refused.stderr)
  }
  assert.is((await databases(sandbox)).length, 3)
}

test('--undo without a kept database changes nothing', async () => {
  const none = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(none.exitCode, 1)
  assert.match(none.stderr, /No database of an earlier restore is kept/)
  assert.is(await counts(sandbox), DAMAGED)
})

test('without a terminal and without --yes nothing begins', async () => {
  for (const [args, says] of [
    [['--undo'], /What is kept: restore --undo --dry-run\. For a script: restore --undo DATABASE --yes\n/],
    [
      [archive, '--rows', 'a', '--where', 'id = 1'],
      `no terminal to ask at.*\\n.* For a script: restore ${archive} --rows a --where 'id = 1' --yes\\n`,
    ],
    [['--db-only', '--yes'], /--yes does not choose an archive[\s\S]*restore latest --db-only --yes\n/],
    [['--test'], /No archive was named/],
  ] as const) {
    const { exitCode, stderr } = await sandbox.script('restore.ts', [...args])
    assert.is(exitCode, 2)
    assert.match(stderr, new RegExp(says))
  }
  assert.is(await counts(sandbox), DAMAGED)
})

/** Types at a terminal: `script` gives the program one. */
function atTerminal(args: string[], answer: (output: string) => string | undefined) {
  return runAtTerminal('restore.ts', args, {
    env: { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
    prompt: /to go on: |archive\? \(1-\d+\): /,
    answer,
  })
}

test('at a terminal an archive is picked, and only the name of the app changes production; an archive that was renamed to be kept restores by its name', async () => {
  const wrong = await atTerminal(['--db-only'], (output) => (output.endsWith('): ') ? '1\r' : 'yes\r'))
  assert.is(wrong.status, 1, wrong.output)
  assert.match(
    wrong.output,
    /That is not book-corners\.[\s\S]*Production was not touched\. The database \S+ beside it was removed\.\s*$/,
  )
  assert.is(await counts(sandbox), DAMAGED)

  const interrupted = await atTerminal(['--db-only', archive], () => '\u0003')
  assert.is(interrupted.status, 130, interrupted.output)
  assert.is(await counts(sandbox), DAMAGED)

  await sandbox.borg(['rename', `::${archive}`, 'before-the-migration'])
  const right = await atTerminal(['--db-only', 'before-the-migration'], () => 'book-corners\r')
  await sandbox.borg(['rename', '::before-the-migration', archive])
  assert.is(right.status, 0, right.output)
  assert.is(await counts(sandbox), OLD)
})

test('an unknown archive is answered with the nearest names', async () => {
  const { exitCode, stderr } = await sandbox.script('restore.ts', [archive.replace(/\d$/, 'x'), ...AGREED])
  assert.is(exitCode, 1)
  assert.match(stderr, /There is no archive/)
  assert.match(stderr, new RegExp(`Did you mean[\\s\\S]*${archive}`))
  const unlike = await sandbox.script('restore.ts', ['nope', ...AGREED])
  assert.match(unlike.stderr, new RegExp(`There is no archive nope[\\s\\S]*newest[\\s\\S]*${archive}`))
})

test('a dump that was cut short touches nothing', async () => {
  const name = 'book-corners-2026-01-02T03:00:00'
  const whole = await sandbox.borg(['extract', '--stdout', `::${archive}`, 'db.dump'])
  assert.ok(whole.stdout.length > 1000)
  const work = join(sandbox.dir, 'cut')
  await mkdir(work, { recursive: true })
  // As text the bytes may be damaged, too; what matters is that the end is missing.
  await writeFile(join(work, 'db.dump'), whole.stdout.slice(0, -200))
  await sandbox.borg(['create', '--timestamp', '2026-01-02T03:00:00', `::${name}`, 'db.dump'], { cwd: work })
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...AGREED])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 1)
  assert.match(stderr, /does not import cleanly/)
  assert.match(stderr, /Production was not touched/)
  assert.is(await counts(sandbox), DAMAGED)
})

test('a dump of another kind, however large, is refused at once', async () => {
  const name = 'book-corners-2026-01-02T03:00:00'
  const rest = '--stdin-name db.dump --timestamp 2026-01-02T03:00:00'
  await sandbox.borgShell(`head -c 20000000 /dev/zero | borg create ${rest} ::${name} -`)
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...AGREED])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 1)
  assert.match(stderr, /db\.dump of \S+ is not a custom-format dump/)
  assert.is(await counts(sandbox), DAMAGED)
  assert.equal(sandbox.strays(), [])
})

test('a Borg that gives nothing is not waited for longer than a stall, and that is said', async () => {
  const bin = join(sandbox.dir, 'shims')
  await mkdir(bin, { recursive: true })
  const silent = '#!/bin/sh\ncase "$*" in *--stdout*) exec sleep 60;; esac\nexec /usr/bin/borg "$@"\n'
  await writeFile(join(bin, 'borg'), silent, { mode: 0o755 })
  const env = { PATH: `${bin}:${programs()}`, DUMP_STALL_SECONDS: '3' }
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE, { env })
  await rm(join(bin, 'borg'))
  assert.is(exitCode, 1)
  assert.match(stderr, /Borg gave no data of db\.dump for 3 s\.[\s\S]*DUMP_STALL_SECONDS/)
  assert.is(await counts(sandbox), DAMAGED)
  assert.equal(sandbox.strays(), [])
})

const FAULTS: [what: string, program: string][] = [
  ['the import fails', 'head -c 1000 >/dev/null; echo "pg_restore: error: disk full" >&2; exit 1'],
  ['the import takes nothing and says it went well', 'exit 0'],
  ['the import takes everything, does nothing and says it went well', 'cat >/dev/null'],
]
for (const [what, program] of FAULTS) {
  test(`production stays as it was when ${what}`, async () => {
    await sandbox.containerProgram('pg_restore', program)
    const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', RESTORE)
    await sandbox.containerProgram('pg_restore')
    assert.is(exitCode, 1)
    assert.is(stdout, '')
    assert.match(stderr, /Production was not touched/)
    assert.is(await counts(sandbox), DAMAGED)
    assert.equal(await databases(sandbox), [sandbox.database])
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
    `#!/bin/sh\ncase "$*" in *--stdout*) /usr/bin/borg "$@" 2>/dev/null | head -c 30000; echo '${message}' >&2; exit 2;; esac\nexec /usr/bin/borg "$@"\n`,
    { mode: 0o755 },
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE, { env: { PATH: `${bin}:${programs()}` } })
  await rm(join(bin, 'borg'))
  assert.is(exitCode, 1)
  assert.match(stderr, /can't be reached/)
  assert.is(await counts(sandbox), DAMAGED)
})

test('an app that cannot be sent away leaves everything as it was, and the reason is said', async () => {
  // A prepared transaction holds its database although nobody is connected.
  const fault =
    'take_input; case "$input" in *"RENAME TO"*) echo "ERROR:  database is being accessed by other users" >&2; exit 3;; esac'
  await sandbox.fault('postgres:connect', fault)
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 1)
  assert.match(stderr, /being accessed by other users/)
  assert.is(await counts(sandbox), DAMAGED)
  assert.equal(await databases(sandbox), [sandbox.database])
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
  assert.match(stderr, /for a copy of the database/)
  assert.equal(await databases(sandbox), [sandbox.database])
})

/** As the bash scripts made it: compressed, and under its old path. @returns its name */
async function legacyArchive(): Promise<string> {
  const work = join(sandbox.dir, 'legacy')
  const dump = join(work, 'tmp/book-corners-backup/db.dump')
  const name = 'book-corners-2026-01-01T03:00:00'
  const { exitCode, stderr } = await sandbox.borgShell(`mkdir -p ${dirname(dump)} && cd ${work} &&
    ${join(sandbox.dir, 'bin/dokku')} postgres:export ${sandbox.service} > ${dump} &&
    borg create --timestamp 2026-01-01T03:00:00 ::${name} tmp/book-corners-backup`)
  assert.is(exitCode, 0, stderr)
  return name
}

test('a production database that was dropped: how to make an empty one is said, and into that an archive of the bash scripts restores, with PostGIS where the machine has it', async () => {
  const available = await sandbox.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis';")
  if (available !== '0')
    await sandbox.sql(`CREATE EXTENSION postgis; CREATE TABLE place (id int, at geometry(Point, 4326));
      INSERT INTO place SELECT i, ST_SetSRID(ST_MakePoint(i, i), 4326) FROM generate_series(1, 50) i;`)
  await sandbox.sql("DROP TABLE newer; INSERT INTO libraries_library (name) VALUES ('of the old script');")
  const name = await legacyArchive()
  await sandbox.sql(`\\c postgres\nDROP DATABASE book_corners_db WITH (FORCE);`)
  const list = await sandbox.script('restore.ts', ['--list'])
  assert.match(list.stdout, new RegExp(`${name} .* unknown$`, 'm'))
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...AGREED])
  assert.is(exitCode, 1)
  const [, command = ''] = /sudo dokku (postgres:enter .*)$/m.exec(stderr) ?? []
  const made = await sandbox.dokku(command.split(' '))
  assert.is(made.exitCode, 0, command)
  const again = await sandbox.script('restore.ts', [name, ...AGREED])
  assert.is(again.exitCode, 0, again.stderr)
  assert.is(await sandbox.sql("SELECT count(*) FROM libraries_library WHERE name = 'of the old script';"), '1')
  if (available === '0') return
  assert.is(
    await sandbox.sql('SELECT count(DISTINCT ST_AsText(at)), ST_AsText(ST_Extent(at)) FROM place;'),
    '50|POLYGON((1 1,1 50,50 50,50 1,1 1))',
  )
})

test.run()
