import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { classifyPush, cleanLine, type Outcome, pushArgs } from '../../lib/deploy/push.ts'
import type { SshTrouble } from '../../lib/server/ssh-errors.ts'

const test = suite('what became of a push')

const DECLINED = ' ! [remote rejected] abc -> master (pre-receive hook declined)'
const HUNG_UP = 'fatal: the remote end hung up unexpectedly'
const cases: [what: string, exitCode: number | null, lines: string[], outcome: Outcome, trouble?: SshTrouble][] = [
  ['a deploy', 0, ['=====> Application deployed:', '   abc..def  def -> master'], 'deployed'],
  ['the same commit', 0, ['Everything up-to-date'], 'unchanged'],
  ['a locked app', 1, [' !     book-corners currently has a deploy lock in place. Exiting...', DECLINED], 'locked'],
  ['a failed build', 1, [' !     App build failed', DECLINED], 'build-failed'],
  [
    'a failed migration',
    1,
    [' !     Execution of predeploy task failed: python manage.py migrate', DECLINED],
    'predeploy-failed',
  ],
  ['a failed postdeploy', 1, [' !     Execution of postdeploy task failed: x', DECLINED], 'predeploy-failed'],
  ['a failed health check', 1, [' !     Could not start due to 1 failed checks (web.1)', DECLINED], 'health-failed'],
  ['a stale lease', 1, [' ! [rejected]        abc -> master (stale info)'], 'stale'],
  [
    'a ref somebody moved',
    1,
    [' ! [remote rejected] abc -> master (cannot lock ref)', 'error: cannot lock ref'],
    'stale',
  ],
  ['another branch', 0, ['-----> WARNING: deploy did not complete, you must push to main.'], 'elsewhere'],
  ['a build that says "failed" and goes on', 0, ['App build failed? no: a test of that name passed'], 'deployed'],
  ['a connection cut in the build', 128, ['-----> Building', HUNG_UP], 'lost', 'lost'],
  [
    'a connection cut, ssh silent',
    128,
    ['send-pack: unexpected disconnect while reading sideband packet', HUNG_UP],
    'lost',
  ],
  ['a connection cut after the reason was said', 128, [' !     App build failed', HUNG_UP], 'build-failed', 'lost'],
  [
    'an unknown host key',
    128,
    ['Host key verification failed.', 'fatal: Could not read from remote repository.'],
    'no-connection',
    'host-key',
  ],
  ['a refused key', 128, ['dokku@vps: Permission denied (publickey).'], 'no-connection', 'login'],
  [
    'a host that is away',
    128,
    ['ssh: connect to host vps port 22: Connection refused'],
    'no-connection',
    'unreachable',
  ],
  ['git killed', null, ['-----> Building'], 'lost'],
  ['a hook of another kind', 1, ['remote says no', DECLINED], 'refused'],
]
for (const [what, exitCode, lines, outcome, trouble] of cases)
  test(`${what} is ${outcome}`, () => {
    const signal = exitCode === null ? ('SIGKILL' as const) : null
    assert.is(classifyPush({ exitCode, signal }, lines, trouble).outcome, outcome)
  })

test("the cause of a failed migration is the task's output and Dokku's verdict", () => {
  const lines = [
    '-----> Building',
    '=====> Start of book-corners predeploy task (0123) output',
    '       django.db.utils.ProgrammingError: column exists',
    '=====> End of book-corners predeploy task (0123) output',
    ' !     Execution of predeploy task failed: python manage.py migrate',
    DECLINED,
  ]
  assert.equal(classifyPush({ exitCode: 1, signal: null }, lines).cause, [lines[2], lines[4]])
})

test("the cause of a failed check is the check's words and the container's output, and not all of a long one", () => {
  const output = Array.from({ length: 100 }, (_, i) => `       line ${i}`)
  const lines = [
    "       Failure in name='web check': connection refused",
    ' !     Could not start due to 1 failed checks (web.1)',
    '=====> Start of book-corners container output (0123 web.1)',
    ...output,
    '=====> End of book-corners container output (0123 web.1)',
  ]
  const { cause } = classifyPush({ exitCode: 1, signal: null }, lines)
  assert.is(cause.length, 21)
  assert.ok(cause.includes('       line 99'))
  assert.is(cause.at(-1), lines[1])
})

for (const [raw, clean] of [
  ['remote: \u001b[1G\u001b[K-----> Building', '-----> Building'],
  ['remote: \u001b[1;31mred\u001b[0m text        \u001b[K', 'red text'],
  ['Counting: 50%\rCounting: 100%, done.', 'Counting: 100%, done.'],
  ['remote: Compressing:  50%\rremote: Compressing: 100%\u001b[K\r', 'Compressing: 100%'],
  ['remote: \u0007\u001b]0;title\u0007bell', ']0;titlebell'],
  ['remote:        indented', '       indented'],
  ['To vps:book-corners', 'To vps:book-corners'],
] as const)
  test(`${JSON.stringify(raw)} is shown as ${JSON.stringify(clean)}`, () => assert.is(cleanLine(raw), clean))

test('a push is never forced: it holds a lease on what is deployed, or on nothing being there', () => {
  const sha = 'a'.repeat(40)
  const args = pushArgs('dokku@vps:app', sha, 'master', 'b'.repeat(40))
  assert.ok(args.includes(`--force-with-lease=refs/heads/master:${'b'.repeat(40)}`))
  assert.not(args.some((arg) => arg === '--force' || arg === '-f' || arg.startsWith('+')))
  assert.ok(pushArgs('u', sha, 'master', undefined).includes('--force-with-lease=refs/heads/master:'))
  assert.is(args.at(-1), `${sha}:refs/heads/master`)
})

test.run()
