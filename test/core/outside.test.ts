import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseList } from '../../lib/borg/output.ts'
import { Failure } from '../../lib/core/failure.ts'
import {
  aCount,
  aNumber,
  aText,
  aTime,
  atBest,
  listOf,
  mapOf,
  oneOf,
  optional,
  orNull,
  pairOf,
  readJson,
  record,
  tryJson,
} from '../../lib/core/outside.ts'

const test = suite('what comes from outside')

const SHAPE = record({
  name: aText,
  start: aTime,
  size: aCount,
  kind: oneOf('night', 'point'),
  note: optional(aText),
  sha: orNull(aText),
  guess: atBest(aNumber),
  rows: listOf(pairOf(aText, aCount)),
})
const RIGHT = { name: 'a', start: '2026-02-28T03:00:00', size: 1, kind: 'night', sha: null, rows: [['t', 5]] }

function refusal(json: string): Failure {
  try {
    readJson(json, SHAPE, 'Somebody', 'Look there.')
  } catch (error) {
    assert.instance(error, Failure)
    return error as Failure
  }
  throw new Error('it was read')
}

test('what is right is read, and what nobody asked for is left out', () => {
  const read = readJson(JSON.stringify({ ...RIGHT, guess: 'seven', more: 1, __proto__: null }), SHAPE, 'Somebody')
  assert.equal(read, { ...RIGHT, start: new Date(RIGHT.start) } as typeof read)
})

for (const [what, json, says] of [
  ['no JSON', 'Killed by a proxy', 'Somebody did not answer with JSON, but with: Killed by a proxy'],
  ['nothing', '', 'Somebody did not answer with JSON, but with: nothing'],
  ['JSON that is cut', '{"name":', 'Somebody did not answer with JSON, but with: {"name":'],
  ['noise behind it', `${JSON.stringify(RIGHT)} bye`, /^Somebody did not answer with JSON, but with: \{"name"/],
  ['null', 'null', 'Somebody did not answer as expected: it is not an object, in null'],
  ['a list', '[]', 'Somebody did not answer as expected: it is not an object, in []'],
  ['a key of the prototype', '{"name":"a","__proto__":{"start":1}}', /\.start is not a time/],
  ['a key that is missing', JSON.stringify({ ...RIGHT, size: undefined }), /: \.size is not a whole number, in \{/],
  ['null for a text', JSON.stringify({ ...RIGHT, name: null }), /: \.name is not a text, in/],
  ['a date that is none', JSON.stringify({ ...RIGHT, start: '2026-02-31T99:00' }), /: \.start is not a time, in/],
  ['a word of its own', JSON.stringify({ ...RIGHT, kind: 'x' }), /: \.kind is not night or point, in/],
  ['deep inside', JSON.stringify({ ...RIGHT, rows: [['t', 1], ['u']] }), /: \.rows\[1\] is not a pair, in/],
  [
    'an endless number',
    `${JSON.stringify(RIGHT).slice(0, -2)},["u",1e999]]}`,
    /: \.rows\[1\]\[1\] is not a whole number/,
  ],
  ['nested 20,000 deep', '['.repeat(20_000) + ']'.repeat(20_000), /: it is not an object, in \[{119}…$/],
] as const)
  test(`${what} is told with who said it and what was expected`, () => {
    const { message, hint } = refusal(json)
    if (typeof says === 'string') assert.is(message, says)
    else assert.match(message, says)
    assert.is(hint, 'Look there.')
  })

test('where another answer counts as none, no answer throws', () => {
  for (const json of ['', 'x', 'null', '7', '{"a":null}', '['.repeat(20_000)])
    assert.is(tryJson(json, mapOf(aCount)), undefined)
  assert.equal(tryJson('{}', mapOf(aCount)), {})
})

test('a long answer is shown by its beginning alone', () => {
  const { message } = refusal(`"${'x'.repeat(1e6)}"`)
  assert.ok(message.length < 300, String(message.length))
})

test('Borg, of all that speaks, is named', () => {
  assert.throws(() => parseList('{"archives":[{"name":"a","start":null}]}'), /^Borg \(borg list --json\).*\[0\]\.start/)
})

test.run()
