import { brotliCompressSync, gzipSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  answer,
  CSS,
  cut,
  feature,
  geojson,
  html,
  json,
  LOGIN_FORM,
  MAP_BODY,
  map,
  page,
  redirect,
  styled,
} from '../support/site.ts'
import { type Broken, type Good, HOME, look, lookAt, siteOf } from '../support/verify.ts'

const test = suite('what the site serves')
const site = await siteOf(test)

const BROKEN: Record<string, Broken[]> = {
  [HOME]: [
    [
      'a page without text',
      { '/': page('<html><head><title>x</title></head><body><!-- hi --></body></html>') },
      /shows no text/,
    ],
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
for (const [name, cases] of Object.entries(BROKEN))
  for (const [promise, routes, seen] of cases)
    test(`red: ${name}: ${promise}`, async () => {
      assert.match(await look(site, name), /^pass/)
      const saw = await lookAt(site, name, routes)
      assert.match(saw, seen)
      assert.match(saw, /^fail/)
    })

/** As html-minifier-terser leaves a page: without the end tags and quotes that HTML does not need. */
function minified(title: string, body: string): string {
  return `<!doctype html><html data-theme=light lang=en><meta charset=utf-8><link href=/static/images/logo.png rel=icon><title>${title} - Book Corners</title><link href=/static/css/app.css rel=stylesheet><body class="flex min-h-screen"><nav class=navbar><ul><li><a href=/ >Home</a><li><a href=/map/ >Map</a></ul></nav><main class="mx-auto w-full">${body}</main><footer><form action=/i18n/setlang/ method=post><input name=csrfmiddlewaretoken type=hidden value=abc><button type=submit>Italiano</button></form></footer>`
}

// Words of trouble on pages that work.
const BANNERS: Good[] = [
  'Scheduled maintenance on Sunday',
  'Planned maintenance: Sunday, 3:00 to 5:00',
  'The map will be down for maintenance on Sunday',
  'We had a server error last night: it is repaired',
  'Error 500 on upload? Write to us',
].flatMap((words): Good[] => [
  [`a banner: ${words}`, HOME, { '/': html(`<div role=alert>${words}</div><h1>Find a library</h1>`) }],
  [`a heading: ${words}`, HOME, { '/': html(`<h1>${words}</h1><h1>Find a library</h1>`) }],
  [`a banner: ${words}`, 'login page', { '/login/': html(`<h1>${words}</h1>${LOGIN_FORM}`, { title: words }) }],
  [`a banner: ${words}`, 'map with markers', { '/map/': html(`<h1>${words}</h1>${MAP_BODY}`) }],
  [`a banner: ${words}`, 'admin', { '/admin/login/': page(`<p>${words}</p>${LOGIN_FORM}`) }],
])
// Django's ManifestStaticFilesStorage, WhiteNoise with KEEP_ONLY_HASHED_FILES, webpack, Vite.
const HASHED: Good[] = [
  '/static/css/app.3f2a1c4b5d6e.css',
  '/static/css/app-3f2a1c4b.css',
  '/static/assets/app-BkT3x_9a.css',
].map((path) => [
  `a hashed name alone: ${path}`,
  'static CSS',
  {
    '/static/css/app.css': answer(404, 'text/html', 'Not Found'),
    '/': styled(`<link rel=stylesheet href=/static/css/other.css><link rel=stylesheet href="${path}">`),
    [path]: answer(200, 'text/css', CSS),
  },
  new RegExp(`as ${path.replaceAll('.', '\\.')}`),
])

const GOOD: Good[] = [
  ...HASHED,
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
  ...BANNERS,
  [
    'a page as a minifier leaves it',
    HOME,
    {
      '/': page(
        minified('Home', '<h1>Share books</h1><form action=/map/ ><input name=near placeholder="City & area"></form>'),
      ),
    },
  ],
  [
    'a form as a minifier leaves it',
    'login page',
    {
      '/login/': page(
        minified(
          'Login',
          '<h1>Log in</h1><form method=post novalidate><input name=csrfmiddlewaretoken type=hidden value=xyz><label>Username <input name=username required></label><label>Password <input name=password type=password required></label><button>Log in</button></form>',
        ),
      ),
    },
  ],
  [
    'a map as a minifier leaves it',
    'map with markers',
    {
      '/map/': page(
        minified(
          'Map',
          '<h1>Explore</h1><div class=h-96 data-default-zoom=5 data-list-data-url="/map/list/?a=1&b=2" data-map-data-url=/map/libraries.geojson id=libraries-map></div>',
        ),
      ),
    },
  ],
  ['values without quotes that hold one', 'login page', { '/login/': page(`<html><p title=it's>${LOGIN_FORM}`) }],
  [
    'a title in a drawing',
    HOME,
    { '/': styled('<link rel=stylesheet href=/static/css/app.css><svg><title>Error 500</title></svg>') },
  ],
  [
    'static files on a host below the site, beside its own',
    HOME,
    {
      '/': styled('<link rel=stylesheet href=//static.127.0.0.1/x.css><link rel=stylesheet href=/static/css/app.css>'),
    },
  ],
  [
    'a stylesheet that is loaded late',
    HOME,
    { '/': styled(`<link rel=preload as=style href=/static/css/app.css onload="this.rel='stylesheet'">`) },
  ],
  [
    'a stylesheet that is for print until it is loaded',
    HOME,
    { '/': styled(`<link rel=stylesheet media=print href=/static/css/app.css onload="this.media='all'">`) },
  ],
  ['an admin that asks at its own address', 'admin', { '/admin/': html(LOGIN_FORM) }, /asks for a login/],
  ["an admin that uses the site's login", 'admin', { '/admin/': redirect('/login/?next=/admin/') }, /at \/login\//],
]
for (const [promise, name, routes, seen = /^pass/] of GOOD)
  test(`green: ${name}: ${promise}`, async () => {
    const saw = await lookAt(site, name, routes)
    assert.match(saw, /^pass/)
    assert.match(saw, seen)
  })
test('one empty stylesheet of several is a warning', async () => {
  const saw = await lookAt(site, HOME, {
    '/': styled('<link rel=stylesheet href=/static/css/app.css><link rel=stylesheet href=/own.css>'),
    '/own.css': answer(200, 'text/css', '/* yours */'),
  })
  assert.match(saw, /^warn .*\/own.css holds no rule/)
})
test('the plain name counts where the homepage links no other, and its own fault is told', async () => {
  const saw = await lookAt(site, 'static CSS', {
    '/static/css/app.css': answer(404, 'text/html', 'Not Found'),
    '/': styled('<link rel=stylesheet href=/static/css/app-theme.css>'),
  })
  assert.is(saw, 'fail /static/css/app.css answered 404')
  const broken = await lookAt(site, 'static CSS', {
    '/': styled('<link rel=stylesheet href=/static/css/app.3f2a1c4b5d6e.css>'),
    '/static/css/app.3f2a1c4b5d6e.css': answer(200, 'text/css', 'a{b:c'),
  })
  assert.match(broken, /^fail \/static\/css\/app.3f2a1c4b5d6e.css is cut short/)
})
test('pages are read as they come, plain and compressed, and are red where they are cut', async () => {
  const routes = { '/': HOME, '/login/': 'login page', '/map/': 'map with markers', '/health/': 'health' }
  for (const [path, name] of Object.entries(routes))
    for (const encode of [gzipSync, brotliCompressSync]) {
      const encoding = encode === gzipSync ? 'gzip' : 'br'
      const good = await fetch(`${site.url}${path}`)
      const type = good.headers.get('content-type') ?? ''
      const body = encode(Buffer.from(await good.arrayBuffer()))
      const headers = { 'content-encoding': encoding }
      assert.match(
        await lookAt(site, name, { [path]: answer(200, type, body, headers) }),
        /^pass/,
        `${path} ${encoding}`,
      )
      const half = answer(200, type, body.subarray(0, body.length / 2), headers)
      assert.match(
        await lookAt(site, name, { [path]: half }),
        /cut short inside its compression/,
        `${path} ${encoding}`,
      )
      site.reset()
    }
})
test.run()
