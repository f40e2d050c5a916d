import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  parseCreated,
  parseDamage,
  parseDeletedBytes,
  parseItem,
  parseList,
  parseMessages,
  parsePruned,
  parseSize,
  parseVersion,
} from '../../lib/borg/output.ts'
import { Failure } from '../../lib/core/failure.ts'

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
    '-rw-r-----|5|2026-02-28T03:00:00.123456|srv/a.jpg|=|healthy|',
    { type: '-', path: 'srv/a.jpg', sizeBytes: 5, mtimeMs: Date.UTC(2026, 1, 28, 3, 0, 0, 123), target: '' },
  ],
  [
    'a link, with a newline in its name',
    'lrwxrwxrwx|4|2026-02-28T03:00:00|srv/a\nb|=\nc/d|healthy|',
    { type: 'l', path: 'srv/a\nb', sizeBytes: 4, mtimeMs: Date.UTC(2026, 1, 28, 3), target: '\nc/d' },
  ],
  [
    'a file that a repair has put zeros into',
    '-rw-r-----|5|2026-02-28T03:00:00.000000|srv/a.jpg|=|broken|',
    { type: '-', path: 'srv/a.jpg', sizeBytes: 5, mtimeMs: Date.UTC(2026, 1, 28, 3), target: '', isBroken: true },
  ],
  [
    'a hard link',
    'hrw-r--r--|0|2026-02-28T03:00:00.000000|srv/b|=srv/a|healthy|',
    { type: 'h', path: 'srv/b', sizeBytes: 0, mtimeMs: Date.UTC(2026, 1, 28, 3), target: 'srv/a' },
  ],
] as const)
  test(`an item of Borg's list: ${what}`, () => assert.equal(parseItem(printed.replaceAll('|', '\0')), item))

for (const [what, read] of [
  ['a create that tells no figures', () => parseCreated('{"archive":{"stats":null}}')],
  ['a create with noise behind it', () => parseCreated('{}\nbye')],
  ['a list without archives', () => parseList('{"repository":{}}')],
  ['a list that is no JSON', () => parseList('<html>')],
  ['an item that is none', () => parseItem('Remote: Welcome')],
  ['an item without a size', () => parseItem('-rw-r--r--\0many\x002026-02-28T03:00:00\0a\0=\0')],
  ['an item without a time', () => parseItem('-rw-r--r--\x005\0yesterday\0a\0=\0')],
] as const)
  test(`${what} is no bug of ours: Borg is named`, () => {
    assert.throws(read, (error: unknown) => error instanceof Failure && /^Borg \(borg \w+/.test(error.message))
  })

test('of a message only what is right is taken', () => {
  assert.equal(
    parseMessages(
      '{"type":"log_message","msgid":{"a":1},"levelname":5,"message":["x"],"original_size":"1"}\nnull\n[1]\n"x"',
    ),
    [{ type: 'log_message', message: '' }, { message: 'null' }, { message: '[1]' }, { message: '"x"' }],
  )
})

test('what a check found damaged, by archive', () => {
  const missing = (archive: string, path: string, what = 'New missing file chunk detected') => ({
    message: `${archive}: ${path}: ${what} (Byte 0-5, Chunk 0a). …`,
  })
  assert.equal(
    parseDamage([
      { message: 'Starting archive consistency check...' },
      missing('a-2026-02-28T03:00:00', 'media/1: odd.jpg'),
      missing('a-2026-02-28T03:00:00', 'media/1: odd.jpg'),
      missing('a-2026-02-28T03:00:00', 'media/2.jpg', 'Previously missing file chunk is still missing'),
      missing('b', 'db.dump', 'Healed previously missing file chunk!'),
      { message: 'Archive consistency check complete, problems found.' },
    ]),
    { 'a-2026-02-28T03:00:00': ['media/1: odd.jpg', 'media/2.jpg'], b: ['db.dump'] },
  )
})

test('a size of the configuration in bytes', () => {
  for (const [text, size] of [
    ['500M', 500e6],
    ['1.5T\n', 1.5e12],
    ['5000000000', 5e9],
    ['0', 0],
    ['', 0],
    ['many', 0],
  ] as const)
    assert.is(parseSize(text), size)
})

test.run()
