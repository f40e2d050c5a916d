import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  archiveJson,
  archiveListing,
  describeLabel,
  isFuture,
  isStale,
  keptArchives,
  newestFirst,
  newestOf,
  sortArchives,
} from '../../lib/borg/archives.ts'
import { isLabel, parseComment } from '../../lib/borg/comment.ts'
import { isDump } from '../../lib/borg/items.ts'
import type { Archive } from '../../lib/borg/output.ts'

const test = suite('archives')
const HOUR_MS = 3_600_000

function archive(ageHours: number, comment = '') {
  return { name: 'a-2026-02-28T03:00:00', start: new Date(Date.now() - ageHours * HOUR_MS), comment }
}

test('a night is missed when the newest archive is older than a day and two hours', () => {
  assert.equal([isStale(archive(25.9)), isStale(archive(26.1))], [false, true])
})

function row(one: Archive, by: 'time' | 'name' = 'name'): [cells: readonly string[], note: string] {
  const { rows, notes } = archiveListing([one], by)
  return [rows[0] ?? [], notes?.[0] ?? '']
}

test('a row has the age, what is stored, the release with eight digits; below it stands what the archive lacks', () => {
  const sha = '0123456789abcdef0123456789abcdef01234567'
  const comment = JSON.stringify({ sha, mediaFiles: 62, mediaBytes: 1_260_000 })
  const [cells] = row({ ...archive(3, comment), dumpBytes: 3_060_000 })
  assert.equal(cells, ['a-2026-02-28T03:00:00', '3 hours', '3.06 MB', '62, 1.26 MB', '01234567', ''])
  assert.equal(row(archive(3))[0].slice(2), ['', '', 'unknown', ''])
  const lacking = { unreadable: 7, unreadablePaths: ['a.jpg', 'b.jpg'], lacks: ['the media folder is empty'] }
  assert.is(
    row(archive(3, JSON.stringify(lacking)))[1],
    'INCOMPLETE: without 7 media files that could not be read: a.jpg, b.jpg and 5 more; the media folder is empty',
  )
})

test('two archives of one minute are told apart by their seconds, and only they', () => {
  const at = (time: string) => ({ ...archive(0), name: `a-${new Date().getFullYear()}-01-05T${time}` })
  const { rows } = archiveListing([at('04:07:50'), at('04:07:08'), at('03:00:01')], 'time')
  assert.equal(
    rows.map(([first = '']) => /\d\d:[\d:]+/.exec(first)?.[0]),
    ['04:07:50', '04:07:08', '03:00'],
  )
})

test('an archive that somebody renamed is found by the name that it was made under, and is never the newest', () => {
  const renamed = (name: string, madeAs: string, comment = '') => ({ ...archive(3, comment), name, madeAs })
  const point = JSON.stringify({ before: '0123abcd' })
  const kept = keptArchives(
    [
      renamed('a-2026-02-28T03:00:00', 'a-2026-02-28T03:00:00'),
      renamed('keep-this', 'a-2026-02-28T03:00:00'),
      renamed('and-this', 'a-before-0123abcd-2026-02-28T03:00:00', point),
      renamed('not-ours', 'b-2026-02-28T03:00:00'),
      renamed('by-hand', 'a-something'),
      archive(3),
    ],
    'a',
  )
  assert.equal(
    kept.map(({ name, label, kept: isKept }) => [name, label, isKept]),
    [
      ['keep-this', undefined, true],
      ['and-this', '0123abcd', true],
    ],
  )
  const [night, restorePoint] = kept.map((one) => row(one, 'time')[0].at(-1))
  assert.equal([night, restorePoint], ['kept as keep-this', 'before 0123abcd, kept as and-this'])
  assert.is(newestOf([...kept, archive(9)])?.name, 'a-2026-02-28T03:00:00')
})

test('an archive of the bash scripts, without a comment, has null for what it does not tell', () => {
  const { sha, dumpMode, ageSeconds } = archiveJson(archive(2))
  assert.equal([sha, dumpMode, ageSeconds], [null, null, 7200])
})

test('the newest is not one that is dated in the future', () => {
  const [future, recent, old] = [archive(-30), archive(3), archive(30)]
  assert.is(newestOf([future, recent, old]), recent)
  assert.is(newestOf([future]), undefined)
  assert.equal(
    [archive(-0.9), archive(-1.1)].map((one) => isFuture(one)),
    [false, true],
  )
})

test('of two that began in one second the one that was named later is the newer', () => {
  const start = new Date('2026-01-05T04:56:51Z')
  const [first, second, older] = [
    'a-2026-01-05T04:56:50',
    'a-before-x-2026-01-05T04:56:51',
    'z-2026-01-05T04:56:59',
  ].map((name, i) => ({ ...archive(0), name, start: i < 2 ? start : new Date(start.getTime() - 1000) })) as [
    Archive,
    Archive,
    Archive,
  ]
  for (const all of [
    [first, second, older],
    [older, second, first],
  ])
    assert.equal(all.sort(newestFirst), [second, first, older])
})

test('of a comment that somebody else has written only what is right is taken', () => {
  const comment = {
    sha: 3,
    dumpMode: 'fast',
    mediaFiles: -1,
    unreadable: '3',
    tables: [1],
    lacks: 'x',
    accepted: { at: 'never' },
  }
  assert.equal(parseComment(JSON.stringify({ ...comment, version: '1.0.0' })), { version: '1.0.0' })
})

test('nights and restore points are told apart by name and comment, also where one prefix begins like another', () => {
  const night = (prefix: string) => ({
    name: `${prefix}-2026-02-28T03:00:00`,
    start: new Date(),
    comment: '{"sha":null}',
  })
  const point = (prefix: string, label: string) => ({
    ...night(`${prefix}-before-${label}`),
    comment: JSON.stringify({ before: label }),
  })
  const all = [
    ...['app', 'app-before', 'app-before-x', 'app-staging'].map(night),
    ...['x', 'before-x', '0123abcd'].map((label) => point('app', label)),
    point('app-before', 'x'),
    { ...night('app'), name: 'app-2026-02-28T03:00:00.checkpoint' },
    { ...night('app'), name: 'app-before-the-big-import' },
  ]
  const sorted = (prefix: string): unknown => {
    const { nights, restorePoints, strangers } = sortArchives(all, prefix)
    const short = ({ name, label }: { name: string; label?: string }): string =>
      [name.replace(/-2026.*/, ''), ...(label === undefined ? [] : [label])].join(' ')
    return [nights, restorePoints, strangers].map((some) => some.map(short))
  }
  assert.equal(sorted('app'), [
    ['app'],
    ['app-before-x x', 'app-before-before-x before-x', 'app-before-0123abcd 0123abcd'],
    [],
  ])
  assert.equal(sorted('app-before'), [['app-before'], ['app-before-before-x x'], []])
  assert.equal(sorted('app-before-x'), [['app-before-x'], [], ['app-before-x']])
})

test('a restore point is named in words by what it was taken before', () => {
  assert.is(describeLabel('0123abcd'), 'before release 0123abcd')
  assert.is(describeLabel('the-import'), 'before the-import')
  const comment = JSON.stringify({ sha: 'f'.repeat(40), before: '0123abcd' })
  assert.equal(row({ ...archive(3, comment), label: '0123abcd' }, 'time')[0].slice(4), ['ffffffff', 'before 0123abcd'])
})

for (const comment of ['', 'by hand', 'null', '3'])
  test(`a comment that is not ours says nothing: ${comment || 'none'}`, () => assert.equal(parseComment(comment), {}))

for (const [path, type, found] of [
  ['db.dump', '-', true],
  ['tmp/book-corners-backup/db.dump', '-', true],
  ['srv/media/photos/db.dump', '-', false],
  ['db.dump', 'd', false],
  ['old-db.dump', '-', false],
] as const)
  test(`${found ? 'the dump' : 'not the dump'}: ${path}, a ${type}`, () => {
    assert.is(isDump({ type, path, sizeBytes: 1, mtimeMs: 0, target: '' }, 'srv/media'), found)
  })

test('a restore point is not named for a folder', () => {
  for (const label of ['.', '..', '', 'a b', 'a/b']) assert.not.ok(isLabel(label), label)
  for (const label of ['0123abcd', 'v1.4.2', '...']) assert.ok(isLabel(label), label)
})

test.run()
