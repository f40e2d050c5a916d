import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { daysUntil, describeStatus, parseBackupReport, statusJson } from '../../lib/deploy/status.ts'
import type { Entry } from '../../lib/server/ledger.ts'
import { ENTRY, NEW, OLD } from '../support/ledger.ts'

const test = suite('what --status tells')

test('days until a certificate expires', () => {
  assert.is(daysUntil('Mar 10 12:00:00 2026 GMT', Date.parse('2026-02-28T12:00:00Z')), 10)
  assert.is(daysUntil(''), undefined)
})
function newestBackup(output: { stdout: string; stderr: string }): string {
  return parseBackupReport(output, 'gardens').newest
}

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
  const withRun = JSON.stringify({
    checks: [
      { name: 'newest archive', verdict: 'pass', detail: 'x, 2 hours ago' },
      { name: 'last run', verdict: 'warn', detail: 'an hour ago: failed' },
    ],
  })
  assert.is(newestBackup({ stdout: withRun, stderr: '' }), 'x, 2 hours ago; last run: an hour ago: failed')
  assert.is(newestBackup({ stdout: '', stderr: '' }), 'unknown')
  assert.is(newestBackup({ stdout: '', stderr: 'sh: backup: not found\n' }), 'unknown: sh: backup: not found')
})

test('the env file is named where something is not well, and the backup of another app is none of this one', () => {
  const of = (app: string, verdict = 'fail') => ({
    stdout: JSON.stringify({
      app,
      envFile: '/home/deploy/.env.backup',
      checks: [{ name: 'repository', verdict, detail: 'it is away', archives: ['x-2026-02-28T03:00:00'] }],
    }),
    stderr: '',
  })
  assert.is(newestBackup(of('gardens')), 'fail: it is away (settings: /home/deploy/.env.backup)')
  assert.is(newestBackup(of('gardens', 'pass')), 'it is away')
  const other = parseBackupReport(of('book-corners', 'pass'), 'gardens')
  assert.match(other.newest, /^none: the backup there is that of book-corners \(settings: .*\), not of gardens/)
  assert.is(other.archives, undefined)
})

const status = {
  locked: false,
  running: true,
  serves: true,
  processes: 'web.1 running',
  app: 'book-corners',
  revision: NEW,
  revisions: new Map([['web.1', NEW]]),
  branch: NEW,
  branchName: 'master',
  head: NEW,
  configured: NEW,
  certificateDays: -1,
  newestBackup: 'unknown',
  opsRelease: 'x',
  originAhead: undefined,
}

test('a release that went live in a run that was cut off has a since, too', () => {
  const text = describeStatus(
    { ...status, deploys: [{ ...ENTRY, who: 'Engineer \u001b[31m', outcome: 'interrupted' }] },
    new Date('2026-02-28T11:00:00Z'),
  )
  assert.match(text, /since +Sat 28 Feb \d\d:\d\d \S+ \(1 hour ago\), by Engineer/)
  assert.not.match(text, /\u001b/)
  assert.match(text, /certificate +EXPIRED/)
  assert.match(text, /runs +bbbbbbbb Two\?lines/)
})

test('since is when it went live, and not when somebody was refused', () => {
  const at = (day: number): string => `2026-02-0${day}T10:00:00.000Z`
  const deploys: Entry[] = [
    { ...ENTRY, at: at(1) },
    { ...ENTRY, at: at(2), from: NEW, outcome: 'unchanged' },
    { ...ENTRY, at: at(3), outcome: 'locked', runs: NEW },
    { ...ENTRY, at: at(4), from: NEW, to: OLD, outcome: 'health-failed', runs: NEW },
  ]
  const text = describeStatus({ ...status, deploys })
  assert.match(text, /since +Sun 1 Feb /)
  assert.not.match(text, /DISAGREE/)
})

test('what differs is told, with the command', () => {
  const text = describeStatus({ ...status, deploys: [], configured: OLD })
  assert.match(text, /DISAGREE +web\.1 runs bbbbbbbb; GIT_REV is aaaaaaaa, which a restart would start/)
  assert.match(text, /To make them agree: rollback --rebuild/)
  const failed = { ...ENTRY, from: OLD, to: NEW, outcome: 'build-failed' }
  const misnamed = describeStatus({ ...status, branch: OLD, head: OLD, deploys: [failed] })
  assert.match(misnamed, /runs +another release than bbbbbbbb, whose build failed/)
})

test('what origin has on top of what runs is told where it is known', () => {
  for (const [originAhead, row] of [
    [3, /^ {2}origin +3 commits ahead of what runs/m],
    [1, /^ {2}origin +1 commit ahead of what runs/m],
    [0, /^ {2}origin +at what runs/m],
  ] as const)
    assert.match(describeStatus({ ...status, deploys: [], originAhead }), row)
  assert.not.match(describeStatus({ ...status, deploys: [] }), /origin/)
  const json = (originAhead: number | undefined) =>
    (statusJson({ ...status, deploys: [], originAhead }) as { originAhead: unknown }).originAhead
  assert.equal([json(3), json(undefined)], [3, null])
})

test.run()
