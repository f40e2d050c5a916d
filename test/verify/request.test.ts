import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { cut, cutChunks, drip, flood, json, redirect, type Site, styled } from '../support/site.ts'
import { type Broken, HOME, look, lookAt, siteOf } from '../support/verify.ts'

const test = suite('requests')
const site = await siteOf(test)

const BROKEN: Broken[] = [
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
  ['a connection hung up', { '/': ({ socket }) => void socket.destroy() }, /closed the connection|reset/],
  ['a page larger than the bound', { '/': flood('text/html') }, /larger than 5.00 MB: cut/],
]
for (const [promise, routes, seen] of BROKEN)
  test(`red: ${promise}`, async () => {
    const saw = await lookAt(site, HOME, routes)
    assert.match(saw, seen)
    assert.match(saw, /^fail/)
  })

test('a redirect on the site is followed', async () => {
  assert.match(
    await lookAt(site, HOME, {
      '/': redirect('/en/', 301),
      '/en/': styled('<link rel=stylesheet href=../static/css/app.css>'),
    }),
    /^pass/,
  )
})

test('a body that drips is not waited for', async () => {
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
test('an answer that never begins is not waited for', async () => {
  site.set('/health/', () => {})
  assert.match(await look(site, 'health', 200), /no answer in 2\d\d ms/)
})
test('early hints, as Cloudflare sends them, are no answer', async () => {
  site.set('/health/', (request, response) => {
    response.writeEarlyHints({ link: '</static/css/app.css>; rel=preload; as=style' })
    setTimeout(() => json({ status: 'ok' })(request, response), 20)
  })
  assert.match(await look(site, 'health'), /^pass/)
})
test('requests name the tool and carry nothing secret', async () => {
  await look(site, 'map with markers')
  const { headers } = site.requests.at(-1) as Site['requests'][number]
  assert.match(headers['user-agent'] ?? '', /^book-corners-ops\/\d+\.\d+\.\d+ \(\+verify\)$/)
  for (const name of ['cookie', 'authorization', 'referer']) assert.is(headers[name], undefined)
})
test.run()
