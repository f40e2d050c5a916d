import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { list, measureMedia, requireMediaDir } from '../../lib/media/folder.ts'

const test = suite('media folder')
let dir: string
let media: string

test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bc-folder-'))
  media = join(dir, 'media')
  await mkdir(join(media, 'photos/deep/.restoring'), { recursive: true })
  await writeFile(join(media, 'one'), '1', { mode: 0o640 })
  await writeFile(join(media, 'photos/deep/three'), '333')
  for (const left of ['.restoring/files', '.restoring.Ab1']) {
    await mkdir(join(media, left), { recursive: true })
    await writeFile(join(media, left, 'half'), 'half')
  }
  await symlink('..', join(media, 'photos/upwards'))
})
test.after(() => rm(dir, { recursive: true }))

test('links are listed but not followed, and what a killed restore has left is not listed', async () => {
  const { entries, unlisted } = await list(media)
  assert.equal(
    [...entries].map(([path, { kind }]) => `${kind} ${path}`).sort(),
    ['file one', 'file photos/deep/three', 'folder photos', 'folder photos/deep', 'folder photos/deep/.restoring']
      .concat('link photos/upwards')
      .sort(),
  )
  assert.equal([entries.get('one')?.mode, entries.get('one')?.size], [0o640, 1])
  assert.is(entries.get('photos/upwards')?.target, '..')
  assert.is(unlisted.size, 0)
})

test('the size is that of the files alone', async () => {
  const { folders, ...size } = await measureMedia(media)
  assert.equal(size, { files: 2, bytes: 4, unreadable: [], leadingOut: [] })
  assert.equal([...folders], [['photos', 1]])
})

test('a folder that cannot be looked into is named, and everything else is listed', async () => {
  const gone = join(dir, 'gone')
  assert.equal((await measureMedia(gone)).unreadable, [''])
  assert.equal([...(await list(gone)).unlisted], [['', 'ENOENT']])
})

test('what has a name that is not UTF-8 is listed as Borg lists it, with its bytes, and what is in it, too', async () => {
  const odd = Buffer.concat([Buffer.from(join(media, 'caf')), Buffer.from([0xe9])])
  await mkdir(odd)
  await writeFile(Buffer.concat([odd, Buffer.from('/1')]), '1')
  const [{ entries, unlisted }, { files, bytes }] = [await list(media), await measureMedia(media)]
  await rm(odd, { recursive: true })
  assert.is(unlisted.size, 0)
  assert.is(entries.get('caf?')?.kind, 'folder')
  assert.is(entries.get('caf?/1')?.raw?.toString('latin1'), 'caf\xe9/1')
  assert.equal([files, bytes], [3, 5])
})

for (const [what, make, message] of [
  ['a link', (path: string) => symlink(media, path), /symbolic link: Borg would store only the link/],
  ['a file', (path: string) => writeFile(path, ''), /not a directory/],
  ['nothing', () => Promise.resolve(), /does not exist/],
] as const)
  test(`${what} in place of the folder is refused, with the reason`, async () => {
    const path = join(dir, what)
    await make(path)
    await requireMediaDir(path).then(
      () => assert.unreachable(),
      (error) => {
        assert.instance(error, Failure)
        assert.match(error.message, message)
      },
    )
  })

test('of a folder that is not there a restore names the command that makes it, with its owner', async () => {
  await requireMediaDir(join(dir, "it's new"), '32767:32768').then(
    () => assert.unreachable(),
    (error) => assert.match(error.hint, `install -d -o 32767 -g 32768 '${join(dir, "it'\\''s new")}'`),
  )
})

test.run()
