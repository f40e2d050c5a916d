import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { WriteCounts } from '../../lib/cli/state.ts'
import { writtenBetween } from '../../lib/postgres/writes.ts'

const test = suite('what was written between two moments')

function counts(tables: Record<string, readonly number[]>, of = '16384 2026-02-28'): WriteCounts {
  const named = Object.entries(tables).map(
    ([table, [inserted = 0, updated = 0, deleted = 0]]) => [table, { inserted, updated, deleted }] as const,
  )
  return { of, tables: Object.fromEntries(named) }
}

const THEN = counts({ 'public.a': [10, 5, 1], 'public.gone': [3, 0, 0] })

for (const [what, now, written] of [
  ['nothing', counts({ 'public.a': [10, 5, 1] }), []],
  ['rows of each kind', counts({ 'public.a': [12, 1005, 2] }), ['public.a 2 new, 1,000 changed, 1 deleted']],
  ['rows of a table that is new', counts({ 'public.b': [4, 0, 0] }), ['public.b 4 new']],
  ['it can not be told of another database', counts({ 'public.a': [12, 5, 1] }, '16385 2026-02-28'), undefined],
  ['nor after a crash', counts({ 'public.a': [2, 0, 0] }), undefined],
] as const)
  test(what, () => assert.equal(writtenBetween(THEN, now), written))

test.run()
