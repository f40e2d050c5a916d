import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import type { Log } from '../../lib/core/log.ts'
import { purgeCache, waitMs } from '../../lib/deploy/cloudflare.ts'
import { type Cloudflare, startCloudflare, TOKEN } from '../support/cloudflare.ts'

const test = suite('cache purge')
let api: Cloudflare
const said: string[] = []
const log = { info: (text: string) => said.push(text) } as unknown as Log

function purge(token: string | undefined = TOKEN, signal = new AbortController().signal): Promise<boolean> {
  return purgeCache(
    { CLOUDFLARE_ZONE_ID: 'zone1', CLOUDFLARE_API_TOKEN: token, CLOUDFLARE_API_URL: api.url },
    log,
    signal,
    {
      firstWaitMs: 10,
      timeoutMs: 1500,
    },
  )
}

async function failing(): Promise<Failure> {
  try {
    await purge()
  } catch (error) {
    assert.instance(error, Failure)
    return error as Failure
  }
  return assert.unreachable('it went well') as never
}

test.before(async () => {
  api = await startCloudflare()
})
test.before.each(() => {
  api.answers.length = 0
  api.requests.length = 0
  said.length = 0
})
test.after(() => api?.stop())

test('everything of the zone is purged, once', async () => {
  assert.is(await purge(), true)
  assert.equal(api.requests, [
    {
      method: 'POST',
      path: '/client/v4/zones/zone1/purge_cache',
      authorization: `Bearer ${TOKEN}`,
      body: '{"purge_everything":true}',
    },
  ])
})
test('without a zone and a token it is skipped', async () => {
  const settings = { CLOUDFLARE_ZONE_ID: undefined, CLOUDFLARE_API_TOKEN: undefined, CLOUDFLARE_API_URL: api.url }
  assert.is(await purgeCache(settings, log, new AbortController().signal), false)
  assert.is(api.requests.length, 0)
})
for (const status of [429, 500, 502, 503])
  test(`${status} is tried again`, async () => {
    api.answers.push({ status, body: 'busy' }, { status })
    assert.is(await purge(), true)
    assert.is(api.requests.length, 3)
    assert.is(said.length, 2)
  })
test('Retry-After is honoured', async () => {
  api.answers.push({ status: 429, headers: { 'retry-after': '1' } })
  const startedMs = performance.now()
  await purge()
  // Node's timers may be a moment early.
  assert.ok(performance.now() - startedMs >= 990)
})
test('a Retry-After of an hour is not waited for', async () => {
  api.answers.push({ status: 429, headers: { 'retry-after': '3600' }, errors: [{ code: 971, message: 'slow down' }] })
  assert.match((await failing()).message, /971: slow down/)
})
test('it gives up in the end, with the last reason', async () => {
  for (let i = 0; i < 10; i++) api.answers.push({ status: 503, errors: [{ code: 1, message: `no ${i}` }] })
  assert.match((await failing()).message, /1: no 3 \(4 attempts\)/)
})
for (const [what, answer] of [
  ['403', { status: 403, errors: [{ code: 10000, message: 'Authentication error' }] }],
  ['200 without success', { status: 200, success: false, errors: [{ code: 10000, message: 'Authentication error' }] }],
] as const)
  test(`${what} is a failure with Cloudflare's own code and words, not tried again, the token in none of it`, async () => {
    api.answers.push(answer)
    const { message, hint } = await failing()
    assert.match(message, /10000: Authentication error/)
    assert.is(api.requests.length, 1)
    assert.not.match(message + hint, TOKEN)
  })
test('what is behind an error is told with it', async () => {
  const error_chain = [{ code: 6111, message: 'Invalid format for Authorization header' }]
  api.answers.push({ status: 400, errors: [{ code: 6003, message: 'Invalid request headers', error_chain }] })
  const { message } = await failing()
  assert.match(message, '6003: Invalid request headers (6111: Invalid format for Authorization header)')
})
test('an answer that is deep or long beyond measure is a failure as any other', async () => {
  const deep = '{"errors":[{"code":1,"message":"x","error_chain":[{"error_chain":['
  const nested = `${deep.repeat(900)}${']}]}]}'.repeat(900)}`
  for (const body of [nested, 'x'.repeat(5_000_000)]) {
    api.answers.push({ status: 403, body })
    assert.match((await failing()).message, /HTTP 403|^Cloudflare did not purge the cache: 1: x/)
  }
})
for (const [body, says] of [
  [
    '<html><head><title>Attention Required! | Cloudflare</title></head><body>x</body></html>',
    /HTTP 403: Attention Required! \| Cloudflare$/,
  ],
  ['<html><style>p{}</style><p>The proxy of <b>ACME</b> says no.</p></html>', /HTTP 403: The proxy of ACME says no\.$/],
  ['error code: 1020', /HTTP 403: error code: 1020$/],
  ['"forbidden"', /HTTP 403: "forbidden"$/],
  ['', /HTTP 403 without a reason$/],
] as const)
  test(`a 403 that is no JSON says why: ${body.slice(0, 30)}`, async () => {
    api.answers.push({ status: 403, body, headers: { 'content-type': 'text/html' } })
    assert.match((await failing()).message, says)
    assert.is(api.requests.length, 1)
  })
test('a token that no request can carry is not tried again and again', async () => {
  await purge('abc\u200b').then(
    () => assert.unreachable(),
    (error) => assert.not.match(error.message, /attempts/),
  )
  assert.equal([api.requests.length, said.length], [0, 0])
})
test('200 with something else than JSON is a failure', async () => {
  api.answers.push({ status: 200, body: '<html>ok</html>' })
  assert.match((await failing()).message, /HTTP 200: ok$/)
})
test('errors of another shape are a failure, not a bug', async () => {
  api.answers.push({ status: 400, body: '{"success":false,"errors":{"code":1}}' })
  assert.match((await failing()).message, /HTTP 400 without a reason/)
})
test('an answer that does not come is waited for so long and tried again, whatever is collected as garbage', async () => {
  setFlagsFromString('--expose_gc')
  const collect = setInterval(runInNewContext('gc') as () => void, 200)
  api.answers.push('hang')
  assert.is(await purge(), true)
  clearInterval(collect)
  assert.match(said.join(), /no answer within 1\.5 s/)
})
test('a connection that breaks is tried again', async () => {
  api.answers.push('cut')
  assert.is(await purge(), true)
  assert.is(api.requests.length, 2)
})
test('a redirect is not followed with the token', async () => {
  for (let i = 0; i < 4; i++) api.answers.push({ status: 302, headers: { location: `${api.url}/elsewhere` } })
  await failing()
  assert.not(api.requests.some(({ path }) => path.includes('elsewhere')))
})
test('a fault of this program is none of Cloudflare', async () => {
  const { fetch } = globalThis
  // An answer without headers, which no server can give: what reads it fails as a bug does.
  globalThis.fetch = async () => ({ ok: false, status: 500, body: [] }) as unknown as Response
  const thrown = await purge()
    .catch((error: unknown) => error)
    .finally(() => Object.assign(globalThis, { fetch }))
  assert.instance(thrown, TypeError)
  assert.equal(said, [])
})
test('an interruption ends the waiting', async () => {
  api.answers.push({ status: 429, headers: { 'retry-after': '30' } })
  const stop = new AbortController()
  setTimeout(() => stop.abort(new Error('stopped')), 100)
  await purge(TOKEN, stop.signal).then(
    () => assert.unreachable(),
    (error) => assert.is(error.message, 'stopped'),
  )
})
for (const [header, attempt, expected] of [
  [null, 1, 1000],
  [null, 3, 4000],
  ['5', 1, 5000],
  ['0', 2, 2000],
  ['Sat, 28 Feb 2026 10:00:10 GMT', 1, 10_000],
  ['nonsense', 1, 1000],
] as const)
  test(`try ${attempt} with Retry-After ${header} waits ${expected} ms`, () => {
    assert.is(waitMs(header, attempt, 1000, Date.parse('2026-02-28T10:00:00Z')), expected)
  })

test.run()
