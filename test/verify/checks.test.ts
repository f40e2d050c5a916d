import type { IncomingMessage, ServerResponse } from 'node:http'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SshFailure } from '../../lib/server/ssh-errors.ts'
import { type CheckResult, checksFor, failedChecks, isGreen, verifySite } from '../../lib/verify/checks.ts'
import { siteChecks } from '../../lib/verify/page-checks.ts'
import { Unexpected } from '../../lib/verify/request.ts'
import { type Check, pauseMs, runCheck } from '../../lib/verify/run-check.ts'
import { plainRedirect } from '../../lib/verify/tls.ts'
import {
  answer,
  CSS,
  feature,
  type Handler,
  html,
  json,
  LOGIN_FORM,
  MAP_BODY,
  redirect,
  type Site,
  startSite,
} from '../support/site.ts'

const never = new AbortController().signal
const SHA = '0123456789abcdef0123456789abcdef01234567'

/** One try of one check; the text of what it saw, whatever its verdict. */
async function look(site: Site, name: string, waitMs = 5000): Promise<string> {
  const check = siteChecks(new URL(site.url)).find((one) => one.name === name)
  if (!check) throw new Error(`no check ${name}`)
  try {
    return `pass ${(await check.run(AbortSignal.timeout(waitMs))).seen}`
  } catch (error) {
    if (!(error instanceof Unexpected)) throw error
    return `fail ${error.message}`
  }
}

function page(text: string): Handler {
  return answer(200, 'text/html', text)
}

function geojson(...features: unknown[]): Handler {
  return json({ type: 'FeatureCollection', features })
}

/** Promises more than it sends, and hangs up. */
function cut(type: string, body: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type, 'content-length': String(body.length * 2) })
    response.write(body, () => response.destroy())
  }
}

/** Chunks without the last one. */
function cutChunks(type: string, body: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type })
    response.write(body, () => setTimeout(() => response.destroy(), 20))
  }
}

/** Ends a connection without saying how long the answer is, as HTTP/1.0 does. */
function cutSilently(type: string, body: string): Handler {
  return ({ socket }) => void socket.end(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\nconnection: close\r\n\r\n${body}`)
}

/** A byte now and then, for ever. */
function drip(type: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type })
    const timer = setInterval(() => response.write('.'), 50)
    response.on('close', () => clearInterval(timer))
  }
}

/** As fast as it goes, for ever. */
function flood(type: string): Handler {
  return (_, response) => {
    response.writeHead(200, { 'content-type': type }).on('error', () => {})
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(65_536))) {
        // Until the pipe is full.
      }
    }
    response.on('drain', more)
    more()
  }
}

type Case = [promise: string, broken: Record<string, Handler>, seen: RegExp]

const HOME = 'homepage with styles'

function styled(head: string): Handler {
  return page(
    `<!doctype html><html><head><title>Book Corners</title>${head}</head><body><h1>Libraries</h1></body></html>`,
  )
}

function map(markup: string): Handler {
  return html(`<h1>Explore</h1>${markup}`)
}

const BROKEN: Record<string, Case[]> = {
  [HOME]: [
    ['an error', { '/': html('<h1>Oh</h1>', { status: 502 }) }, /\/ answered 502/],
    [
      'an error page that answers 200',
      { '/': html('<h1>Server Error (500)</h1>') },
      /200 with an error page: .*Server Error/,
    ],
    [
      'the own error page',
      { '/': html('<h1>Something went wrong</h1>', { title: 'Server error - Book Corners' }) },
      /error page/,
    ],
    ['a maintenance page', { '/': html('<h1>Down for maintenance</h1>') }, /error page: .*maintenance/],
    [
      'a maintenance page by its title',
      { '/': html('<p>Soon.</p>', { title: 'We&#39;ll be back soon!' }) },
      /be back soon/,
    ],
    ['a proxy error', { '/': html('<center>502 Bad Gateway</center>') }, /error page/],
    ['an empty body', { '/': page('') }, /empty body/],
    ['nothing but blanks', { '/': page(' \n ') }, /empty body/],
    [
      'a page without text',
      { '/': page('<html><head><title>x</title></head><body><!-- hi --></body></html>') },
      /shows no text/,
    ],
    [
      'another content type',
      { '/': answer(200, 'application/octet-stream', '<html></html>') },
      /octet-stream, not HTML/,
    ],
    [
      'no content type',
      { '/': (_, response) => void response.writeHead(200).end('<html>x</html>') },
      /of no content type/,
    ],
    ['a redirect loop', { '/': redirect('/a'), '/a': redirect('/') }, /redirect loop: \/ → \/a → \//],
    [
      'endless redirects',
      { '/': (request, response) => redirect(`${request.url === '/' ? '/?' : request.url}a`)(request, response) },
      /more than 10 redirects/,
    ],
    [
      'a redirect to another host',
      { '/': redirect('https://parked.example/') },
      /redirects off the site, to https:\/\/parked/,
    ],
    ['a redirect to another port', { '/': redirect('http://127.0.0.1:9/') }, /redirects off the site/],
    ['a redirect without a target', { '/': (_, response) => void response.writeHead(302).end() }, /without a Location/],
    ['a cut answer', { '/': cut('text/html', '<html><body>Hi') }, /cut after 14 B of 28 B/],
    ['cut chunks', { '/': cutChunks('text/html', '<html><body>Hi') }, /cut after 14 B/],
    ['a page cut without a trace', { '/': cutSilently('text/html', '<html><body>Hi') }, /its <html> is not closed/],
    ['a connection hung up', { '/': ({ socket }) => void socket.destroy() }, /closed the connection|reset/],
    ['no stylesheet link', { '/': page('<html><head></head><body>Hi</body></html>') }, /links no stylesheet$/],
    [
      'a commented-out link',
      { '/': styled('<!-- <link rel="stylesheet" href="/static/css/app.css"> -->') },
      /links no stylesheet$/,
    ],
    [
      'a link in a script',
      { '/': styled(`<script>"<link rel='stylesheet' href='/static/css/app.css'>"</script>`) },
      /links no stylesheet$/,
    ],
    [
      'a link for printing',
      { '/': styled('<link rel=stylesheet media=print href=/static/css/app.css>') },
      /links no stylesheet$/,
    ],
    ['a link without an address', { '/': styled('<link rel=stylesheet href="">') }, /links no stylesheet$/],
    [
      'a stylesheet off the site',
      { '/': styled('<link rel=stylesheet href=//cdn.example/app.css>') },
      /no stylesheet of the site, only http:\/\/cdn/,
    ],
    ['a missing stylesheet', { '/': styled('<link rel=stylesheet href=/static/gone.css>') }, /gone.css answered 404/],
    [
      'one missing of two',
      { '/': styled('<link rel=stylesheet href=/static/css/app.css><link rel=stylesheet href=/b.css>') },
      /b.css answered 404/,
    ],
    [
      'a stylesheet that redirects to a page',
      { '/static/css/app.css': redirect('/login/') },
      /text\/html, not text\/css/,
    ],
    ['a page larger than the bound', { '/': flood('text/html') }, /larger than 5.00 MB: cut/],
  ],
  'static CSS': [
    ['missing', { '/static/css/app.css': answer(404, 'text/css', CSS) }, /answered 404/],
    ['HTML with 200', { '/static/css/app.css': html('<h1>Hi</h1>') }, /text\/html, not text\/css/],
    ['HTML that calls itself CSS', { '/static/css/app.css': answer(200, 'text/css', '<html>{}</html>') }, /is HTML/],
    ['empty', { '/static/css/app.css': answer(200, 'text/css', '') }, /is empty/],
    ['nothing but a comment', { '/static/css/app.css': answer(200, 'text/css', '/* a {} */') }, /no rule/],
    ['cut', { '/static/css/app.css': cut('text/css', 'a { color: red }') }, /cut after 16 B of 32 B/],
    [
      'cut without a trace',
      { '/static/css/app.css': cutSilently('text/css', 'a { color: red } b { col') },
      /cut short/,
    ],
    ['off the site', { '/static/css/app.css': redirect('https://cdn.example/app.css') }, /off the site/],
  ],
  'login page': [
    ['missing', { '/login/': answer(404, 'text/html', '') }, /answered 404/],
    ['no form', { '/login/': html('<h1>Log in</h1>') }, /no form with a password/],
    [
      'no password',
      { '/login/': html(LOGIN_FORM.replace('type="password"', 'type="text"')) },
      /no form with a password/,
    ],
    ['no token', { '/login/': html(LOGIN_FORM.replace('csrfmiddlewaretoken', 'other')) }, /no CSRF token/],
    ['an empty token', { '/login/': html(LOGIN_FORM.replace('a1b2c3d4', '')) }, /no CSRF token/],
    [
      'a token in another form alone',
      { '/login/': html('<form method=post><input type=password></form>') },
      /no CSRF token/,
    ],
    [
      'a form that is sent elsewhere',
      { '/login/': html(LOGIN_FORM.replace('<form', '<form action="https://phish.example/"')) },
      /no form with a password/,
    ],
    ['a commented-out form', { '/login/': html(`<!--${LOGIN_FORM}--><p>Hi</p>`) }, /no form with a password/],
    [
      'a field outside the form',
      { '/login/': html('<form method=post></form><input type=password>') },
      /no form with a password/,
    ],
    [
      'a redirect to a page with a login form',
      { '/login/': redirect('/'), '/': html(LOGIN_FORM) },
      /leads to \/, which is no login page/,
    ],
    ['an error page with the site around it', { '/login/': html('<h1>Server Error (500)</h1>') }, /error page/],
  ],
  'map with markers': [
    ['missing', { '/map/': answer(404, 'text/html', '') }, /\/map\/ answered 404/],
    ['no map element', { '/map/': map('<div id="other"></div>') }, /no element #libraries-map/],
    ['no data address', { '/map/': map('<div id="libraries-map"></div>') }, /names no data address/],
    [
      'the address on another element',
      { '/map/': map('<div id="libraries-map"></div><i data-map-data-url="/map/libraries.geojson"></i>') },
      /names no data/,
    ],
    ['a commented-out map', { '/map/': map(`<!-- ${MAP_BODY} -->`) }, /no element/],
    ['data that is missing', { '/map/libraries.geojson': json({}, 404) }, /geojson answered 404/],
    ['data that is HTML', { '/map/libraries.geojson': html('<h1>Hi</h1>') }, /text\/html, not JSON/],
    [
      'data that is not JSON',
      { '/map/libraries.geojson': answer(200, 'application/json', '{"type":') },
      /no JSON object/,
    ],
    ['JSON that is no GeoJSON', { '/map/libraries.geojson': json({ libraries: [] }) }, /no GeoJSON/],
    ['a single feature', { '/map/libraries.geojson': json(feature(1, 2)) }, /no GeoJSON FeatureCollection/],
    [
      'features that are no list',
      { '/map/libraries.geojson': json({ type: 'FeatureCollection', features: {} }) },
      /no GeoJSON/,
    ],
    ['null', { '/map/libraries.geojson': json(null) }, /no JSON object/],
    ['no features', { '/map/libraries.geojson': geojson() }, /has no feature/],
    [
      'features without a geometry',
      { '/map/libraries.geojson': geojson({ type: 'Feature', geometry: null }, null, 7) },
      /3 features, none with a point/,
    ],
    [
      'no coordinates',
      { '/map/libraries.geojson': geojson({ type: 'Feature', geometry: { type: 'Point', coordinates: [] } }) },
      /none with a point/,
    ],
    [
      'text for numbers',
      { '/map/libraries.geojson': geojson({ type: 'Feature', geometry: { type: 'Point', coordinates: ['1', '2'] } }) },
      /none with a point/,
    ],
    ['points off the earth', { '/map/libraries.geojson': geojson(feature(500, 91)) }, /none with a point/],
    [
      'data off the site',
      { '/map/': map('<div id="libraries-map" data-map-data-url="https://x.example/d"></div>') },
      /off the site/,
    ],
    ['cut data', { '/map/libraries.geojson': cut('application/json', '{"type":"FeatureCollection"') }, /cut after/],
  ],
  admin: [
    ['an error', { '/admin/': html('<h1>Oh</h1>', { status: 500 }) }, /\/admin\/ answered 500/],
    ['a dashboard without login', { '/admin/': html('<h1>Site administration</h1>') }, /without asking for a login/],
    [
      'a dashboard with a password form',
      { '/admin/': html(`<a href="/admin/logout/">Log out</a>${LOGIN_FORM}`) },
      /without asking/,
    ],
    [
      'a login that fails',
      { '/admin/login/': html('<h1>Oh</h1>', { status: 500 }) },
      /\/admin\/login\/\S* answered 500/,
    ],
    ['a login without a form', { '/admin/login/': html('<h1>Hi</h1>') }, /no form with a password/],
    ['a redirect to the homepage', { '/admin/': redirect('/') }, /no login page/],
    ['a redirect off the site', { '/admin/': redirect('https://sso.example/login/') }, /off the site/],
    ['a login that redirects to itself', { '/admin/login/': redirect('/admin/login/?next=/admin/') }, /redirect loop/],
  ],
  health: [
    ['a broken database', { '/health/': json({ status: 'error' }, 503) }, /answered 503: {"status":"error"}/],
    ['an error that answers 200', { '/health/': json({ status: 'error' }) }, /does not say status: ok/],
    ['HTML', { '/health/': html('ok') }, /text\/html, not JSON/],
    ['JSON of another type', { '/health/': answer(200, 'text/html', '{"status":"ok"}') }, /not JSON/],
    ['text that is not JSON', { '/health/': answer(200, 'application/json', 'ok') }, /no JSON object: ok/],
    ['a bare string', { '/health/': json('ok') }, /no JSON object/],
    ['an empty body', { '/health/': answer(200, 'application/json', '') }, /empty body/],
    ['not quite ok', { '/health/': json({ status: 'okay' }) }, /does not say/],
    [
      'control characters',
      { '/health/': answer(500, 'application/json', '\u001b[2J\n::error::x') },
      /answered 500: \?\[2J ::error::x$/,
    ],
  ],
}

const breakage = suite('what does not work is red')
let site: Site
breakage.before(async () => {
  site = await startSite()
})
breakage.after.each(() => site.mend())
breakage.after(() => site.stop())
for (const [name, cases] of Object.entries(BROKEN))
  for (const [promise, broken, seen] of cases)
    breakage(`${name}: ${promise}`, async () => {
      assert.match(await look(site, name), /^pass/)
      for (const [path, handler] of Object.entries(broken)) site.set(path, handler)
      const saw = await look(site, name)
      assert.match(saw, seen)
      assert.match(saw, /^fail/)
    })

breakage('a body that drips is not waited for', async () => {
  const started = performance.now()
  for (const [name, path] of [
    [HOME, '/'],
    ['static CSS', '/static/css/app.css'],
    ['health', '/health/'],
  ] as const) {
    site.set(path, drip('text/html'))
    assert.match(await look(site, name, 300), /answered 200, but was not complete after \d+ ms \(\d+ B came\)/)
  }
  assert.ok(performance.now() - started < 6000)
})

const SLOW_TO_READ: [name: string, path: string, type: string, start: string, piece: string][] = [
  ...['<h1>a', '<title>', '<script>', '<!--', '<a b="', '</html ', '&#'].map(
    (piece) => [HOME, '/', 'text/html', '<html>', piece] as [string, string, string, string, string],
  ),
  [HOME, '/', 'text/html', '<html><h1>', 'apache2 '],
  ...['url(', '"\\', "'\\", '/*', '"'].map(
    (piece) =>
      ['static CSS', '/static/css/app.css', 'text/css', 'a{b:c}', piece] as [string, string, string, string, string],
  ),
]
for (const [name, path, type, start, piece] of SLOW_TO_READ)
  breakage(`${name}: a megabyte of ${piece} takes no more time than any other`, async () => {
    site.set(path, answer(200, type, start + piece.repeat(1_000_000 / piece.length)))
    const started = performance.now()
    await look(site, name)
    assert.ok(performance.now() - started < 10_000, String(performance.now() - started))
  })

breakage('an answer that never begins is not waited for', async () => {
  site.set('/health/', () => {})
  assert.match(await look(site, 'health', 200), /no answer in 2\d\d ms/)
})
breakage.run()

const tolerance = suite('what works is green')
tolerance.before(async () => {
  site = await startSite()
})
tolerance.after.each(() => site.mend())
tolerance.after(() => site.stop())
const GOOD: [promise: string, name: string, routes: Record<string, Handler>, seen?: RegExp][] = [
  [
    'attributes in any order, unquoted, in upper case',
    HOME,
    { '/': styled('<LINK HREF=/static/css/app.css REL=StyleSheet>') },
  ],
  [
    'a hashed name with entities',
    HOME,
    {
      '/': styled(`<link href='/static/css/app.1a2b.css?a=1&amp;b=2' rel='preload stylesheet'>`),
      '/static/css/app.1a2b.css': answer(200, 'text/css', CSS),
    },
    /app.1a2b.css/,
  ],
  [
    'a foreign stylesheet beside the own',
    HOME,
    {
      '/': styled(
        '<link rel=stylesheet href=https://unpkg.com/leaflet.css><link rel=stylesheet href=/static/css/app.css>',
      ),
    },
  ],
  [
    'a redirect on the site',
    HOME,
    { '/': redirect('/en/', 301), '/en/': styled('<link rel=stylesheet href=../static/css/app.css>') },
  ],
  [
    'what a proxy adds after the end',
    HOME,
    { '/': page('<html><link rel=stylesheet href=/static/css/app.css><h1>Hi</h1></html><script src=/x.js></script>') },
  ],
  [
    'tags that HTML lets one leave out',
    HOME,
    { '/': page('<link rel=stylesheet href=/static/css/app.css><h1>Hi</h1>') },
  ],
  [
    'a base for addresses',
    HOME,
    { '/': styled('<base href=/static/x><link rel=stylesheet href=css/app.css>') },
    /stylesheet \/static\/css\/app.css/,
  ],
  ['rules in another file', 'static CSS', { '/static/css/app.css': answer(200, 'text/css', '@import "/b.css";') }],
  [
    'braces in strings and addresses',
    'static CSS',
    { '/static/css/app.css': answer(200, 'TEXT/CSS', `a{content:"{"} b{background:url(data:x,{)} /* { */`) },
  ],
  [
    'a stylesheet without a cache',
    'static CSS',
    { '/static/css/app.css': answer(200, 'text/css', CSS) },
    /not through a cache/,
  ],
  ['what the cache says', 'static CSS', {}, /cf-cache-status HIT, age 42 s/],
  [
    'a login that lives elsewhere',
    'login page',
    { '/login/': redirect('/accounts/login/'), '/accounts/login/': html(LOGIN_FORM) },
    /at \/accounts\/login\//,
  ],
  [
    'a form without a word beside it',
    'login page',
    {
      '/login/': page(
        '<html><form><input name=csrfmiddlewaretoken value=a1><INPUT TYPE=Password name=password></form></html>',
      ),
    },
  ],
  [
    'nothing but the map, and its data relative to the base',
    'map with markers',
    {
      '/map/': page(
        '<html><base href=/map/a/><div id=libraries-map data-map-data-url=../libraries.geojson></div></html>',
      ),
    },
    /libraries.geojson has 4 points/,
  ],
  [
    'a data address with entities',
    'map with markers',
    {
      '/map/': map(`<DIV data-map-data-url='/data?a=1&amp;b=2' ID=libraries-map></DIV>`),
      '/data': geojson(feature(1, 2), { type: 'Feature', geometry: null }),
    },
    /\/data\?a=1&b=2 has 1 point,/,
  ],
  [
    'GeoJSON by its own type',
    'map with markers',
    {
      '/map/libraries.geojson': answer(
        200,
        'application/geo+json',
        JSON.stringify({ type: 'FeatureCollection', features: [feature(0, 0)] }),
      ),
    },
    /1 point/,
  ],
  [
    "the zoom that the page's script would ask for",
    'map with markers',
    { '/map/': map('<div id="libraries-map" data-default-zoom="5" data-map-data-url="/map/libraries.geojson"></div>') },
    /geojson\?zoom=5 has/,
  ],
  ['an admin that asks at its own address', 'admin', { '/admin/': html(LOGIN_FORM) }, /asks for a login/],
  ["an admin that uses the site's login", 'admin', { '/admin/': redirect('/login/?next=/admin/') }, /at \/login\//],
]
for (const [promise, name, routes, seen = /^pass/] of GOOD)
  tolerance(`${name}: ${promise}`, async () => {
    for (const [path, handler] of Object.entries(routes)) site.set(path, handler)
    const saw = await look(site, name)
    assert.match(saw, /^pass/)
    assert.match(saw, seen)
  })
tolerance('requests name the tool and carry nothing secret', async () => {
  await look(site, 'map with markers')
  const { headers } = site.requests.at(-1) as Site['requests'][number]
  assert.match(headers['user-agent'] ?? '', /^book-corners-ops\/\d+\.\d+\.\d+ \(\+verify\)$/)
  for (const name of ['cookie', 'authorization', 'referer']) assert.is(headers[name], undefined)
})
tolerance.run()

const tries = suite('tries')

function run(check: Partial<Check>, timeoutMs: number, options = {}): Promise<CheckResult> {
  return runCheck(
    { name: 'x', run: async () => ({ verdict: 'pass', seen: 'ok' }), ...check },
    { deadlineMs: performance.now() + timeoutMs, patienceMs: timeoutMs / 4, signal: never, ...options },
  )
}

/** Fails with the words, then passes. */
function flaky(...words: string[]): Check['run'] {
  return async () => {
    const word = words.shift()
    if (word !== undefined) throw new Unexpected(word)
    return { verdict: 'pass', seen: 'ok' }
  }
}

function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Unexpected('no answer'))))
}

tries('a container that is still starting is not a red', async () => {
  const retried: string[] = []
  const result = await run({ run: flaky('502', 'refused') }, 5000, {
    onRetry: ({ seen, tries }: CheckResult) => retried.push(`${tries} ${seen}`),
  })
  assert.is(result.verdict, 'pass')
  assert.is(result.tries, 3)
  assert.equal(retried, ['1 502', '2 refused'])
})
tries('what goes on failing fails with what was seen last, at the end of the time', async () => {
  const started = performance.now()
  const result = await run({ run: flaky(...Array.from({ length: 50 }, (_, i) => `no ${i}`)) }, 1500)
  const tookMs = performance.now() - started
  assert.is(result.verdict, 'fail')
  assert.ok(result.tries >= 3 && result.tries <= 8, String(result.tries))
  assert.is(result.seen, `no ${result.tries - 1}`)
  assert.ok(tookMs > 1200 && tookMs < 2500, String(tookMs))
})
tries('one try that hangs does not cost the whole time', async () => {
  let count = 0
  const started = performance.now()
  const result = await run({ run: (signal) => (++count === 1 ? hang(signal) : flaky()(signal)) }, 2000)
  assert.is(result.verdict, 'pass')
  assert.is(result.tries, 2)
  assert.ok(performance.now() - started < 1900)
})
tries('an answer slower than that patience is still taken', async () => {
  const slow = (): Promise<{ verdict: 'pass'; seen: string }> =>
    new Promise((resolve) => setTimeout(() => resolve({ verdict: 'pass', seen: 'slow' }), 1000))
  const result = await run({ run: slow }, 2000)
  assert.is(result.verdict, 'pass')
  assert.ok(result.tookMs > 950 && result.tookMs < 1900)
})
tries('of tries that hang none is given up for one that has just begun', async () => {
  const waited: number[] = []
  const result = await run(
    {
      run: (signal) => {
        const started = performance.now()
        return hang(signal).finally(() => waited.push(performance.now() - started))
      },
    },
    2000,
  )
  assert.is(result.tries, 4)
  assert.ok((waited[0] ?? 0) > 1400, String(waited))
})
tries('what hangs for ever ends with the time', async () => {
  const started = performance.now()
  const deaf = await run({ run: () => new Promise(() => {}) }, 500)
  const hearing = await run({ run: hang }, 500)
  assert.equal([deaf.verdict, hearing.verdict, hearing.seen], ['fail', 'fail', 'no answer'])
  assert.ok(performance.now() - started < 3000)
})
tries('what can not heal is not tried again', async () => {
  const result = await run({ run: () => Promise.reject(new Unexpected('expired', true)) }, 3000)
  assert.equal([result.verdict, result.tries], ['fail', 1])
})
tries('a bug is not taken for a red', async () => {
  try {
    await run({ run: () => Promise.reject(new TypeError('x is not a function')) }, 3000)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, TypeError)
  }
})
tries('an interruption ends the waiting at once', async () => {
  const controller = new AbortController()
  setTimeout(() => controller.abort(new Error('Ctrl-C')), 100)
  const started = performance.now()
  const aborted: boolean[] = []
  try {
    await run({ run: (signal) => hang(signal).finally(() => aborted.push(signal.aborted)) }, 5000, {
      signal: controller.signal,
    })
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).message, 'Ctrl-C')
  }
  assert.ok(performance.now() - started < 2500)
  await new Promise(setImmediate)
  assert.equal(aborted, [true])
})
tries('pauses double, spread, and never use up the time', () => {
  assert.equal(
    [1, 2, 3, 4, 5, 9].map((n) => pauseMs(n, 60_000, 0.5)),
    [500, 1000, 2000, 4000, 5000, 5000],
  )
  assert.equal([pauseMs(1, 60_000, 0), pauseMs(1, 60_000, 1)], [375, 625])
  assert.is(pauseMs(5, 600, 0.5), 300)
})
tries.run()

const whole = suite('verifySite')
whole.before(async () => {
  site = await startSite()
})
whole.after.each(() => site.mend())
whole.after(() => site.stop())
const options = { timeoutMs: 2000, signal: never }
const release = { sha: SHA, revision: undefined, processes: 'web.1 running', running: true }

whole('a healthy site is green, with each check once and in order', async () => {
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
whole('a check that passed is not repeated while another one is tried again', async () => {
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
whole('a site that is down is red within the time', async () => {
  const gone = await startSite()
  await gone.stop()
  const started = performance.now()
  const results = await verifySite({ ...options, timeoutMs: 1000, url: gone.url })
  assert.is(failedChecks(results).length, 6)
  assert.match(results[0]?.seen ?? '', /connection refused/)
  assert.ok(performance.now() - started < 3000)
})
whole('a site where everything hangs is red within the time', async () => {
  for (const path of ['/', '/static/css/app.css', '/login/', '/map/', '/admin/', '/health/']) site.set(path, () => {})
  const started = performance.now()
  const results = await verifySite({ ...options, timeoutMs: 1000, url: site.url })
  assert.is(failedChecks(results).length, 6)
  assert.match(results[0]?.seen ?? '', /no answer in/)
  assert.ok(performance.now() - started < 3000)
})
whole('the release is the expected one, whole or abbreviated, in either case', async () => {
  for (const expectSha of [SHA, SHA.slice(0, 7), SHA.slice(0, 10).toUpperCase()]) {
    const results = await verifySite({ ...options, url: site.url, expectSha, release: async () => release })
    assert.is(results.at(-1)?.verdict, 'pass')
    assert.is(results.at(-1)?.seen ?? '', 'runs 01234567, web.1 running')
  }
})
const RELEASES: [
  string,
  () => Promise<typeof release | (Omit<typeof release, 'sha'> & { sha: undefined })>,
  RegExp,
  number?,
][] = [
  ['another commit', async () => ({ ...release, sha: SHA.replace('0', 'f') }), /runs f1234567, .*; expected 01234567/],
  ['a dead process', async () => ({ ...release, processes: 'web.1 exited', running: false }), /web.1 exited/],
  ['no commit', async () => ({ ...release, sha: undefined }), /does not say/],
  ['a refused key', () => Promise.reject(new SshFailure('login', 'not accepted', '')), /not accepted/, 1],
  ['an unreachable host', () => Promise.reject(new SshFailure('unreachable', 'away', '')), /away/],
]
for (const [promise, ask, seen, tried] of RELEASES)
  whole(`a release is red: ${promise}`, async () => {
    const results = await verifySite({ ...options, timeoutMs: 700, url: site.url, expectSha: SHA, release: ask })
    assert.is(results.at(-1)?.verdict, 'fail')
    assert.match(results.at(-1)?.seen ?? '', seen)
    if (tried) assert.is(results.at(-1)?.tries, tried)
  })
whole('zero checks are not green, nor are skipped ones alone', () => {
  const skipped: CheckResult = { name: 'x', verdict: 'skip', seen: '', tookMs: 0, tries: 0 }
  assert.equal(
    [isGreen([]), isGreen([skipped]), isGreen([skipped, { ...skipped, verdict: 'warn' }])],
    [false, false, true],
  )
})
whole('TLS is skipped for http:// alone', () => {
  const skip = (url: string): boolean =>
    checksFor({ ...options, url }).find(({ name }) => name === 'TLS')?.skip !== undefined
  assert.equal([skip('http://localhost:1'), skip('https://localhost:1')], [true, false])
})
const PLAIN: [string, Handler, RegExp][] = [
  ['a redirect to the same host', redirect('https://site.example/', 301), /^plain HTTP redirects to HTTPS \(301\)$/],
  ['a page', html('<h1>Hi</h1>'), /answered 200 instead/],
  ['a redirect that stays on http', redirect('http://site.example/x'), /redirects to http:/],
  ['a redirect to another host', redirect('https://other.example/'), /redirects to https:\/\/other/],
]
for (const [promise, handler, seen] of PLAIN)
  whole(`plain HTTP with ${promise}`, async () => {
    site.set('/', handler)
    const saw = await plainRedirect(new URL(site.url), new URL('https://site.example'), never).catch(
      (error: Error) => error.message,
    )
    assert.match(saw, seen)
  })
whole.run()
