import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { explainDokku, NotInstalled, NotRunning } from '../../lib/dokku/errors.ts'

const test = suite('the explanation of a Dokku command that failed')

const EXITED = { exitCode: 1, signal: null, stdout: '', stderr: '' }
const HOST = 'dokku.example.org'

for (const [what, command, host, output, message, hint] of [
  [
    'a missing service',
    'postgres:info nope',
    undefined,
    { stderr: ' !     Postgres service nope does not exist\n' },
    /^Dokku: Postgres service nope does not exist$/,
    /DB_SERVICE.*sudo dokku postgres:list/,
  ],
  [
    'a user without the right',
    'postgres:info db',
    undefined,
    { stderr: 'sudo: a password is required\n' },
    /may not call Dokku: sudo: a password is required/,
    /sudoers/,
  ],
  [
    'no Dokku at all',
    'postgres:info db',
    undefined,
    { exitCode: 127, stderr: 'sh: 1: exec: dokku: not found\n' },
    /^Dokku is not installed here/,
    /DOKKU_COMMAND/,
  ],
  [
    'no Dokku behind sudo',
    'postgres:info db',
    undefined,
    { stderr: 'sudo: dokku: command not found\n' },
    /^Dokku is not installed here: sudo: dokku: command not found$/,
    /on the Dokku host/,
  ],
  [
    'no Dokku where one was a moment ago',
    'postgres:enter db pg_dump',
    undefined,
    { exitCode: 127, stderr: '/usr/bin/dokku: spawn /usr/bin/dokku ENOENT' },
    /^Dokku is not installed here: /,
    /on the Dokku host/,
  ],
  [
    'a DOKKU_COMMAND that is not there',
    'postgres:info db',
    undefined,
    { exitCode: 127, stderr: 'sh: 1: exec: sudo: not found\n' },
    /can't be called/,
    /DOKKU_COMMAND/,
  ],
  [
    'an error of PostgreSQL with much behind it',
    'postgres:enter db',
    undefined,
    {
      stderr: `pg_dump: warning: there are circular foreign-key constraints
pg_dump: error: Dumping the contents of table "x" failed: PQgetResult() failed.
pg_dump: detail: Error message from server: ERROR:  invalid page in block 0 of relation base/5/16
pg_dump: detail: Command was: COPY public.x (a) TO stdout;
one
two
three
`,
    },
    /exit status 1: pg_dump: error: Dumping .* · pg_dump: detail: .*invalid page in block 0.* · one$/,
    /Try it by hand/,
  ],
  [
    'a stopped container',
    'postgres:connect db',
    undefined,
    { stderr: 'Error response from daemon: No such container: dokku.postgres.db\n' },
    /^The Postgres service db is not running/,
    /postgres:start db/,
  ],
  [
    'a dropped database',
    'postgres:connect db',
    undefined,
    { exitCode: 2, stderr: 'psql: error: FATAL:  database "books" does not exist\n' },
    /database "books" does not exist/,
    /postgres:enter db createdb -U postgres -E utf8 books/,
  ],
  [
    'a missing app here',
    'ps:report books',
    undefined,
    { exitCode: 20, stderr: ' !     App books does not exist\n' },
    /^Dokku has no app books\.$/,
    /DOKKU_APP against: sudo dokku apps:list/,
  ],
  [
    'a missing app over SSH',
    'git:report books',
    HOST,
    { exitCode: 20, stderr: ' !     App books does not exist\n' },
    /^Dokku has no app books\.$/,
    /ssh dokku@dokku\.example\.org apps:list/,
  ],
  [
    'what is said on stdout',
    'ps:restart books',
    undefined,
    { stdout: ' !     App did not start\n' },
    /^dokku ps:restart books failed with exit status 1: App did not start$/,
    /sudo dokku ps:restart books/,
  ],
  [
    'data on stdout, which is never shown',
    'postgres:export db',
    undefined,
    { stdout: 'PGDMP and what visitors typed' },
    /^dokku postgres:export db failed with exit status 1 and said nothing\.$/,
    /Try it by hand/,
  ],
  [
    'a signal over SSH',
    'logs books',
    HOST,
    { exitCode: null, signal: 'SIGTERM' as const },
    /^dokku logs books was ended by SIGTERM and said nothing\.$/,
    /deploy --status/,
  ],
] as const)
  test(`${what} is told with the next command`, () => {
    const failure = explainDokku({ ...EXITED, ...output }, command, host)
    assert.match(failure.message, message)
    assert.match(failure.hint, hint)
    assert.is(failure instanceof NotRunning, what === 'a stopped container')
    assert.is(failure instanceof NotInstalled, what.startsWith('no Dokku'))
  })

test.run()
