import { appendFileSync, statSync, utimesSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
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

test('a good archive passes, which the list tells then, the test service is removed, and the monitor hears', async () => {
  const before = await sandbox.script('restore.ts', ['--list'])
  assert.match(before.stdout, /: stored whole, not proved yet\. To prove it: restore --drill$/m)
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

test('a photo that has rotted on the disk is named', async () => {
  const photo = join(sandbox.mediaDir, 'photos/1.jpg')
  const others = Array.from({ length: 29 }, (_, i) => join(sandbox.mediaDir, `photos/${i + 2}.jpg`))
  for (const path of others) await rename(path, `${path}.away`)
  const { atime, mtime, size } = statSync(photo)
  await writeFile(photo, Buffer.alloc(size, 1))
  utimesSync(photo, atime, mtime)
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  for (const path of others) await rename(`${path}.away`, path)
  assert.is(exitCode, 1)
  assert.match(stderr, /photos\/1\.jpg is not on the disk as/)
  assert.equal(paths(), ['/start', '/fail'])
  assert.is(await services(), 'book-corners-db')
  appendFileSync(photo, 'changed since, which is no fault')
})

test('photos that were deleted or replaced since they were listed are nothing to compare', async () => {
  const photos = join(sandbox.mediaDir, 'photos')
  await sandbox.fault(
    'postgres:create',
    `mv "${photos}" "${photos}.away"; mkdir "${photos}"; printf replaced | tee "${photos}"/2.jpg > "${photos}"/3.jpg`,
  )
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', ['--drill', '--json'])
  await sandbox.fault('postgres:create')
  await rm(photos, { recursive: true })
  await rename(`${photos}.away`, photos)
  assert.is(exitCode, 0, stderr)
  assert.is(JSON.parse(stdout).mediaCompared, 0)
})

test('a table that lost more than half of its rows since the last drill fails it, whatever the size of the dump', async () => {
  await sandbox.sql(`CREATE TABLE corners (id int PRIMARY KEY); INSERT INTO corners SELECT generate_series(1, 400);`)
  const drill = async () => {
    const night = await sandbox.script('backup.ts')
    assert.is(night.exitCode, 0, night.stderr)
    return sandbox.script('restore.ts', ['--drill'])
  }
  const whole = await drill()
  assert.is(whole.exitCode, 0, whole.stderr)
  await sandbox.sql('DELETE FROM corners WHERE id > 100;')
  const lost = await drill()
  assert.is(lost.exitCode, 1)
  assert.match(lost.stderr, /something is lacking in it: public\.corners has 100 rows, book-corners-\S+ has 400/)
  assert.match(lost.stderr, /If that is right: restore --drill/)
  const right = await sandbox.script('restore.ts', ['--drill'])
  assert.is(right.exitCode, 0, right.stderr)
})

test('an archive is measured by what it and those before it held, not by production', async () => {
  // Production got rows since: that is no fault of the archive.
  await sandbox.sql('CREATE TABLE reviews (id int);')
  assert.is((await sandbox.script('backup.ts')).exitCode, 0)
  await sandbox.sql('INSERT INTO reviews VALUES (1);')
  const newer = await sandbox.script('restore.ts', ['--drill'])
  assert.is(newer.exitCode, 0, newer.stderr)

  // Production, and the archive of it, lost the same.
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
  await sandbox.borg(['delete', `::${(await sandbox.archives()).at(-1)}`])
})

test('an archive that is dated in the future fails the drill, and the newest that is not is proved all the same', async () => {
  const name = 'book-corners-2035-01-01T03:00:00'
  await sandbox.borg(['create', '--timestamp', '2035-01-01T03:00:00', `::${name}`, sandbox.mediaDir])
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 1)
  assert.match(stderr, new RegExp(`Importing the dump of book-corners-(?!2035)[^]*Dated in the future.*${name}`))
  assert.match(stderr, /borg rename/)
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
  for (const name of await sandbox.archives()) await sandbox.borg(['delete', `::${name}`])
  const old = new Date(Date.now() - 27 * 3_600_000).toISOString().slice(0, 19)
  await sandbox.borg(['create', '--timestamp', old, `::book-corners-${old}`, sandbox.mediaDir])
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  assert.is(exitCode, 1)
  assert.match(stderr, /newest archive, book-corners-.* is from 27 hours ago/)
  assert.equal(paths(), ['/start', '/fail'])
})

test.run()
