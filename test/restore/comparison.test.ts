import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeTables } from '../../lib/restore/comparison.ts'

const test = suite('production beside the archive')

const SAME = { onlyProduction: 0, onlyRestored: 0 }
const TABLES = [
  {
    table: 'public.libraries_library',
    production: 20_072,
    restored: 20_050,
    keys: { onlyProduction: 62, onlyRestored: 40 },
  },
  { table: 'public.users_user', production: 5, restored: 5, keys: SAME },
  { table: 'public.swapped', production: 5, restored: 5, keys: { onlyProduction: 1, onlyRestored: 1 } },
  { table: 'audit.log', production: 9_000_000, restored: 8_000_000, keys: undefined },
  { table: 'public.newer', production: 7, restored: undefined, keys: undefined },
  { table: 'public.emptied', production: 0, restored: 31_385, keys: undefined },
]

test('what comes back and what leaves are told apart, and only of what differs', () => {
  assert.is(
    describeTables(TABLES, 100),
    `Rows that come back, and rows that leave production:
table              production    archive  comes back  leaves
libraries_library      20,072     20,050          40      62
swapped                     5          5           1       1
audit.log           9,000,000  8,000,000           ?       ?
newer                       7   no table           0       7
emptied                     0     31,385      31,385       0
  1 table has the same rows, or as many.
  ?  can't be told: no primary key, too many rows, or not readable.`,
  )
})

test('no line is wider than a terminal of 60 or 40 columns', () => {
  for (const columns of [60, 40])
    for (const line of describeTables(TABLES, columns).split('\n').slice(1, -2)) assert.ok(line.length <= columns, line)
})

test('without a difference that is said', () => {
  assert.match(describeTables(TABLES.slice(1, 2)), /^No table has other rows than production\.\n/)
})

test.run()
