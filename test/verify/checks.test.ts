import type { IncomingMessage, ServerResponse } from 'node:http'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { checksFor, failedChecks, isGreen, verifySite } from '../../lib/verify/checks.ts'
import type { CheckResult } from '../../lib/verify/run-check.ts'
import { json, startSite } from '../support/site.ts'
import { HOME, siteOf } from '../support/verify.ts'

const never = new AbortController().signal

const test = suite('verifySite')
const site = await siteOf(test)
const options = { timeoutMs: 2000, signal: never }

test('a healthy site is green, with each check once and in order', async () => {
  const told: string[] = []
  const results = await verifySite({ ...options, url: site.url, onResult: ({ name }) => told.push(name) })
  assert.ok(isGreen(results))
  assert.equal(
    results.map(({ name }) => name),
    [HOME, 'static CSS', 'login page', 'map with markers', 'admin', 'health', 'TLS', 'release'],
  )
  assert.equal(
    results.map(({ verdict }) => verdict),
    ['pass', 'pass', 'pass', 'pass', 'pass', 'pass', 'skip', 'skip'],
  )
  assert.equal([...told].sort(), results.map(({ name }) => name).sort())
})
test('a check that passed is not repeated while another one is tried again', async () => {
  let left = 2
  const before = site.requests.length
  site.set('/health/', (request: IncomingMessage, response: ServerResponse) =>
    (left-- > 0 ? json({ status: 'error' }, 503) : json({ status: 'ok' }))(request, response),
  )
  const results = await verifySite({ ...options, timeoutMs: 5000, url: site.url })
  assert.ok(isGreen(results))
  assert.is(results.find(({ name }) => name === 'health')?.tries, 3)
  assert.is(site.requests.slice(before).filter(({ path }) => path === '/login/').length, 1)
})
test('a site that is down is red within the time', async () => {
  const gone = await startSite()
  await gone.stop()
  const started = performance.now()
  const results = await verifySite({ ...options, timeoutMs: 1000, url: gone.url })
  assert.is(failedChecks(results).length, 6)
  assert.match(results[0]?.seen ?? '', /connection refused/)
  assert.ok(performance.now() - started < 3000)
})
test('a site where everything hangs is red within the time', async () => {
  for (const path of ['/', '/static/css/app.css', '/login/', '/map/', '/admin/', '/health/']) site.set(path, () => {})
  const started = performance.now()
  const results = await verifySite({ ...options, timeoutMs: 1000, url: site.url })
  assert.is(failedChecks(results).length, 6)
  assert.match(results[0]?.seen ?? '', /no answer in/)
  assert.ok(performance.now() - started < 3000)
})
test('zero checks are not green, nor are skipped ones alone', () => {
  const skipped: CheckResult = { name: 'x', verdict: 'skip', seen: '', tookMs: 0, tries: 0 }
  assert.equal(
    [isGreen([]), isGreen([skipped]), isGreen([skipped, { ...skipped, verdict: 'warn' }])],
    [false, false, true],
  )
})
test('TLS is skipped for http:// alone', () => {
  const skips = (url: string): boolean => {
    const check = checksFor({ url }).find(({ name }) => name === 'TLS')
    return check !== undefined && 'skip' in check
  }
  assert.equal([skips('http://localhost:1'), skips('https://localhost:1')], [true, false])
})
test.run()
