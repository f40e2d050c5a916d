import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rename, rm, stat, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Borg, createBorg } from '../../lib/borg/borg.ts'
import { createArgs, initArgs } from '../../lib/borg/commands.ts'
import { eachItem } from '../../lib/borg/items.ts'
import { createShell } from '../../lib/core/shell.ts'
import type { MediaFile } from '../../lib/media/compare.ts'
import { compareSample } from '../../lib/media/sample.ts'
import { programs } from '../support/borg.ts'

const test = suite('media sample')
const ARCHIVE = 'a-2026-01-02T03:00:00'
const SIZES = [0, 1, 65_536, 70_000, 3_000_000, ...Array.from({ length: 20 }, (_, i) => 1000 + i)]
let dir: string
let media: string
let borg: Borg

function photo(i: number): string {
  return join(media, `${String(i).padStart(2, '0')}.jpg`)
}

/** The photos of the archive that are not empty. */
async function listed(): Promise<MediaFile[]> {
  const files: MediaFile[] = []
  await eachItem(borg, ARCHIVE, [media.slice(1)], (item) => {
    if (item.type === '-' && item.sizeBytes > 0) files.push({ ...item, path: basename(item.path) })
  })
  return files
}

test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bc-sample-'))
  media = join(dir, 'media')
  await mkdir(media)
  for (const [i, size] of SIZES.entries()) await writeFile(photo(i), randomBytes(size))
  const shell = createShell({ PATH: programs(), HOME: dir }, new AbortController().signal)
  borg = createBorg(shell, { BORG_PASSPHRASE: 'x', BORG_SELFTEST: 'disabled' }, join(dir, 'repo'), '/x/.env')
  await borg.call(initArgs())
  const options = { compression: 'lz4', chunkerParams: 'default', mediaDir: media, without: [], progress: false }
  const stored = borg.stream(createArgs({ archive: ARCHIVE, comment: '', ...options }))
  stored.stdin.end('PGDMP')
  stored.stdout.resume()
  await stored.result()
})
test.after(() => rm(dir, { recursive: true }))

test('all files of a sample are compared; of one that was deleted since there is nothing to say', async () => {
  const same = await listed()
  assert.is(same.length, SIZES.length - 1)
  assert.is(await compareSample(borg, ARCHIVE, media, same), SIZES.length - 1)
  const few = same.filter(({ path }) => path <= '04.jpg')
  assert.is(await compareSample(borg, ARCHIVE, media, few), 4)
  await unlink(photo(1))
  assert.is(await compareSample(borg, ARCHIVE, media, few), 3)
  assert.is(await compareSample(borg, ARCHIVE, media, []), 0)
})

test('what the app has put in place of a file since it was listed is neither waited for nor followed', async () => {
  const same = await listed()
  const few = same.filter(({ path }) => ['02.jpg', '03.jpg', '05.jpg', '06.jpg'].includes(path))
  for (const i of [2, 3, 5]) await rename(photo(i), `${photo(i)}.aside`)
  execFileSync('mkfifo', [photo(2)])
  await symlink(`${photo(3)}.aside`, photo(3))
  await mkdir(photo(5))
  assert.is(await compareSample(borg, ARCHIVE, media, few), 1)
  for (const i of [2, 3, 5]) {
    await rm(photo(i), { recursive: true })
    await rename(`${photo(i)}.aside`, photo(i))
  }
})

test('a byte that changed while size and time stayed is found, and the file named', async () => {
  const same = (await listed()).filter(({ path }) => path === '04.jpg')
  const { atime, mtime } = await stat(photo(4))
  await writeFile(photo(4), randomBytes(SIZES[4] ?? 0))
  await utimes(photo(4), atime, mtime)
  await compareSample(borg, ARCHIVE, media, same).then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, `04.jpg is not on the disk as ${ARCHIVE} has it`),
  )
})

test.run()
