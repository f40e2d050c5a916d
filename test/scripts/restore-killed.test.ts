import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  activity,
  backUpAndDamage,
  counts,
  DAMAGED,
  databases,
  held,
  hold,
  holdName,
  OLD,
  reset,
} from '../support/damage.ts'
import type { Running } from '../support/launch.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('a restore that is killed')
let sandbox: Sandbox

const AGREED = ['--db-only', '--yes']
const RESTORE = ['latest', ...AGREED]
const SIGNALS = { SIGKILL: null, SIGTERM: 143, SIGINT: 130, SIGHUP: 129 } as const
type Signal = keyof typeof SIGNALS

test.before(async () => {
  sandbox = await startSandbox()
  await backUpAndDamage(sandbox)
})
test.after(() => sandbox.stop())
test.before.each(() => reset(sandbox))

async function restoring(): Promise<string[]> {
  return (await databases(sandbox)).filter((name) => name.endsWith('_restoring'))
}

/** Production is wholly the old or the new one; what was begun is cleared, after a SIGKILL by the next run, which succeeds. */
async function killed(run: Running, signal: Signal, release?: () => Promise<unknown>): Promise<void> {
  run.child.kill(signal)
  const { exitCode, stderr } = await run.ended
  await release?.()
  const state = await counts(sandbox)
  assert.ok(state === OLD || state === DAMAGED, state)
  if (signal === 'SIGKILL') await succeeds()
  else {
    // After the swap nothing is cut short any more; before the script has begun, the signal ends it.
    const isEarly = exitCode === null && stderr === ''
    assert.ok(exitCode === SIGNALS[signal] || (exitCode === 0 && state === OLD) || isEarly, `${exitCode}: ${stderr}`)
  }
  assert.equal(await restoring(), [])
  assert.equal(sandbox.strays(), [])
}

/** The next run. */
async function succeeds(): Promise<void> {
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE)
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(sandbox), OLD)
}

// Each step is held open, and the script is killed in it.
const STEPS: [step: string, where: 'dokku' | 'container', program: string][] = [
  ['before the database beside production is made', 'dokku', 'postgres:enter'],
  ['while the import begins', 'container', 'pg_restore'],
  ['after the import', 'dokku', 'git:report'],
  ['after the swap', 'dokku', 'ps:report'],
]
// What a terminal and a supervisor send is one thing to the script.
for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  for (const [step, where, program] of STEPS)
    test(`${signal} ${step}`, async () => {
      const fault = (snippet?: string): Promise<void> =>
        where === 'dokku'
          ? sandbox.fault(program, snippet)
          : sandbox.containerProgram(program, snippet && `${snippet}; PATH=\${PATH#*:} exec ${program} "$@"`)
      await fault(hold(sandbox))
      const run = sandbox.start('restore.ts', RESTORE)
      await run.reaches(held(sandbox))
      await killed(run, signal, fault)
    })

  test(`${signal} in the middle of the import`, async () => {
    await sandbox.containerProgram(
      'pg_restore',
      `{ head -c 30000; ${hold(sandbox)}; cat; } | PATH=\${PATH#*:} pg_restore "$@"`,
    )
    const run = sandbox.start('restore.ts', RESTORE)
    await run.reaches(held(sandbox))
    await killed(run, signal, () => sandbox.containerProgram('pg_restore'))
  })

  test(`${signal} while the database is made`, async () => {
    const { letGo } = await holdName(sandbox, 'template0')
    const run = sandbox.start('restore.ts', RESTORE)
    await activity(sandbox, run, "query LIKE 'CREATE DATABASE%' AND wait_event_type = 'Lock'")
    // After a Ctrl-C the script waits for it: the database would be there, and nobody would know.
    setTimeout(letGo, 1000)
    await killed(run, signal)
  })

  test(`${signal} while the databases are swapped`, async () => {
    const { letGo } = await holdName(sandbox, sandbox.database)
    const run = sandbox.start('restore.ts', RESTORE)
    await activity(sandbox, run, "application_name = 'book-corners-ops swap'")
    setTimeout(letGo, 1000)
    await killed(run, signal)
  })
}

test('killed anywhere, again and again', async () => {
  for (let i = 0; i < 8; i++) {
    const run = sandbox.start('restore.ts', RESTORE)
    await sleep(200 + i * 150)
    await killed(run, (['SIGKILL', 'SIGHUP', 'SIGKILL', 'SIGINT'] as const)[i % 4] ?? 'SIGKILL')
    await reset(sandbox)
  }
  await succeeds()
})

test('an import that goes on in the container after a SIGKILL is ended by the next run, which says so', async () => {
  // The data is in, and an index takes its time.
  await sandbox.sql(`
    CREATE TABLE slow (id int);
    CREATE FUNCTION slowly(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
      $$ BEGIN PERFORM pg_sleep(coalesce(current_setting('test.seconds', true), '0')::float); RETURN $1; END $$;
    CREATE INDEX ON slow (slowly(id)); INSERT INTO slow VALUES (1);`)
  const name = JSON.parse((await sandbox.script('backup.ts', ['--json'])).stdout).archive
  await sandbox.sql("ALTER ROLE postgres SET test.seconds TO '60';")
  const run = sandbox.start('restore.ts', [name, ...AGREED])
  const inIndex = "datname LIKE '%_restoring' AND query LIKE 'CREATE INDEX%' AND state = 'active'"
  await activity(sandbox, run, inIndex)
  run.child.kill('SIGKILL')
  await run.ended
  await sleep(1000)
  assert.is(await sandbox.sql(`SELECT count(*) FROM pg_stat_activity WHERE ${inIndex};`), '1')
  await sandbox.sql('ALTER ROLE postgres RESET test.seconds;')
  const check = await sandbox.script('backup.ts', ['--check'])
  assert.match(
    check.stdout,
    /^warn +unfinished +book_corners_db_restoring is there.*\n +→ .*the next restore clears it$/m,
  )
  const next = await sandbox.script('restore.ts', [name, ...AGREED])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(next.exitCode, 0, next.stderr)
  assert.match(next.stderr, /Ended the import that an earlier run was at/)
  assert.match(next.stderr, /Removed the database book_corners_db_restoring that an earlier run left/)
  assert.equal(await restoring(), [])
})

test("what is left of an import whose shell was killed is in nobody's way", async () => {
  await sandbox.containerProgram('pg_restore', 'head -c 30000 >/dev/null; kill -KILL $PPID; exec sleep 2')
  const run = sandbox.start('restore.ts', RESTORE)
  await activity(sandbox, run, "application_name = 'book-corners-ops import'")
  await sleep(500)
  run.child.kill('SIGKILL')
  await run.ended
  await sandbox.containerProgram('pg_restore')
  const next = await sandbox.script('restore.ts', RESTORE)
  assert.is(next.exitCode, 0, next.stderr)
  assert.is(await counts(sandbox), OLD)
})

test('PostgreSQL that restarts in the middle of the import leaves production as it was', async () => {
  await sandbox.containerProgram(
    'pg_restore',
    `{ head -c 30000; ${hold(sandbox)}; cat; } | PATH=\${PATH#*:} pg_restore "$@"`,
  )
  const run = sandbox.start('restore.ts', RESTORE)
  await run.reaches(held(sandbox))
  await sandbox.dokku(['postgres:stop', sandbox.service])
  await sandbox.dokku(['postgres:start', sandbox.service])
  const { exitCode, stderr } = await run.ended
  await sandbox.containerProgram('pg_restore')
  assert.is(exitCode, 1)
  assert.match(
    stderr,
    /not because of the archive[\s\S]*The server went away meanwhile[\s\S]*Production was not touched/,
  )
  assert.is(await counts(sandbox), DAMAGED)
  const next = await sandbox.script('restore.ts', RESTORE)
  assert.is(next.exitCode, 0, next.stderr)
  assert.is(await counts(sandbox), OLD)
})

test('Borg that is killed in the middle of the dump leaves production as it was', async () => {
  const bin = join(sandbox.dir, 'shims')
  await mkdir(bin, { recursive: true })
  // What it says itself of the pipe that `head` closes is no part of this.
  const dies =
    'case "$*" in *--stdout*) /usr/bin/borg "$@" 2>/dev/null | head -c 30000; kill -KILL $$;; esac; exec /usr/bin/borg "$@"'
  await writeFile(join(bin, 'borg'), `#!/bin/sh\n${dies}\n`, { mode: 0o755 })
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE, { env: { PATH: `${bin}:/usr/bin:/bin` } })
  assert.is(exitCode, 1)
  assert.match(stderr, /Borg was ended by SIGKILL/)
  assert.is(await counts(sandbox), DAMAGED)
  assert.equal(await restoring(), [])
  assert.equal(sandbox.strays(), [])
})

test.run()
