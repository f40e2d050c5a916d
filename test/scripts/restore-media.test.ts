import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { appendFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { programs } from '../support/borg.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { scriptCommand } from '../support/scripts.ts'
import { atTerminal } from '../support/terminal.ts'

const test = suite('restore the media')
let sandbox: Sandbox
let archive: string

const NAMES = [
  'photos/with space.jpg',
  'photos/trailing space ',
  'photos/it\'s "quoted".jpg',
  'photos/new\nline.jpg',
  'photos/-leading.jpg',
  'photos/größe 漢字 🙂.jpg',
  'photos/$HOME `id` *.jpg',
  'photos/sub folder/deep/#hash.jpg',
  'photos/back\\slash.jpg',
  'photos/star*[x]?.jpg',
  'photos/+plus.jpg',
  'photos/!bang.jpg',
  'photos/newline at the end\n',
  'photos/folder with a newline\n/in it.jpg',
]
const AGREED = ['--media-only', '--yes']
const MEDIA = ['latest', ...AGREED]

function at(path: string): string {
  return join(sandbox.mediaDir, path)
}

function content(path: string): string {
  return createHash('sha256')
    .update(readFileSync(at(path)))
    .digest('hex')
}

/** Stores the media folder as it is under this day's name, for one test. */
async function store(day: string): Promise<string> {
  const name = `book-corners-${day}T03:00:00`
  const { exitCode, stderr } = await sandbox.borg([
    ...['create', '--timestamp', `${day}T03:00:00`, `::${name}`],
    sandbox.mediaDir,
  ])
  assert.is(exitCode, 0, stderr)
  return name
}

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox, { libraries: 5, photos: 30 })
  for (const name of NAMES) {
    await mkdir(dirname(at(name)), { recursive: true })
    await writeFile(at(name), `content of ${name}`, { mode: 0o640 })
  }
  await symlink('1.jpg', at('photos/inside'))
  sandbox.ownMedia()
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  // As a killed restore leaves it.
  await mkdir(at('.restoring/files'), { recursive: true })
  await writeFile(at('.restoring/files/half'), 'half')
  archive = JSON.parse((await sandbox.script('backup.ts', ['--json'])).stdout).archive
  await rm(at('.restoring'), { recursive: true })
})
test.after(() => sandbox.stop())

test('only what is missing comes back; what is on the disk stays, and what differs is put aside with --overwrite', async () => {
  const before = new Map(
    [...NAMES, 'photos/1.jpg', 'photos/2.jpg', 'photos/3.jpg'].map((name) => [name, content(name)]),
  )
  const untouched = statSync(at('photos/5.jpg'), { bigint: true }).ctimeNs
  for (const name of [...NAMES, 'photos/1.jpg', 'photos/2.jpg', 'photos/inside']) await rm(at(name))
  await rm(at('photos/sub folder'), { recursive: true })
  await appendFile(at('photos/3.jpg'), 'changed')
  await writeFile(at('photos/new.jpg'), 'uploaded since')

  const dry = await sandbox.script('restore.ts', ['--media-only', '--dry-run', '--json'])
  assert.is(dry.exitCode, 0, dry.stderr)
  const { media } = JSON.parse(dry.stdout)
  assert.equal(
    [media.missing.files, media.different.files, media.same, media.onlyOnDisk.files],
    [NAMES.length + 3, 1, 27, 1],
  )
  // Where they are extracted to is on the same disk.
  assert.is(media.neededBytes, 2 * media.missing.bytes)
  assert.ok(media.freeBytes > media.neededBytes)
  assert.not.ok(existsSync(at('photos/1.jpg')), 'a preview changes nothing')

  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', MEDIA)
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, `Restored ${NAMES.length + 3} media files`)
  assert.match(
    stderr,
    /different +1 file, [\d.]+ k?B in the archive; those on the disk are kept as they are \(without --overwrite\)/,
  )
  assert.ok(readFileSync(at('photos/3.jpg'), 'utf8').endsWith('changed'), 'it may be newer')
  const overwritten = await sandbox.script('restore.ts', [...MEDIA, '--overwrite'])
  assert.match(overwritten.stdout, 'Restored 1 media file ')
  for (const [name, sum] of before) assert.is(content(name), sum, name)
  const aside = readdirSync(at('photos')).filter((name) => /^3\.jpg\.before-\d{8}T\d{6}$/.test(name))
  assert.is(aside.length, 1)
  assert.ok(readFileSync(at(`photos/${aside[0]}`), 'utf8').endsWith('changed'))
  await rm(at(`photos/${aside[0]}`))
  assert.is(statSync(at(NAMES[0] ?? '')).mode & 0o777, 0o640)
  assert.ok(lstatSync(at('photos/inside')).isSymbolicLink())
  assert.is(readFileSync(at('photos/new.jpg'), 'utf8'), 'uploaded since')
  assert.is(statSync(at('photos/5.jpg'), { bigint: true }).ctimeNs, untouched, 'what is the same is not written')
  assert.equal(readdirSync(sandbox.mediaDir), ['photos'], 'nothing is left beside')
  await rm(at('photos/new.jpg'))

  const again = await sandbox.script('restore.ts', MEDIA)
  assert.match(again.stdout, /Nothing of \S+ is missing in \S+: nothing was changed/)
})

test('a preview survives a reader that has seen enough', async () => {
  const words = scriptCommand('restore.ts')
  const { exitCode, stdout, stderr } = await sandbox.launch(
    'bash',
    ['-o', 'pipefail', '-c', '"$@" --dry-run | head -n 1; echo "$PIPESTATUS"', 'bash', ...words],
    { env: { OPS_ENV_FILE: sandbox.envFile } },
  ).ended
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /^Nothing is changed.*\n0\n$/)
  assert.not.match(stderr, /EPIPE|at /)
})

test('killed while it extracts, a file is whole or not there, and the next run goes on where it stopped: the whole folder comes back', async () => {
  const before = new Map(NAMES.map((name) => [name, content(name)]))
  await rm(at('photos'), { recursive: true })
  // A Borg that pauses after each file, so that there is a middle.
  const bin = join(sandbox.dir, 'shims')
  const stopped = join(sandbox.dir, 'stopped')
  await mkdir(bin, { recursive: true })
  await writeFile(
    join(bin, 'borg'),
    `#!/bin/sh\ncase "$*" in *extract*)\n  /usr/bin/borg "$@" & pid=$!\n  while [ "$(find . -type f | wc -l)" -lt 12 ] && kill -0 $pid 2>/dev/null; do :; done\n  kill -STOP $pid; touch '${stopped}'; sleep 30;; esac\nexec /usr/bin/borg "$@"\n`,
    { mode: 0o755 },
  )
  const run = sandbox.start('restore.ts', MEDIA, { env: { PATH: `${bin}:${programs()}` } })
  await run.reaches(stopped)
  run.child.kill('SIGKILL')
  await run.ended
  await rm(join(bin, 'borg'))
  // The guard ends Borg, but one that was stopped hears of nothing less than SIGKILL: its group is that of the shim.
  for (const line of sandbox.strays()) {
    const pid = Number(line.trim().split(/\s+/)[0])
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // Not the first of its group.
    }
  }
  assert.equal(existsSync(at('photos')) ? readdirSync(at('photos')) : [], [], 'nothing half-written is in its place')
  const { exitCode, stderr } = await sandbox.script('restore.ts', MEDIA)
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /\d+ files were extracted before the last run was cut short/)
  // To Borg a process that was killed is alive until the machine's first process has taken note of it.
  await sandbox.borg(['break-lock'])
  for (const [name, sum] of before) assert.is(content(name), sum, name)
  assert.is(readdirSync(at('photos')).length, 30 + NAMES.length + 1)
  assert.equal(readdirSync(sandbox.mediaDir), ['photos'])
})

test('what is left of a killed restore is not stored by the next backup', async () => {
  const { stdout: list } = await sandbox.borg(['list', '--short', `::${archive}`])
  assert.match(list, /photos\/1\.jpg/)
  assert.not.match(list, /\.restoring/)
})

test('links and paths that lead outside the folder are refused, and everything else is restored', async () => {
  await symlink('/etc/passwd', at('photos/absolute'))
  await symlink('../../../secret', at('photos/upwards'))
  await mkdir(at('linked'))
  await writeFile(at('linked/file.jpg'), 'photo')
  const name = await store('2026-01-03')
  for (const path of ['photos/absolute', 'photos/upwards', 'photos/2.jpg']) await rm(at(path))
  const outside = join(sandbox.dir, 'outside')
  await mkdir(outside)
  await rm(at('linked'), { recursive: true })
  await symlink(outside, at('linked'))
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, ...AGREED])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(exitCode, 1)
  assert.match(stderr, /leads outside/)
  for (const part of ['photos/absolute', 'photos/upwards', 'linked/file.jpg']) assert.match(stderr, part)
  assert.equal(readdirSync(outside), [])
  assert.not.ok(existsSync(at('photos/absolute')))
  assert.ok(existsSync(at('photos/2.jpg')))
  await rm(at('linked'))
})

test('a photo that is uploaded while the operator thinks is kept', async () => {
  for (const path of ['photos/11.jpg', 'photos/12.jpg']) await rm(at(path))
  const { status, output } = await atTerminal('restore.ts', [archive, '--media-only'], {
    env: { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
    prompt: /to go on: /,
    answer: () => {
      writeFileSync(at('photos/11.jpg'), 'uploaded just now')
      return 'book-corners\r'
    },
  })
  assert.is(status, 1, output)
  assert.match(output, 'photos/11.jpg: came to be on the disk meanwhile')
  assert.is(readFileSync(at('photos/11.jpg'), 'utf8'), 'uploaded just now')
  assert.ok(existsSync(at('photos/12.jpg')))
})

test('an archive without media says so before anything begins', async () => {
  const name = 'book-corners-2026-01-04T03:00:00'
  await sandbox.borg(['create', '--timestamp', '2026-01-04T03:00:00', `::${name}`, '/etc/hostname'])
  const media = await sandbox.script('restore.ts', [name, ...AGREED])
  const database = await sandbox.script('restore.ts', [name, '--db-only', '--yes'])
  await sandbox.borg(['delete', `::${name}`])
  assert.is(media.exitCode, 1)
  assert.match(media.stderr, /holds nothing of/)
  assert.is(database.exitCode, 1)
  assert.match(database.stderr, /holds no db\.dump/)
})

test.run()
