import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure, Interrupted } from '../../lib/core/failure.ts'
import { type RetryOptions, retry } from '../../lib/core/retry.ts'
import { createShell } from '../../lib/core/shell.ts'

const test = suite('retry')
let server: Server
/** What the server answers, one after the other; then 200. */
const answers: number[] = []
let requests = 0

test.before(async () => {
  server = createServer((_, response) => {
    requests++
    response.statusCode = answers.shift() ?? 200
    response.end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
})
test.before.each(() => {
  answers.length = 0
  requests = 0
})
test.after(() => void server.close())

async function ask(): Promise<number> {
  const { status } = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  if (status !== 200) throw new Failure(`it answered ${status}`)
  return status
}

async function failing(options: RetryOptions): Promise<unknown> {
  try {
    await retry(ask, options)
  } catch (error) {
    return error
  }
  return assert.unreachable('it went well')
}

test('attempts are made until one succeeds, with the wait between them', async () => {
  answers.push(503, 502)
  const startedMs = performance.now()
  assert.is(await retry(ask, { waitMs: 100 }), 200)
  assert.is(requests, 3)
  assert.ok(performance.now() - startedMs >= 190)
})

test('after the last attempt its own error counts', async () => {
  answers.push(501, 502, 503, 504)
  assert.match(String(await failing({ attempts: 3, waitMs: 1 })), /it answered 503/)
  assert.is(requests, 3)
})

test('when the time is up no other attempt is made', async () => {
  answers.push(...Array.from({ length: 1000 }, () => 503))
  const startedMs = performance.now()
  await failing({ withinMs: 300, waitMs: 50 })
  const tookMs = performance.now() - startedMs
  assert.ok(tookMs > 300 && tookMs < 2000, `${tookMs} ms`)
  assert.ok(requests > 1)
})

test('the wait is chosen by what failed, and none means that another attempt can not help', async () => {
  answers.push(503, 503, 404)
  const waits: number[] = []
  const error = await failing({
    waitMs: (error, attempt) => {
      if (!String(error).includes('503')) return
      waits.push(attempt)
      return 1
    },
  })
  assert.match(String(error), /404/)
  assert.equal(waits, [1, 2])
})

test('the signal ends a wait at once, with its reason', async () => {
  answers.push(503)
  const interruption = new AbortController()
  setTimeout(() => interruption.abort(new Interrupted('SIGINT')), 100)
  const startedMs = performance.now()
  assert.is(await failing({ waitMs: 60_000, signal: interruption.signal }), interruption.signal.reason)
  assert.ok(performance.now() - startedMs < 10_000)
  assert.is(requests, 1)
})

test('an interrupted program is not started again', async () => {
  const interruption = new AbortController()
  const shell = createShell({ PATH: '/usr/bin:/bin' }, interruption.signal)
  setTimeout(() => interruption.abort(new Interrupted('SIGTERM')), 100)
  let attempts = 0
  const error = await retry(
    (number) => {
      attempts = number
      return shell.run(['sleep', '95'])
    },
    { waitMs: 10 },
  ).catch((reason: unknown) => reason)
  assert.instance(error, Interrupted)
  assert.is(attempts, 1)
})

test.run()
