import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LOADER } from '../support/loader.ts'

const test = suite('the demo')

test('it tells its story to the end, in which everything has come back', () => {
  const args = ['--import', LOADER, join(import.meta.dirname, 'demo.ts')]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.is(status, 0, stdout + stderr)
  assert.match(stdout, /What was backed up is what came back: every row, every photo\. \(.*\)\n$/)
})

test.run()
