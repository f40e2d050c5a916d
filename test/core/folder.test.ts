import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeFolder } from '../../lib/core/folder.ts'

const test = suite('folder')
const dir = mkdtempSync(join(tmpdir(), 'bc-folder-'))
test.after(() => rmSync(dir, { recursive: true, force: true }))

async function fails(path: string): Promise<string | undefined> {
  return makeFolder(path).then(
    () => undefined,
    (error) => error.code,
  )
}

test('a folder and those above it are made for this user alone; what is there stays', async () => {
  await makeFolder(join(dir, 'a/b/c'))
  for (const path of ['a', 'a/b', 'a/b/c']) assert.is(statSync(join(dir, path)).mode & 0o777, 0o700)
  await makeFolder(join(dir, 'a/b'))
})

test('where none can be made it ends', async () => {
  writeFileSync(join(dir, 'file'), '')
  assert.is(await fails(join(dir, 'file')), 'EEXIST')
  assert.is(await fails(join(dir, 'file/below')), 'ENOTDIR')
  assert.is(await fails('/proc/none/of/these'), 'ENOENT')
})

test.run()
