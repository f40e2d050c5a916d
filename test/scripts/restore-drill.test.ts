import { appendFileSync, statSync, utimesSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { startMonitor } from '../support/monitor.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('drill')
let sandbox: Sandbox
let monitor: Awaited<ReturnType<typeof startMonitor>>

function paths(): string[] {
  return monitor.pings.map(({ path }) => path.replace('/check-uuid', ''))
}

async function services(): Promise<string> {
  return (await sandbox.dokku(['postgres:list'])).stdout.trim()
}

test.before(async () => {
  sandbox = await startSandbox()
  monitor = await startMonitor()
  await seed(sandbox, { libraries: 50, photos: 30, photoBytes: 100_000 })
  await sandbox.sql(
    'CREATE TABLE corners (id int PRIMARY KEY); INSERT INTO corners SELECT generate_series(1, 400); CREATE TABLE reviews (id int);',
  )
  await sandbox.configure({ CHECK_EVERY_DAYS: '0', DRILL_HEALTHCHECK_URL: monitor.url })
  const { exitCode, stderr } = await sandbox.script('backup.ts')
  assert.is(exitCode, 0, stderr)
})
test.after(async () => {
  monitor.stop()
  await sandbox.stop()
})
test.before.each(() => {
  monitor.pings.length = 0
})

test('a good archive passes, which the list tells then, whatever production got since; the test service is removed, and the monitor hears', async () => {
  const before = await sandbox.script('restore.ts', ['--list'])
  assert.match(before.stdout, /: stored whole, not proved yet\. To prove it: restore --drill$/m)
  // An archive is measured by what it and those before it held, not by production.
  await sandbox.sql('INSERT INTO reviews VALUES (1);')
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', ['--drill', '--json'])
  assert.is(exitCode, 0, stderr)
  assert.is(JSON.parse(stdout).mediaCompared, 20)
  assert.equal(paths(), ['/start', ''])
  assert.is(await services(), 'book-corners-db')
  const list = await sandbox.script('restore.ts', ['--list'])
  assert.match(
    list.stdout,
    /^The newest night, book-corners-\S+: stored whole, proved \w{3} \d+ \w{3} .*, by a drill$/m,
  )
})

test('a photo that has rotted on the disk is named; those that were deleted or replaced since they were listed are nothing to compare', async () => {
  const photos = join(sandbox.mediaDir, 'photos')
  const photo = (i: number): string => join(photos, `${i}.jpg`)
  // All that are left are in the sample.
  const others = Array.from({ length: 26 }, (_, i) => photo(i + 5))
  for (const path of others) await rename(path, `${path}.away`)
  const { atime, mtime, size } = statSync(photo(1))
  await writeFile(photo(1), Buffer.alloc(size, 1))
  utimesSync(photo(1), atime, mtime)
  await sandbox.fault(
    'postgres:create',
    `for i in 2 3 4; do mv "${photos}"/$i.jpg "${photos}"/$i.jpg.away; done; printf replaced | tee "${photos}"/2.jpg > "${photos}"/3.jpg`,
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  await sandbox.fault('postgres:create')
  for (const path of [...others, photo(2), photo(3), photo(4)]) await rename(`${path}.away`, path)
  assert.is(exitCode, 1)
  assert.match(stderr, /photos\/1\.jpg is not on the disk as/)
  assert.not.match(stderr, /photos\/[2-4]\.jpg/)
  assert.equal(paths(), ['/start', '/fail'])
  assert.is(await services(), 'book-corners-db')
  appendFileSync(photo(1), 'changed since, which is no fault')
})

test('a table that lost more than half of its rows since the last drill fails it once, whatever the size of the dump; and so does an archive that is dated in the future, but the newest that is not is proved all the same', async () => {
  await sandbox.sql('DELETE FROM corners WHERE id > 100;')
  const night = await sandbox.script('backup.ts')
  assert.is(night.exitCode, 0, night.stderr)
  const lost = await sandbox.script('restore.ts', ['--drill'])
  assert.is(lost.exitCode, 1)
  assert.match(lost.stderr, /something is lacking in it: public\.corners has 100 rows, book-corners-\S+ has 400/)
  assert.match(lost.stderr, /If that is right: restore --drill/)

  const name = 'book-corners-2035-01-01T03:00:00'
  await sandbox.borg(['create', '--timestamp', '2035-01-01T03:00:00', `::${name}`, sandbox.mediaDir])
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 1)
  assert.match(stderr, new RegExp(`Importing the dump of book-corners-(?!2035)[^]*Dated in the future.*${name}`))
  assert.match(stderr, /borg rename/)
  assert.not.match(stderr, /lacking/)
})

test('an archive that lost the same as production is measured by those before it', async () => {
  await sandbox.sql('DELETE FROM libraries_photo;')
  await rename(join(sandbox.mediaDir, 'photos'), join(sandbox.dir, 'photos'))
  const night = await sandbox.script('backup.ts')
  assert.is(night.exitCode, 1)
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  const preview = await sandbox.script('restore.ts', ['--dry-run', '--db-only'])
  await rename(join(sandbox.dir, 'photos'), join(sandbox.mediaDir, 'photos'))
  const lacking =
    /the media folder is empty, book-corners-\S+ has 30 files.*1 table of which book-corners-\S+ has rows is empty or gone: public\.libraries_photo/
  assert.is(exitCode, 1)
  assert.match(stderr, new RegExp(`imports cleanly, but something is lacking in it: ${lacking.source}`))
  assert.match(monitor.pings.at(-1)?.body ?? '', lacking)
  assert.match(preview.stdout, new RegExp(`^The archive is INCOMPLETE: ${lacking.source}`))
})

test('a dump that does not import fails the drill, and the test service is removed', async () => {
  // The test service's container gets a pg_restore of its own.
  await sandbox.fault(
    'postgres:connect',
    `case "$1" in *-test) mkdir -p "$root/services/$1/bin"
      printf '#!/bin/sh\nhead -c 100 >/dev/null\necho pg_restore: error: unexpected end of file >&2\nexit 1\n' >"$root/services/$1/bin/pg_restore"
      chmod +x "$root/services/$1/bin/pg_restore";; esac`,
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  await sandbox.fault('postgres:connect')
  assert.is(exitCode, 1)
  assert.match(stderr, /does not import cleanly/)
  assert.is(await services(), 'book-corners-db')
})

test('an archive older than 26 hours fails the drill', async () => {
  const [first = '', ...others] = await sandbox.archives()
  assert.is((await sandbox.borg(['delete', `::${first}`, ...others])).exitCode, 0)
  const old = new Date(Date.now() - 27 * 3_600_000).toISOString().slice(0, 19)
  await sandbox.borg(['create', '--timestamp', old, `::book-corners-${old}`, sandbox.mediaDir])
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  assert.is(exitCode, 1)
  assert.match(stderr, /newest archive, book-corners-.* is from 27 hours ago/)
  assert.equal(paths(), ['/start', '/fail'])
})

test.run()
