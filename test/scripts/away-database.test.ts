// A database away from Dokku, over TCP with a password: a night, a restore with its swap, the way back, and single rows.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { programs } from '../support/borg.ts'
import { commandsUnder } from '../support/docs.ts'
import type { Output, RunOptions } from '../support/launch.ts'
import { type Managed, startManaged } from '../support/managed.ts'
import { startMonitor } from '../support/monitor.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('a database away from Dokku')
let sandbox: Sandbox
let managed: Managed
let monitor: Awaited<ReturnType<typeof startMonitor>>
/** All that was ever said: the password must not be in it. */
const said: string[] = []

/** Debian's psql is a Perl script, which looks for PostgreSQL's own: that is in front here, but for the first test. */
function withoutWrapper(): Record<string, string> {
  return { PATH: `${sandbox.postgresBin}:${programs()}` }
}

async function script(
  name: string,
  args: readonly string[] = [],
  { env, ...options }: RunOptions = {},
): Promise<Output> {
  const output = await sandbox.script(name, args, { ...options, env: { ...withoutWrapper(), ...env } })
  said.push(output.stdout, output.stderr)
  return output
}

async function good(name: string, args: readonly string[] = []): Promise<Output> {
  const output = await script(name, args)
  assert.is(output.exitCode, 0, output.stderr)
  return output
}

/** As the app does, with the role's own rights. */
function sql(text: string): Promise<string> {
  return sandbox.sql(`SET ROLE ${managed.role}; ${text}`, managed.service)
}

async function databases(): Promise<string[]> {
  const all = await sandbox.sql(
    "SELECT datname FROM pg_database WHERE datname LIKE 'managed%' ORDER BY 1;",
    managed.service,
  )
  return all.split('\n')
}

test.before(async () => {
  sandbox = await startSandbox()
  monitor = await startMonitor()
  managed = await startManaged(sandbox)
  await seed({ ...sandbox, sql }, { libraries: 50, photos: 10 })
  await sandbox.configure({
    DATABASE_URL: managed.url,
    HEALTHCHECK_URL: monitor.url,
    CHECK_EVERY_DAYS: '0',
  })
})
test.after(async () => {
  monitor.stop()
  await sandbox.stop()
})

test('--check tells where it is, whom the connection trusts, and that a restore could replace it', async () => {
  const { stdout, stderr } = await script('backup.ts', ['--check'], { env: { PATH: programs() } })
  assert.match(
    stdout,
    new RegExp(`^pass +database +${managed.name} holds the database managed, `, 'm'),
    stdout + stderr,
  )
  assert.match(
    stdout,
    /^pass +encryption +TLSv1\.\d, and the server's certificate is checked \(sslmode=verify-full\)$/m,
  )
  assert.match(stdout, /^pass +replacing +the role app may make and rename databases/m)
  assert.not.match(stdout, /test service|postgres:/)
})

test('a night stores it, and its manifest says where it is, without the password', async () => {
  await good('backup.ts')
  assert.match(monitor.pings.at(-1)?.body ?? '', /original/)
  const [archive = ''] = await sandbox.archives()
  const dump = await sandbox.borgShell(`borg extract --stdout ::${archive} db.dump | pg_restore --list`)
  assert.match(dump.stdout, /TABLE DATA public libraries_library/)
  const manifest = JSON.parse(
    (await sandbox.borg(['extract', '--stdout', `::${archive}`, 'dokku/manifest.json'])).stdout,
  )
  assert.is(manifest.database, managed.place)
  assert.is(manifest.service, undefined)
  assert.is(manifest.settings.DATABASE_URL, undefined)
})

test('a restore imports beside production, and swaps; --undo goes back', async () => {
  await sql('DELETE FROM libraries_photo; DELETE FROM libraries_library WHERE id > 10;')
  const preview = await good('restore.ts', ['--dry-run', 'latest'])
  assert.match(preview.stdout, new RegExp(`replace the database managed of ${managed.name} by a dump`))
  const restored = await good('restore.ts', ['latest', '--db-only', '--yes'])
  assert.match(restored.stderr, /How much room there is for the database could not be found out/)
  assert.ok(restored.stdout.includes(`psql '${managed.place}'`), restored.stdout)
  assert.not.match(restored.stdout + restored.stderr, /dokku postgres:/)
  assert.is(await sql('SELECT count(*) FROM libraries_library;'), '50')
  assert.match((await databases()).join(), /^managed,managed_before_\d{8}T\d{6}$/)
  await good('restore.ts', ['--undo', '--yes'])
  assert.is(await sql('SELECT count(*) FROM libraries_library;'), '10')
  assert.is((await databases()).length, 2)
})

test('single rows come back, with those that referenced them', async () => {
  const { stdout } = await good('restore.ts', ['latest', '--rows', 'libraries_library', '--yes'])
  assert.match(stdout, /40 rows of public\.libraries_library/)
  assert.is(await sql('SELECT count(*) FROM libraries_library;'), '50')
  const [, line = ''] = /To take them out again: (.*)$/m.exec(stdout) ?? []
  const back = await sandbox.launch('sh', ['-c', line], {
    env: { PGPASSWORD: managed.password, PATH: '/usr/bin:/bin' },
  }).ended
  assert.is(back.exitCode, 0, back.stderr)
  assert.is(await sql('SELECT count(*) FROM libraries_library;'), '10')
})

/** A pg_restore that stops in the middle of the dump, and goes on a while later. */
async function holdImport(): Promise<{ held: string; env: Record<string, string> }> {
  const [held, bin] = [join(sandbox.dir, 'held'), join(sandbox.dir, 'shims')]
  await mkdir(bin, { recursive: true })
  await rm(held, { force: true })
  const through = 'exec /usr/bin/pg_restore "$@"'
  const hold = `{ head -c 20000; touch ${held}; sleep 1.5; cat; } | /usr/bin/pg_restore "$@"`
  await writeFile(join(bin, 'pg_restore'), `#!/bin/sh\n[ "$1" = --version ] && ${through}\n${hold}\n`, { mode: 0o755 })
  return { held, env: { PATH: `${bin}:${withoutWrapper().PATH}` } }
}

/** A restore that is ended in the middle of its import. */
async function killed(signal: NodeJS.Signals): Promise<void> {
  const { held, env } = await holdImport()
  const run = sandbox.start('restore.ts', ['latest', '--yes'], { env })
  await run.reaches(held)
  run.child.kill(signal)
  const { exitCode, stdout, stderr } = await run.ended
  said.push(stdout, stderr)
  if (signal === 'SIGTERM') assert.is(exitCode, 143, stderr)
  assert.is(await sql('SELECT count(*) FROM libraries_library;'), '10')
}

test('a SIGKILL in the middle of the import leaves production as it was, and what is left the next run clears, which a SIGTERM ends there, and which clears up', async () => {
  const before = await databases()
  await killed('SIGKILL')
  await killed('SIGTERM')
  assert.equal(await databases(), before)
  assert.equal(sandbox.strays(), [])
})

test('a role that may not replace the database is refused before anything is touched, with what it lacks; a night needs less; and a restore succeeds when it may', async () => {
  const before = await databases()
  const refused = async (says: RegExp): Promise<void> => {
    const { exitCode, stderr } = await script('restore.ts', ['latest', '--yes'])
    assert.is(exitCode, 2, stderr)
    assert.match(stderr, says)
    assert.equal(await databases(), before)
  }
  await sandbox.sql('ALTER ROLE app NOCREATEDB;', managed.service)
  await refused(/the role app may not create databases: as an administrator type ALTER ROLE "app" CREATEDB;/)
  // The libpq here knows of no authorities of the system: less than a check of the server is a warning.
  const check = await script('backup.ts', ['--check'], at('?sslmode=require'))
  assert.match(
    check.stdout,
    /^warn +replacing +a restore can't replace the database: the role app may not create databases/m,
  )
  assert.match(
    check.stdout,
    /^warn +encryption +TLSv1\.\d, but nobody checks that it is the right server \(sslmode=require\)\n +→ Download/m,
  )
  await sandbox.sql('ALTER ROLE app CREATEDB; CREATE ROLE other LOGIN;', managed.service)
  // Somebody whose connection the role may not end would be in the way of the swap.
  const socket = join(sandbox.dir, 'services', managed.service)
  const sleeps = ['-h', socket, '-U', 'other', '-c', 'SELECT pg_sleep(300)', managed.database]
  const other = sandbox.launch(join(sandbox.postgresBin, 'psql'), sleeps)
  const isThere = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'other' AND state = 'active';"
  while ((await sandbox.sql(isThere, managed.service)) !== '1');
  await refused(/the role app may not end the connections of other: GRANT pg_signal_backend TO "app";/)
  await sandbox.sql('GRANT pg_signal_backend TO app;', managed.service)
  await good('restore.ts', ['latest', '--yes'])
  assert.not.equal((await other.ended).exitCode, 0)
  assert.is(await sql('SELECT count(*) FROM libraries_library;'), '50')
  assert.equal(
    (await databases()).filter((name) => name.endsWith('_restoring')),
    [],
  )
  assert.equal(sandbox.strays(), [])
})

/** The same place with other parameters. */
function at(parameters: string): RunOptions {
  return { env: { DATABASE_URL: managed.url.replace(/\?.*/, parameters) } }
}

test('--test and --drill are refused; an env file with a service of its own proves the archive all the same', async () => {
  for (const flag of ['--test', '--drill']) {
    const { exitCode, stderr } = await script('restore.ts', [flag])
    assert.is(exitCode, 2)
    assert.match(stderr, new RegExp(`${flag} needs a service of Dokku's.*`))
  }
  // As the page says it: DB_SERVICE in place of DATABASE_URL.
  const file = join(sandbox.home, '.env.proof')
  const make = `umask 077; grep -v '^DATABASE_URL=' ${sandbox.envFile} > ${file}; echo 'DB_SERVICE=${sandbox.service}' >> ${file}`
  await sandbox.launch('sh', ['-c', make]).ended
  const { stdout } = await good('restore.ts', ['--env-file', file, '--drill'])
  assert.match(stdout, /restores: the dump imports cleanly, 10 media files compared/)
})

test('a server that is not the one of the certificate is not spoken to; one without encryption is a warning', async () => {
  const other = await script('backup.ts', [], at('?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt'))
  assert.is(other.exitCode, 1)
  assert.match(other.stderr, new RegExp(`The encrypted connection to ${managed.host} failed: .*certificate`))
  const plain = await script('backup.ts', ['--check'], at('?sslmode=disable'))
  assert.match(plain.stdout, /^warn +encryption +the connection to the database is not encrypted/m)
})

test('a wrong configuration is told before anything is done', async () => {
  const both = await script('backup.ts', [], { env: { DB_SERVICE: 'book-corners-db' } })
  assert.is(both.exitCode, 2)
  assert.match(both.stderr, /DB_SERVICE and DATABASE_URL are both set/)
  const wrong = await script('restore.ts', ['--list'], { env: { DATABASE_URL: 'db.example.com/books' } })
  assert.is(wrong.exitCode, 2)
  assert.match(wrong.stderr, /DATABASE_URL must be an address like postgres:.*\(it is set in the environment\)/)
})

test('a night that is not let in stores nothing, and the monitor hears why', async () => {
  const before = await sandbox.archives()
  const wrong = managed.url.replace(/app:[^@]*@/, 'app:not-the-password@')
  const { exitCode, stderr } = await script('backup.ts', [], { env: { DATABASE_URL: wrong } })
  assert.is(exitCode, 1)
  assert.match(stderr, new RegExp(`${managed.host} refuses the user app: `))
  assert.not.match(stderr, /not-the-password/)
  assert.match(monitor.pings.at(-1)?.path ?? '', /\/fail$/)
  const check = await script('backup.ts', ['--check'], { env: { DATABASE_URL: wrong } })
  assert.match(check.stdout, new RegExp(`^fail +database +${managed.host} refuses the user app: `, 'm'))
  assert.equal(await sandbox.archives(), before)
})

test('the kit says where the database was, and does not restore it without being told that it is lost', async () => {
  const folder = join(sandbox.home, 'kit')
  const { stdout } = await good('restore.ts', ['latest', '--kit', folder])
  assert.ok(stdout.includes(`it was at ${managed.place}\n`), stdout)
  assert.match(stdout, /missing +the address of the database with its password/)
  const page = await readFile(join(folder, 'RUNBOOK.md'), 'utf8')
  assert.ok(page.includes(`at \`${managed.place}\`. If it is still there, leave the last block out`), page)
  assert.match(page, /^DATABASE_IS_LOST="\$\{DATABASE_IS_LOST:\?.*\n\/home\/deploy\/restore \S+ --db-only --yes$/m)
  assert.match(page, /printf "DATABASE_URL='%s'/)
  assert.not.match(page, /postgres:create|postgres:link/)
  await rm(folder, { recursive: true })
})

test('without these scripts: the commands of the page bring the database back', async () => {
  const commands = commandsUnder('docs/without-these-scripts.md', 'A database away from Dokku')
    .replace('postgres://USER@HOST:5432', `postgres://app@${managed.host}:5432`)
    .replaceAll(/\bNAME/g, managed.database)
  await sql('DELETE FROM libraries_photo; DELETE FROM libraries_library;')
  const [archive = ''] = await sandbox.archives()
  const script = `set -eu; export PGPASSWORD='${managed.password}' archive=${archive}; cd ${sandbox.home}; ${commands}`
  const { exitCode, stderr } = await sandbox.borgShell(script)
  assert.is(exitCode, 0, stderr)
  assert.is(await sql('SELECT count(*) FROM libraries_library;'), '50')
})

test('DUMP_MODE=export compresses the same dump', async () => {
  const { stdout } = await script('backup.ts', ['--json'], { env: { DUMP_MODE: 'export' } })
  assert.is(JSON.parse(stdout).dumpMode, 'export')
  const archive = (await sandbox.archives()).at(-1)
  const dump = await sandbox.borgShell(`borg extract --stdout ::${archive} db.dump | pg_restore --list`)
  assert.match(dump.stdout, /Compression: (-1|gzip)/)
})

test('the password is in nothing that was said, in no argument list, and in no file of ours but the env file', async () => {
  for (const text of said) {
    assert.not.ok(text.includes(managed.password))
    assert.not.ok(text.includes(encodeURIComponent(managed.password)))
  }
  const found = await sandbox.launch('grep', [
    '-rlF',
    '-e',
    managed.password,
    '-e',
    encodeURIComponent(managed.password),
    sandbox.home,
  ]).ended
  assert.equal(found.stdout.trim().split('\n'), [sandbox.envFile])
})

test.run()
