// The kit out of archives that lack something, or that somebody else has written.
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Output } from '../support/launch.ts'
import { PASSPHRASE, type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('the kit of an archive')
let sandbox: Sandbox
let folder: string
let count = 0

test.before(async () => {
  sandbox = await startSandbox()
  folder = join(sandbox.dir, 'source')
  await mkdir(join(folder, 'tmp/book-corners-backup'), { recursive: true })
  await mkdir(join(folder, 'srv/media/photos'), { recursive: true })
  await mkdir(join(folder, 'dokku'))
  await writeFile(join(folder, 'tmp/book-corners-backup/db.dump'), 'PGDMP')
  for (const name of ['1.jpg', '2.jpg', 'db.dump']) await writeFile(join(folder, 'srv/media/photos', name), name)
})
test.after(() => sandbox.stop())

async function store(name: string, paths: readonly string[], comment = ''): Promise<void> {
  // Of two that are made in one second neither is the newer one.
  const time = ['--timestamp', name.replace(/^book-corners-/, '')]
  const { exitCode, stderr } = await sandbox.borg(['create', ...time, '--comment', comment, `::${name}`, ...paths], {
    cwd: folder,
  })
  assert.is(exitCode, 0, stderr)
}

/** On a machine without settings, but for the repository. */
function kit(args: readonly string[]): Promise<Output> {
  const env = { OPS_ENV_FILE: '', BORG_REPO: sandbox.repository, BORG_PASSPHRASE: PASSPHRASE }
  return sandbox.script('restore.ts', args, { env })
}

function newFolder(): string {
  return join(sandbox.dir, `kit-${++count}`)
}

test('an archive of the bash scripts: dump and photos are found, and what is not there is asked for', async () => {
  await store('book-corners-2026-01-01T03:00:00', ['tmp/book-corners-backup', 'srv/media'])
  const to = newFolder()
  const { exitCode, stdout, stderr } = await kit(['--kit', to, '--json', 'book-corners-2026-01-01T03:00:00'])
  assert.is(exitCode, 0, stderr)
  const { manifest, variables, dump, media, missing, files } = JSON.parse(stdout)
  assert.equal([manifest, variables], [false, null])
  assert.equal(dump, { path: 'tmp/book-corners-backup/db.dump', bytes: 5 })
  assert.equal(media, { folder: '/srv/media', files: 3, bytes: 17 })
  assert.equal(files.sort(), ['RUNBOOK.md', 'env.backup', 'manifest.json'])
  assert.ok(missing.some((one: string) => one.startsWith("the app's configuration, its secrets among them")))
  assert.match(readFileSync(join(to, 'RUNBOOK.md'), 'utf8'), /^install -d -o 32767 -g 32767 \/srv\/media$/m)
})

test('what somebody wrote into an archive does not become a command', async () => {
  const config = { OK: 'x' }
  await writeFile(join(folder, 'dokku/config.json'), JSON.stringify(config))
  const evil = {
    format: '1',
    app: 'book-corners',
    service: 'db',
    domains: ['$(touch /tmp/x)'],
    system: 'x\n```sh\nid\n```',
  }
  await writeFile(join(folder, 'dokku/manifest.json'), JSON.stringify(evil))
  await store('book-corners-2026-01-02T03:00:00', ['dokku', 'srv/media'])
  const to = newFolder()
  const { exitCode, stderr } = await kit(['--kit', to, 'book-corners-2026-01-02T03:00:00'])
  assert.is(exitCode, 0, stderr)
  const page = readFileSync(join(to, 'RUNBOOK.md'), 'utf8')
  assert.not.match(page, /touch|^id$/m)
  assert.match(page, /--media-only/)

  await writeFile(join(folder, 'dokku/config.json'), JSON.stringify({ 'A;id': 'secret' }))
  await store('book-corners-2026-01-03T03:00:00', ['dokku', 'srv/media'])
  const bad = newFolder()
  const refused = await kit(['--kit', bad, 'book-corners-2026-01-03T03:00:00'])
  assert.is(refused.exitCode, 1)
  assert.match(refused.stderr, /is no configuration/)
  assert.not.match(refused.stderr, /secret/)
  assert.not.ok(existsSync(bad))
})

test('an archive that is not there, and flags of no use, leave no folder', async () => {
  const to = newFolder()
  const unknown = await kit(['--kit', to, 'book-corners-2026-01-01T04:00:00'])
  assert.is(unknown.exitCode, 1, unknown.stderr)
  assert.match(unknown.stderr, /book-corners-2026-01-01T03:00:00/)
  for (const flag of ['--drill', '--db-only', '--undo']) assert.is((await kit(['--kit', to, flag])).exitCode, 2, flag)
  assert.is((await kit(['--kit', '/proc/nowhere', 'book-corners-2026-01-02T03:00:00'])).exitCode, 2)
  assert.not.ok(existsSync(to))
})

test('the newest archive is taken though it is incomplete, which is warned of with the newest that is whole', async () => {
  await store('book-corners-2026-01-04T03:00:00', ['srv/media'])
  await store('book-corners-2026-01-05T03:00:00', ['srv/media'], '{{"lacks":["without the database"]}}')
  const { exitCode, stderr } = await kit(['--kit', newFolder()])
  assert.is(exitCode, 0, stderr)
  assert.match(
    stderr,
    'Warning: book-corners-2026-01-05T03:00:00 is INCOMPLETE: without the database. book-corners-2026-01-04T03:00:00 is the newest that is whole.',
  )
})

test.run()
