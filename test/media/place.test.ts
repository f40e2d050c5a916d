import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { mediaSpace, requireSpace, sudoersWord, whyRoot } from '../../lib/media/place.ts'

const test = suite('placing media')
const PHOTO = { type: '-', path: 'photos/1.jpg', sizeBytes: 1e6, mtimeMs: 0, target: '' }
let folder: string

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-place-'))
})
test.after(() => rm(folder, { recursive: true }))

test('root needs no rights; files of another owner take root', async () => {
  const deploy = { uid: 12345, gid: 12345, name: 'deploy' }
  assert.is(await whyRoot(folder, '32767:32767', [PHOTO], { uid: 0, gid: 0, name: 'root' }), undefined)
  assert.match((await whyRoot(folder, '32767:32767', [PHOTO], deploy)) ?? '', /belong to 32767:32767 .* not to deploy/)
})

test('the nearest folder that exists is the one that must be writable', async () => {
  if (process.getuid?.() === 0) return
  const me = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, name: 'me' }
  const owner = `${me.uid}:${me.gid}`
  assert.is(await whyRoot(folder, owner, [PHOTO], me), undefined)
  await mkdir(join(folder, 'photos'), { mode: 0o555 })
  assert.match((await whyRoot(folder, owner, [PHOTO], me)) ?? '', /me can't write to .*\/photos\./)
  await chmod(join(folder, 'photos'), 0o755)
})

test('a word in a sudoers line is escaped', () => {
  assert.is(sudoersWord('/srv/a b:c,d=e'), '/srv/a\\ b\\:c\\,d\\=e')
})

test('through sudo the files are copied once more: room is needed twice', async () => {
  const [once, twice] = await Promise.all([false, true].map((needsRoot) => mediaSpace(folder, [PHOTO], needsRoot)))
  assert.equal([once?.needed, twice?.needed], [1e6, 2e6])
})

test('a disk that is too small is said to be, before anything is extracted', async () => {
  const huge = { ...PHOTO, sizeBytes: 1e18 }
  await requireSpace(folder, [huge], { staging: '', command: [], asks: false }).then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, /media needs .* TB, but only .* are free/),
  )
})

test.run()
