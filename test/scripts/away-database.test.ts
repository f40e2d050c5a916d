// A database away from Dokku, over TCP with a password: a night, a restore with its swap, the way back, and single rows.
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
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

async function script(name: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Output> {
  const output = await sandbox.script(name, args, options)
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
  const { stdout, stderr } = await script('backup.ts', ['--check'])
  assert.match(
    stdout,
    new RegExp(`^pass +database +${managed.name} holds the database managed, `, 'm'),
    stdout + stderr,
  )
  assert.match(stdout, /^warn +encryption +the connection to the database is not encrypted/m)
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
  assert.is(manifest.database, `postgres://app@${managed.host}/managed?sslmode=disable`)
  assert.is(manifest.service, undefined)
  assert.is(manifest.settings.DATABASE_URL, undefined)
})

test('a restore imports beside production, and swaps; --undo goes back', async () => {
  await sql('DELETE FROM libraries_photo; DELETE FROM libraries_library WHERE id > 10;')
  const preview = await good('restore.ts', ['--dry-run', 'latest'])
  assert.match(preview.stdout, new RegExp(`replace the database managed of ${managed.name} by a dump`))
  const restored = await good('restore.ts', ['latest', '--db-only', '--yes'])
  assert.match(restored.stderr, /How much room there is for the database could not be found out/)
  assert.match(restored.stdout, new RegExp(`psql 'postgres://app@${managed.host}/managed\\?sslmode=disable'`))
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
