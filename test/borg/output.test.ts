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

test("an item of Borg's list", () => {
  const line = JSON.stringify({
    type: '-',
    mode: '-rw-r-----',
    path: 'srv/a.jpg',
    size: 5,
    mtime: '2026-02-28T03:00:00.123456',
    linktarget: '',
  })
  const item = parseItem(line)
  assert.is(item.mtimeMs, Date.UTC(2026, 1, 28, 3, 0, 0, 123))
  assert.is(item.sizeBytes, 5)
})

test.run()
