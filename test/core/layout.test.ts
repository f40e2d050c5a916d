import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { table, wrap } from '../../lib/core/layout.ts'
import { messagesOf, sourceFiles } from '../support/source-code.ts'

/** A word where a message names what to type, before a flag, a path, a placeholder or a value. */
const NAMED = /(?:\w[:?]|→) ([a-z][\w.-]*) (?:-{1,2}[a-zA-Z]|~?\/|\$\{|[A-Z]{3,}|['"])/g

const test = suite('layout')

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

test.run()
