import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { findBlock } from '../../lib/verify/blocked.ts'
import { isOnlyBlocked, verifySite } from '../../lib/verify/checks.ts'
import { nextCommands } from '../../lib/verify/report.ts'
import { answer, type Handler, json } from '../support/site.ts'
import { look, siteOf, verify } from '../support/verify.ts'

const test = suite('what stands before the site')
const CLOUDFLARE = { server: 'cloudflare', 'cf-ray': 'a34c5d036a9db9cf-FRA' }
const CHALLENGE =
  '<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Enable JavaScript</body></html>'
const BLOCKED_PAGE =
  '<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head><body><div class="cf-error-details"><h1>Sorry, you have been blocked</h1></div></body></html>'

const BLOCKS: [what: string, status: number, headers: Record<string, string>, body: string, by: string][] = [
  ['a challenge', 403, { ...CLOUDFLARE, 'cf-mitigated': 'challenge' }, CHALLENGE, "Cloudflare's challenge"],
  ['a challenge of Super Bot Fight Mode', 429, { 'cf-mitigated': 'challenge' }, CHALLENGE, "Cloudflare's challenge"],
  ['a challenge without a word', 503, { 'cf-mitigated': 'challenge' }, '', "Cloudflare's challenge"],
  ['a challenge that calls itself good', 200, { 'cf-mitigated': 'challenge' }, CHALLENGE, "Cloudflare's challenge"],
  ['an old challenge without its header', 503, CLOUDFLARE, CHALLENGE, "Cloudflare's challenge"],
  ['the block page', 403, CLOUDFLARE, BLOCKED_PAGE, "Cloudflare's block"],
  ['a rule of the firewall', 403, CLOUDFLARE, 'error code: 1020', "Cloudflare's block (error 1020)"],
  ['the check of the browser', 403, CLOUDFLARE, 'error code: 1010', "Cloudflare's block (error 1010)"],
  ['a blocked country', 403, CLOUDFLARE, '{"status":403,"error_code":1009}', "Cloudflare's block (error 1009)"],
  [
    'too many requests',
    429,
    CLOUDFLARE,
    '<title>Access denied | site.example used Cloudflare | Error 1015</title>',
    "Cloudflare's block (error 1015)",
  ],
]
for (const [what, status, headers, body, by] of BLOCKS)
  test(`a block: ${what}`, () => assert.is(findBlock({ status, headers, body })?.by, by))

const OWN: [what: string, status: number, headers: Record<string, string>, body: string][] = [
  ['a page', 200, CLOUDFLARE, '<title>Just a moment...</title>'],
  ['Django says no', 403, CLOUDFLARE, '<h1>Forbidden <span>(403)</span></h1><p>CSRF verification failed.</p>'],
  ['a limit of the app', 429, CLOUDFLARE, '{"message":"Too many requests"}'],
  ['the app is away', 503, CLOUDFLARE, '{"status":"error"}'],
  ['the server is down', 521, CLOUDFLARE, 'error code: 521'],
  ['the server does not answer', 522, CLOUDFLARE, 'error code: 522'],
  ['the host name of the server is gone', 530, CLOUDFLARE, 'error code: 1016'],
  ['a tunnel is broken', 530, CLOUDFLARE, 'error code: 1033'],
  ['a worker failed', 500, CLOUDFLARE, 'error code: 1101'],
  ['another server', 403, { server: 'nginx' }, BLOCKED_PAGE],
]
for (const [what, status, headers, body] of OWN)
  test(`no block: ${what}`, () => assert.is(findBlock({ status, headers, body }), undefined))

const site = await siteOf(test)

const PATHS = ['/', '/static/css/app.css', '/login/', '/map/', '/admin/', '/health/']
const challenge: Handler = answer(403, 'text/html', CHALLENGE, { ...CLOUDFLARE, 'cf-mitigated': 'challenge' })

test('a challenge is named, tried once, and leads to no rollback', async () => {
  for (const path of PATHS) site.set(path, challenge)
  const before = site.requests.length
  const { exitCode, stdout, stderr } = await verify(['--url', site.url, '--timeout', '20'])
  assert.is(exitCode, 1)
  assert.match(stdout, /^fail {2}health .*Cloudflare's challenge answered \/health\/ with 403 in place of the site$/m)
  assert.match(stderr, /Nothing is known about the site itself/)
  assert.match(stderr, /User Agent that contains book-corners-ops\./)
  assert.not.match(stdout + stderr, /rollback|tries/)
  const told = await verify(['--url', site.url, '--timeout', '20', '--json'])
  assert.ok(
    JSON.parse(told.stdout).checks.every(
      ({ verdict, blocked }: { verdict: string; blocked?: boolean }) => verdict !== 'fail' || blocked,
    ),
  )
  // The stylesheet is also looked for by the name that the homepage links.
  assert.ok(site.requests.length - before <= 2 * (PATHS.length + 1))
})
test('a limit on requests is waited for', async () => {
  let left = 1
  site.set('/health/', (request, response) =>
    (left-- > 0 ? answer(429, 'text/plain', 'error code: 1015', CLOUDFLARE) : json({ status: 'ok' }))(
      request,
      response,
    ),
  )
  const results = await verifySite({ url: site.url, timeoutMs: 5000, signal: new AbortController().signal })
  const health = results.find(({ name }) => name === 'health')
  assert.equal([health?.verdict, health?.tries, health?.blocked], ['pass', 2, undefined])
})
test('where something else is wrong as well, both are told, and the way back', async () => {
  site.set('/', challenge)
  site.set('/health/', json({ status: 'error' }, 503))
  const results = await verifySite({ url: site.url, timeoutMs: 500, signal: new AbortController().signal })
  assert.not(isOnlyBlocked(results))
  assert.match(nextCommands(results, 'books'), /Cloudflare[\s\S]*logs books[\s\S]*rollback/)
})
test('a page of the app that says no is red as such', async () => {
  site.set('/login/', answer(403, 'text/html', '<h1>Forbidden</h1>', CLOUDFLARE))
  assert.is(await look(site, 'login page'), 'fail /login/ answered 403')
})
test.run()
