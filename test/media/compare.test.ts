import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Item } from '../../lib/borg/output.ts'
import { createMediaComparison, isSame, type MediaPlan, totalBytes, wanted } from '../../lib/media/compare.ts'

const test = suite('media comparison')
const THEN_MS = Date.UTC(2026, 0, 2, 3, 4, 5)
let media: string

function item(path: string, more: Partial<Item> = {}): Item {
  return { type: '-', path: join(media, path).slice(1), sizeBytes: 5, mtimeMs: THEN_MS, target: '', ...more }
}

/** What is planned for items of an archive, by the paths. */
async function plan(...items: Item[]): Promise<MediaPlan> {
  const comparison = await createMediaComparison(media)
  for (const one of items) comparison.add(one)
  return comparison.plan()
}

function paths(files: readonly { path: string }[]): string[] {
  return files.map(({ path }) => path)
}

/** A file of five bytes. */
async function put(path: string, mtimeMs = THEN_MS): Promise<void> {
  await mkdir(dirname(join(media, path)), { recursive: true })
  await writeFile(join(media, path), 'photo')
  await utimes(join(media, path), new Date(), new Date(mtimeMs))
}

test.before.each(async () => {
  media = await mkdtemp(join(tmpdir(), 'bc-compare-'))
})
test.after.each(() => rm(media, { recursive: true }))

test('files are sorted into missing, different and same; what only the disk has is counted', async () => {
  for (const path of ['same', 'larger', 'later', 'mine/a', 'mine/b']) await put(path)
  const found = await plan(
    item('photos', { type: 'd' }),
    item('photos/lost'),
    item('same'),
    item('larger', { sizeBytes: 6 }),
    item('later', { mtimeMs: THEN_MS + 60_000 }),
    { ...item(''), path: 'tmp/db.dump' },
  )
  assert.equal(paths(found.missing), ['photos/lost'])
  assert.equal(paths(found.different), ['larger', 'later'])
  assert.equal([found.same.count, paths(found.same.sample)], [1, ['same']])
  assert.equal(found.onDisk, { count: 2, bytes: 10, first: ['mine/a', 'mine/b'] })
  assert.equal(found.refused, [])
  assert.equal(paths(wanted(found)), ['photos/lost'], 'what differs may be newer')
  const all = wanted({ ...found, overwrite: true })
  assert.equal([paths(all), totalBytes(all)], [['photos/lost', 'larger', 'later'], 16])
})

test("of many files that are the same some are chosen, in the archive's order, none of them empty", async () => {
  const names = Array.from({ length: 60 }, (_, i) => `photos/${String(i).padStart(2, '0')}`)
  for (const name of names) await put(name)
  await writeFile(join(media, 'photos/empty'), '')
  await utimes(join(media, 'photos/empty'), new Date(), new Date(THEN_MS))
  const { same } = await plan(item('photos/empty', { sizeBytes: 0 }), ...names.map((name) => item(name)))
  assert.is(same.count, 61)
  assert.is(same.sample.length, 20)
  assert.equal(
    paths(same.sample),
    names.filter((name) => paths(same.sample).includes(name)),
  )
})

test('a link is the same when it leads to the same place', async () => {
  await symlink('a', join(media, 'same'))
  await symlink('a', join(media, 'other'))
  const link = { type: 'l', sizeBytes: 1 }
  const found = await plan(
    item('same', { ...link, target: 'a' }),
    item('other', { ...link, target: 'b' }),
    item('lost', { ...link, target: 'folder/../a' }),
  )
  assert.equal([found.same.count, paths(found.different), paths(found.missing)], [1, ['other'], ['lost']])
})

test('what leads outside is refused, each with the reason', async () => {
  const found = await plan(
    { ...item(''), path: `${media.slice(1)}/../outside` },
    item('absolute', { type: 'l', target: '/etc/passwd' }),
    item('photos/upwards', { type: 'l', target: '../../secret' }),
    item('fifo', { type: 'p' }),
  )
  assert.equal(found.refused, [
    '../outside: leads outside',
    'absolute: a link to /etc/passwd',
    'photos/upwards: a link to ../../secret',
    'fifo: neither a file nor a link',
  ])
  assert.equal(wanted(found), [])
})

test('a link is refused that walks through another one, in the archive or on the disk: its words do not say where it leads', async () => {
  await symlink('..', join(media, 'up'))
  const link = (path: string, target: string): Item => item(path, { type: 'l', target })
  const found = await plan(
    link('photos/deep/a', '..'),
    link('photos/through', 'deep/a/../x'),
    link('photos/to', 'deep/a'),
    link('out', 'up/x'),
    link('odd', './photos//deep/./../x'),
  )
  assert.equal(found.refused, [
    'photos/through: a link to deep/a/../x, through the link photos/deep/a',
    'out: a link to up/x, through the link up',
  ])
  assert.equal(paths(found.missing), ['photos/deep/a', 'photos/to', 'odd'])
})

test('what an archive has below a link or a file of its own is refused, in whatever order it lists them', async () => {
  const found = await plan(
    item('t/authorized_keys'),
    item('t', { type: 'l', target: 'photos' }),
    item('f'),
    item('f/deep/x'),
  )
  assert.equal(found.refused, [
    't/authorized_keys: leads outside, or may: t is a link in the archive',
    'f/deep/x: f is a file in the archive',
  ])
})

test('a hard link is restored with the file that it is of, and refused when it is of something else', async () => {
  const found = await plan(
    item('one'),
    item('two', { type: 'h', target: join(media, 'one').slice(1) }),
    item('three', { type: 'h', target: 'home/deploy/.ssh/id_ed25519' }),
    item('four', { type: 'h', target: join(media, '../x').slice(1) }),
  )
  assert.equal(paths(found.missing), ['one', 'two'])
  assert.match(found.refused.join(), /three: a hard link to home\/deploy\/.ssh\/id_ed25519,four: a hard link/)
})

test('a pipe or link in place of a file is replaced; a pipe that the archive has as well is left alone', async () => {
  execFileSync('mkfifo', [join(media, 'pipe'), join(media, 'still')])
  await put('target')
  await symlink('target', join(media, 'link'))
  const found = await plan(item('pipe'), item('link'), item('still', { type: 'p' }))
  assert.equal([paths(found.different), found.refused], [['pipe', 'link'], []])
})

test('what has a name that is not UTF-8 is found under the name that Borg lists, and so is what is in it', async () => {
  const odd = Buffer.concat([Buffer.from(join(media, 'caf')), Buffer.from([0xe9])])
  await mkdir(odd)
  await writeFile(Buffer.concat([odd, Buffer.from('/here')]), '1')
  const found = await plan(item('caf?/here', { type: 'h', target: 'caf?/lost' }), item('caf?/lost'), item('lost'))
  await rm(odd, { recursive: true })
  assert.equal([found.unlisted, found.onDisk.count], [[], 0])
  assert.equal(paths(found.missing), ['caf?/lost', 'lost'])
})

test('what the disk has in the way is named', async () => {
  await put('is-file')
  await mkdir(join(media, 'is-folder'))
  await symlink('/tmp', join(media, 'is-link'))
  const found = await plan(item('is-file/photo'), item('is-folder'), item('is-link/deep/photo'))
  assert.equal(found.refused, [
    'is-file/photo: is-file is a file on the disk',
    'is-folder: a folder on the disk',
    'is-link/deep/photo: leads outside, or may: is-link is a link on the disk',
  ])
})

test('what a restore has left in its working folder is neither restored nor counted', async () => {
  await put('.restoring/files/half')
  const found = await plan(item('.restoring/files/half'), item('.restoring/other'))
  assert.equal([wanted(found), found.same.count, found.onDisk.count], [[], 0, 0])
})

for (const [what, stored, disk, same] of [
  ['a fraction of a millisecond later', THEN_MS, THEN_MS + 0.7, true],
  ['three milliseconds later', THEN_MS, THEN_MS + 3, false],
  ['before 1970, which Borg does not store', 0, -1e12, true],
  ['after 2038, which Borg does not store', Date.UTC(2038, 0, 17, 3, 14, 7), Date.UTC(2150, 0), true],
] as const)
  test(`a file of the same size, ${what}: ${same ? 'the same' : 'different'}`, () => {
    assert.is(
      isSame({ type: '-', path: '', sizeBytes: 5, mtimeMs: stored, target: '' }, { size: 5, mtimeMs: disk }),
      same,
    )
  })

test('of a hard link only the presence counts: Borg lists no size of it', () => {
  assert.ok(isSame({ type: 'h', path: '', sizeBytes: 0, mtimeMs: 0, target: 'one' }, { size: 5, mtimeMs: THEN_MS }))
})

test.run()
