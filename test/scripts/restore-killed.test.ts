import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { programs } from '../support/borg.ts'
import {
  activity,
  backUpAndDamage,
  counts,
  DAMAGED,
  damage,
  databases,
  held,
  hold,
  holdName,
  OLD,
  reset,
} from '../support/damage.ts'
import type { Output, Running } from '../support/launch.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('a restore that is killed')
let sandbox: Sandbox

const RESTORE = ['latest', '--db-only', '--yes']
const SIGNALS = { SIGKILL: null, SIGTERM: 143, SIGINT: 130, SIGHUP: 129 } as const
type Signal = keyof typeof SIGNALS

// The data is in, and an index takes its time, when somebody says so.
const SLOW_INDEX = `
  CREATE TABLE slow (id int);
  CREATE FUNCTION slowly(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM pg_sleep(coalesce(nullif(current_setting('test.seconds', true), ''), '0')::float); RETURN $1; END $$;
  CREATE INDEX ON slow (slowly(id)); INSERT INTO slow VALUES (1);`

test.before(async () => {
  sandbox = await startSandbox()
  await backUpAndDamage(sandbox, SLOW_INDEX)
})
test.after(() => sandbox.stop())
test.before.each(() => reset(sandbox))

async function restoring(): Promise<string[]> {
  return (await databases(sandbox)).filter((name) => name.endsWith('_restoring'))
}

/** Production is wholly the old or the new one; what was begun is cleared at once, but after a SIGKILL by the next run. */
async function killed(run: Running, signal: Signal, { what, release }: Omit<Step, 'reach'>): Promise<void> {
  run.child.kill(signal)
  const { exitCode, stderr } = await run.ended
  await release?.()
  const state = await counts(sandbox)
  assert.ok(state === OLD || state === DAMAGED, `${what}: ${state}`)
  if (signal !== 'SIGKILL') {
    // After the swap nothing is cut short any more; before the script has begun, the signal ends it.
    const isEarly = exitCode === null && stderr === ''
    assert.ok(
      exitCode === SIGNALS[signal] || (exitCode === 0 && state === OLD) || isEarly,
      `${what}: ${exitCode}: ${stderr}`,
    )
    await nothingIsLeft(what)
  }
  if (state === OLD) await damage(sandbox)
}

async function nothingIsLeft(when = 'at the end'): Promise<void> {
  assert.equal(await restoring(), [], when)
  assert.equal(sandbox.strays(), [], when)
}

/** The next run. */
async function succeeds(): Promise<Output> {
  const output = await sandbox.script('restore.ts', RESTORE)
  assert.is(output.exitCode, 0, output.stderr)
  assert.is(await counts(sandbox), OLD)
  return output
}

/** Each step is held open until the script is killed in it. */
interface Step {
  what: string
  /** Starts the script, and resolves when it is there. */
  reach(): Promise<Running>
  /** Takes away what holds the step open. */
  release?(): Promise<void>
}

/** @param program sees the step, and what it does then, before PostgreSQL's own program or Dokku's */
function heldBy(what: string, where: 'dokku' | 'container', name: string, program: string): Step {
  const put = (snippet?: string): Promise<void> =>
    where === 'dokku' ? sandbox.fault(name, snippet) : sandbox.containerProgram(name, snippet)
  return {
    what,
    reach: async () => {
      await rm(held(sandbox), { force: true })
      await put(program)
      const run = sandbox.start('restore.ts', RESTORE)
      await run.reaches(held(sandbox))
      return run
    },
    release: () => put(),
  }
}

/** Somebody else holds the name of a database. */
function heldName(what: string, database: string, isThere: string): Step {
  return {
    what,
    reach: async () => {
      const { letGo } = await holdName(sandbox, database)
      const run = sandbox.start('restore.ts', RESTORE)
      await activity(sandbox, run, isThere)
      // After a Ctrl-C the script waits for it: a database would be there, and nobody would know.
      setTimeout(letGo, 1000)
      return run
    },
  }
}

const REAL = `PATH=\${PATH#*:} pg_restore "$@"`

/** A pg_restore that stays there when it has got a part of the dump. */
function inTheMiddle(stay: string): string {
  return `{ head -c 30000; ${stay}; cat; } | ${REAL}`
}

/** In the order in which a restore comes to them. */
function steps(): Step[] {
  const hold_ = hold(sandbox)
  return [
    heldBy('before the database beside production is made', 'dokku', 'postgres:enter', hold_),
    heldName('while the database is made', 'template0', "query LIKE 'CREATE DATABASE%' AND wait_event_type = 'Lock'"),
    heldBy('while the import begins', 'container', 'pg_restore', `${hold_}; ${REAL.replace(' pg_', ' exec pg_')}`),
    heldBy('in the middle of the import', 'container', 'pg_restore', inTheMiddle(hold_)),
    heldBy('after the import', 'dokku', 'git:report', hold_),
    heldName('while the databases are swapped', sandbox.database, "application_name = 'book-corners-ops swap'"),
    heldBy('after the swap', 'dokku', 'ps:report', hold_),
  ]
}

// What a terminal and a supervisor send is one thing to the script.
test('a SIGTERM at any step leaves production wholly old or new, and nothing else', async () => {
  for (const step of steps()) await killed(await step.reach(), 'SIGTERM', step)
})

test('a SIGKILL at one step after the other: each next run clears what the last one left, and the last one succeeds', async () => {
  for (const step of steps()) await killed(await step.reach(), 'SIGKILL', step)
  await succeeds()
  await nothingIsLeft()
})

test('killed anywhere, again and again', async () => {
  const times = [350, 650, 950, 1250, 200, 500, 800, 1100]
  for (const [i, ms] of times.entries()) {
    const run = sandbox.start('restore.ts', RESTORE)
    await sleep(ms)
    const signal = i < 4 ? ((['SIGHUP', 'SIGINT'] as const)[i % 2] ?? 'SIGHUP') : 'SIGKILL'
    await killed(run, signal, { what: `after ${ms} ms` })
  }
  await succeeds()
  await nothingIsLeft()
})

/** The script dies in the middle of an import whose shell was killed. */
async function losesItsShell(): Promise<void> {
  await sandbox.containerProgram('pg_restore', 'head -c 30000 >/dev/null; kill -KILL $PPID; exec sleep 2')
  const run = sandbox.start('restore.ts', RESTORE)
  await activity(sandbox, run, "application_name = 'book-corners-ops import'")
  await sleep(500)
  run.child.kill('SIGKILL')
  await run.ended
  await sandbox.containerProgram('pg_restore')
}

/** The script dies while the container is at an index. */
async function goesOnInContainer(): Promise<void> {
  await sandbox.sql("ALTER ROLE postgres SET test.seconds TO '60';")
  const run = sandbox.start('restore.ts', RESTORE)
  const inIndex = "datname LIKE '%_restoring' AND query LIKE 'CREATE INDEX%' AND state = 'active'"
  await activity(sandbox, run, inIndex)
  run.child.kill('SIGKILL')
  await run.ended
  await sleep(1000)
  assert.is(await sandbox.sql(`SELECT count(*) FROM pg_stat_activity WHERE ${inIndex};`), '1')
  await sandbox.sql('ALTER ROLE postgres RESET test.seconds;')
}

test("what is left of an import whose shell was killed is in nobody's way, and one that goes on in the container after a SIGKILL is ended by the next run, which says so", async () => {
  await losesItsShell()
  await goesOnInContainer()
  assert.is(await counts(sandbox), DAMAGED)
  const check = await sandbox.script('backup.ts', ['--check'])
  assert.match(
    check.stdout,
    /^warn +unfinished +book_corners_db_restoring is there.*\n +→ .*the next restore clears it$/m,
  )
  const { stderr } = await succeeds()
  assert.match(stderr, /Ended the import that an earlier run was at/)
  assert.match(stderr, /Removed the database book_corners_db_restoring that an earlier run left/)
  assert.equal(await restoring(), [])
})

test('PostgreSQL that restarts in the middle of the import, and Borg that is killed in the middle of the dump, leave production as it was', async () => {
  await sandbox.containerProgram('pg_restore', inTheMiddle(hold(sandbox)))
  const run = sandbox.start('restore.ts', RESTORE)
  await run.reaches(held(sandbox))
  await sandbox.dokku(['postgres:stop', sandbox.service])
  await sandbox.dokku(['postgres:start', sandbox.service])
  const restarted = await run.ended
  await sandbox.containerProgram('pg_restore')
  assert.is(restarted.exitCode, 1)
  assert.match(
    restarted.stderr,
    /not because of the archive[\s\S]*The server went away meanwhile[\s\S]*Production was not touched/,
  )
  assert.is(await counts(sandbox), DAMAGED)
  const bin = join(sandbox.dir, 'shims')
  await mkdir(bin, { recursive: true })
  // What it says itself of the pipe that `head` closes is no part of this.
  const dies =
    'case "$*" in *--stdout*) /usr/bin/borg "$@" 2>/dev/null | head -c 30000; kill -KILL $$;; esac; exec /usr/bin/borg "$@"'
  await writeFile(join(bin, 'borg'), `#!/bin/sh\n${dies}\n`, { mode: 0o755 })
  const { exitCode, stderr } = await sandbox.script('restore.ts', RESTORE, { env: { PATH: `${bin}:${programs()}` } })
  assert.is(exitCode, 1)
  assert.match(stderr, /Borg was ended by SIGKILL/)
  assert.is(await counts(sandbox), DAMAGED)
  await nothingIsLeft()
  await succeeds()
})

test.run()
