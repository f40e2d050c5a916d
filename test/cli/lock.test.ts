import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { takeLock } from '../../lib/cli/lock.ts'
import { Failure } from '../../lib/core/failure.ts'
import { LOADER } from '../support/loader.ts'

const test = suite('lock')
const media = `/tmp/media-${process.pid}`

function refusal(): Promise<Failure> {
  return takeLock('restore.ts', 'db', media).then(
    () => assert.unreachable('the lock was free') as never,
    (error: Failure) => error,
  )
}

test('the second is told who holds it since when; what is given back is free', async () => {
  const unlock = await takeLock('backup.ts', 'db', media)
  const error = await refusal()
  assert.instance(error, Failure)
  assert.is(error.exitCode, 75)
  assert.match(error.message, new RegExp(`backup\\.ts of \\S+, process ${process.pid}, since \\d{4}-\\d\\d-\\d\\dT`))
  unlock()
  ;(await takeLock('restore.ts', 'db', media))()
})

test('another service is another lock', async () => {
  const unlock = await takeLock('backup.ts', 'db', media)
  ;(await takeLock('backup.ts', 'other', media))()
  unlock()
})

test('a killed holder leaves nothing behind', async () => {
  const lock = fileURLToPath(new URL('../../lib/cli/lock.ts', import.meta.url))
  const program = `const { takeLock } = await import(${JSON.stringify(lock)})
    await takeLock('backup.ts', 'db', ${JSON.stringify(media)}); console.log('held'); setTimeout(() => {}, 60000)`
  const holder = spawn(process.execPath, ['--import', LOADER, '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  assert.match((await refusal()).message, new RegExp(`process ${holder.pid}`))
  holder.kill('SIGKILL')
  await once(holder, 'close')
  ;(await takeLock('backup.ts', 'db', media))()
})

test.run()
