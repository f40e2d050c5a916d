import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createDatabaseSql } from '../../lib/postgres/scratch.ts'

const test = suite('the database beside production')

const common = {
  encodingName: 'UTF8',
  owner: 'postgres',
  tablespace: 'pg_default',
  datcollate: 'C',
  datctype: 'C',
  datconnlimit: -1,
}
for (const [what, properties, expected] of [
  ['libc', { ...common, datlocprovider: 'c', daticulocale: null }, /LC_CTYPE 'C' CONNECTION LIMIT -1;$/],
  ['ICU of 15', { ...common, datlocprovider: 'i', daticulocale: 'de-DE' }, /LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'/],
  [
    'ICU of 17 with rules',
    { ...common, datlocprovider: 'i', datlocale: 'de', daticurules: '&a < g' },
    /ICU_LOCALE 'de' ICU_RULES '&a < g'/,
  ],
  [
    'builtin of 17',
    { ...common, datlocprovider: 'b', datlocale: 'C.UTF-8' },
    /LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'/,
  ],
] as const)
  test(`a copy has the locale of production: ${what}`, () => assert.match(createDatabaseSql('x', properties), expected))

test.run()
