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
  const comparison = createMediaComparison(media)
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
  assert.equal(paths(found.same), ['same'])
  assert.equal(found.onDisk, { count: 2, bytes: 10, first: ['mine/a', 'mine/b'] })
  assert.equal(found.refused, [])
  assert.equal([paths(wanted(found)), totalBytes(wanted(found))], [['photos/lost', 'larger', 'later'], 16])
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
  assert.equal([paths(found.same), paths(found.different), paths(found.missing)], [['same'], ['other'], ['lost']])
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
  assert.equal([wanted(found), found.same, found.onDisk.count], [[], [], 0])
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
