import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { forgottenSuites, parseTotals } from './run-tests.ts'

const test = suite('run-tests')

test("uvu's closing lines are read, colours and all", () => {
  const output =
    ' a  • ✘   (1 / 2)\n\n  Total:     2\n\u001b[31m  Passed:    1\u001b[39m\n  Skipped:   \u001b[33m3\u001b[39m\n  Duration:  1.0ms\n'
  assert.equal(parseTotals(output), { total: 2, passed: 1, skipped: 3 })
  assert.is(parseTotals('it crashed'), undefined)
})

test('a suite that is made but never run is found', () => {
  const made = ['test', 'other'].map((name) => `const ${name} = suite('it')\n`).join('')
  assert.equal(forgottenSuites(`${made}test.run()`), ['other'])
  assert.equal(forgottenSuites(`${made}test.run()\nother.run()`), [])
})

test.run()
