import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isLabel } from '../../lib/borg/comment.ts'
import { startMonitor } from '../support/monitor.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('backup --restore-point')
let sandbox: Sandbox
let monitor: Awaited<ReturnType<typeof startMonitor>>
let night: string

const TIME = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d'

function settings(more: Record<string, string> = {}): Promise<void> {
  return sandbox.configure({ CHECK_EVERY_DAYS: '0', KEEP_APP_CONFIG: 'no', HEALTHCHECK_URL: monitor.url, ...more })
}

async function point(label: string): Promise<{ archive: string; pruned: string[]; warnings: string[] }> {
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--restore-point', label, '--json'])
  assert.is(exitCode, 0, stderr)
  return JSON.parse(stdout)
}

/** As if it had been taken some days ago. */
async function olderPoint(label: string, days: number): Promise<string> {
  const time = new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 19)
  const name = `book-corners-before-${label}-${time}`
  const comment = JSON.stringify({ sha: null, before: label }).replace(/[{}]/g, '$&$&')
  const made = await sandbox.borg(['create', '--timestamp', time, '--comment', comment, `::${name}`, '/dev/null'])
  assert.is(made.exitCode, 0, made.stderr)
  return name
}

test.before(async () => {
  ;[sandbox, monitor] = await Promise.all([startSandbox(), startMonitor()])
  await seed(sandbox, { libraries: 30, photos: 3 })
  await settings()
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--json'])
  assert.is(exitCode, 0, stderr)
  night = JSON.parse(stdout).archive
})
test.after(async () => {
  monitor?.stop()
  await sandbox?.stop()
})

test('a label that no archive can be named for, and a second mode, are refused', async () => {
  for (const label of ['a b', 'a/b', 'ü', 'x'.repeat(101)]) assert.not.ok(isLabel(label))
  for (const args of [['a b'], [], ['x', '--check']]) {
    const { exitCode, stderr } = await sandbox.script('backup.ts', ['--restore-point', ...args])
    assert.is(exitCode, 2, stderr)
  }
  assert.equal(await sandbox.archives(), [night])
})

test('where no backup was ever set up, that is told', async () => {
  const run = (args: string[]) => sandbox.script('backup.ts', args, { env: { OPS_ENV_FILE: '' } })
  const { exitCode, stdout, stderr } = await run(['--restore-point', 'x', '--json'])
  assert.equal([exitCode, JSON.parse(stdout)], [2, { archive: null, setUp: false }])
  assert.match(stderr, /No backup is set up on this machine: there is no \/home\/deploy\/\.env\.backup\./)
})

test('it is an archive like a night, tells no monitor, prunes restore points alone, and moves no night', async () => {
  const pings = monitor.pings.length
  const old = [await olderPoint('first', 9), await olderPoint('second', 8), await olderPoint('third', 7)]
  await settings({ KEEP_RESTORE_POINTS: '2', KEEP_DAILY: '1', KEEP_WEEKLY: '0', KEEP_MONTHLY: '0' })
  const { archive, pruned } = await point('0123abcd')
  assert.match(archive, new RegExp(`^book-corners-before-0123abcd-${TIME}$`))
  assert.equal(pruned.toSorted(), old.slice(0, 2).toSorted())
  assert.equal((await sandbox.archives()).toSorted(), [night, old[2], archive].toSorted())
  assert.is(monitor.pings.length, pings)

  const listed = JSON.parse((await sandbox.script('restore.ts', ['--list', '--json'])).stdout)
  assert.equal(
    listed.map(({ name, restorePoint, sha }: Record<string, string | null>) => [name, restorePoint, sha?.slice(0, 8)]),
    [
      [archive, '0123abcd', '01234567'],
      [night, null, '01234567'],
      [old[2], 'third', undefined],
    ],
  )
  const dry = await sandbox.script('restore.ts', ['--dry-run', '--db-only', archive])
  assert.is(dry.exitCode, 0, dry.stderr)
  assert.match(dry.stdout, `A restore of ${archive} (`)
})

test('the newest night is the same for --check, for the drill and for pruning, whatever is taken after it', async () => {
  const { stdout } = await sandbox.script('backup.ts', ['--check', '--json'])
  const newest = JSON.parse(stdout).checks.find(({ name }: { name: string }) => name === 'newest archive')
  assert.match(newest.detail, night)
  const drill = await sandbox.script('restore.ts', ['--drill', '--json'])
  assert.is(drill.exitCode, 0, drill.stderr)
  assert.is(JSON.parse(drill.stdout).archive, night)
  // A night prunes nights alone.
  const before = (await sandbox.archives()).filter((name) => name.includes('-before-'))
  const next = await sandbox.script('backup.ts', ['--json'])
  assert.is(next.exitCode, 0, next.stderr)
  assert.equal(
    (await sandbox.archives()).filter((name) => name.includes('-before-')),
    before,
  )
})

test('what a restore to it would lose is told by the counters of the database, as far as they go', async () => {
  const { archive } = await point('counted')
  const said = async (): Promise<string> => {
    const { stdout } = await sandbox.script('backup.ts', ['--check', '--json'])
    return JSON.parse(stdout).checks.find(({ name }: { name: string }) => name === 'restore point').detail
  }
  await sandbox.sql(`INSERT INTO libraries_library (name) VALUES ('New'), ('Newer');
    UPDATE libraries_library SET name = 'Other' WHERE id = 1; DELETE FROM libraries_photo WHERE id = 1;`)
  const written = 'public.libraries_library 2 new, 1 changed; public.libraries_photo 1 deleted'
  assert.is(await said(), `${archive}, just now; written since: ${written}`)
  await sandbox.sql('SELECT pg_stat_reset();')
  assert.is(await said(), `${archive}, just now`)
})

test('one app whose name begins like another keeps its archives, however both prune', async () => {
  await settings({ KEEP_RESTORE_POINTS: '1' })
  const kept = await olderPoint('x', 5)
  await settings({ ARCHIVE_PREFIX: 'book-corners-before-x', KEEP_DAILY: '1', KEEP_WEEKLY: '0', KEEP_MONTHLY: '0' })
  const other = await sandbox.script('backup.ts', ['--json'])
  assert.is(other.exitCode, 0, other.stderr)
  assert.match(other.stderr, `Nothing is pruned while a restore point of another ARCHIVE_PREFIX has a name`)
  const listed = await sandbox.script('restore.ts', ['--list', '--json'])
  assert.equal(
    JSON.parse(listed.stdout).map(({ name }: { name: string }) => name),
    [JSON.parse(other.stdout).archive],
  )
  assert.ok((await sandbox.archives()).includes(kept))
  await settings({ KEEP_RESTORE_POINTS: '1' })
  const { pruned } = await point('y')
  assert.ok(pruned.includes(kept))
  assert.ok((await sandbox.archives()).includes(JSON.parse(other.stdout).archive))
})

test('what is lacking is a warning: a way back to how things are is taken all the same', async () => {
  await sandbox.sql('CREATE TABLE kept AS SELECT * FROM libraries_photo; DELETE FROM libraries_photo;')
  const { archive, warnings, pruned } = await point('z')
  await sandbox.sql('INSERT INTO libraries_photo SELECT * FROM kept; DROP TABLE kept;')
  assert.match(warnings.join(), /lacks what earlier archives hold: 1 table of which \S+ has rows is empty or gone/)
  assert.equal(pruned, [])
  assert.ok((await sandbox.archives()).includes(archive))
})

/** What each dump does, by its number: it says that it has begun, and waits. */
async function holdDumps(): Promise<{ held(dump: number): string; letGo(dump: number): Promise<void> }> {
  const [held, go] = [
    (dump: number) => join(sandbox.dir, `held-${dump}`),
    (dump: number) => join(sandbox.dir, `go-${dump}`),
  ]
  await sandbox.fault(
    'postgres:enter',
    `n=1; while [ -e '${sandbox.dir}/held-'$n ]; do n=$((n + 1)); done
    touch '${sandbox.dir}/held-'$n; while [ ! -e '${sandbox.dir}/go-'$n ]; do sleep 0.1; done`,
  )
  return { held, letGo: (dump) => writeFile(go(dump), '') }
}

test('another run is waited for, and named, by a restore point, and by a night that meets one; a SIGTERM ends the wait', async () => {
  const before = await sandbox.archives()
  const { held, letGo } = await holdDumps()
  const first = sandbox.start('backup.ts')
  await first.reaches(held(1))
  const [second, third] = ['waits', 'stops'].map((label) => sandbox.start('backup.ts', ['--restore-point', label]))
  for (const run of [second, third])
    await run?.prints(
      new RegExp(`Another run holds the lock: backup\\.ts of \\S+, process ${first.child.pid}.*15 minutes at most`),
    )
  // Fifteen minutes in a second and a half.
  const hurried = 'data:text/javascript,const%20now=performance.now.bind(performance);performance.now=()=>now()*600'
  const gaveUp = await sandbox.script('backup.ts', ['--restore-point', 'late'], {
    env: { NODE_OPTIONS: `--import=${hurried}` },
  })
  assert.is(gaveUp.exitCode, 75, gaveUp.stderr)
  assert.match(gaveUp.stderr, /15 minutes at most[\s\S]*Another run holds the lock: backup\.ts/)
  third?.child.kill('SIGTERM')
  assert.is((await third?.ended)?.exitCode, 143)
  await letGo(1)
  await second?.reaches(held(2))
  const next = sandbox.start('backup.ts')
  await next.prints(/Another run holds the lock: backup\.ts --restore-point of \S+, process \d+.*15 minutes at most/)
  for (const dump of [2, 3]) await letGo(dump)
  const ended = await Promise.all([first.ended, second?.ended, next.ended])
  await sandbox.fault('postgres:enter')
  assert.equal(
    ended.map((run) => run?.exitCode),
    [0, 0, 0],
    ended.map((run) => run?.stderr).join(''),
  )
  const names = (await sandbox.archives()).filter((name) => !before.includes(name))
  assert.equal(
    [names.length, /-before-waits-/.test(names[1] ?? ''), names.join().match(/-before-/g)?.length],
    [3, true, 1],
  )
})

test.run()
