import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { processorMs } from '../support/processor-time.ts'
import { answer, CSS, cut, cutSilently, html, page, redirect, styled } from '../support/site.ts'
import { type Broken, type Good, HOME, look, lookAt, siteOf } from '../support/verify.ts'

const test = suite('pages and stylesheets')
const site = await siteOf(test)

const BROKEN: Broken[] = [
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
  ['a proxy error', { '/': page('<html><body><center>502 Bad Gateway</center></body></html>') }, /error page/],
  ['an empty body', { '/': page('') }, /empty body/],
  ['nothing but blanks', { '/': page(' \n ') }, /empty body/],
  ['another content type', { '/': answer(200, 'application/octet-stream', '<html></html>') }, /octet-stream, not HTML/],
  [
    'no content type',
    { '/': (_, response) => void response.writeHead(200).end('<html>x</html>') },
    /of no content type/,
  ],
]
for (const [promise, routes, seen] of BROKEN)
  test(`red: ${promise}`, async () => {
    const saw = await lookAt(site, HOME, routes)
    assert.match(saw, seen)
    assert.match(saw, /^fail/)
  })

// A page that says how long it is, or where it ends, is told cut by that. These say nothing.
for (const [cutIn, text] of [
  ['a tag', '<html><link rel=stylesheet href=/static/css/app.css><h1>Hi</h1><div class="car'],
  ['a tag', '<html><link rel=stylesheet href=/static/css/app.css><h1>Hi</h1></di'],
  ['a comment', '<html><link rel=stylesheet href=/static/css/app.css><h1>Hi</h1><!-- foot'],
  ['<script>', '<html><link rel=stylesheet href=/static/css/app.css><h1>Hi</h1><script>fetch('],
  ['<title>', '<html><link rel=stylesheet href=/static/css/app.css><title>Book Cor'],
] as const)
  test(`red: cut without a trace in ${cutIn}: ${text.slice(-8)}`, async () => {
    const saw = await lookAt(site, HOME, { '/': cutSilently('text/html', text) })
    assert.is(saw, `fail / is cut short: it ends inside ${cutIn}`)
  })
test('what ends between two elements can not be told from a whole page, and is not red', async () => {
  const text = '<html><link rel=stylesheet href=/static/css/app.css><body><h1>Hi</h1><p>Books'
  assert.match(await lookAt(site, HOME, { '/': cutSilently('text/html', text) }), /^pass/)
})

const BROKEN_CSS: Broken[] = [
  [
    'rules in another file that is gone',
    { '/static/css/app.css': answer(200, 'text/css', '@import "/b.css";') },
    /\/b.css answered 404/,
  ],
  [
    'files that import each other',
    { '/static/css/app.css': answer(200, 'text/css', '@import "app.css";') },
    /holds no rule/,
  ],
  ['missing', { '/static/css/app.css': answer(404, 'text/css', CSS) }, /answered 404/],
  ['HTML with 200', { '/static/css/app.css': html('<h1>Hi</h1>') }, /text\/html, not text\/css/],
  ['HTML that calls itself CSS', { '/static/css/app.css': answer(200, 'text/css', '<html>{}</html>') }, /is HTML/],
  ['empty', { '/static/css/app.css': answer(200, 'text/css', '') }, /is empty/],
  ['nothing but a comment', { '/static/css/app.css': answer(200, 'text/css', '/* a {} */') }, /no rule/],
  ['cut', { '/static/css/app.css': cut('text/css', 'a { color: red }') }, /cut after 16 B of 32 B/],
  ['cut without a trace', { '/static/css/app.css': cutSilently('text/css', 'a { color: red } b { col') }, /cut short/],
  ['off the site', { '/static/css/app.css': redirect('https://cdn.example/app.css') }, /off the site/],
]
for (const [promise, routes, seen] of BROKEN_CSS)
  test(`red stylesheet: ${promise}`, async () => {
    const saw = await lookAt(site, 'static CSS', routes)
    assert.match(saw, seen)
    assert.match(saw, /^fail/)
  })

const GOOD: Good[] = [
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
  [
    'rules in another file',
    'static CSS',
    {
      '/static/css/app.css': answer(200, 'text/css', '@import "../b.css";'),
      '/static/b.css': answer(200, 'text/css', CSS),
    },
  ],
  [
    'rules on another site, which is not judged',
    'static CSS',
    { '/static/css/app.css': answer(200, 'text/css', '@import url(https://fonts.example/a.css);') },
  ],
  [
    'braces in strings and addresses',
    'static CSS',
    { '/static/css/app.css': answer(200, 'TEXT/CSS', `a{content:"{"} b{background:url(data:x,{)} /* { */`) },
  ],
]
for (const [promise, name, routes, seen = /^pass/] of GOOD)
  test(`green: ${name}: ${promise}`, async () => {
    const saw = await lookAt(site, name, routes)
    assert.match(saw, /^pass/)
    assert.match(saw, seen)
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
  test(`${name}: a megabyte of ${piece} takes no more time than any other`, async () => {
    site.set(path, answer(200, type, start + piece.repeat(1_000_000 / piece.length)))
    const startedMs = processorMs()
    await look(site, name, 30_000)
    assert.ok(processorMs() - startedMs < 3000, String(processorMs() - startedMs))
  })
test.run()
