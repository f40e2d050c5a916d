import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { settlesWithin } from '../../lib/core/patience.ts'
import { LOADER } from '../support/loader.ts'
import { until } from '../support/until.ts'

const test = suite('waits')
const PATIENCE = fileURLToPath(new URL('../../lib/core/patience.ts', import.meta.url))
let folder = ''
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-waits-'))
})
test.after(() => rm(folder, { recursive: true }))

test('what settles in time has, and what does not has not', async () => {
  assert.is(await settlesWithin(Promise.resolve(), 0), true)
  assert.is(await settlesWithin(sleep(10), 5000), true)
  assert.is(await settlesWithin(new Promise(() => {}), 100), false)
  assert.is(await settlesWithin(new Promise(() => {}), 0), false)
})

// Stopped for three times as long as nothing may come; what comes is there when it goes on.
test('the time in which a program is stopped is no time in which nothing came', async () => {
  const file = join(folder, 'waits.mts')
  await writeFile(
    file,
    `import { startPatience } from ${JSON.stringify(PATIENCE)}
const patience = startPatience(1000, () => process.exit(3))
process.stdin.on('data', patience.refresh).on('end', patience.stop)
console.log('ready')
`,
  )
  const child = spawn(process.execPath, ['--import', LOADER, file], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.on('exit', resolve))
  let isReady = false
  child.stdout.on('data', () => {
    isReady = true
  })
  const beat = setInterval(() => child.stdin.write('.'), 50)
  await until(() => isReady)
  child.kill('SIGSTOP')
  await sleep(3000)
  child.kill('SIGCONT')
  await sleep(500)
  clearInterval(beat)
  child.stdin.end()
  assert.is(await ended, 0)
})

test.run()
