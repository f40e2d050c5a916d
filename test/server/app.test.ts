import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeState, runningRelease } from '../../lib/server/app.ts'
import type { Remote } from '../../lib/server/ssh.ts'

const test = suite('what the server says')
const [OLD, NEW] = ['a'.repeat(40), 'b'.repeat(40)] as const

/** A server that answers like this. */
function answering(answers: Record<string, string>): Remote {
  const dokku: Remote['dokku'] = async (words) => {
    const stdout = answers[words]
    return { exitCode: stdout === undefined ? 1 : 0, signal: null, stdout: stdout ?? '', stderr: '' }
  }
  return { dokku, signal: new AbortController().signal } as Remote
}
const REPORT = 'ps:report APP --format json'
const [WEB, WEB_2] = ['enter APP web printenv GIT_REV', 'enter APP web.2 printenv GIT_REV']

for (const [what, answers, expected] of [
  [
    'every process runs',
    { [REPORT]: '{"deployed":"true","running":"true","status-web.1":"running (CID: 0123)"}', [WEB]: OLD },
    { revision: OLD, processes: 'web.1 running', running: true, serves: true },
  ],
  [
    'a worker is dead',
    {
      [REPORT]: '{"deployed":"true","running":"mixed","status-web.1":"running","status-worker.1":"exited"}',
      [WEB]: OLD,
    },
    { revision: OLD, processes: 'web.1 running, worker.1 exited', running: false, serves: true },
  ],
  [
    'two web processes of one release',
    {
      [REPORT]: '{"deployed":"true","running":"true","status-web.1":"running","status-web.2":"running"}',
      [WEB]: OLD,
      [WEB_2]: OLD,
    },
    { revision: OLD, processes: 'web.1 running, web.2 running', running: true, serves: true },
  ],
  [
    'two web processes of two releases',
    {
      [REPORT]: '{"deployed":"true","running":"true","status-web.1":"running","status-web.2":"running"}',
      [WEB]: OLD,
      [WEB_2]: NEW,
    },
    { revision: undefined, processes: 'web.1 running, web.2 running', running: true, serves: true },
  ],
  [
    'one that is down is not asked',
    {
      [REPORT]: '{"deployed":"true","running":"mixed","status-web.1":"running","status-web.2":"exited"}',
      [WEB]: OLD,
      [WEB_2]: NEW,
    },
    { revision: OLD, processes: 'web.1 running, web.2 exited', running: false, serves: true },
  ],
  [
    'it does not say (no GIT_REV)',
    { [REPORT]: '{"deployed":"true","running":"true","status-web.1":"running"}' },
    { revision: undefined, processes: 'web.1 running', running: true, serves: true },
  ],
  [
    'a scheduler that does not report each process (k3s)',
    { [REPORT]: '{"deployed":"true","running":"true"}', [WEB]: OLD },
    { revision: OLD, processes: 'no process', running: true, serves: true },
  ],
  [
    'stopped',
    { [REPORT]: '{"deployed":"true","running":"false","status-web.1":"exited"}', [WEB]: OLD },
    { revision: undefined, processes: 'web.1 exited', running: false, serves: false },
  ],
  [
    'never deployed',
    { [REPORT]: '{"deployed":"false","running":"false"}' },
    { revision: undefined, processes: 'never deployed', running: false, serves: false },
  ],
] as const)
  test(`what runs: ${what}`, async () => {
    const { revisions: _, ...release } = await runningRelease(answering(answers), 'book-corners')
    assert.equal(release, expected)
  })
test('an answer that is no report is said to be none', () =>
  runningRelease(answering({ [REPORT]: ' !     Invalid flag' }), 'book-corners').then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, /^Dokku \(ps:report\) did not answer with JSON/),
  ))

const state = {
  locked: false,
  revision: OLD as string | undefined,
  revisions: new Map([['web.1', OLD as string | undefined]]),
  running: true,
  serves: true,
  processes: 'web.1 running',
}
for (const [what, change, says] of [
  ['old', {}, /aaaaaaaa, the old release \(web\.1 running\)\.$/],
  ['new', { revision: NEW }, /bbbbbbbb, the new release \(/],
  ['locked', { locked: true }, /the old release.*deploy lock is there/],
  ['down', { running: false }, /NOT every process runs/],
  [
    'unknown',
    { revision: undefined, revisions: new Map([['web.1', undefined]]) },
    /runs an unknown release \(web\.1 does not say\) \(/,
  ],
  ['nothing', { revision: undefined, serves: false, processes: 'web.1 exited' }, /runs nothing \(web\.1 exited/],
] as const)
  test(`the state "${what}" in words`, () => assert.match(describeState({ ...state, ...change }, NEW), says))

test.run()
