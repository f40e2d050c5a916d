import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bar, bytes, duration, lastLines, nearest, oneLine, plural, printable } from '../../lib/core/format.ts'
import { table, wrap } from '../../lib/core/layout.ts'
import { age, isoLocal } from '../../lib/core/times.ts'
import { messagesOf, sourceFiles } from '../support/source-code.ts'

/** A word where a message names what to type, before a flag, a path, a placeholder or a value. */
const NAMED = /(?:\w[:?]|→) ([a-z][\w.-]*) (?:-{1,2}[a-zA-Z]|~?\/|\$\{|[A-Z]{3,}|['"])/g

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

const now = new Date('2026-03-01T12:00:00Z')
for (const [then, text] of [
  ['2026-03-01T11:59:40Z', 'just now'],
  ['2026-03-01T11:55:00Z', '5 minutes ago'],
  ['2026-03-01T11:00:00Z', '1 hour ago'],
  ['2026-02-28T03:00:00Z', '33 hours ago'],
  ['2026-02-27T03:00:00Z', '2 days ago'],
  ['2026-03-02T03:00:00Z', 'in the future'],
] as const)
  test(`age: ${text}`, () => assert.is(age(new Date(then), now), text))

test('a time carries its zone', () => assert.match(isoLocal(now), /^2026-03-01T\d\d:\d\d:00[+-]\d\d:\d\d$/))
test('a time that JavaScript does not know is no bug', () => {
  for (const ms of [Number.NaN, 8.64e15, -8.64e15]) assert.is(isoLocal(new Date(ms)), 'an unknown time')
  assert.is(age(new Date(Number.NaN)), 'at an unknown time')
})
test('plural', () => assert.equal([plural(1, 'file'), plural(3000, 'file')], ['1 file', '3,000 files']))
test('control characters cannot reach a terminal', () => assert.is(printable('a\u001b[31m\nb'), 'a?[31m?b'))
test('the nearest name, or none', () => {
  assert.equal(nearest('dryrun', ['dry-run', 'json']), ['dry-run'])
  assert.equal(nearest('frobnicate', ['dry-run', 'json']), [])
  assert.equal(nearest('bogus', ['logs'], 1, 1 / 3), [])
  assert.equal(nearest('lits', ['list'], 1, 1 / 3), ['list'])
})
test('columns are aligned', () =>
  assert.is(
    table(
      [
        ['a', '1'],
        ['bcd', '20'],
      ],
      [1],
    ),
    'a     1\nbcd  20',
  ))

test('where all but the last column fit, that one goes on below itself', () =>
  assert.is(
    table(
      [
        ['0123abcd', 'one word after the other, so that it is too long'],
        ['4567abcd', 'short'],
      ],
      [],
      40,
    ),
    '0123abcd  one word after the other, so\n          that it is too long\n4567abcd  short',
  ))

for (const [what, text, lines] of [
  ['what fits', 'a short line', ['a short line']],
  [
    'words, the further lines a little further in',
    '  the words of this line do not fit into forty columns',
    ['  the words of this line do not fit into', '    forty columns'],
  ],
  [
    'a time with its zone, and a size with its unit',
    'Now it is, to the minute, Thu 26 Nov 03:00 UTC, and it has 819.98 kB',
    ['Now it is, to the minute,', '  Thu 26 Nov 03:00 UTC, and it has', '  819.98 kB'],
  ],
  [
    'a command, which is pasted whole',
    'To bring back what was lost, type: restore --rows libraries_library. Nothing else.',
    ['To bring back what was lost, type:', '  restore --rows libraries_library.', '  Nothing else.'],
  ],
  [
    'a command in brackets, up to the closing one',
    'A has 60 files (restore --media-only A); the dump shrank, B has more (~/restore --db-only B); and so on',
    [
      'A has 60 files (restore --media-only A);',
      '  the dump shrank, B has more',
      '  (~/restore --db-only B); and so on',
    ],
  ],
  [
    'a command that is longer than a line',
    'Look: sudo dokku postgres:connect book-corners-db-of-another-app',
    ['Look:', '  sudo dokku postgres:connect book-corners-db-of-another-app'],
  ],
  [
    'a command that is longer than a line, inside a sentence',
    'There is no room: df -h /var/lib/postgresql/data; df -i /var/lib/postgresql/data. Then type it again.',
    ['There is no room:', '  df -h /var/lib/postgresql/data; df -i /var/lib/postgresql/data', '  Then type it again.'],
  ],
  [
    'a command of ours behind another one',
    'Without a revert: rollback --list, then rollback --to SHA',
    ['Without a revert: rollback --list, then', '  rollback --to SHA'],
  ],
  ['a word without end', `see ${'x'.repeat(50)}`, ['see', `  ${'x'.repeat(50)}`]],
] as const)
  test(`a line that is too long is broken between words: ${what}`, () =>
    assert.equal(wrap(text, 40).split('\n'), lines))

/** English words, behind a colon and before a value, that are also the name of a program somewhere. */
const WORDS = new Set(['all', 'dump', 'give', 'it', 'one', 'remove', 'see', 'size', 'the', 'with', 'write'])

test('no command that a message names is broken: wrap knows the first word of each', () => {
  const broken = sourceFiles('lib', 'scripts').flatMap((file) =>
    [...messagesOf(file).matchAll(NAMED)].flatMap(([, word = '']) =>
      WORDS.has(word) || wrap(`Look: ${word} -a${' one'.repeat(12)}`, 40).startsWith('Look:\n')
        ? []
        : `${file}: ${word}`,
    ),
  )
  assert.equal(broken, [])
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
