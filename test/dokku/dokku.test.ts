import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure, Interrupted } from '../../lib/core/failure.ts'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku, type Dokku, parseDatabase, parseProcesses } from '../../lib/dokku/dokku.ts'

const test = suite('Dokku on this machine')
const ENV = { PATH: '/usr/bin:/bin' }
let dir: string
let interruption: AbortController
let dokku: Dokku

/** Makes the program that is called as Dokku. */
async function dokkuIs(script: string): Promise<void> {
  await writeFile(join(dir, 'dokku'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
}

test.before.each(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bc-dokku-'))
  interruption = new AbortController()
  const shells = {
    shell: createShell(ENV, interruption.signal),
    cleanup: createShell(ENV, new AbortController().signal),
  }
  dokku = createDokku(shells, [join(dir, 'dokku')])
})
test.after.each(() => rm(dir, { recursive: true }))

test('an interruption ends what Dokku does, and not what must outlast it', async () => {
  await dokkuIs('sleep 0.5; echo done')
  const cut = dokku.run(['apps:list'])
  const lasting = dokku.lasting.run(['apps:list'])
  interruption.abort(new Interrupted('SIGTERM'))
  await cut.then(
    () => assert.unreachable('it went on'),
    (error) => assert.instance(error, Interrupted),
  )
  assert.is((await lasting).stdout, 'done\n')
  assert.is((await dokku.lasting.lasting.run(['apps:list'])).stdout, 'done\n')
})

for (const [dsn, database] of [
  ['postgres://postgres:secret@dokku-postgres-db:5432/book_corners_db', 'book_corners_db'],
  ['postgres://postgres:secret@dokku-postgres-db:5432/books?sslmode=require', 'books'],
] as const)
  test(`the database of ${dsn.replace('secret', '…')} is ${database}`, async () => {
    await dokkuIs(`echo '${dsn}'`)
    assert.equal(await dokku.service('db'), { name: 'db', database })
  })

test('a DSN that names no database is not shown: it holds the password', async () => {
  await dokkuIs("echo 'postgres:secret@host:5432'")
  await dokku.service('db').then(
    () => assert.unreachable('a database was found'),
    (error) => assert.not.match(`${error.message} ${error.hint}`, /secret/),
  )
})

for (const [printed, sha] of [
  ['0123456789abcdef0123456789abcdef01234567', '0123456789abcdef0123456789abcdef01234567'],
  ['', undefined],
] as const)
  test(`the deployed commit is ${sha ?? 'unknown'} where Dokku prints '${printed}'`, async () => {
    await dokkuIs(`echo '${printed}'`)
    assert.is(await dokku.gitSha('app'), sha)
  })

for (const [dsn, database] of [
  ['postgres://postgres:PW@dokku-postgres-db:5432/book_corners_db', 'book_corners_db'],
  ['postgres://postgres:PW@dokku-postgres-db:5432/book_corners_db?sslmode=disable\n', 'book_corners_db'],
  ['postgres://postgres:PW@dokku-postgres-db:5432', undefined],
  ['postgres://postgres:PW@dokku-postgres-db:5432/', undefined],
  ['postgres:PW@dokku-postgres-db', undefined],
  ['postgres://h/a/PW@b', undefined],
  ['/a?'.repeat(300_000), undefined],
  ['', undefined],
] as const)
  test(`the database of ${JSON.stringify(dsn.slice(0, 70))}: ${database}`, () =>
    assert.is(parseDatabase(dsn), database))

test('processes are read from what Dokku reports, and another answer is told as its own', () => {
  const { isDeployed, allRun, statuses } = parseProcesses(
    '{"deployed":"true","running":"mixed","status-web.1":"running (CID: 0123456789a)"}',
  )
  assert.equal([isDeployed, allRun, [...statuses]], [true, false, [['web.1', 'running']]])
  for (const answer of [
    '',
    'null',
    '[]',
    '{"status-web.1":null}',
    '{"status-web.1":{}}',
    '{"deployed":true}',
    '{} bye',
  ])
    assert.throws(
      () => parseProcesses(answer),
      (error: unknown) => error instanceof Failure && error.message.startsWith('Dokku (ps:report) did not answer'),
    )
})

test.run()
