import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { backUpAndDamage, counts, DAMAGED, databases, reset, services } from '../support/damage.ts'
import type { Output } from '../support/launch.ts'
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

/** A run that is killed in a step of making or filling its test service. */
async function killedIn(command: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<Output> {
  const held = join(sandbox.dir, 'held')
  await rm(held, { force: true })
  await sandbox.fault(command, 'case "$1" in *-test) touch "$root/held"; sleep 1.5;; esac')
  const run = sandbox.start('restore.ts', TEST)
  await run.reaches(held)
  await sleep(200)
  run.child.kill(signal)
  const output = await run.ended
  await sandbox.fault(command)
  assert.is(output.exitCode, { SIGKILL: null, SIGTERM: 143 }[signal], `${command}: ${output.stderr}`)
  assert.is(await counts(sandbox), DAMAGED)
  return output
}

test('a service that somebody keeps under the name of the test service is not removed: not after a run that was killed before it had made its own, and not when it cannot be asked whose it is', async () => {
  await sandbox.fault('postgres:create', 'touch "$root/creating"; sleep 1; exit 1')
  const run = sandbox.start('restore.ts', TEST)
  await run.reaches(join(sandbox.dir, 'creating'))
  run.child.kill('SIGKILL')
  await run.ended
  await sandbox.fault('postgres:create')
  await sandbox.dokku(['postgres:create', 'book-corners-db-test'])
  await sandbox.sql('CREATE TABLE precious (id int);', 'book-corners-db-test')
  const after = await sandbox.script('restore.ts', TEST)
  assert.is(after.exitCode, 1)
  assert.match(after.stderr, /was not made by these scripts/)

  // As if no run had ever begun to make one.
  await rm(join(sandbox.home, '.local'), { recursive: true })
  const { exitCode, stderr } = await sandbox.script('restore.ts', TEST)
  assert.is(exitCode, 1)
  assert.match(stderr, /was not made by these scripts/)

  await sandbox.fault(
    'postgres:connect',
    'case "$1" in *-test) echo "Error response from daemon: container abc is not running" >&2; exit 1;; esac',
  )
  const silent = await sandbox.script('restore.ts', TEST)
  await sandbox.fault('postgres:connect')
  assert.is(silent.exitCode, 1)
  assert.match(silent.stderr, /can't be asked whose it is.*not running/)
  assert.match(silent.stderr, /postgres:start book-corners-db-test/)
  assert.is(await sandbox.sql('SELECT count(*) FROM precious;', 'book-corners-db-test'), '0')
  await sandbox.dokku(['postgres:destroy', 'book-corners-db-test', '--force'])
})

test('--test proves the archive in a service whose server may be slow to start, leaves it, and does not touch production; a restore leaves it alone', async () => {
  await sandbox.fault(
    'postgres:connect',
    'case "$1" in *-test) if [ "$(wc -c < "$root/slow" 2>/dev/null || echo 0)" -lt 3 ]; then printf x >> "$root/slow"; echo "psql: error: connection to server on socket failed" >&2; exit 2; fi;; esac',
  )
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', [archive, '--test', '--yes'])
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /postgres:connect book-corners-db-test/)
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_library;', 'book-corners-db-test'), '300')
  assert.match(
    (await sandbox.dokku(['postgres:info', 'book-corners-db-test', '--version'])).stdout,
    /^postgis\/postgis:17-3\.5$/m,
  )
  assert.is(await counts(sandbox), DAMAGED)
  const restored = await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  assert.is(restored.exitCode, 0, restored.stderr)
  assert.match(await services(sandbox), /book-corners-db-test/)
  await reset(sandbox)
})

// Each step is held open by a fault, and the script is killed in it.
const STEPS = ['postgres:create', 'postgres:connect']

test('what a test left, or a SIGKILL while the service is made or imported into, the next run clears; the last one succeeds', async () => {
  for (const [i, command] of STEPS.entries()) {
    const { stderr } = await killedIn(command, 'SIGKILL')
    if (i === 0) assert.match(stderr, /Removing the test service book-corners-db-test that an earlier run left/)
  }
  const next = await sandbox.script('restore.ts', TEST)
  assert.is(next.exitCode, 0, next.stderr)
  await nothingIsLeft()
})

test('a SIGTERM while the service is made or imported into leaves nothing', async () => {
  for (const command of STEPS) {
    await killedIn(command, 'SIGTERM')
    assert.is(await services(sandbox), 'book-corners-db', command)
    await nothingIsLeft()
  }
})

async function nothingIsLeft(): Promise<void> {
  assert.equal(
    (await databases(sandbox)).filter((name) => name.endsWith('_restoring')),
    [],
  )
  assert.equal(sandbox.strays(), [])
}

test.run()
