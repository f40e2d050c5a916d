// An app without uploads: MEDIA_DIR=none, from the first night after it was set to a restore, and in archives of before.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Output } from '../support/launch.ts'
import { startMonitor } from '../support/monitor.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('without media')
let sandbox: Sandbox
let monitor: Awaited<ReturnType<typeof startMonitor>>
/** Of before, with photos. */
let old: string

/** A night of which only dump and media are looked at. */
const PLAIN = { KEEP_APP_CONFIG: 'no', PRUNE: 'no' }

/** Archives of one second would have one name. */
async function night(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Output> {
  await sleep(1000 - (Date.now() % 1000) + 20)
  monitor.pings.length = 0
  return sandbox.script('backup.ts', args, { env })
}

async function newest(): Promise<string> {
  return (await sandbox.archives()).at(-1) ?? ''
}

test.before(async () => {
  sandbox = await startSandbox()
  monitor = await startMonitor()
  await seed(sandbox, { libraries: 50, photos: 30 })
  const settings = { HEALTHCHECK_URL: monitor.url, DRILL_HEALTHCHECK_URL: monitor.url, CHECK_EVERY_DAYS: '0' }
  await sandbox.configure(settings)
  const first = await night([], PLAIN)
  assert.is(first.exitCode, 0, first.stderr)
  old = await newest()
  // The photos moved to a bucket, and the operator says so.
  await rm(sandbox.mediaDir, { recursive: true })
  await sandbox.configure({ ...settings, MEDIA_DIR: 'none', MEDIA_OWNER: undefined })
})
test.after(async () => {
  monitor.stop()
  await sandbox.stop()
})

const END =
  /MEDIA_DIR=none: from this archive on none holds photos\. The last with photos is (\S+) \(30 files, 600\.00 kB\)/

test('the preview and --check say that there is no media, and that photos are gone is no loss', async () => {
  const preview = await sandbox.script('backup.ts', ['--dry-run'])
  assert.is(preview.exitCode, 0, preview.stderr)
  assert.match(preview.stdout, /^ +no media \(MEDIA_DIR=none\)$/m)
  assert.match(preview.stdout, END)
  assert.not.match(preview.stdout, /lacking/)
  const check = await sandbox.script('backup.ts', ['--check'])
  assert.match(check.stdout, /^pass +media +MEDIA_DIR=none: the archives hold the database alone, no photos$/m)
  assert.match(check.stdout, /^pass +mount +\S+\/media: in no archive \(MEDIA_DIR=none\)$/m)
  assert.match(
    check.stdout,
    /^pass +as before +nothing of the database is empty, gone or below half of what 1 archive held; /m,
  )
  assert.not.match(check.stdout, /placing media/)
})

test('the first night says once where the photos are; each says that it holds the database alone', async () => {
  const first = await night([], PLAIN)
  assert.is(first.exitCode, 0, first.stderr)
  assert.is(END.exec(first.stdout)?.[1], old)
  assert.match(first.stdout, new RegExp(`${await newest()}: the database alone \\(MEDIA_DIR=none\\), `))
  assert.match(monitor.pings.at(-1)?.body ?? '', END)

  const second = await night(['--json'])
  assert.is(second.exitCode, 0, second.stderr)
  const { mediaBytes, lacks, warnings } = JSON.parse(second.stdout)
  assert.equal([mediaBytes, lacks, warnings], [0, [], []])
  assert.match(monitor.pings.at(-1)?.body ?? '', /the database alone \(MEDIA_DIR=none\)/)
  const { stdout } = await sandbox.borg(['list', '--short', `::${await newest()}`])
  assert.equal(stdout.trim().split('\n').sort(), ['db.dump', 'dokku', 'dokku/config.json', 'dokku/manifest.json'])
  const list = await sandbox.script('restore.ts', ['--list'])
  assert.match(list.stdout, new RegExp(`^${await newest()} .* none +\\S+$`, 'm'))
  assert.match(list.stdout, new RegExp(`^${old} .* 30, 600\\.00 kB `, 'm'))
})

test('the drill proves the dump, and says that it compared no media', async () => {
  monitor.pings.length = 0
  const drill = await sandbox.script('restore.ts', ['--drill'])
  assert.is(drill.exitCode, 0, drill.stderr)
  assert.match(monitor.pings.at(-1)?.body ?? '', /the dump imports cleanly, no media \(MEDIA_DIR=none\), took/)
})

test('what is about photos alone is refused before anything is done', async () => {
  for (const flag of ['--media-only', '--overwrite']) {
    const { exitCode, stderr } = await sandbox.script('restore.ts', [old, flag, '--yes'])
    assert.is(exitCode, 2)
    assert.match(stderr, `${flag} is about photos, and MEDIA_DIR=none says that there are none.`)
  }
})

test('of an archive with photos the database is restored, and it is said that the photos stay in it', async () => {
  const stays = /Without photos \(MEDIA_DIR=none\): it holds 30 photos, 600\.00 kB\. They stay in it\./
  const preview = await sandbox.script('restore.ts', ['--dry-run', old])
  assert.match(preview.stdout, stays)
  const json = JSON.parse((await sandbox.script('restore.ts', ['--dry-run', '--json', old])).stdout)
  assert.is(json.media, null)
  assert.match((await sandbox.script('restore.ts', ['--dry-run', 'latest'])).stdout, /No photos: MEDIA_DIR=none/)
  await sandbox.sql('DELETE FROM libraries_photo;')
  const restored = await sandbox.script('restore.ts', [old, '--yes'])
  assert.is(restored.exitCode, 0, restored.stderr)
  assert.match(restored.stderr, stays)
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_photo;'), '30')
})

test('the kit says that photos are in no archive, and asks for no right to place any', async () => {
  const folder = join(sandbox.home, 'kit')
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', ['latest', '--kit', folder])
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /^ +media +none \(MEDIA_DIR=none\)$/m)
  assert.match(stdout, /^ +missing +photos: MEDIA_DIR was none, so the archive holds the database alone$/m)
  const page = (await sandbox.launch('cat', [join(folder, 'RUNBOOK.md')]).ended).stdout
  assert.not.match(page, /setpriv|photos into/)
  assert.match(page, new RegExp(`restore ${await newest()} --db-only --yes`))
})

test('a table that is gone is a loss all the same', async () => {
  await sandbox.sql('DROP TABLE libraries_photo;')
  const { exitCode, stderr } = await night([], PLAIN)
  assert.is(exitCode, 1)
  assert.match(stderr, /1 table of which .* is empty or gone: public\.libraries_photo/)
  assert.not.match(stderr, /the media /)
})

test.run()
