import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { daysUntil, describeStatus, newestBackup } from '../../lib/deploy/status.ts'
import { describeState, parsePs } from '../../lib/server/app.ts'
import { type Entry, entryLine, parseLedger } from '../../lib/server/ledger.ts'

const test = suite('what the server says')
const [OLD, NEW] = ['a'.repeat(40), 'b'.repeat(40)] as const
const entry: Entry = {
  at: '2026-02-28T10:00:00.000Z',
  kind: 'deploy',
  who: 'Engineer',
  from: OLD,
  to: NEW,
  subject: 'Two\nlines "quoted"',
  outcome: 'deployed',
  seconds: 12,
  verified: true,
}

test('a ledger line is one line, and is read back', () => {
  assert.not.match(entryLine(entry), '\n')
  assert.equal(parseLedger(`${entryLine(entry)}\n{"at":"cut of\n\nnull\n42\n${entryLine(entry)}\n`), [entry, entry])
})

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

test('days until a certificate expires', () => {
  assert.is(daysUntil('Mar 10 12:00:00 2026 GMT', Date.parse('2026-02-28T12:00:00Z')), 10)
  assert.is(daysUntil(''), undefined)
})
test("the newest backup is taken from backup --check's own words", () => {
  const line = (verdict: string) => ({
    stdout: JSON.stringify({ checks: [{ name: 'newest archive', verdict, detail: 'x, 2 hours ago' }] }),
    stderr: '',
  })
  assert.is(newestBackup(line('pass')), 'x, 2 hours ago')
  assert.is(newestBackup(line('warn')), 'warn: x, 2 hours ago')
  const { stdout, stderr } = line('pass')
  assert.is(newestBackup({ stdout: `Welcome\n${stdout}\n`, stderr }), 'x, 2 hours ago')
  const unset = JSON.stringify({ checks: [{ name: 'settings', verdict: 'fail', detail: 'BORG_REPO is not set.' }] })
  assert.is(newestBackup({ stdout: unset, stderr: '' }), 'fail: BORG_REPO is not set.')
  assert.is(newestBackup({ stdout: '', stderr: '' }), 'unknown')
  assert.is(newestBackup({ stdout: '', stderr: 'sh: backup: not found\n' }), 'unknown: sh: backup: not found')
})
test('a release that went live in a run that was cut off has a since, too', () => {
  const status = {
    ...state,
    app: 'book-corners',
    sha: NEW,
    certificateDays: -1,
    newestBackup: 'unknown',
    opsRelease: 'x',
  }
  const text = describeStatus(
    { ...status, deploys: [{ ...entry, who: 'Engineer \u001b[31m', outcome: 'interrupted' }] },
    new Date('2026-02-28T11:00:00Z'),
  )
  assert.match(text, /since +2026-02-28T10:00:00\.000Z \(1 hour ago\), by Engineer/)
  assert.not.match(text, /\u001b/)
  assert.match(text, /certificate +EXPIRED/)
  assert.match(text, /runs +bbbbbbbb Two\?lines/)
})

test.run()
