import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeState, parsePs } from '../../lib/server/app.ts'

const test = suite('what the server says')
const [OLD, NEW] = ['a'.repeat(40), 'b'.repeat(40)] as const

for (const [what, json, expected] of [
  ['running', { deployed: 'true', running: 'true', 'status-web.1': 'running (CID: 0123)' }, ['web.1 running', true]],
  [
    'mixed',
    { deployed: 'true', running: 'mixed', 'status-web.1': 'running', 'status-web.2': 'exited' },
    ['web.1 running, web.2 exited', false],
  ],
  ['never deployed', { deployed: 'false', running: 'false' }, ['never deployed', false]],
] as const)
  test(`processes: ${what}`, () => {
    const { processes, running } = parsePs(JSON.stringify(json))
    assert.equal([processes, running], expected)
  })
test('an answer that is no report is said to be none', () =>
  assert.throws(() => parsePs(' !     Invalid flag'), /did not report/))

const state = { locked: false, sha: OLD, revision: undefined, running: true, processes: 'web.1 running' }
for (const [what, change, says] of [
  ['old', {}, /aaaaaaaa, the old release, \(web\.1 running\)\.$/],
  ['new', { sha: NEW }, /bbbbbbbb, the new release,/],
  ['new, not recorded', { revision: NEW }, /the new release,.*did not get to record it/],
  ['locked', { locked: true }, /the old release.*deploy lock is there/],
  ['down', { running: false }, /NOT every process runs/],
  ['nothing', { sha: undefined }, /runs nothing/],
] as const)
  test(`the state "${what}" in words`, () => assert.match(describeState({ ...state, ...change }, NEW), says))

test.run()
