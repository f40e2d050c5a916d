import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { backUpAndDamage, counts, DAMAGED, databases, services } from '../support/damage.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('restore --test')
let sandbox: Sandbox
let archive: string

const TEST = ['--test', '--yes']

test.before(async () => {
  sandbox = await startSandbox()
  archive = await backUpAndDamage(sandbox)
})
test.after(() => sandbox.stop())
test.before.each(async () => {
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
})

test('a service that somebody keeps under the name of the test service is not removed', async () => {
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  await sandbox.sql('CREATE TABLE precious (id int);', 'book-corners-db-test')
  const { exitCode, stderr } = await sandbox.script('restore.ts', TEST)
  assert.is(exitCode, 1)
  assert.match(stderr, /was not made by these scripts/)
  assert.is(await sandbox.sql('SELECT count(*) FROM precious;', 'book-corners-db-test'), '0')
})

test('a service of that name that cannot be asked whose it is is not removed', async () => {
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  await sandbox.sql('CREATE TABLE precious (id int);', 'book-corners-db-test')
  await sandbox.fault(
    'postgres:connect',
    'case "$1" in *-test) echo "Error response from daemon: container abc is not running" >&2; exit 1;; esac',
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', TEST)
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 1)
  assert.match(stderr, /can't be asked whose it is.*not running/)
  assert.match(stderr, /postgres:start book-corners-db-test/)
  assert.is(await sandbox.sql('SELECT count(*) FROM precious;', 'book-corners-db-test'), '0')
})

test('nor is it when a run was killed before it had made its own', async () => {
  await sandbox.fault('postgres:create', 'touch "$root/creating"; sleep 1; exit 1')
  const run = sandbox.start('restore.ts', TEST)
  await run.reaches(join(sandbox.dir, 'creating'))
  run.child.kill('SIGKILL')
  await run.ended
  await sandbox.fault('postgres:create')
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  await sandbox.sql('CREATE TABLE precious (id int);', 'book-corners-db-test')
  const { exitCode, stderr } = await sandbox.script('restore.ts', TEST)
  assert.is(exitCode, 1)
  assert.match(stderr, /was not made by these scripts/)
})

test('a test service whose server is slow to start is waited for', async () => {
  await sandbox.fault(
    'postgres:connect',
    'case "$1" in *-test) if [ "$(wc -c < "$root/slow" 2>/dev/null || echo 0)" -lt 3 ]; then printf x >> "$root/slow"; echo "psql: error: connection to server on socket failed" >&2; exit 2; fi;; esac',
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', TEST)
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 0, stderr)
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_library;', 'book-corners-db-test'), '300')
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
  assert.is(await counts(sandbox), DAMAGED)
})

test('what it left is removed by the next, and left alone by a restore', async () => {
  assert.is((await sandbox.script('restore.ts', TEST)).exitCode, 0)
  const restored = await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  assert.is(restored.exitCode, 0, restored.stderr)
  assert.match(await services(sandbox), /book-corners-db-test/)
  const undone = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(undone.exitCode, 0, undone.stderr)
  const next = await sandbox.script('restore.ts', TEST)
  assert.is(next.exitCode, 0, next.stderr)
  assert.match(next.stderr, /Removing the test service book-corners-db-test that an earlier run left/)
})

// Each step is held open by a fault, and the script is killed in it. After a SIGKILL the next run clears up, and succeeds.
const STEPS: [step: string, command: string][] = [
  ['while the service is made', 'postgres:create'],
  ['while it is imported into', 'postgres:connect'],
]
for (const signal of ['SIGKILL', 'SIGTERM'] as const)
  for (const [step, command] of STEPS)
    test(`${signal} ${step}: nothing is left${signal === 'SIGKILL' ? ' that the next run does not clear' : ''}`, async () => {
      await sandbox.fault(command, 'case "$1" in *-test) touch "$root/held"; sleep 1.5;; esac')
      const run = sandbox.start('restore.ts', TEST)
      await run.reaches(join(sandbox.dir, 'held'))
      await sleep(200)
      run.child.kill(signal)
      const { exitCode } = await run.ended
      await sandbox.fault(command)
      await sandbox.launch('rm', [join(sandbox.dir, 'held')]).ended
      assert.is(exitCode, { SIGKILL: null, SIGTERM: 143 }[signal])
      if (signal === 'SIGKILL') {
        const next = await sandbox.script('restore.ts', TEST)
        assert.is(next.exitCode, 0, next.stderr)
      } else assert.is(await services(sandbox), 'book-corners-db')
      assert.is(await counts(sandbox), DAMAGED)
      assert.equal(
        (await databases(sandbox)).filter((name) => name.endsWith('_restoring')),
        [],
      )
      assert.equal(sandbox.strays(), [])
    })

test.run()
