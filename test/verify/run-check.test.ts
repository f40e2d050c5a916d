import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type CheckResult, pauseMs, type RunnableCheck, runCheck, Unexpected } from '../../lib/verify/run-check.ts'

const never = new AbortController().signal
const test = suite('a check and its attempts')

function run(check: Partial<RunnableCheck>, timeoutMs: number, options = {}): Promise<CheckResult> {
  return runCheck(
    { name: 'x', run: async () => ({ verdict: 'pass', seen: 'ok' }), ...check },
    { deadlineMs: performance.now() + timeoutMs, patienceMs: timeoutMs / 4, signal: never, ...options },
  )
}

/** Fails with the words, then passes. */
function flaky(...words: string[]): RunnableCheck['run'] {
  return async () => {
    const word = words.shift()
    if (word !== undefined) throw new Unexpected(word)
    return { verdict: 'pass', seen: 'ok' }
  }
}

function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Unexpected('no answer'))))
}

test('a container that is still starting is not a red', async () => {
  const retried: string[] = []
  const result = await run({ run: flaky('502', 'refused') }, 5000, {
    onRetry: ({ seen, tries }: CheckResult) => retried.push(`${tries} ${seen}`),
  })
  assert.is(result.verdict, 'pass')
  assert.is(result.tries, 3)
  assert.equal(retried, ['1 502', '2 refused'])
})
test('what goes on failing fails with what was seen last, at the end of the time', async () => {
  const started = performance.now()
  const result = await run({ run: flaky(...Array.from({ length: 50 }, (_, i) => `no ${i}`)) }, 1500)
  const tookMs = performance.now() - started
  assert.is(result.verdict, 'fail')
  assert.ok(result.tries >= 3 && result.tries <= 8, String(result.tries))
  assert.is(result.seen, `no ${result.tries - 1}`)
  assert.ok(tookMs > 1200 && tookMs < 2500, String(tookMs))
})
test('one try that hangs does not cost the whole time', async () => {
  let count = 0
  const started = performance.now()
  const result = await run({ run: (signal) => (++count === 1 ? hang(signal) : flaky()(signal)) }, 2000)
  assert.is(result.verdict, 'pass')
  assert.is(result.tries, 2)
  assert.ok(performance.now() - started < 1900)
})
test('an answer slower than that patience is still taken', async () => {
  const slow = (): Promise<{ verdict: 'pass'; seen: string }> =>
    new Promise((resolve) => setTimeout(() => resolve({ verdict: 'pass', seen: 'slow' }), 1000))
  const result = await run({ run: slow }, 2000)
  assert.is(result.verdict, 'pass')
  assert.ok(result.tookMs > 950 && result.tookMs < 1900)
})
test('of tries that hang none is given up for one that has just begun', async () => {
  const waited: number[] = []
  const result = await run(
    {
      run: (signal) => {
        const started = performance.now()
        return hang(signal).finally(() => waited.push(performance.now() - started))
      },
    },
    2000,
  )
  assert.is(result.tries, 4)
  assert.ok((waited[0] ?? 0) > 1400, String(waited))
})
test('what hangs for ever ends with the time', async () => {
  const started = performance.now()
  const deaf = await run({ run: () => new Promise(() => {}) }, 500)
  const hearing = await run({ run: hang }, 500)
  assert.equal([deaf.verdict, hearing.verdict, hearing.seen], ['fail', 'fail', 'no answer'])
  assert.ok(performance.now() - started < 3000)
})
test('what can not heal is not tried again', async () => {
  const result = await run({ run: () => Promise.reject(new Unexpected('expired', true)) }, 3000)
  assert.equal([result.verdict, result.tries], ['fail', 1])
})
test('a bug is not taken for a red', async () => {
  try {
    await run({ run: () => Promise.reject(new TypeError('x is not a function')) }, 3000)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, TypeError)
  }
})
test('an interruption ends the waiting at once', async () => {
  const controller = new AbortController()
  setTimeout(() => controller.abort(new Error('Ctrl-C')), 100)
  const started = performance.now()
  const aborted: boolean[] = []
  try {
    await run({ run: (signal) => hang(signal).finally(() => aborted.push(signal.aborted)) }, 5000, {
      signal: controller.signal,
    })
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).message, 'Ctrl-C')
  }
  assert.ok(performance.now() - started < 2500)
  await new Promise(setImmediate)
  assert.equal(aborted, [true])
})
test('pauses double, spread, and never use up the time', () => {
  assert.equal(
    [1, 2, 3, 4, 5, 9].map((n) => pauseMs(n, 60_000, 0.5)),
    [500, 1000, 2000, 4000, 5000, 5000],
  )
  assert.equal([pauseMs(1, 60_000, 0), pauseMs(1, 60_000, 1)], [375, 625])
  assert.is(pauseMs(5, 600, 0.5), 300)
})
test.run()
