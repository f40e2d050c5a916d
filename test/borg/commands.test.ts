import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createArgs, patternBelow, pruneArgs } from '../../lib/borg/commands.ts'

const test = suite('borg commands')

test('create reads the dump from stdin under a relative name, beside the media folder', () => {
  assert.equal(
    createArgs({
      archive: 'book-corners-2026-02-28T03:00:00',
      comment: '{"sha":"abc"}',
      compression: 'zstd,3',
      chunkerParams: 'buzhash,10,23,16,4095',
      mediaDir: '/srv/media',
      without: ['re:^srv/media/x'],
      progress: false,
    }),
    [
      ...['create', '--log-json', '--lock-wait', '10', '--json', '--comment', '{{"sha":"abc"}}'],
      ...['--compression', 'zstd,3', '--chunker-params', 'buzhash,10,23,16,4095'],
      ...['--stdin-name', 'db.dump', '--stdin-mode', '0600', '--exclude', 're:^srv/media/x'],
      ...['::book-corners-2026-02-28T03:00:00', '-', '/srv/media'],
    ],
  )
})

test('what is left out is named by the whole path, whatever is in it', () => {
  assert.is(patternBelow('/srv/a+b (größe)', /^\.x(\/|$)/), 're:^srv/a\\+b\\ \\(größe\\)/\\.x(\\/|$)')
})

test('prune keeps to the names of nights', () => {
  const glob = 'book-corners-????-??-??T??:??:??'
  assert.ok(
    pruneArgs('book-corners', { withinHours: 48, hourly: 0, daily: 7, weekly: 4, monthly: 6, yearly: 1 })
      .join(' ')
      .endsWith(
        `--keep-within=48H --keep-hourly=0 --keep-daily=7 --keep-weekly=4 --keep-monthly=6 --keep-yearly=1 --glob-archives ${glob}`,
      ),
  )
})

test.run()
