import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { archiveJson, describe, isDump, isStale, parseComment } from '../../lib/borg/archives.ts'

const test = suite('archives')
const HOUR_MS = 3_600_000

function archive(ageHours: number, comment = '') {
  return { name: 'a-2026-02-28T03:00:00', start: new Date(Date.now() - ageHours * HOUR_MS), comment }
}

test('a night is missed when the newest archive is older than a day and two hours', () => {
  assert.equal([isStale(archive(25.9)), isStale(archive(26.1))], [false, true])
})

test('a row names the release with eight digits, and says when it is unknown', () => {
  const sha = '0123456789abcdef0123456789abcdef01234567'
  assert.is(describe(archive(3, JSON.stringify({ sha }))).at(-1), 'release 01234567')
  assert.is(describe(archive(3)).at(-1), 'release unknown')
  assert.is(describe(archive(3))[1], '3 hours ago')
})

test('an archive of the bash scripts, without a comment, has null for what it does not tell', () => {
  const { sha, dumpMode, ageSeconds } = archiveJson(archive(2))
  assert.equal([sha, dumpMode, ageSeconds], [null, null, 7200])
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

test.run()
