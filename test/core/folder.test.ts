import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Failure } from '../../lib/core/failure.ts'
import { makeFolder, makeTemporaryFolder } from '../../lib/core/folder.ts'

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

test('where no temporary folder can be made it is said where, and how another one is named', async () => {
  assert.match(await makeTemporaryFolder('bc-x-', dir), `${dir}/bc-x-`)
  for (const parent of [join(dir, 'file'), join(dir, 'no such one')]) {
    const error = (await makeTemporaryFolder('bc-x-', parent).catch((thrown: unknown) => thrown)) as Failure
    assert.match(error.message, `Nothing can be made in the folder for temporary files, ${parent}: E`)
    assert.match(error.hint, /TMPDIR names another one/)
  }
})

test.run()
