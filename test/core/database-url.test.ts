import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { connectionEnv, nameOf, parseDatabaseUrl, passwordsIn, placeOf, shownUrl } from '../../lib/core/database-url.ts'

const test = suite('the address of a database')

test('what is in it reaches PostgreSQL’s programs, decoded, and the shown form is without the password', () => {
  const url = parseDatabaseUrl(
    'postgresql://app%40x:p%40ss%2Fw%25rd@db.example.com:6543/books?sslmode=verify-ca&sslrootcert=/etc/ca.pem',
  )
  assert.equal(connectionEnv(url), {
    PGHOST: 'db.example.com',
    PGPORT: '6543',
    PGUSER: 'app@x',
    PGDATABASE: 'books',
    PGPASSWORD: 'p@ss/w%rd',
    PGSSLMODE: 'verify-ca',
    PGSSLROOTCERT: '/etc/ca.pem',
  })
  const shown = shownUrl(url)
  assert.is(shown, 'postgres://app%40x@db.example.com:6543/books?sslmode=verify-ca&sslrootcert=/etc/ca.pem')
  const { password: _, ...rest } = url
  assert.equal(parseDatabaseUrl(shown), { ...rest, password: undefined })
  assert.equal(passwordsIn('postgres://a:p%40ss@h/d'), ['p%40ss', 'p@ss'])
})

test('it is named by host and database, with a port that is not the usual one', () => {
  assert.is(nameOf(parseDatabaseUrl('postgres://a@h.example/d')), 'h.example/d')
  assert.is(nameOf(parseDatabaseUrl('postgres://a@h.example:5432/d')), 'h.example/d')
  assert.is(nameOf(parseDatabaseUrl('postgres://a@h.example:5433/d')), 'h.example:5433/d')
  assert.is(placeOf(parseDatabaseUrl('postgres://a@[::1]:5433/d')), '[::1]:5433')
})

for (const [text, says] of [
  ['db.example.com/books', /must be an address like postgres:/],
  ['mysql://a:s3cretpass@h/d', /must be an address like postgres:/],
  ['postgres://a:s3cretpass@h', /must name a user and a database/],
  ['postgres://h/d', /must name a user and a database/],
  ['postgres://a:s3cretpass@h/d/e', /must name a user and a database/],
  ['postgres://a:s3cretpass@h1,h2/d', /must name one host/],
  ['postgres://a:s3cretpass@%2Fvar%2Frun/d', /must name one host/],
  ['postgres://a:s3cretpass@h/d?pgbouncer=true', /remove pgbouncer/],
  ['postgres://a:s3cretpass@h/d?sslmode=always', /must have an sslmode that PostgreSQL knows/],
  ['postgres://a:s3cretpass%zz@h/d', /must have %25/],
  ['postgres://a:s3cretpass%0A@h/d', /must not hold a line break/],
  ['postgres://postgres:s3cretpass@dokku-postgres-books:5432/books', /set DB_SERVICE=books instead/],
] as const)
  test(`refused, without showing the password: ${text.replace('s3cretpass', '…')}`, () => {
    try {
      parseDatabaseUrl(text)
    } catch (error) {
      assert.match((error as Error).message, says)
      assert.not.match((error as Error).message, /s3cretpass/)
      return
    }
    assert.unreachable('it was taken')
  })

test.run()
