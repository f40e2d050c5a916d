// The app has been taken over: what it makes of its media folder, before and while our scripts work in it.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { snapshot, underAttack } from '../support/attack.ts'
import type { Output } from '../support/launch.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('a hostile media folder')
const PHOTOS = 40
const isRoot = process.getuid?.() === 0
let sandbox: Sandbox
let archive: string
/** Another app's storage, which the same user may write to. */
let outside: string
let before: string[]

function at(path: string): string {
  return join(sandbox.mediaDir, path)
}

/** A run that must end by itself. */
async function run(script: string, ...args: string[]): Promise<Output> {
  const running = sandbox.start(script, args)
  const timeout = sleep(180_000, undefined, { ref: false }).then(() => {
    running.child.kill('SIGKILL')
    throw new Error(`${script} ${args.join(' ')} hangs`)
  })
  return Promise.race([running.ended, timeout])
}

function requireNothingChanged(): void {
  assert.equal(snapshot(outside), before)
  const left = readdirSync(sandbox.home).filter((name) => !name.startsWith('.'))
  assert.equal(left, [])
}

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox, { libraries: 5, photos: PHOTOS })
  await sandbox.configure({ CHECK_EVERY_DAYS: '0', KEEP_APP_CONFIG: 'no', PRUNE: 'no' })
  archive = JSON.parse((await sandbox.script('backup.ts', ['--json'])).stdout).archive
  outside = join(sandbox.dir, 'outside')
  mkdirSync(outside)
  for (const name of ['1.jpg', 'authorized_keys']) writeFileSync(join(outside, name), 'of another app')
  execFileSync('chown', ['-R', `--reference=${sandbox.mediaDir}`, outside])
  before = snapshot(outside)
})
test.after(() => sandbox.stop())

test('pipes, links, devices and odd folders among the photos: everything runs, and what can be is restored', async () => {
  for (let i = 1; i <= 9; i++) rmSync(at(`photos/${i}.jpg`))
  const devices = isRoot ? [at('photos/5.jpg'), at('zero')] : []
  execFileSync('mkfifo', [at('photos/1.jpg'), at('pipe')])
  for (const device of devices) execFileSync('mknod', [device, 'c', '1', '5'])
  symlinkSync(join(outside, '1.jpg'), at('photos/2.jpg'))
  symlinkSync('/dev/zero', at('photos/3.jpg'))
  mkdirSync(at('photos/4.jpg'))
  symlinkSync('/', at('everything'))
  symlinkSync('.', at('photos/itself'))
  mkdirSync(at(`deep/${'down/'.repeat(200)}`), { recursive: true })
  mkdirSync(at('lost+found'))
  sandbox.ownMedia()
  // Root lists it all the same.
  chmodSync(at('lost+found'), 0)

  const stored = await run('backup.ts', '--json')
  const preview = await run('restore.ts', archive, '--media-only', '--dry-run', '--json')
  const drill = await run('restore.ts', '--drill')
  const restored = await run('restore.ts', archive, '--media-only', '--overwrite', '--yes')
  chmodSync(at('lost+found'), 0o755)
  requireNothingChanged()
  if (isRoot) assert.is(stored.exitCode, 0, stored.stderr)
  else assert.match(stored.stderr, 'lost+found')
  const { media } = JSON.parse(preview.stdout)
  assert.equal([media.missing.files, media.different.files], isRoot ? [4, 4] : [5, 3])
  assert.equal(media.refused, ['photos/4.jpg: a folder on the disk'])
  assert.is(drill.exitCode, 0, drill.stderr)
  assert.is(restored.exitCode, 1)
  assert.match(restored.stdout, 'Restored 8 media files')
  for (let i = 1; i <= PHOTOS; i++) if (i !== 4) assert.is(readFileSync(at(`photos/${i}.jpg`)).length, 20_000)
})

test('while photos turn into pipes, and folders into links and back: every run ends, and nothing outside changes', async () => {
  execFileSync(
    'mkfifo',
    Array.from({ length: 9 }, (_, i) => at(`.pipe-${i + 1}`)),
  )
  sandbox.ownMedia()
  const kind = 'photos become pipes, the working folder and the photos’ folder links'
  await underAttack(kind, sandbox.mediaDir, outside, async () => {
    for (const [script, ...args] of [
      ['backup.ts'],
      ['restore.ts', archive, '--media-only', '--dry-run'],
      ['restore.ts', '--drill'],
      ['restore.ts', archive, '--media-only', '--yes'],
    ] as const) {
      const { exitCode, stderr } = await run(script, ...args)
      assert.ok(exitCode === 0 || exitCode === 1, stderr)
      assert.not.match(stderr, /A bug in/)
      requireNothingChanged()
    }
  })
  rmSync(sandbox.mediaDir, { recursive: true })
  mkdirSync(sandbox.mediaDir)
  sandbox.ownMedia()
  const { exitCode, stderr } = await run('restore.ts', archive, '--media-only', '--overwrite', '--yes')
  assert.is(exitCode, 0, stderr)
  assert.is(readdirSync(at('photos')).length, PHOTOS)
  assert.not.ok(existsSync(at('.restoring')))
})

test.run()
