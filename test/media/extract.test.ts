import {
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Failure } from '../../lib/core/failure.ts'
import { snapshot } from '../support/attack.ts'
import { type MediaArchive, startMediaArchive } from '../support/media-archive.ts'

const test = suite('restoring media')
let dir: string
let home: string
let media: string
let archives: MediaArchive

/** Makes an archive of several states of the media folder, one after the other: with what Borg can't find in a folder. */
function store(archive: string, ...states: (() => string[])[]): void {
  const tar = join(dir, `${archive}.tar`)
  for (const lay of states) {
    archives.reset()
    archives.run('tar', ['--no-recursion', '-C', '/', '-rf', tar, ...lay().map((path) => join(media, path).slice(1))])
  }
  archives.run('borg', ['import-tar', `${archives.repository}::${archive}`, tar])
  archives.reset()
}

function put(path: string, content?: string): string {
  return archives.put(path, content)
}

function link(path: string, target: string): string {
  symlinkSync(target, join(media, path))
  return path
}

/** What Borg extracts to, and whatever else is this user's own. */
function ownFiles(): string[] {
  return readdirSync(home, { recursive: true, encoding: 'utf8' }).filter(
    (path) => !/^(\.cache|\.config)(\/|$)/.test(path),
  )
}

test.before(async () => {
  archives = await startMediaArchive()
  dir = archives.dir
  home = archives.home
  media = archives.media
  mkdirSync(join(home, '.ssh'), { mode: 0o700 })
})
test.before.each(() => archives.reset())
test.after(() => archives.remove())

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
  const { placed, failed, refused } = await archives.restore('evil')
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
  const { refused } = await archives.restore('twice')
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
  const refusal = await archives.restore('fine').then(
    () => 'extracted',
    (error: Failure) => error.message,
  )
  chmodSync(cache, 0o700)
  assert.match(refusal, `${cache}, where files are extracted to, is not this user's own folder`)
  assert.is((await archives.restore('fine')).placed, 1)
})

test('what the app puts where a restore used to work is not followed', async () => {
  store('usual', () => [put('fine.jpg'), put('photos/1.jpg')])
  writeFileSync(join(home, '.bashrc'), 'ours')
  archives.folder(join(media, '.restoring'))
  for (const [name, target] of [
    ['.restoring/files', home],
    ['.restoring/files.patterns', join(home, '.bashrc')],
    ['.restoring/files.archive', join(home, '.bashrc')],
    ['.restoring/placing', home],
  ] as const)
    link(name, target)
  const before = snapshot(join(home, '.bashrc'))
  assert.is((await archives.restore('usual')).placed, 2)
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
  archives.store('hard links')
  assert.is((await archives.restore('hard links')).placed, 0)
  for (const lost of [['odd/two'], ['odd/one'], ['odd/one', 'odd/two'], ['odd']]) {
    for (const path of lost) rmSync(join(media, path), { recursive: true })
    assert.equal((await archives.restore('hard links')).failed, [])
    for (const path of ['odd/one', 'odd/two']) assert.is(readFileSync(join(media, path), 'utf8'), 'linked', `${lost}`)
    assert.is((await archives.restore('hard links')).placed, 0)
  }
})

test('what something else is in the way of is named, and everything else is restored', async () => {
  for (const path of ['was-file', 'was-folder/photo', 'linked/deep/photo', 'lost']) put(path)
  writeFileSync(Buffer.concat([Buffer.from(join(media, 'latin')), Buffer.from([0xe9])]), 'not UTF-8')
  archives.run('mkfifo', [join(media, 'fifo')])
  archives.store('in the way')
  archives.reset()
  put('was-file/mine')
  put('was-folder')
  link('linked', '/')
  const { placed, failed, refused } = await archives.restore('in the way')
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
