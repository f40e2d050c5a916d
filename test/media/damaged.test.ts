// What is damaged in an archive, and what a file has beside its content: rights, and a folder to lie in.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { eachItem } from '../../lib/borg/archives.ts'
import { type Borg, createBorg } from '../../lib/borg/borg.ts'
import { initArgs } from '../../lib/borg/commands.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell, type Shell } from '../../lib/core/shell.ts'
import { createMediaComparison, type MediaPlan } from '../../lib/media/compare.ts'
import { restoreMedia } from '../../lib/media/extract.ts'
import { planPlacement } from '../../lib/media/place.ts'
import { OWNER } from '../support/sandbox.ts'

const test = suite('damaged media')
const USER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, name: 'deploy' }
const [uid = 0, gid = 0] = OWNER.split(':').map(Number)
const ENV = { BORG_PASSPHRASE: 'x', BORG_SELFTEST: 'disabled', BORG_CHECK_I_KNOW_WHAT_I_AM_DOING: 'YES' }
let dir: string
let media: string
let shell: Shell
let borg: Borg
const log = createLog({ write: () => true } as unknown as NodeJS.WriteStream)

function run(program: string, args: readonly string[]): string {
  const env = { ...process.env, ...ENV, HOME: join(dir, 'home') }
  const { status, stdout, stderr } = spawnSync(program, args, { env, encoding: 'utf8' })
  assert.ok(status === 0 || (program === 'borg' && status === 1), stderr)
  return stdout
}

function put(path: string, content: string): void {
  mkdirSync(dirname(join(media, path)), { recursive: true })
  writeFileSync(join(media, path), content)
}

function store(archive: string): void {
  run('chown', ['-R', '-h', OWNER, media])
  run('borg', ['create', `${join(dir, 'repo')}::${archive}`, media])
}

/** Takes the content of a file out of the repository. */
function lose(archive: string, path: string): void {
  const file = join(dir, 'archive.json')
  run('borg', ['debug', 'dump-archive', `${join(dir, 'repo')}::${archive}`, file])
  const items = JSON.parse(readFileSync(file, 'utf8'))._items as { path: string; chunks?: [id: string][] }[]
  rmSync(file)
  const [chunk] = items.find((item) => item.path.endsWith(path))?.chunks ?? []
  run('borg', ['debug', 'delete-obj', join(dir, 'repo'), (chunk?.[0] ?? '').replace('\x7f', '')])
}

async function plan(archive: string): Promise<MediaPlan> {
  const comparison = createMediaComparison(media, true)
  await eachItem(borg, archive, [], comparison.add)
  return comparison.plan()
}

async function restore(archive: string): Promise<{ placed: number; failed: string[]; refused: string[] }> {
  const planned = await plan(archive)
  const settings = { MEDIA_DIR: media, MEDIA_OWNER: OWNER, DUMP_STALL_SECONDS: 60 }
  const placement = await planPlacement({ shell, interactive: false }, settings, 1, USER)
  const restored = await restoreMedia(
    { context: { shell, log }, settings, borg, user: USER },
    archive,
    planned,
    placement,
  )
  return { ...restored, refused: planned.refused }
}

test.before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'bc-damaged-'))
  chmodSync(dir, 0o755)
  mkdirSync(join(dir, 'home'), { mode: 0o700 })
  media = join(dir, 'media')
  shell = createShell({ PATH: '/usr/bin:/bin', HOME: join(dir, 'home') }, new AbortController().signal)
  borg = createBorg(shell, ENV, join(dir, 'repo'), '/x/.env')
  await borg.call(initArgs())
})
test.before.each(() => {
  rmSync(media, { recursive: true, force: true })
  mkdirSync(media)
  chownSync(media, uid, gid)
})
test.after(() => rmSync(dir, { recursive: true }))

test('of a file that has lost a part in the repository nothing is placed, and all others come back', async () => {
  for (let i = 0; i < 6; i++) put(`photos/${i}.jpg`, `the content of photo ${i}`.repeat(50))
  store('lossy')
  for (const lost of ['photos/1.jpg', 'photos/4.jpg']) lose('lossy', lost)
  rmSync(join(media, 'photos'), { recursive: true })
  const { placed, failed } = await restore('lossy')
  assert.is(placed, 4)
  assert.is(failed.length, 2)
  assert.match(failed.join('\n'), /photos\/1\.jpg: the repository has lost parts of it/)
  assert.match(failed.join('\n'), /photos\/4\.jpg: the repository has lost parts of it/)
  assert.not.ok(existsSync(join(media, 'photos/1.jpg')))
  assert.match(readFileSync(join(media, 'photos/5.jpg'), 'utf8'), /^the content of photo 5/)
})

test('zeros that a repair has put in place of what was lost are never placed, nor put over a whole file', async () => {
  for (let i = 0; i < 3; i++) put(`zeros/${i}.jpg`, `another content ${i}`.repeat(50))
  store('repaired')
  for (const lost of ['zeros/0.jpg', 'zeros/1.jpg']) lose('repaired', lost)
  run('borg', ['check', '--repair', join(dir, 'repo')])
  rmSync(join(media, 'zeros/0.jpg'))
  rmSync(join(media, 'zeros/2.jpg'))
  put('zeros/1.jpg', 'is whole here, and newer')
  run('chown', ['-R', '-h', OWNER, media])
  const { placed, refused } = await restore('repaired')
  assert.is(placed, 1)
  assert.equal(refused.map((line) => line.split(',')[0]).sort(), [
    'zeros/0.jpg: damaged in the archive',
    'zeros/1.jpg: damaged in the archive',
  ])
  assert.is(readFileSync(join(media, 'zeros/1.jpg'), 'utf8'), 'is whole here, and newer')
  assert.not.ok(existsSync(join(media, 'zeros/0.jpg')))
  assert.equal((await plan('repaired')).damaged.sort(), ['zeros/0.jpg', 'zeros/1.jpg'])
})

test('placed files take the rights that the default ACL of their folder gives, so that the next night can read them', async () => {
  if (process.getuid?.() !== 0) return
  put('photos/1.jpg', 'private')
  put('photos/2.jpg', 'private, too')
  for (const name of ['1', '2']) chmodSync(join(media, `photos/${name}.jpg`), 0o600)
  run('chown', ['-R', OWNER, media])
  // As `backup --check` advises it.
  run('setfacl', ['-R', '-m', 'u:65534:rX', '-m', 'd:u:65534:rX', media])
  store('private')
  rmSync(join(media, 'photos/1.jpg'))
  await restore('private')
  const acl = run('getfacl', ['-cnp', join(media, 'photos/1.jpg')])
  assert.match(acl, /^user:65534:r--$/m)
  assert.not.match(acl, /effective:---/)
  assert.match(acl, /^other::---$/m)
})

test('a folder with nothing in it comes back, too', async () => {
  mkdirSync(join(media, 'uploads/empty'), { recursive: true })
  put('uploads/full/1.jpg', 'photo')
  store('folders')
  rmSync(join(media, 'uploads'), { recursive: true })
  assert.equal((await plan('folders')).folders, ['uploads/empty'])
  const { placed, failed } = await restore('folders')
  assert.is(placed, 1)
  assert.equal(failed, [])
  assert.ok(statSync(join(media, 'uploads/empty')).isDirectory())
  // Alone, as well.
  rmSync(join(media, 'uploads/empty'), { recursive: true })
  await restore('folders')
  assert.ok(existsSync(join(media, 'uploads/empty')))
})

test('names that end in what Python takes for a space come back singly', async () => {
  const names = ['ends in a unit separator\x1f', 'ends in a next line\x85', 'begins\x1c and goes on']
  for (const name of [...names, 'other']) put(name, `content of ${name}`)
  store('names')
  for (const name of names) {
    rmSync(join(media, name))
    const { placed, failed } = await restore('names')
    assert.equal(failed, [])
    assert.is(placed, 1)
    assert.is(readFileSync(join(media, name), 'utf8'), `content of ${name}`)
  }
})

test('names that are not UTF-8 are what they are: the same, missing, and back with every byte', async () => {
  const bytes = (...parts: (string | number)[]): Buffer =>
    Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))))
  const names = [
    bytes('caf', 0xe9, '.jpg'),
    bytes('f', 0xff, '/in it ', 0xe2, 0x82, '.jpg'),
    bytes('real?.jpg'),
    bytes('größe [1]?', 0xfe),
  ]
  const at = (name: Buffer): Buffer => Buffer.concat([Buffer.from(`${media}/`), name])
  mkdirSync(at(bytes('f', 0xff)))
  for (const name of names) writeFileSync(at(name), `content of ${name.toString('latin1')}`)
  store('bytes')
  const before = await plan('bytes')
  assert.is(before.same.count, names.length)
  assert.equal(before.missing, [])
  for (const name of names) rmSync(at(name))
  rmSync(at(bytes('f', 0xff)), { recursive: true })
  assert.is((await plan('bytes')).missing.length, names.length)
  const { placed, failed } = await restore('bytes')
  assert.equal(failed, [])
  assert.is(placed, names.length)
  for (const name of names) assert.is(readFileSync(at(name), 'utf8'), `content of ${name.toString('latin1')}`)
})

test.run()
