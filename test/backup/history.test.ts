import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fullAt, runChecks, runTable, trendOf } from '../../lib/backup/history.ts'
import type { JournalEntry } from '../../lib/cli/journal.ts'

const test = suite('history')
const DAY_MS = 86_400_000
const NOW = Date.now()

function run(daysAgo: number, facts: Partial<JournalEntry> = {}): JournalEntry {
  const time = new Date(NOW - daysAgo * DAY_MS).toISOString()
  return { time, kind: 'night', outcome: 'done', seconds: 20, warnings: 0, ...facts }
}

test('a run is a row, with bars of its size and its new data, and what was odd', () => {
  const text = runTable([
    run(2, { originalBytes: 400e6, newBytes: 400e6 }),
    run(1, { originalBytes: 800e6, newBytes: 1e6, tries: 3, checked: true, warnings: 1 }),
    run(0, { kind: 'drill', outcome: 'failed', reason: 'The dump does not import cleanly.' }),
    run(0, { kind: 'restore --rows', archive: 'a-1', rows: 149 }),
    run(0, {
      kind: 'restore',
      archive: 'a-1',
      files: 1,
      outcome: 'interrupted',
      reason: 'Interrupted by SIGINT.',
      state: 'Production is as it was. 1 media file came back to /media.',
    }),
    run(0, { kind: 'restore --undo', database: 'db_before_20260228T091537' }),
  ])
  const [head = '', first = '', second = '', third = '', ...restores] = text.split('\n')
  assert.match(head, /^time \(\S+\) +run +ended +size +new +took$/)
  assert.match(first, /night +done +#### +400\.00 MB +######## +400\.00 MB +20 s$/)
  assert.match(second, /night +done +######## +800\.00 MB +# +1\.00 MB +20 s +3 tries, checked, 1 warning$/)
  assert.match(third, /drill +FAILED +20 s +The dump does not import cleanly\.$/)
  assert.match(restores[0] ?? '', /restore --rows +done +20 s +from a-1, 149 rows$/)
  assert.match(
    restores[1] ?? '',
    /restore +INTERRUPTED +20 s +from a-1, 1 file, Interrupted by SIGINT\. Production is as it was\. 1 media file came back to \/media\.$/,
  )
  assert.match(restores[2] ?? '', /restore --undo +done +20 s +from db_before_20260228T091537$/)
})

test('the trend is a day’s, of good nights alone', () => {
  assert.is(trendOf([]), undefined)
  assert.is(trendOf([run(0, { originalBytes: 1 })]), undefined)
  assert.equal(
    trendOf([
      run(4, { originalBytes: 100e6, newBytes: 100e6, repositoryBytes: 100e6 }),
      run(3, { outcome: 'failed', originalBytes: 1, newBytes: 1 }),
      run(2, { originalBytes: 130e6, newBytes: 20e6, repositoryBytes: 110e6 }),
      run(0, { originalBytes: 140e6, newBytes: 20e6, repositoryBytes: 120e6 }),
    ]),
    { nights: 3, originalBytes: 10e6, newBytes: 10e6, repositoryBytes: 5e6 },
  )
  // A key that may only append tells no size.
  assert.equal(trendOf([run(1, { originalBytes: 5 }), run(0, { originalBytes: 7, newBytes: 3 })]), {
    nights: 2,
    originalBytes: 2,
    newBytes: 3,
  })
})

test('when it is full at this pace', () => {
  const now = new Date(NOW)
  assert.is(fullAt(100, 10, now)?.getTime(), NOW + 10 * DAY_MS)
  for (const growth of [undefined, 0, -5, 0.001]) assert.is(fullAt(100, growth, now), undefined)
})

test('--check tells of the last night and the last drill; who found the lock held was none', () => {
  assert.equal(runChecks([]), [])
  const lines = runChecks([
    run(2, { outcome: 'failed', reason: 'No room.' }),
    run(1, { archive: 'a-1', newBytes: 5 }),
    run(1, { kind: 'drill', outcome: 'failed', reason: 'It lacks a table.' }),
    run(0.5, { outcome: 'locked' }),
    run(0.2, { kind: 'restore point', archive: 'a-before-x' }),
    run(0.1, { kind: 'restore --db-only', outcome: 'failed', archive: 'a-1', reason: 'No room.' }),
  ])
  assert.equal(
    lines.map(({ name, verdict }) => [name, verdict]),
    [
      ['last run', 'pass'],
      ['last drill', 'warn'],
    ],
  )
  assert.match(
    lines[0]?.detail ?? '',
    /^\w{3} \d+ \w{3}[\d ]* \d\d:\d\d \S+ \(24 hours ago\): done, a-1, 5 B new data, took 20 s$/,
  )
  assert.match(lines[1]?.detail ?? '', /: failed, took 20 s, It lacks a table\.$/)
  assert.match(lines[1]?.fix ?? '', /restore --drill/)
})

test.run()
