import { readdirSync, readFileSync } from 'node:fs'
import { brotliCompressSync, brotliDecompressSync, gzipSync } from 'node:zlib'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readCss } from '../../lib/verify/css.ts'
import { processorMs } from '../support/processor-time.ts'
import { answer, type Handler } from '../support/site.ts'
import { lookAt, siteOf } from '../support/verify.ts'

const test = suite('CSS')
const FOLDER = new URL('fixtures/', import.meta.url)
const PATH = '/static/css/app.css'
const site = await siteOf(test)

const WHOLE = [
  `a{b:url("f(1)'x")}c{d:e}`,
  `a{b:url('data:image/svg+xml,%3Csvg fill="(") {')}`,
  'a{b:url( "x)" )}',
  'a{b:url(f\\)x{)}',
  'a{b:url(data:x,{)} /* { */',
  'a{content:"{"}',
  'a{content:"\\"{"}',
  'a{content:"one\\\n{two"}',
  // A string that a line break ends is thrown away, and what follows is read.
  'a{content:"one\n}b{c:d}',
  '.w-\\[calc\\(1\\{\\)\\]{a:b}',
  'a{b:image-url(x})}',
  "a{filter:progid:DX.gradient(startColorstr='#80000000',endColorstr='#80000000')}",
  'a{b:c}}d{e:f}',
  '@media (min-width:1px){a{b:c}};',
  '@import "x;y";',
  'a{b:c}@import "x"',
  'a{b:c}/*# sourceMappingURL=app.css.map */\n',
  '<!-- a{b:c} -->',
]
for (const css of WHOLE) test(`whole: ${css}`, () => assert.is(readCss(css).open, undefined))

const CUT: [css: string, open: string][] = [
  ['a{b:c', 'rule'],
  ['a{b:c}.d', 'rule'],
  ['a{b:c}[d=e]', 'rule'],
  ['@media print{a{b:c}', 'rule'],
  ['a{b:rgb(1,2', 'rule'],
  // A bracket that is not closed swallows all that follows.
  ['a{b:rgb(1,2;}c{d:e}', 'rule'],
  ['a{b:"c', 'string'],
  ["a{b:url('c", 'string'],
  ['a{b:url(c', 'address'],
  ['a{b:c}/* d }', 'comment'],
  ['a{b:\\', 'rule'],
]
for (const [css, open] of CUT) test(`cut: ${css}`, () => assert.is(readCss(css).open, open))

test('what a stylesheet sets, and what it imports', () => {
  assert.equal(
    ['a{b:c}', 'a{}', 'a:hover{}', '', '/* a{b:c} */', '@charset "utf-8";'].map((css) => readCss(css).hasDeclaration),
    [true, false, false, false, false, false],
  )
  assert.equal(
    readCss(`@import "a";@import url(b) print;@import url('c');@IMPORT\n"d" layer(x);a{b:"@import 'e'"}`).imports,
    ['a', 'b', 'c', 'd'],
  )
})

for (const piece of ['url(', 'url( ', '"\\', "'\\", '/*', '"', '/', 'u', '@import "', '{', '[{(', ':', '\\', ' ', 'a'])
  test(`a megabyte of ${piece} takes no more time than any other`, () => {
    const startedMs = processorMs()
    readCss(`a{b:c}${piece.repeat(1_000_000 / piece.length)}`)
    assert.ok(processorMs() - startedMs < 3000, String(processorMs() - startedMs))
  })

function encoded(encoding: string, body: Buffer): Handler {
  return answer(200, 'text/css; charset="utf-8"', body, {
    ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }),
    'content-length': String(body.length),
  })
}

/** Where a stylesheet is cut: in the middle of a rule, an address, a string and a comment, and of the whole. */
function cutsOf(css: string): number[] {
  const inside = [/\{[^{}]+:/, /url\(["']?data:image/, /[:(]["'][^"'\n]{3}/, /\/\*!/].map((pattern) =>
    pattern.exec(css),
  )
  return inside.flatMap((match) => (match ? [match.index + match[0].length] : []))
}

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.br'))) {
  const css = brotliDecompressSync(readFileSync(new URL(file, FOLDER)))
  const text = css.toString()
  test(`${file}: green as it is, plain, and compressed`, async () => {
    for (const [encoding, body] of [
      ['identity', css],
      ['gzip', gzipSync(css)],
      ['br', readFileSync(new URL(file, FOLDER))],
    ] as const)
      assert.match(
        await lookAt(site, 'static CSS', { [PATH]: encoded(encoding, body) }),
        /^pass 200, text\/css/,
        encoding,
      )
  })
  test(`${file}: red where it is cut, before it was compressed and after`, async () => {
    for (const at of cutsOf(text)) {
      const part = Buffer.from(text.slice(0, at))
      for (const [encoding, body] of [
        ['identity', part],
        ['gzip', gzipSync(part)],
        ['br', brotliCompressSync(part)],
      ] as const)
        assert.match(
          await lookAt(site, 'static CSS', { [PATH]: encoded(encoding, body) }),
          /^fail .*is cut short: its last \w+ is not closed/,
          `${encoding} at ${at}`,
        )
    }
    for (const [encoding, body] of [
      ['gzip', gzipSync(css)],
      ['br', readFileSync(new URL(file, FOLDER))],
    ] as const)
      for (const share of [0.1, 0.5, 0.99])
        assert.match(
          await lookAt(site, 'static CSS', {
            [PATH]: encoded(encoding, body.subarray(0, Math.floor(body.length * share))),
          }),
          new RegExp(`^fail .*is cut short inside its compression \\(${encoding}\\)`),
        )
  })
  test(`${file}: red where a bracket in it is lost, or nothing of it is left`, async () => {
    // The one that ends the last rule: what is swallowed by it reaches to the end.
    const broken = `${text.slice(0, text.lastIndexOf('}'))}`
    assert.match(await lookAt(site, 'static CSS', { [PATH]: answer(200, 'text/css', broken) }), /^fail .*not closed/)
    assert.match(await lookAt(site, 'static CSS', { [PATH]: answer(200, 'text/css', '') }), /^fail .*is empty/)
    const scrambled = Buffer.from(gzipSync(css))
    scrambled.fill(0, 100, 200)
    assert.match(
      await lookAt(site, 'static CSS', { [PATH]: encoded('gzip', scrambled) }),
      /^fail .*inside its compression/,
    )
  })
}

test('a source that the build did not touch is red', async () => {
  const source = '@import "tailwindcss";\n@plugin "daisyui";\n'
  assert.match(
    await lookAt(site, 'static CSS', { [PATH]: answer(200, 'text/css', source) }),
    /^fail \/static\/css\/tailwindcss answered 404/,
  )
})
test('an encoding that was not asked for is told', async () => {
  assert.match(
    await lookAt(site, 'static CSS', { [PATH]: encoded('zstd', Buffer.from('x')) }),
    /^fail .*encoded as zstd, which was not asked for/,
  )
})
test.run()
