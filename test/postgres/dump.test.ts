// The beginning of a dump, by what the command that takes it prints and how it ends: Borg is not started for one that is none.
import { text } from 'node:stream/consumers'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku } from '../../lib/dokku/dokku.ts'
import { type Dump, openDump } from '../../lib/postgres/dump.ts'

const test = suite('the beginning of a dump')
const SERVICE = { name: 'db', database: 'db' }

/** @param snippet what stands for `postgres:enter` and `postgres:export`; the command is in `$2` */
async function open(snippet: string): Promise<{ dump: Dump; said: string }> {
  const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
  const dokku = createDokku({ shell, cleanup: shell }, ['sh', '-c', snippet, 'dokku'])
  const log = createLog({ write: () => true } as unknown as NodeJS.WriteStream)
  const dump = await openDump(dokku, SERVICE, { mode: 'dedup', stallMs: 5000 }, log)
  return { dump, said: log.warnings.join() }
}

for (const [what, snippet, reason] of [
  ['dies after 1 byte', 'printf P; exit 1', /exit status 1/],
  ['prints nothing and exits 0', 'exit 0', /0 bytes/],
  ['prints 3 bytes and exits 0', 'printf PGD; exit 0', /3 bytes/],
  ['prints an error text and exits 0', 'echo "Service container is not running"; exit 0', /no dump.*Service container/],
  // No other way to dump would do better.
  [
    'is refused by pg_dump itself',
    '[ $2 != postgres:enter ] || { echo "pg_dump: error: query failed" >&2; exit 1; }; printf PGDMP',
    /query failed/,
  ],
] as const)
  test(`one that ${what} is none`, async () => {
    await open(snippet).then(
      () => assert.unreachable(),
      (error) => {
        assert.instance(error, Failure)
        assert.match(error.message, reason)
      },
    )
  })

test('without postgres:enter it is taken by postgres:export, and that is said', async () => {
  const { dump, said } = await open(
    '[ $2 != postgres:enter ] || { echo "no such command" >&2; exit 1; }; printf "PGDMP and the rest"',
  )
  assert.is(dump.mode, 'export')
  assert.match(said, /no such command.*Falling back to postgres:export/)
  assert.is(await text(dump.stdout), 'PGDMP and the rest')
  await dump.finish()
})

test.run()
