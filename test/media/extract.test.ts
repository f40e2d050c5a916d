import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { eachItem } from '../../lib/borg/archives.ts'
import { type Borg, createBorg } from '../../lib/borg/borg.ts'
import { initArgs } from '../../lib/borg/commands.ts'
import type { Failure } from '../../lib/core/failure.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell, type Shell } from '../../lib/core/shell.ts'
import { createMediaComparison, type MediaPlan } from '../../lib/media/compare.ts'
import { restoreMedia } from '../../lib/media/extract.ts'
import { planPlacement } from '../../lib/media/place.ts'
import { snapshot } from '../support/attack.ts'
import { OWNER } from '../support/sandbox.ts'

const test = suite('restoring media')
const USER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, name: 'deploy' }
const [uid = 0, gid = 0] = OWNER.split(':').map(Number)
const ENV = { BORG_PASSPHRASE: 'x', BORG_SELFTEST: 'disabled' }
let dir: string
let home: string
let media: string
let shell: Shell
let borg: Borg
const log = createLog({ write: () => true } as unknown as NodeJS.WriteStream)

/** Makes an archive of several states of the media folder, one after the other: with what Borg can't find in a folder. */
function store(archive: string, ...states: (() => string[])[]): void {
  const tar = join(dir, `${archive}.tar`)
  for (const lay of states) {
    rmSync(media, { recursive: true, force: true })
    mkdirSync(media)
    run('tar', ['--no-recursion', '-C', '/', '-rf', tar, ...lay().map((path) => join(media, path).slice(1))])
  }
  run('borg', ['import-tar', `${join(dir, 'repo')}::${archive}`, tar])
  rmSync(media, { recursive: true })
  folder(media)
}

/** Makes an archive of the media folder. */
function storeAsIs(archive: string): void {
  run('chown', ['-R', '-h', OWNER, media])
  run('borg', ['create', `${join(dir, 'repo')}::${archive}`, media])
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { env: { ...process.env, ...ENV, HOME: home }, encoding: 'utf8' })
  assert.is(status, 0, stderr)
}

/** A folder of the app's user. */
function folder(path: string): void {
  mkdirSync(path)
  chownSync(path, uid, gid)
}

function put(path: string, content = `content of ${path}`): string {
  mkdirSync(dirname(join(media, path)), { recursive: true })
  writeFileSync(join(media, path), content)
  return path
}

function link(path: string, target: string): string {
  symlinkSync(target, join(media, path))
  return path
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

/** What Borg extracts to, and whatever else is this user's own. */
function ownFiles(): string[] {
  return readdirSync(home, { recursive: true, encoding: 'utf8' }).filter(
    (path) => !/^(\.cache|\.config)(\/|$)/.test(path),
  )
}

test.before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'bc-extract-'))
  chmodSync(dir, 0o755)
  home = join(dir, 'home')
  mkdirSync(join(home, '.ssh'), { recursive: true, mode: 0o700 })
  media = join(dir, 'media')
  shell = createShell({ PATH: '/usr/bin:/bin', HOME: home }, new AbortController().signal)
  borg = createBorg(shell, ENV, join(dir, 'repo'), '/x/.env')
  await borg.call(initArgs())
})
test.before.each(() => {
  rmSync(media, { recursive: true, force: true })
  folder(media)
})
test.after(() => rmSync(dir, { recursive: true }))

test('a link in an archive leads nothing that is extracted after it out of the staging folder', async () => {
  // From the staging folder a/b/../../../../../../.ssh is ours, when a is a folder; by its words it stays inside.
  const deep = '1/2/3/4/5'
  store(
    'evil',
    () => {
      mkdirSync(join(media, deep), { recursive: true })
      return [
        '1',
        '1/2',
        '1/2/3',
        '1/2/3/4',
        deep,
        link(`${deep}/top`, '../../../../..'),
        link(`${deep}/t`, 'top/../../../../.ssh'),
        put('fine.jpg'),
      ]
    },
    () => [put(`${deep}/t/authorized_keys`, 'evil'), put(`${deep}/top/x`, 'evil')],
  )
  const { placed, failed, refused } = await restore('evil')
  assert.equal(ownFiles(), ['.ssh'])
  assert.equal([placed, failed], [2, []])
  assert.is(refused.length, 3)
  assert.match(refused.join('\n'), `${deep}/t: a link to top/../../../../.ssh, through the link ${deep}/top`)
  assert.match(
    refused.join('\n'),
    `${deep}/t/authorized_keys: leads outside, or may: ${deep}/t is a link in the archive`,
  )
  assert.is(readFileSync(join(media, 'fine.jpg'), 'utf8'), 'content of fine.jpg')
  assert.is(readlinkSync(join(media, deep, 'top')), '../../../../..')
})
test('an item that is listed as a link and as a file is neither followed nor placed as what it is not', async () => {
  store(
    'twice',
    () => [put('a'), put('b'), link('both', '../home/.ssh'), link('in', 'a')],
    () => [put('both/authorized_keys', 'evil')],
    () => [put('both', 'a file'), put('in', 'a file')],
    () => [link('both', '../home/.ssh')],
  )
  const { refused } = await restore('twice')
  assert.equal(ownFiles(), ['.ssh'])
  assert.match(refused.join('\n'), /both\/authorized_keys: leads outside/)
  assert.equal(readdirSync(media).sort().slice(0, 2), ['a', 'b'])
  assert.equal(
    snapshot(media).filter((line) => line.includes('.ssh')),
    [],
  )
})

test('nothing is extracted to a folder that others could change', async () => {
  store('fine', () => [put('fine.jpg')])
  const cache = join(home, '.cache/book-corners-ops')
  mkdirSync(cache, { recursive: true })
  chmodSync(cache, 0o777)
  const refusal = await restore('fine').then(
    () => 'extracted',
    (error: Failure) => error.message,
  )
  chmodSync(cache, 0o700)
  assert.match(refusal, `${cache}, where files are extracted to, is not this user's own folder`)
  assert.is((await restore('fine')).placed, 1)
})

test('what the app puts where a restore used to work is not followed', async () => {
  store('usual', () => [put('fine.jpg'), put('photos/1.jpg')])
  writeFileSync(join(home, '.bashrc'), 'ours')
  folder(join(media, '.restoring'))
  for (const [name, target] of [
    ['.restoring/files', home],
    ['.restoring/files.patterns', join(home, '.bashrc')],
    ['.restoring/files.archive', join(home, '.bashrc')],
    ['.restoring/placing', home],
  ] as const)
    link(name, target)
  const before = snapshot(join(home, '.bashrc'))
  assert.is((await restore('usual')).placed, 2)
  assert.equal(snapshot(join(home, '.bashrc')), before)
  assert.equal(readdirSync(media).sort(), ['fine.jpg', 'photos'])
  rmSync(join(home, '.bashrc'))
})

test('hard links, and files older or younger than Borg can say, are restored once and are the same then', async () => {
  put('odd/one', 'linked')
  linkSync(join(media, 'odd/one'), join(media, 'odd/two'))
  for (const [path, year] of [
    ['odd/old', 1965],
    ['odd/future', 2150],
  ] as const)
    utimesSync(join(media, put(path)), new Date(), new Date(year, 1, 1))
  storeAsIs('hard links')
  assert.is((await restore('hard links')).placed, 0)
  for (const lost of [['odd/two'], ['odd/one'], ['odd/one', 'odd/two'], ['odd']]) {
    for (const path of lost) rmSync(join(media, path), { recursive: true })
    assert.equal((await restore('hard links')).failed, [])
    for (const path of ['odd/one', 'odd/two']) assert.is(readFileSync(join(media, path), 'utf8'), 'linked', `${lost}`)
    assert.is((await restore('hard links')).placed, 0)
  }
})

test('what something else is in the way of is named, and everything else is restored', async () => {
  for (const path of ['was-file', 'was-folder/photo', 'linked/deep/photo', 'lost']) put(path)
  writeFileSync(Buffer.concat([Buffer.from(join(media, 'latin')), Buffer.from([0xe9])]), 'not UTF-8')
  run('mkfifo', [join(media, 'fifo')])
  storeAsIs('in the way')
  rmSync(media, { recursive: true })
  folder(media)
  put('was-file/mine')
  put('was-folder')
  link('linked', '/')
  const { placed, failed, refused } = await restore('in the way')
  assert.equal([placed, failed], [2, []])
  assert.equal(refused.sort(), [
    'fifo: neither a file nor a link',
    'linked/deep/photo: leads outside, or may: linked is a link on the disk',
    'was-file: a folder on the disk',
    'was-folder/photo: was-folder is a file on the disk',
  ])
  assert.is(readFileSync(join(media, 'lost'), 'utf8'), 'content of lost')
  for (const path of ['was-file/mine', 'was-folder'])
    assert.is(readFileSync(join(media, path), 'utf8'), `content of ${path}`)
})

test.run()
