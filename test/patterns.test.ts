// Every pattern of lib/ and scripts/ against long texts: whatever it meets from outside, its time grows as the text does.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const PROJECT = fileURLToPath(new URL('..', import.meta.url))
const LENGTH = 60_000
/** Of the processor. A pattern that takes the square of that length takes hundreds; one that does not, a few. */
const MOST_MS = 100

const test = suite('the patterns')

interface Pattern {
  where: string
  source: string
  flags: string
}

/** The regular expressions in a file: those that begin where an expression can. */
function patternsIn(file: string): Pattern[] {
  return readFileSync(join(PROJECT, file), 'utf8')
    .split('\n')
    .flatMap((line, index) => {
      if (/^\s*(\/\/|\*|\/\*)/.test(line)) return []
      const found = line.matchAll(
        /(?<=[(,=:!&|?[{;] ?|^\s*|return )\/((?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\[])+)\/([dgimsuvy]*)(?=[\s.,;)\]:]|$)/g,
      )
      return [...found].map(([, source = '', flags = '']) => ({ where: `${file}:${index + 1}`, source, flags }))
    })
}

/** Pieces of which a text may be made on which a pattern fails late, again and again: what it looks for, and what may repeat in it. */
function piecesFor(source: string): string[] {
  // What is escaped stands for itself: it is no mark at which the pattern is taken apart.
  const hidden = (sign: string): string => String.fromCharCode(0xe000 + sign.charCodeAt(0))
  const plain = source
    .replace(/\\[sS]|\\u[0-9a-f]{4}|\\[nrtf0]/g, ' ')
    .replace(/\\d/g, '1')
    .replace(/\\[wW]/g, 'a')
    .replace(/\\[bB]|\(\?<?[:=!]/g, '')
    .replace(/\\(.)/g, (_, sign: string) => hidden(sign))
  const literals = plain
    .split(/[|()[\]{}^$*+?]|\.(?=[*+])/)
    .filter((piece) => piece.length > 0)
    .map((piece) => piece.replace(/[\ue000-\ue0ff]/g, (sign) => String.fromCharCode(sign.charCodeAt(0) - 0xe000)))
  return [...new Set([' ', '1', '/', '.', '\n', '"', ' a', 'a', ...literals.flatMap((piece) => [piece, `${piece}a`])])]
}

function slowest({ source, flags }: Pattern): { piece: string; ms: number } {
  const pattern = new RegExp(source, flags)
  let worst = { piece: '', ms: 0 }
  for (const piece of piecesFor(source)) {
    const text = `${pattern.sticky ? '' : 'x'}${piece.repeat(LENGTH / piece.length)}\u0000`
    const before = process.cpuUsage()
    text.replace(pattern, '')
    const ms = process.cpuUsage(before).user / 1000
    if (ms > worst.ms) worst = { piece, ms }
    if (ms > MOST_MS) break
  }
  return worst
}

test('a pattern that takes the square of a length is found', () => {
  for (const source of [/(\w+:\/\/[^\s:/@]*):[^\s@]+@/, /\s+#.*$/, /App .* does not exist/, /\/\*[\s\S]*?\*\//])
    assert.ok(slowest({ where: '', source: source.source, flags: '' }).ms > MOST_MS, source.source)
})

test('no pattern takes the square of the length of what it meets', () => {
  const files = ['lib', 'scripts'].flatMap((folder) =>
    readdirSync(join(PROJECT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name)),
  )
  const patterns = files.flatMap(patternsIn)
  assert.ok(patterns.length > 150, String(patterns.length))
  // Without a part that may be of any length there is nothing to be slow on.
  const slow = patterns.flatMap((pattern) => {
    if (!/[*+]|\{\d+,/.test(pattern.source)) return []
    const { piece, ms } = slowest(pattern)
    return ms > MOST_MS
      ? [`${pattern.where} /${pattern.source}/ on ${JSON.stringify(piece)}: ${Math.round(ms)} ms`]
      : []
  })
  assert.equal(slow, [])
})

test.run()
