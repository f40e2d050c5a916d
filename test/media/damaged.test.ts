// What is damaged in an archive, and what a file has beside its content: rights, and a folder to lie in.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type MediaArchive, startMediaArchive } from '../support/media-archive.ts'
import { OWNER } from '../support/sandbox.ts'

const test = suite('damaged media')
let media: string
let archives: MediaArchive

function put(path: string, content: string): void {
  archives.put(path, content)
}

/** Takes the content of a file out of the repository. */
function lose(archive: string, path: string): void {
  const file = join(archives.dir, 'archive.json')
  archives.run('borg', ['debug', 'dump-archive', `${archives.repository}::${archive}`, file])
  const items = JSON.parse(readFileSync(file, 'utf8'))._items as { path: string; chunks?: [id: string][] }[]
  rmSync(file)
  const [chunk] = items.find((item) => item.path.endsWith(path))?.chunks ?? []
  archives.run('borg', ['debug', 'delete-obj', archives.repository, (chunk?.[0] ?? '').replace('\x7f', '')])
}

test.before(async () => {
  archives = await startMediaArchive()
  media = archives.media
})
test.before.each(() => archives.reset())
test.after(() => archives.remove())

test('of a file that has lost a part in the repository nothing is placed, and all others come back', async () => {
  for (let i = 0; i < 6; i++) put(`photos/${i}.jpg`, `the content of photo ${i}`.repeat(50))
  archives.store('lossy')
  for (const lost of ['photos/1.jpg', 'photos/4.jpg']) lose('lossy', lost)
  rmSync(join(media, 'photos'), { recursive: true })
  const { placed, failed } = await archives.restore('lossy')
  assert.is(placed, 4)
  assert.is(failed.length, 2)
  assert.match(failed.join('\n'), /photos\/1\.jpg: the repository has lost parts of it/)
  assert.match(failed.join('\n'), /photos\/4\.jpg: the repository has lost parts of it/)
  assert.not.ok(existsSync(join(media, 'photos/1.jpg')))
  assert.match(readFileSync(join(media, 'photos/5.jpg'), 'utf8'), /^the content of photo 5/)
})

test('zeros that a repair has put in place of what was lost are never placed, nor put over a whole file', async () => {
  for (let i = 0; i < 3; i++) put(`zeros/${i}.jpg`, `another content ${i}`.repeat(50))
  archives.store('repaired')
  for (const lost of ['zeros/0.jpg', 'zeros/1.jpg']) lose('repaired', lost)
  archives.run('borg', ['check', '--repair', archives.repository])
  rmSync(join(media, 'zeros/0.jpg'))
  rmSync(join(media, 'zeros/2.jpg'))
  put('zeros/1.jpg', 'is whole here, and newer')
  archives.run('chown', ['-R', '-h', OWNER, media])
  const { placed, refused } = await archives.restore('repaired')
  assert.is(placed, 1)
  assert.equal(refused.map((line) => line.split(',')[0]).sort(), [
    'zeros/0.jpg: damaged in the archive',
    'zeros/1.jpg: damaged in the archive',
  ])
  assert.is(readFileSync(join(media, 'zeros/1.jpg'), 'utf8'), 'is whole here, and newer')
  assert.not.ok(existsSync(join(media, 'zeros/0.jpg')))
  assert.equal((await archives.plan('repaired')).damaged.sort(), ['zeros/0.jpg', 'zeros/1.jpg'])
})

test('placed files take the rights that the default ACL of their folder gives, so that the next night can read them', async () => {
  if (process.getuid?.() !== 0) return
  put('photos/1.jpg', 'private')
  put('photos/2.jpg', 'private, too')
  for (const name of ['1', '2']) chmodSync(join(media, `photos/${name}.jpg`), 0o600)
  archives.run('chown', ['-R', OWNER, media])
  // As `backup --check` advises it.
  archives.run('setfacl', ['-R', '-m', 'u:65534:rX', '-m', 'd:u:65534:rX', media])
  archives.store('private')
  rmSync(join(media, 'photos/1.jpg'))
  await archives.restore('private')
  const acl = archives.run('getfacl', ['-cnp', join(media, 'photos/1.jpg')])
  assert.match(acl, /^user:65534:r--$/m)
  assert.not.match(acl, /effective:---/)
  assert.match(acl, /^other::---$/m)
})

test('a folder with nothing in it comes back, too', async () => {
  mkdirSync(join(media, 'uploads/empty'), { recursive: true })
  put('uploads/full/1.jpg', 'photo')
  archives.store('folders')
  rmSync(join(media, 'uploads'), { recursive: true })
  assert.equal((await archives.plan('folders')).folders, ['uploads/empty'])
  const { placed, failed } = await archives.restore('folders')
  assert.is(placed, 1)
  assert.equal(failed, [])
  assert.ok(statSync(join(media, 'uploads/empty')).isDirectory())
  // Alone, as well.
  rmSync(join(media, 'uploads/empty'), { recursive: true })
  await archives.restore('folders')
  assert.ok(existsSync(join(media, 'uploads/empty')))
})

test('names that end in what Python takes for a space come back singly', async () => {
  const names = ['ends in a unit separator\x1f', 'ends in a next line\x85', 'begins\x1c and goes on']
  for (const name of [...names, 'other']) put(name, `content of ${name}`)
  archives.store('names')
  for (const name of names) {
    rmSync(join(media, name))
    const { placed, failed } = await archives.restore('names')
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
  archives.store('bytes')
  const before = await archives.plan('bytes')
  assert.is(before.same.count, names.length)
  assert.equal(before.missing, [])
  for (const name of names) rmSync(at(name))
  rmSync(at(bytes('f', 0xff)), { recursive: true })
  assert.is((await archives.plan('bytes')).missing.length, names.length)
  const { placed, failed } = await archives.restore('bytes')
  assert.equal(failed, [])
  assert.is(placed, names.length)
  for (const name of names) assert.is(readFileSync(at(name), 'utf8'), `content of ${name.toString('latin1')}`)
})

test.run()
