import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type BackupSummary, summaryLine } from '../../lib/backup/summary.ts'

const test = suite('backup summary')
const SUMMARY: BackupSummary = {
  app: 'a',
  archive: {
    name: 'a-2026-02-28T03:00:00',
    originalBytes: 600e6,
    newBytes: 1.25e6,
    repositoryBytes: 500e6,
    comment: {
      sha: null,
      dumpMode: 'dedup',
      version: '0',
      mediaFiles: 1,
      mediaBytes: 400e6,
      unreadable: 0,
      unreadablePaths: [],
      lacks: [],
    },
    lacks: [],
    dumpBytes: 200e6,
    unreadable: [],
    harmless: [],
  },
  pruned: { names: ['a-2026-01-01T03:00:00'], deletedBytes: 20e6 },
  checked: false,
  tries: 1,
  sha: undefined,
  tookMs: 12_345,
}

test('the repository is as large as after pruning', () => {
  assert.is(
    summaryLine(SUMMARY, []),
    'a-2026-02-28T03:00:00: 600.00 MB original, 1.25 MB new data, took 12 s, pruned 1, repository 480.00 MB',
  )
})

test('figures that Borg did not tell are said to be unknown', () => {
  const { originalBytes: _, newBytes: __, repositoryBytes: ___, ...archive } = SUMMARY.archive
  assert.is(
    summaryLine({ ...SUMMARY, archive }, []),
    'a-2026-02-28T03:00:00: unknown original, unknown new data, took 12 s, pruned 1, repository unknown',
  )
})

test('more than one try is told', () => {
  assert.match(summaryLine({ ...SUMMARY, tries: 3 }, []), /, 3 tries$/)
})

test('where nothing is ever pruned, the size of a repository that never shrinks is not told', () => {
  assert.is(
    summaryLine({ ...SUMMARY, pruned: undefined }, []),
    'a-2026-02-28T03:00:00: 600.00 MB original, 1.25 MB new data, took 12 s, nothing pruned (PRUNE=no)',
  )
})

test('a check of the repository and every warning are said at the end', () => {
  assert.match(
    summaryLine({ ...SUMMARY, checked: true }, ['One.', 'Two.']),
    /, repository checked, WARNING: One\., WARNING: Two\.$/,
  )
})

test.run()
