import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { processorMs } from '../support/processor-time.ts'
import { runCases } from './fuzz.ts'
import { judged } from './judge.ts'
import { caseOf } from './kinds.ts'

const test = suite('fuzz')
const SECRET = { text: 'ABCDEFGHJK-LMNPQRSTUV', halves: ['ABCDEFGHJK', 'LMNPQRSTUV'] } as const

test('a case is made of the seed and its number alone', () => {
  const inputs = Array.from({ length: 100 }, (_, number) => caseOf(7, number).input)
  assert.equal(
    Array.from({ length: 100 }, (_, number) => caseOf(7, number).input),
    inputs,
  )
  assert.ok(new Set(inputs).size > 80, 'many are alike')
  assert.is.not(caseOf(8, 5).input, caseOf(7, 5).input)
})

for (const [what, body, why] of [
  ['a bug', () => JSON.parse('{'), /^a bug: SyntaxError/],
  ['a wait for the processor', () => burn(1800), /^computed for \d+ ms/],
  ['something that is wrong with the result', () => 'a size is no number', /^a size is no number$/],
] as const)
  test(`${what} makes a case bad, and says why`, async () => assert.match((await judged(body)) ?? '', why))

test('what a failure says is judged, and what is not shown is not', async () => {
  const fail = (message: string): Promise<string | undefined> =>
    judged(() => {
      throw new Failure(message)
    }, SECRET)
  assert.is(await fail(`\u001b[2J ${SECRET.text}`), undefined)
  assert.is(await fail(SECRET.halves[1]), 'shows LMNPQRSTUV of the secret "ABCDEFGHJK-LMNPQRSTUV"')
})

test('some hundred cases that start no script find nothing', async () => {
  // How long they take says nothing here: other programs run, too.
  const { bad } = await runCases({ seed: 16, from: 0, to: 200, fast: true }, () => {})
  assert.equal(bad, [])
})

/** Uses the processor, and not only time: another program may have it. */
function burn(ms: number): undefined {
  const startedMs = processorMs()
  while (processorMs() - startedMs < ms) Math.random()
}

test.run()
