import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { classifyPush, cleanLine, collectLines, type Outcome, type PushResult } from '../../lib/deploy/outcome.ts'
import type { SshTrouble } from '../../lib/server/ssh-errors.ts'
import { processorMs } from '../support/processor-time.ts'

const test = suite('what became of a push')

/** What git prints: lines of the server, which begin with `remote: `, and its own. */
function classify(exitCode: number | null, raw: readonly string[], trouble?: SshTrouble): PushResult {
  const said = collectLines()
  raw.forEach(said.take)
  return classifyPush({ exitCode, signal: exitCode === null ? 'SIGKILL' : null }, said.lines, trouble)
}

const DECLINED = ' ! [remote rejected] abc -> master (pre-receive hook declined)'
const HUNG_UP = 'fatal: the remote end hung up unexpectedly'
const BUILDING = 'remote: -----> Building book-corners from Dockerfile'
const BUILD_FAILED = 'remote:  !     App build failed'
const TASK_FAILED = 'remote:  !     Execution of predeploy task failed: python manage.py migrate'
const CHECK_FAILED = 'remote:  !     Could not start due to 1 failed checks (web.1)'
const LOCKED = 'remote:  !     book-corners currently has a deploy lock in place. Exiting...'

const cases: [what: string, exitCode: number | null, lines: string[], outcome: Outcome, trouble?: SshTrouble][] = [
  ['a deploy', 0, ['remote: =====> Application deployed:', '   abc..def  def -> master'], 'deployed'],
  ['the same commit', 0, ['Everything up-to-date'], 'unchanged'],
  ['a push under skip-deploy', 0, [BUILDING, 'remote: -----> Skipping deployment'], 'skipped'],
  ['a locked app', 1, [LOCKED, DECLINED], 'locked'],
  ['a failed build', 1, [BUILD_FAILED, DECLINED], 'build-failed'],
  ['a failed migration', 1, [TASK_FAILED, DECLINED], 'predeploy-failed'],
  [
    "a failed release task of a Procfile's",
    1,
    ['remote:  !     Execution of release task failed: x', DECLINED],
    'predeploy-failed',
  ],
  ['a failed postdeploy', 1, ['remote:  !     Execution of postdeploy task failed: x', DECLINED], 'postdeploy-failed'],
  ['a failed health check', 1, [CHECK_FAILED, DECLINED], 'health-failed'],
  ['a stale lease', 1, [' ! [rejected]        abc -> master (stale info)'], 'stale'],
  [
    'a ref somebody moved',
    1,
    [' ! [remote rejected] abc -> master (cannot lock ref)', 'error: cannot lock ref'],
    'stale',
  ],
  ['another branch', 0, ['remote: -----> WARNING: deploy did not complete, you must push to main.'], 'elsewhere'],
  ['a connection cut in the build', 128, [BUILDING, HUNG_UP], 'lost', 'lost'],
  [
    'a connection cut, ssh silent',
    128,
    ['send-pack: unexpected disconnect while reading sideband packet', HUNG_UP],
    'lost',
  ],
  ['a connection cut after the reason was said', 128, [BUILD_FAILED, HUNG_UP], 'build-failed', 'lost'],
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
  ['git killed', null, [BUILDING], 'lost'],
  ['a hook of another kind', 1, ['remote: remote says no', DECLINED], 'refused'],

  // What a program prints is no sign, whatever it prints.
  [
    'a build that says "failed" and goes on',
    0,
    ['remote: App build failed? no: a test of that name passed'],
    'deployed',
  ],
  [
    'a failing build that prints "cannot lock ref"',
    1,
    [BUILDING, 'remote: error: cannot lock ref', BUILD_FAILED, DECLINED],
    'build-failed',
  ],
  [
    'a failing build that prints a rejected push',
    1,
    [BUILDING, 'remote:  ! [rejected] a -> b (stale info)', BUILD_FAILED, DECLINED],
    'build-failed',
  ],
  ["a failing build that prints Dokku's lock", 1, [BUILDING, LOCKED, BUILD_FAILED, DECLINED], 'build-failed'],
  [
    'a failing build that prints another verdict of Dokku',
    1,
    [BUILDING, TASK_FAILED, CHECK_FAILED, BUILD_FAILED, DECLINED],
    'build-failed',
  ],
  ['a failing build that prints "hung up"', 1, [BUILDING, `remote: ${HUNG_UP}`, DECLINED], 'refused'],
  ['a build that prints "Everything up-to-date"', 0, [BUILDING, 'remote: Everything up-to-date'], 'deployed'],
  ['a build that prints "Skipping deployment"', 0, [BUILDING, 'remote: #7 1.2 -----> Skipping deployment'], 'deployed'],
  [
    'a build that prints what Dokku says of another branch',
    0,
    [BUILDING, 'remote: #7 0.1 -----> WARNING: deploy did not complete, you must push to x'],
    'deployed',
  ],
  [
    'a migration that fails and prints verdicts',
    1,
    [
      'remote: =====> Start of book-corners predeploy task (0123) output',
      'remote:  !     App build failed',
      'remote:  !     book-corners currently has a deploy lock in place. Exiting...',
      'remote: =====> End of book-corners predeploy task (0123) output',
      TASK_FAILED,
      DECLINED,
    ],
    'predeploy-failed',
  ],
  [
    'a container that prints a verdict after its check failed',
    1,
    [
      CHECK_FAILED,
      'remote: =====> Start of book-corners container output (0123 web.1)',
      'remote:        Execution of predeploy task failed',
      'remote: =====> End of book-corners container output (0123 web.1)',
      'remote: parallel: This job failed:',
      DECLINED,
    ],
    'health-failed',
  ],
]
for (const [what, exitCode, lines, outcome, trouble] of cases)
  test(`${what} is ${outcome}`, () => assert.is(classify(exitCode, lines, trouble).outcome, outcome))

test("the cause of a failed migration is the task's output and Dokku's verdict", () => {
  const lines = [
    BUILDING,
    'remote: =====> Start of book-corners predeploy task (0123) output',
    'remote:  !     django.db.utils.ProgrammingError: column exists',
    'remote: =====> End of book-corners predeploy task (0123) output',
    TASK_FAILED,
    DECLINED,
  ]
  assert.equal(classify(1, lines).cause, [
    ' !     django.db.utils.ProgrammingError: column exists',
    TASK_FAILED.slice(8),
  ])
})

test('line ends of Windows: the line that says why is shown', () => {
  const lines = [
    BUILDING,
    // Git ends a line at each of \r and \n.
    'remote: npm error Missing: x from lock file        \rremote: ',
    'remote:  !     App build failed        \rremote: ',
    DECLINED,
  ]
  assert.equal(classify(1, lines), {
    outcome: 'build-failed',
    cause: ['npm error Missing: x from lock file', ' !     App build failed'],
  })
})

test("the cause of a failed check is the check's words and what the container printed, each line once", () => {
  const crash = ['Traceback (most recent call last):', "ModuleNotFoundError: No module named 'libraries.maps'"]
  const output = [
    '=====> Start of book-corners container output (0123 web.1)',
    ...[...crash, ...crash, ...crash].map((line) => `       ${line}`),
    '=====> End of book-corners container output (0123 web.1)',
  ]
  const lines = ["       Failure in name='web check': refused", 'abc', CHECK_FAILED.slice(8), ...output, ...output]
  const { cause } = classify(1, [
    ...lines.map((line) => `remote: ${line}`),
    'remote: parallel: This job failed:',
    DECLINED,
  ])
  assert.equal(cause, [
    "       Failure in name='web check': refused",
    ...crash.map((line) => `       ${line}`),
    CHECK_FAILED.slice(8),
  ])
})

test('of a failed build it is the step that failed, as BuildKit shows it', () => {
  const step = [
    ' > [css 4/6] RUN npm ci:',
    '1.204 npm error lock file',
    '------',
    'Dockerfile:4',
    '   4 | >>> RUN npm ci',
  ]
  const lines = [
    BUILDING,
    ...Array.from({ length: 50 }, (_, i) => `remote: #7 line ${i}`),
    ...step.map((line) => `remote: ${line}`),
  ]
  assert.equal(classify(1, [...lines, BUILD_FAILED, DECLINED]).cause, [
    ...step.filter((line) => line !== '------'),
    BUILD_FAILED.slice(8),
  ])
})

test('of a long output it is the end, and lines of 300,000 characters take no time', () => {
  const lines = Array.from({ length: 100 }, (_, i) => `       line ${i}`)
  const long = ['a', 'rejected] (', '! ', '\u001b[', 'healthcheck fail ', ' '].map((part) =>
    part.repeat(300_000 / part.length),
  )
  const startedMs = processorMs()
  const { cause } = classify(1, [
    "remote:        Failure in name='web check': connection refused",
    ...long.flatMap((line) => [`remote: ${line}`, line, `remote:  ! ${line}`, ` ! [rejected] ${line}`]),
    CHECK_FAILED,
    'remote: =====> Start of book-corners container output (0123 web.1)',
    ...lines.map((line) => `remote: ${line}`),
    DECLINED,
  ])
  assert.ok(processorMs() - startedMs < 2000)
  assert.is(cause.length, 21)
  assert.ok(cause.includes('       line 99'))
})

for (const [raw, clean] of [
  ['remote: \u001b[1G\u001b[K-----> Building', '-----> Building'],
  ['remote: \u001b[1;31mred\u001b[0m text        \u001b[K', 'red text'],
  ['Counting: 50%\rCounting: 100%, done.', 'Counting: 100%, done.'],
  ['remote: Compressing:  50%\rremote: Compressing: 100%\u001b[K\r', 'Compressing: 100%'],
  ['remote: \u0007\u001b]0;title\u0007bell', ']0;titlebell'],
  ['remote:        indented', '       indented'],
  ['remote: why        \rremote: ', 'why'],
  ['remote: why\r', 'why'],
  ['remote: ', ''],
  ['To vps:book-corners', 'To vps:book-corners'],
] as const)
  test(`${JSON.stringify(raw)} is shown as ${JSON.stringify(clean)}`, () => assert.is(cleanLine(raw), clean))

test.run()
