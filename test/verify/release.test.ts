import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RunningRelease } from '../../lib/server/app.ts'
import { SshFailure } from '../../lib/server/ssh-errors.ts'
import { releaseCheck } from '../../lib/verify/release.ts'
import { type CheckResult, runCheck } from '../../lib/verify/run-check.ts'

const test = suite('the release that runs')
const SHA = '0123456789abcdef0123456789abcdef01234567'
const live = runs({ 'web.1': SHA })

function runs(revisions: Record<string, string | undefined>): RunningRelease {
  const said = new Set(Object.values(revisions))
  return {
    revision: said.size === 1 ? [...said][0] : undefined,
    revisions: new Map(Object.entries(revisions)),
    processes: 'web.1 running',
    running: true,
    serves: true,
  }
}

function check(sha: string, ask: () => Promise<RunningRelease>, recorded?: string): Promise<CheckResult> {
  const signal = new AbortController().signal
  return runCheck(releaseCheck({ sha, ask, recorded: async () => recorded }), {
    deadlineMs: performance.now() + 700,
    patienceMs: 500,
    signal,
  })
}

test('it is the expected one, whole or abbreviated', async () => {
  for (const sha of [SHA, SHA.slice(0, 7)]) {
    const { verdict, seen } = await check(sha, async () => live)
    assert.equal([verdict, seen], ['pass', 'runs 01234567, web.1 running'])
  }
})
test("Dokku's record counts where the container is not told its commit, and nowhere else", async () => {
  const silent = runs({ 'web.1': undefined })
  const [good, bad] = [await check(SHA, async () => silent, SHA), await check(SHA, async () => silent, 'b'.repeat(40))]
  assert.equal([good.verdict, bad.verdict], ['pass', 'fail'])
  assert.match(good.seen, /runs 01234567, web\.1 running \(by Dokku's record: the container does not say\)/)
  const other = await check(SHA, async () => runs({ 'web.1': 'b'.repeat(40) }), SHA)
  assert.equal(
    [other.verdict, other.seen],
    ['fail', 'Dokku deployed 01234567, but its container says it runs bbbbbbbb, web.1 running'],
  )
})
test('nothing is asked without a commit to expect', async () => {
  assert.match((releaseCheck(undefined) as { skip: string }).skip, /--expect-sha/)
})
const RED: [promise: string, ask: () => Promise<RunningRelease>, seen: RegExp, tries?: number][] = [
  ['another commit', async () => runs({ 'web.1': SHA.replace('0', 'f') }), /runs f1234567, .*; expected 01234567/],
  [
    'web processes of two releases',
    async () => runs({ 'web.1': SHA, 'web.2': 'b'.repeat(40) }),
    /an unknown release \(web\.1 01234567, web\.2 bbbbbbbb\)/,
  ],
  ['one of them is silent', async () => runs({ 'web.1': SHA, 'web.2': undefined }), /web\.2 does not say/],
  ['a dead process', async () => ({ ...live, processes: 'web.1 exited', running: false }), /web.1 exited/],
  ['no commit', async () => runs({ 'web.1': undefined }), /does not say/],
  ['a refused key', () => Promise.reject(new SshFailure('login', 'not accepted', '')), /not accepted/, 1],
  ['an unreachable host', () => Promise.reject(new SshFailure('unreachable', 'away', '')), /away/],
]
for (const [promise, ask, seen, tries] of RED)
  test(`it is red: ${promise}`, async () => {
    const result = await check(SHA, ask)
    assert.is(result.verdict, 'fail')
    assert.match(result.seen, seen)
    if (tries) assert.is(result.tries, tries)
  })
test.run()
