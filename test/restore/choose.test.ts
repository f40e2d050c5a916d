import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Failure } from '../../lib/core/failure.ts'
import { findArchive } from '../../lib/restore/choose.ts'

const test = suite('choose an archive')

const [POINT, SECOND, FIRST, KEPT] = [
  'app-before-0123abcd-2026-02-28T12:00:00',
  'app-2026-02-28T03:00:01',
  'app-2026-02-27T03:00:01',
  'before-the-migration',
]
const ARCHIVES = [
  { name: POINT, start: new Date('2026-02-28T12:00:00') },
  { name: SECOND, start: new Date('2026-02-28T03:00:02') },
  { name: FIRST, start: new Date('2026-02-27T03:00:02') },
  { name: KEPT, start: new Date('2026-01-09T23:59:59') },
].map((archive) => ({ ...archive, comment: '' }))

for (const [word, expected] of [
  ['latest', POINT],
  [FIRST, FIRST],
  ['app-2026-02-27', FIRST],
  ['app-before', POINT],
  ['2026-02-27', FIRST],
  ['2026-02-28T03', SECOND],
  ['2026-02-28T03:00', SECOND],
  ['2026-02-28T03:00:01', SECOND],
  ['2026-01-09', KEPT],
  ['before', KEPT],
  // Borg may know it: it is asked.
  ['nothing-like-it', 'nothing-like-it'],
] as const)
  test(`${word} means ${expected}`, () => {
    assert.is(findArchive(word, ARCHIVES).name, expected)
  })

for (const [word, exitCode, message, hint] of [
  ['2026-02-28', 2, /can mean 2 archives/, new RegExp(`${POINT}\\n.*${SECOND}`)],
  ['app-2026', 2, /can mean 2 archives/, new RegExp(`${SECOND}\\n.*${FIRST}`)],
  ['2026-03-01', 1, /There is no archive 2026-03-01/, new RegExp(POINT)],
] as const)
  test(`${word} is refused with what it can mean`, () => {
    try {
      findArchive(word, ARCHIVES)
      assert.unreachable()
    } catch (error) {
      const failure = error as Failure
      assert.is(failure.exitCode, exitCode)
      assert.match(failure.message, message)
      assert.match(failure.hint, hint)
    }
  })

test('latest is never one that is dated in the future', () => {
  const future = { name: 'app-2126-02-28T03:00:01', start: new Date('2126-02-28T03:00:01'), comment: '' }
  assert.is(findArchive('latest', [future, ...ARCHIVES]).name, POINT)
  assert.throws(() => findArchive('latest', [future]), /dated in the future/)
})

test('without a list only a name can be meant', () => {
  assert.is(findArchive('kept', []).name, 'kept')
  for (const word of ['latest', '2026-02-28']) assert.throws(() => findArchive(word, []), /There is no archive/)
})

test.run()
