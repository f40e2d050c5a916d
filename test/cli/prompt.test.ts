import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createAsk } from '../../lib/cli/prompt.ts'
import type { Failure } from '../../lib/core/failure.ts'
import { printableLines } from '../../lib/core/format.ts'
import { createShell } from '../../lib/core/shell.ts'
import { LOADER } from '../support/loader.ts'

const test = suite('prompt')
let folder = ''
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-prompt-'))
})
test.after(() => rm(folder, { recursive: true }))

/** What a question leads to at a terminal where this is typed: its answer, or why it failed. */
async function typed(keys: string, question: string): Promise<string> {
  const shown = await terminal(keys, question)
  return /→ (.*?)\r?\n/.exec(shown)?.[1] ?? shown
}

/** All that such a terminal shows. */
async function terminal(keys: string, question: string): Promise<string> {
  const file = join(folder, 'script.mts')
  const format = fileURLToPath(new URL('../../lib/core/format.ts', import.meta.url))
  const prompt = fileURLToPath(new URL('../../lib/cli/prompt.ts', import.meta.url))
  await writeFile(
    file,
    `import { createAsk } from ${JSON.stringify(prompt)}
import { printableLines } from ${JSON.stringify(format)}
const ask = createAsk(false, true, new AbortController().signal, printableLines)
const answer = await ask.${question}.catch((error) => error.message)
console.log('→ ' + (answer ?? 'agreed'))
`,
  )
  const shell = createShell({ PATH: process.env.PATH ?? '' }, new AbortController().signal)
  const command = [process.execPath, '--import', LOADER, file].map((word) => `'${word}'`).join(' ')
  const { stdout } = await shell.run(['script', '-qefc', command, '/dev/null'], { input: keys, timeoutMs: 30_000 })
  return stdout
}

test('the word that was asked for agrees, and nothing else does', async () => {
  assert.is(await typed('replace\n', 'confirm("Sure?", "replace")'), 'agreed')
  assert.is(await typed('y\n', 'confirm("Sure?", "replace")'), 'The answer was not replace: nothing was changed.')
})

test('one of a list is taken by its number, the first without one', async () => {
  assert.is(await typed('2\n', 'pick("Which?", ["a", "b"])'), '1')
  assert.is(await typed('\n', 'pick("Which?", ["a", "b"])'), '0')
  assert.is(await typed('\n', 'pick("Which?", ["a", "b"], 1)'), '1')
  for (const other of ['0', '3', 'b', '1.5'])
    assert.match(await typed(`${other}\n`, 'pick("Which?", ["a", "b"])'), /is not a number from 1 to 2/)
})

test('no control character of a name reaches the terminal, and no choice takes a line of its own', async () => {
  const shown = await terminal('1\n', 'pick("Which\\u001b[2J?", ["a\\nOK: all is well", "b\\u202e"])')
  assert.match(shown, / {3}1 {2}a\?OK: all is well\r?\n {3}2 {2}b\?\r?\n/)
  assert.match(shown, /Which\?\[2J\? \[1\] /)
})

test('the end of the input is no answer', async () => {
  assert.is(await typed('\u0004', 'confirm("Sure?", "replace")'), 'No answer was given: nothing was changed.')
})

test('--yes answers beforehand, also without a terminal', async () => {
  const ask = createAsk(true, false, new AbortController().signal, printableLines)
  await ask.confirm('Sure?', 'replace')
  assert.is(await ask.pick('Which?', ['a', 'b']), 0)
})

test('without a terminal and without --yes nothing is asked: exit status 2', async () => {
  const ask = createAsk(false, false, new AbortController().signal, printableLines)
  const error = await ask.confirm('Sure?', 'replace').catch((reason: unknown) => reason)
  assert.is((error as Failure).exitCode, 2)
  assert.match((error as Failure).hint, /--yes/)
})

test.run()
