import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fetchReason, Interrupted, reason } from '../../lib/core/failure.ts'

const test = suite('failure')

test('a reason is text for the middle of a sentence, whatever was thrown', () => {
  assert.is(reason(new TypeError('no room')), 'no room')
  assert.is(reason('no room'), 'no room')
})

test('why fetch failed is found in its cause', async () => {
  const refused = await fetch('http://127.0.0.1:4/').catch((error: unknown) => error)
  assert.is(fetchReason(refused), 'connect ECONNREFUSED 127.0.0.1:4')
  // As Node 20 gives it for a host with several addresses, none of which answers.
  const cause = Object.assign(new AggregateError([], ''), { code: 'ECONNREFUSED' })
  assert.is(fetchReason(new TypeError('fetch failed', { cause })), 'ECONNREFUSED')
  assert.is(fetchReason(new Error('it answered 503')), 'it answered 503')
})

test('an interruption has the exit status that a shell gives for its signal', () => {
  const statuses = (['SIGHUP', 'SIGINT', 'SIGTERM'] as const).map((name) => new Interrupted(name).exitCode)
  assert.equal(statuses, [129, 130, 143])
})

test.run()
