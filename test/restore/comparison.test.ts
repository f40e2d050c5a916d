import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeTables } from '../../lib/restore/comparison.ts'

const test = suite('production beside the archive')

const SAME = { onlyProduction: 0, onlyRestored: 0, changed: 0 }
const TABLES = [
  {
    table: 'public.libraries_library',
    production: 20_072,
    restored: 20_050,
    keys: { onlyProduction: 62, onlyRestored: 40, changed: 3 },
  },
  { table: 'public.users_user', production: 5, restored: 5, keys: SAME },
  { table: 'public.swapped', production: 5, restored: 5, keys: { onlyProduction: 1, onlyRestored: 1, changed: 0 } },
  { table: 'public.edited', production: 1605, restored: 1605, keys: { ...SAME, changed: 1605 } },
  {
    table: 'public.damaged',
    production: 6,
    restored: 5,
    keys: { onlyProduction: 1, onlyRestored: 0, changed: undefined },
  },
  { table: 'public.keyless', production: 8, restored: 8, keys: undefined },
  { table: 'public.empty', production: 0, restored: 0, keys: undefined },
  { table: 'audit.log', production: 9_000_000, restored: 8_000_000, keys: undefined },
  { table: 'public.newer', production: 7, restored: undefined, keys: undefined },
  { table: 'public.emptied', production: 0, restored: 31_385, keys: undefined },
]

test('what comes back and what leaves are told apart, and only of what differs', () => {
  assert.is(
    describeTables(TABLES, 100),
    `Rows that come back, rows that leave production, and rows that become as they were:
table              production    archive  comes back  leaves  changed
libraries_library      20,072     20,050          40      62        3
swapped                     5          5           1       1        0
edited                  1,605      1,605           0       0    1,605
damaged                     6          5           0       1        ?
audit.log           9,000,000  8,000,000           ?       ?        ?
newer                       7   no table           0       7        0
emptied                     0     31,385      31,385       0        0
  2 tables have the same rows.
  1 table has as many rows; changed ones are not counted (no primary key, over 50,000 rows, over 100,000 in all, or not readable in time): keyless
  ?  not counted: no primary key, over 50,000 rows, over 100,000 in all, or not readable in time`,
  )
})

test('no line is wider than a terminal of 60 or 40 columns', () => {
  for (const columns of [60, 40])
    for (const line of describeTables(TABLES, columns).split('\n').slice(1, -3)) assert.ok(line.length <= columns, line)
})

test('without a difference that is said', () => {
  assert.is(
    describeTables(TABLES.filter(({ table }) => /user|empty/.test(table))),
    'No table has other rows than production.\n  2 tables have the same rows.',
  )
  assert.match(
    describeTables(TABLES.filter(({ table }) => /user|keyless/.test(table))),
    /^No table is known to have other rows than production\.\n {2}1 table has the same rows\.\n.* changed ones are not counted \(.*: keyless$/,
  )
})

test.run()
