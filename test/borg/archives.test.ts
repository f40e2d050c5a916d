import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  archiveJson,
  describe,
  describeLabel,
  isDump,
  isFuture,
  isLabel,
  isStale,
  newestOf,
  parseComment,
  sortArchives,
} from '../../lib/borg/archives.ts'

const test = suite('archives')
const HOUR_MS = 3_600_000

function archive(ageHours: number, comment = '') {
  return { name: 'a-2026-02-28T03:00:00', start: new Date(Date.now() - ageHours * HOUR_MS), comment }
}

test('a night is missed when the newest archive is older than a day and two hours', () => {
  assert.equal([isStale(archive(25.9)), isStale(archive(26.1))], [false, true])
})

test('a row names the release with eight digits, says when it is unknown, and what the archive lacks', () => {
  const sha = '0123456789abcdef0123456789abcdef01234567'
  assert.equal(describe(archive(3, JSON.stringify({ sha }))).slice(3), ['release 01234567', ''])
  assert.equal(describe(archive(3)).slice(3), ['release unknown', ''])
  const comment = { unreadable: 7, unreadablePaths: ['a.jpg', 'b.jpg'], lacks: ['the media folder is empty'] }
  assert.is(
    describe(archive(3, JSON.stringify(comment))).at(-1),
    'INCOMPLETE: without 7 media files that could not be read: a.jpg, b.jpg and 5 more; the media folder is empty',
  )
  assert.is(describe(archive(3))[1], '3 hours ago')
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
  assert.is(describe({ ...archive(3, comment), label: '0123abcd' })[3], 'release ffffffff, before release 0123abcd')
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
