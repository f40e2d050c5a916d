import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { age, isoLocal } from '../../lib/core/times.ts'

const test = suite('times')

const now = new Date('2026-03-01T12:00:00Z')
for (const [then, text] of [
  ['2026-03-01T11:59:40Z', 'just now'],
  ['2026-03-01T11:55:00Z', '5 minutes ago'],
  ['2026-03-01T11:00:00Z', '1 hour ago'],
  ['2026-02-28T03:00:00Z', '33 hours ago'],
  ['2026-02-27T03:00:00Z', '2 days ago'],
  ['2026-03-02T03:00:00Z', 'in the future'],
] as const)
  test(`age: ${text}`, () => assert.is(age(new Date(then), now), text))

test('a time carries its zone', () => assert.match(isoLocal(now), /^2026-03-01T\d\d:\d\d:00[+-]\d\d:\d\d$/))
test('a time that JavaScript does not know is no bug', () => {
  for (const ms of [Number.NaN, 8.64e15, -8.64e15]) assert.is(isoLocal(new Date(ms)), 'an unknown time')
  assert.is(age(new Date(Number.NaN)), 'at an unknown time')
})

test.run()
