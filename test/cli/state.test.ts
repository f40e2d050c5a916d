import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readState, remember, statePath } from '../../lib/cli/state.ts'
import { createLog } from '../../lib/core/log.ts'

const test = suite('state')
let dir: string

/** Warnings are kept; nothing is printed. */
function silentLog() {
  return createLog({ write: () => true } as unknown as NodeJS.WriteStream)
}

test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bc-state-'))
})
test.after(() => rm(dir, { recursive: true }))

test('what is remembered is added to what is there, for this user alone', async () => {
  const path = statePath({ XDG_STATE_HOME: dir }, '/repo', 'db')
  await remember(path, { checkedAt: '2026-01-02' }, silentLog())
  await remember(path, { testService: true }, silentLog())
  assert.equal(await readState(path), { checkedAt: '2026-01-02', testService: true })
  assert.is((await stat(path)).mode & 0o777, 0o600)
})

test('each repository and service has a file of its own', () => {
  const paths = [
    ['/repo', 'db'],
    ['/repo', 'other'],
    ['/other', 'db'],
  ].map(([repository = '', service = '']) => statePath({ HOME: '/home/x' }, repository, service))
  assert.is(new Set(paths).size, 3)
})

test('a file that is missing or damaged is an empty state', async () => {
  const path = join(dir, 'damaged')
  assert.equal(await readState(path), {})
  for (const content of ['{"checked', 'null', '3', '[]', '{"dumps":null,"checkedAt":7,"testService":"yes"}']) {
    await writeFile(path, content)
    assert.equal(await readState(path), {}, content)
  }
})

test('what cannot be written is a warning', async () => {
  await writeFile(join(dir, 'file'), '')
  const log = silentLog()
  await remember(join(dir, 'file/state'), { testService: true }, log)
  assert.match(log.warnings.join(), /notes for the next run could not be written: ENOTDIR|EEXIST/)
})

test.run()
