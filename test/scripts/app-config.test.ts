// What an empty server needs beside dump and media: stored by each night, and nowhere else to be seen.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { executable } from '../support/engineer.ts'
import type { Output } from '../support/launch.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { until } from '../support/until.ts'

const test = suite('the app in the archive')
let sandbox: Sandbox

/** Nothing is pruned or checked here. */
const SETTINGS = { PRUNE: 'no', CHECK_EVERY_DAYS: '0' }

/** Each value holds this, and nothing else may. */
const MARK = 'hvfq7XkMarked'
const VARIABLES: Record<string, string> = {
  DJANGO_SECRET_KEY: `${MARK}'"$HOME \`id\` \\ 😀`,
  PEM: `-----BEGIN ${MARK}-----\nline two\r\n\n-----END-----\n`,
  LARGE: `${MARK}${'x'.repeat(64 * 1024)}`,
  EMPTY: '',
}

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox)
  await sandbox.configure(SETTINGS)
  const folder = join(sandbox.dir, 'apps/book-corners/config')
  await mkdir(folder)
  for (const [name, value] of Object.entries(VARIABLES)) await writeFile(join(folder, name), value)
  await writeFile(join(folder, 'REDIS_URL'), 'redis://:secret@dokku-redis-cache:6379')
  await writeFile(join(sandbox.dir, 'apps/book-corners/domains'), 'bookcorners.org www.bookcorners.org\n')
})
test.after(() => sandbox.stop())

function stateFolder(): string {
  return join(sandbox.home, '.local/state/book-corners-ops')
}

/** What is left where a run puts it for Borg. */
function left(): string[] {
  return readdirSync(stateFolder()).filter((name) => name.endsWith('.archive'))
}

async function stored(name: string): Promise<Record<string, unknown>> {
  const archive = (await sandbox.archives()).at(-1)
  const { exitCode, stdout, stderr } = await sandbox.borg(['extract', '--stdout', `::${archive}`, `dokku/${name}`])
  assert.is(exitCode, 0, stderr)
  return JSON.parse(stdout)
}

async function night(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Output> {
  await sleep(1000 - (Date.now() % 1000))
  return sandbox.script('backup.ts', args, { env })
}

test('a night stores configuration and manifest, unchanged and unseen, and leaves nothing', async () => {
  const { exitCode, stdout, stderr } = await night(['--json'])
  assert.is(exitCode, 0, stderr)
  assert.not.match(stdout + stderr, MARK)
  assert.equal(JSON.parse(stdout).warnings, [])
  assert.equal(await stored('config.json'), VARIABLES)
  const { madeAt, architecture, system, settings, ...manifest } = await stored('manifest.json')
  assert.ok(madeAt && architecture && system)
  assert.equal(manifest, {
    format: '1',
    app: 'book-corners',
    service: 'book-corners-db',
    sha: '0123456789abcdef0123456789abcdef01234567',
    dokkuVersion: '0.38.27',
    plugins: [
      {
        name: 'postgres',
        version: '1.48.0',
        source: 'https://github.com/dokku/dokku-postgres.git',
        commit: 'a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0',
      },
    ],
    image: 'postgis/postgis:17-3.5',
    links: ['book-corners'],
    domains: ['bookcorners.org', 'www.bookcorners.org'],
    mounts: [
      {
        host: sandbox.mediaDir,
        container: '/app/media',
        owner: `${statSync(sandbox.mediaDir).uid}:${statSync(sandbox.mediaDir).gid}`,
      },
    ],
    scale: {},
    checks: { disabled: [], skipped: [] },
    deployBranch: 'master',
    cron: [],
    otherServices: { REDIS_URL: 'redis cache' },
  })
  const names = Object.keys(settings as object)
  assert.ok(names.includes('MEDIA_DIR'))
  assert.equal(
    names.filter((name) => name.startsWith('BORG_')),
    [],
  )
  const { stdout: list } = await sandbox.borg([
    'list',
    '--format',
    '{mode} {path}{NL}',
    `::${(await sandbox.archives()).at(-1)}`,
    'dokku',
  ])
  assert.match(list, /^drwx------ dokku\n/m)
  assert.is(list.match(/^-rw------- dokku\//gm)?.length, 2, list)
  assert.equal(left(), [])
})

test('it is said by --check, and left out with KEEP_APP_CONFIG=no', async () => {
  const { stdout } = await sandbox.script('backup.ts', ['--check'])
  assert.match(stdout, /pass {2}app configuration +4 variables of book-corners/)
  assert.not.match(stdout, MARK)
  const { exitCode, stderr } = await night([], { KEEP_APP_CONFIG: 'no' })
  assert.is(exitCode, 0, stderr)
  const { stdout: list } = await sandbox.borg(['list', '--short', `::${(await sandbox.archives()).at(-1)}`])
  assert.not.match(list, /^dokku/m)
})

test('what Dokku does not say is left out; what it says of a configuration that it cannot read is not shown', async () => {
  await sandbox.fault('config:export', `echo "unexpected character near ${MARK}" >&2; exit 1`)
  for (const command of ['ports:report', 'ps:scale', 'cron:list', 'plugin:list', 'checks:report'])
    await sandbox.fault(command, 'unknown')
  const { exitCode, stdout, stderr } = await night()
  for (const command of ['config:export', 'ports:report', 'ps:scale', 'cron:list', 'plugin:list', 'checks:report'])
    await sandbox.fault(command)
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /configuration is not in the archive: .*sudo dokku config:keys book-corners/)
  assert.not.match(stdout + stderr, MARK)
  const { plugins, scale, cron, checks, domains } = await stored('manifest.json')
  assert.equal([plugins, scale, cron, checks], [undefined, undefined, undefined, undefined])
  assert.equal(domains, ['bookcorners.org', 'www.bookcorners.org'])
})

test('where sudo refuses a command, the night goes on, and one line names what to add', async () => {
  const sudo = join(sandbox.dir, 'bin/narrow')
  await executable(
    sudo,
    `#!/bin/sh
case "$*" in
  *config:export*|*plugin:list*) echo 'sudo: a password is required' >&2; exit 1 ;;
  *ps:scale*) echo 'Sorry, user deploy is not allowed to execute this as root on vps.' >&2; exit 1 ;;
esac
exec '${join(sandbox.dir, 'bin/dokku')}' "$@"
`,
  )
  const { exitCode, stdout, stderr } = await night([], { DOKKU_COMMAND: sudo })
  assert.is(exitCode, 0, stderr)
  const warnings = stderr.split('\n').filter((line) => line.includes('sudoers'))
  assert.is(warnings.length, 1, stderr)
  assert.match(warnings[0] ?? '', /sudo refuses 3 commands of Dokku/)
  assert.match(
    warnings[0] ?? '',
    / ALL=\(root\) NOPASSWD: .*\/usr\/bin\/dokku --quiet config\\:export --format json book-corners(,|$)/,
  )
  assert.match(stdout, /WARNING: sudo refuses 3 commands/)
  assert.equal((await stored('manifest.json')).domains, ['bookcorners.org', 'www.bookcorners.org'])
})

test('it is gone however a run ends: at a signal, and after a SIGKILL with the next run', async () => {
  // Borg waits for the dump with the files before it.
  await sandbox.containerProgram('pg_dump', 'printf PGDMP; while head -c 100000 /dev/urandom; do sleep 0.1; done')
  const files = (): string[] => left().flatMap((name) => readdirSync(join(stateFolder(), name, 'dokku')))
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const run = sandbox.start('backup.ts')
    await run.prints(/Storing the database/)
    await until(() => files().length === 2)
    const [folder = ''] = left()
    assert.is(statSync(join(stateFolder(), folder)).mode & 0o777, 0o700)
    for (const name of files()) assert.is(statSync(join(stateFolder(), folder, 'dokku', name)).mode & 0o777, 0o600)
    run.child.kill(signal)
    await run.ended
    assert.equal(left(), signal === 'SIGTERM' ? [] : [folder])
  }
  await sandbox.containerProgram('pg_dump')
  assert.equal(sandbox.strays(), [])
  const { exitCode, stderr } = await night([], { KEEP_APP_CONFIG: 'no' })
  assert.is(exitCode, 0, stderr)
  assert.equal(left(), [])
})

test('relative paths of the settings are those of where the run was started', async () => {
  await writeFile(
    join(sandbox.home, 'passphrase'),
    readFileSync(sandbox.envFile, 'utf8').match(/PASSPHRASE='(.*)'/)?.[1] ?? '',
  )
  await sandbox.configure({
    ...SETTINGS,
    BORG_PASSPHRASE: undefined,
    BORG_PASSCOMMAND: 'cat passphrase',
    BORG_REPO: '../repo',
  })
  await sleep(1000 - (Date.now() % 1000))
  const { exitCode, stderr } = await sandbox.script('backup.ts', [], { cwd: sandbox.home })
  await sandbox.configure(SETTINGS)
  assert.is(exitCode, 0, stderr)
  assert.equal(await stored('config.json'), VARIABLES)
  await rm(join(sandbox.home, 'passphrase'))
  assert.ok(existsSync(sandbox.repository))
})

test.run()
