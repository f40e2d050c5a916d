import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bar, bytes, duration, lastLines, nearest, oneLine, plural, printable } from '../../lib/core/format.ts'

const test = suite('format')

for (const [count, text] of [
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [1_250_000, '1.25 MB'],
  [-20_100_000, '-20.10 MB'],
  [3.2e12, '3.20 TB'],
] as const)
  test(`bytes: ${text}`, () => assert.is(bytes(count), text))

for (const [done, total, text] of [
  [0, 10, '[--------------------]   0 %'],
  [42, 100, '[########------------]  42 %'],
  [11, 10, '[####################] 100 %'],
  [0, 0, '[####################] 100 %'],
] as const)
  test(`bar: ${done} of ${total}`, () => assert.is(bar(done, total), text))

for (const [ms, text] of [
  [850, '850 ms'],
  [12_300, '12 s'],
  [59_700, '1 min 0 s'],
  [185_000, '3 min 5 s'],
  [7_800_000, '2 h 10 min'],
] as const)
  test(`duration: ${text}`, () => assert.is(duration(ms), text))

test('plural', () => assert.equal([plural(1, 'file'), plural(3000, 'file')], ['1 file', '3,000 files']))
test('control characters cannot reach a terminal', () => assert.is(printable('a\u001b[31m\nb'), 'a?[31m?b'))
test('the nearest name, or none', () => {
  assert.equal(nearest('dryrun', ['dry-run', 'json']), ['dry-run'])
  assert.equal(nearest('frobnicate', ['dry-run', 'json']), [])
  assert.equal(nearest('bogus', ['logs'], 1, 1 / 3), [])
  assert.equal(nearest('lits', ['list'], 1, 1 / 3), ['list'])
})
test('what a program said last, on one line, without the marks that Dokku puts before an error', () => {
  assert.is(lastLines('one\ntwo\n !     three\nfour\n\n'), 'two · three · four')
  assert.is(lastLines('one\ntwo\n', 1), 'two')
  assert.is(lastLines(''), '')
})

test('text from outside fits on one line and holds no control characters', () => {
  assert.is(oneLine(' a\n  b\u001b[31mc '), 'a b?[31mc')
  assert.is(oneLine('x'.repeat(200)), `${'x'.repeat(119)}…`)
  assert.is(oneLine('abcdef', 4), 'abc…')
})

test.run()
