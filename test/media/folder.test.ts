import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { filesOf, INBOX, measureMedia, requireMediaDir } from '../../lib/media/folder.ts'

const test = suite('media folder')
let dir: string
let media: string

test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bc-folder-'))
  media = join(dir, 'media')
  await mkdir(join(media, 'photos/deep'), { recursive: true })
  await mkdir(join(media, INBOX, 'files'), { recursive: true })
  await writeFile(join(media, 'one'), '1')
  await writeFile(join(media, 'photos/deep/three'), '333')
  await writeFile(join(media, INBOX, 'files/half'), 'half')
  await symlink('..', join(media, 'photos/upwards'))
})
test.after(() => rm(dir, { recursive: true }))

test('links are listed but not followed, and what a killed restore has left is not listed', async () => {
  const files = await filesOf(media)
  assert.equal([...files.keys()].sort(), ['one', 'photos/deep/three', 'photos/upwards'])
  assert.is(files.get('photos/deep/three')?.size, 3)
})

test('the size is that of the files alone', async () => {
  assert.equal(await measureMedia(media), { files: 2, bytes: 4, unreadable: [] })
})

test('a folder that cannot be listed is named by the measuring, and ends the listing', async () => {
  const gone = join(dir, 'gone')
  assert.equal((await measureMedia(gone)).unreadable, [''])
  await filesOf(gone).then(
    () => assert.unreachable(),
    (error) => assert.is(error.code, 'ENOENT'),
  )
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

test.run()
