import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseDeletedBytes, parseItem, parsePruned, parseVersion } from '../../lib/borg/output.ts'

const test = suite('borg output')

for (const [line, version] of [
  ['borg 1.2.4', [1, 2, 4]],
  ['borg 1.4.0\n', [1, 4, 0]],
  ['borg 2.0.0b14', [2, 0, 0]],
  ['bash: borg: command not found', undefined],
] as const)
  test(`version of: ${line.trim()}`, () => assert.equal(parseVersion(line), version))

test('pruned names and bytes are read from the lines of --list and --stats', () => {
  const messages = [
    { message: 'Keeping archive (rule: daily #1):        a-2026-03-01T03:00:00     Sun, 2026-03-01 03:00:00 [79]' },
    { message: 'Pruning archive (1/1):                   a-2026-01-01T03:00:00     Thu, 2026-01-01 03:00:00 [fa]' },
    { message: 'Deleted data:              -43.50 MB            -20.10 MB             -1.25 MB' },
  ]
  assert.equal(parsePruned(messages), ['a-2026-01-01T03:00:00'])
  assert.is(parseDeletedBytes(messages), 1_250_000)
  assert.is(parseDeletedBytes([]), 0)
})

for (const [what, printed, item] of [
  [
    'a file',
    '-rw-r-----|5|2026-02-28T03:00:00.123456|srv/a.jpg|=|',
    { type: '-', path: 'srv/a.jpg', sizeBytes: 5, mtimeMs: Date.UTC(2026, 1, 28, 3, 0, 0, 123), target: '' },
  ],
  [
    'a link, with a newline in its name',
    'lrwxrwxrwx|4|2026-02-28T03:00:00|srv/a\nb|=\nc/d|',
    { type: 'l', path: 'srv/a\nb', sizeBytes: 4, mtimeMs: Date.UTC(2026, 1, 28, 3), target: '\nc/d' },
  ],
  [
    'a hard link',
    'hrw-r--r--|0|2026-02-28T03:00:00.000000|srv/b|=srv/a|',
    { type: 'h', path: 'srv/b', sizeBytes: 0, mtimeMs: Date.UTC(2026, 1, 28, 3), target: 'srv/a' },
  ],
] as const)
  test(`an item of Borg's list: ${what}`, () => assert.equal(parseItem(printed.replaceAll('|', '\0')), item))

test.run()
