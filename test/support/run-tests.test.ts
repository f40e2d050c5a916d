import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { forgottenSuites, longestFirst, parseTotals, runFile } from './run-tests.ts'

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

test('what takes long begins first', () => {
  const [sandbox, server] = ["from '../support/sandbox.ts'\n", "from '../support/server.ts'\n"]
  const files = [
    { name: 'short', text: '1' },
    { name: 'long', text: '1'.repeat(50) },
    { name: 'on a server', text: server },
    { name: 'on a sandbox', text: `${sandbox}1` },
    { name: 'scripts/deploy-broken-site.test.ts', text: server },
  ]
  assert.equal(longestFirst(files), [
    'scripts/deploy-broken-site.test.ts',
    'on a sandbox',
    'on a server',
    'long',
    'short',
  ])
})

const IMPORT = `import { suite } from ${JSON.stringify(import.meta.resolve('uvu'))}\nconst test = suite('it')\n`
for (const [what, body, passed, failed, problem] of [
  ['passes', "test('a', () => {})\ntest.run()", 1, 0, undefined],
  ['fails one of two', "test('a', () => {})\ntest('b', () => { throw new Error('b') })\ntest.run()", 1, 1, undefined],
  ['forgets to run its suite', "test('a', () => {})", 0, 1, /ended before uvu did|ran no test/],
  [
    'never gets to its tests',
    "test.before(() => { throw new Error('no') })\ntest('a', () => {})\ntest.run()",
    0,
    1,
    undefined,
  ],
  ['has no test', 'test.run()', 0, 1, /ran no test/],
  ['is killed half-way', "test('a', () => process.kill(process.pid, 'SIGKILL'))\ntest.run()", 0, 1, /SIGKILL/],
  ['ends itself, and calls it a success', "test('a', () => process.exit(0))\ntest.run()", 0, 1, /ended before uvu did/],
  [
    'passes, and then breaks',
    "test('a', () => {})\ntest.run()\nprocess.on('exit', () => { process.exitCode = 3 })",
    1,
    1,
    /exit 3/,
  ],
] as const)
  test(`a file that ${what} is counted as it is`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bc-it-'))
    const file = join(folder, 'it.mts')
    await writeFile(file, IMPORT + body)
    const result = await runFile(file)
    await rm(folder, { recursive: true })
    assert.equal([result.passed, result.failed], [passed, failed], result.output)
    if (problem === undefined) assert.is(result.problem, undefined)
    else assert.match(result.problem ?? '', problem)
  })

test.run()
