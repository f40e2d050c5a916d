import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseDatabaseUrl } from '../../lib/core/database-url.ts'
import { Failure } from '../../lib/core/failure.ts'
import { createShell } from '../../lib/core/shell.ts'
import { defaultTls } from '../../lib/dokku/away.ts'
import { createDokku, type Dokku } from '../../lib/dokku/dokku.ts'
import { explainAway } from '../../lib/dokku/errors.ts'

const test = suite('a database away from Dokku')
const URL = parseDatabaseUrl('postgres://app:s3cretpass@db.example.com/books')
let dir: string
let dokku: Dokku

/** Makes PostgreSQL's programs, of a version; psql answers with some lines. */
async function programsAre(version: number, ...answers: string[]): Promise<void> {
  for (const name of ['psql', 'pg_dump', 'pg_restore']) {
    const says = `[ "$1" = --version ] && echo '${name} (PostgreSQL) ${version}.1 (Debian)' && exit`
    const lines = [...answers.map((line) => `echo "${line}"`), 'env | grep ^PG >"$0.env"', 'echo "$*" >"$0.args"']
    await writeFile(join(dir, name), `#!/bin/sh\n${says}\ncat >/dev/null\n${lines.join('\n')}\n`, { mode: 0o755 })
  }
}

async function refusal(running: Promise<unknown>): Promise<Failure> {
  try {
    await running
  } catch (error) {
    assert.instance(error, Failure)
    return error as Failure
  }
  throw new Error('nothing was refused')
}

test.before.each(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bc-away-'))
  const shell = createShell({ PATH: `${dir}:/usr/bin:/bin` }, new AbortController().signal)
  dokku = createDokku({ shell, cleanup: shell }, ['false'], URL)
})
test.after.each(() => rm(dir, { recursive: true }))

test('the service is the one of the address, without its password; the programs of this machine have that in their environment alone', async () => {
  await programsAre(17, '170005', 'yes')
  const service = await dokku.service('whatever')
  assert.is(service.name, 'db.example.com/books')
  assert.is(service.database, 'books')
  assert.not.match(JSON.stringify(service), /s3cretpass/)
  await dokku.run(['postgres:enter', 'x', 'pg_dump', '-Fc', '-Z0', '-U', 'postgres', '-d', 'books'])
  const read = (file: string): Promise<string> => readFile(join(dir, file), 'utf8')
  assert.is((await read('pg_dump.args')).trim(), '-Fc -Z0 --no-acl --no-owner --no-password')
  const env = await read('pg_dump.env')
  for (const line of [
    'PGPASSWORD=s3cretpass',
    'PGHOST=db.example.com',
    'PGSSLMODE=verify-full',
    'PGSSLROOTCERT=system',
  ])
    assert.match(env, new RegExp(`^${line}$`, 'm'))
})

test('programs older than the server are refused with what to install', async () => {
  await programsAre(15, '170005', 'yes')
  const { message, hint, exitCode } = await refusal(dokku.service('x'))
  assert.match(message, /of version 15, and db\.example\.com runs 17/)
  assert.match(hint, /postgresql-client-17/)
  assert.is(exitCode, 2)
})

test('a program that is not there is named', async () => {
  await programsAre(17)
  await writeFile(join(dir, 'pg_restore'), '#!/bin/sh\necho "exec: pg_restore: not found" >&2; exit 127\n', {
    mode: 0o755,
  })
  const { message, hint } = await refusal(dokku.service('x'))
  assert.match(message, /^pg_restore is not installed here/)
  assert.match(hint, /apt-get install postgresql-client/)
})

test('what the connection is told does not reach the server: a pooler', async () => {
  await programsAre(17, '170005', '')
  const { message, hint } = await refusal(dokku.service('x'))
  assert.match(message, /db\.example\.com is a connection pooler/)
  assert.match(hint, /direct address in DATABASE_URL/)
})

test('the certificate is checked where libpq has the system’s authorities; what the address says counts', () => {
  const { parameters } = URL
  assert.equal(defaultTls({ parameters }, 16), { sslmode: 'verify-full', sslrootcert: 'system' })
  assert.equal(defaultTls({ parameters }, 15), { sslmode: 'require' })
  assert.equal(defaultTls({ parameters: { sslrootcert: '/ca.pem' } }, 15), { sslmode: 'verify-full' })
  assert.equal(defaultTls({ parameters: { sslmode: 'disable' } }, 17), {})
})

for (const [what, stderr, says, next] of [
  [
    'PgBouncer 1.18',
    'psql: error: connection to server at "127.0.0.1", port 6432 failed: FATAL:  unsupported startup parameter: options',
    /is a connection pooler: .*unsupported startup parameter/,
    /direct address/,
  ],
  [
    'a wrong password',
    'psql: error: connection to server at "127.0.0.1", port 5432 failed: FATAL:  password authentication failed for user "app"',
    /refuses the user app: /,
    /psql postgres:\/\/app@db\.example\.com\/books/,
  ],
  [
    'a machine that is not let in',
    'psql: error: connection to server at "1.2.3.4", port 5432 failed: FATAL:  no pg_hba.conf entry for host "5.6.7.8", user "app", database "books", no encryption',
    /does not let this machine in/,
    /lets in/,
  ],
  [
    'a certificate of another authority',
    'psql: error: connection to server at "1.2.3.4", port 5432 failed: SSL error: certificate verify failed',
    /The encrypted connection to db\.example\.com failed/,
    /sslrootcert=\/FILE/,
  ],
  [
    'a host that is not there',
    'psql: error: could not translate host name "db.example.com" to address: Name or service not known',
    /can't be reached/,
    /Check host and port/,
  ],
  ['anything else', 'psql: error: the moon', /^psql at db\.example\.com failed with exit status 2: /, /Try it by hand/],
] as const)
  test(`explained: ${what}`, () => {
    const { message, hint } = explainAway({ exitCode: 2, signal: null, stdout: '', stderr }, 'psql', URL)
    assert.match(message, says)
    assert.match(hint, next)
    assert.not.match(message + hint, /s3cretpass/)
  })

test.run()
