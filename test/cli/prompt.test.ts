import { existsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createAsk } from '../../lib/cli/prompt.ts'
import type { Failure } from '../../lib/core/failure.ts'
import { createLog } from '../../lib/core/log.ts'
import { LOADER } from '../support/loader.ts'
import { atClosedWindow, CLOSE_WINDOW, runAtTerminal } from '../support/terminal.ts'

const test = suite('prompt')
const ENV = { PATH: process.env.PATH ?? '', OPS_ENV_FILE: '' }
/** What a question ends with. */
const PROMPT = /go on: |\): /
let folder = ''

/** As it is read: a terminal's line ends are those of Windows, and an error is red. */
function plain(output: string): string {
  return output.replaceAll('\r\n', '\n').replace(/\u001b\[\d+m/g, '')
}

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-prompt-'))
})
test.after(() => rm(folder, { recursive: true }))

const QUIET = createLog({ write: () => true } as unknown as NodeJS.WriteStream)

/** A command's file whose body is this. */
async function command(body: string): Promise<string> {
  const file = join(folder, 'script.mjs')
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  await writeFile(
    file,
    `import { main } from ${JSON.stringify(main)}
import { existsSync, rmSync, writeFileSync } from 'node:fs'
await main({ name: 'asks', help: '', switches: [], argument: 'WORD' }, async ({ ask, log, print, shell }) => {
  ${body}
  return 0
})
`,
  )
  return [process.execPath, '--import', LOADER, file].map((word) => `'${word}'`).join(' ')
}

/** What a question leads to at a terminal where this is typed: its answer, or why it failed. */
async function typed(keys: string | string[], question: string): Promise<string> {
  const { output } = await terminal(keys, question)
  return /→ (.*?)\r?\n/.exec(output)?.[1] ?? output
}

/** All that such a terminal shows, and how the command ends. */
async function terminal(keys: string | string[], question: string): Promise<{ output: string; status: number | null }> {
  const left = [keys].flat()
  const words = await command(`const answer = await ask.${question}
  print('→ ' + (answer ?? 'agreed'))`)
  const { output, status } = await runAtTerminal(words, {
    env: ENV,
    prompt: PROMPT,
    answer: () => (Array.isArray(keys) ? left.shift() : keys),
  })
  return { output, status }
}

test('the word that was asked for agrees, and nothing else does', async () => {
  assert.is(await typed('replace\n', 'confirm("Sure?", "replace")'), 'agreed')
  const { output, status } = await terminal('y\n', 'confirm("Sure?", "replace")')
  assert.is(
    plain(output),
    `Sure?
Type replace to go on: y
That is not replace.
Once more, type replace to go on: y
The answer was not replace.
Nothing was changed.
`,
  )
  assert.is(status, 1)
})

test('a word that is mistyped is asked for once more, and Enter alone stops', async () => {
  assert.is(await typed(['replcae\n', 'replace\n'], 'confirm("Sure?", "replace")'), 'agreed')
  assert.match((await terminal('\n', 'confirm("Sure?", "replace")')).output, /go on: \s+.*The answer was not replace/)
})

test('one of a list is taken by its number, and asked for again until it is one', async () => {
  assert.is(await typed('2\n', 'pick("Which?", { head: ["it"], rows: [["a"], ["b"]] })'), '1')
  const wrong = ['\n', '0\n', '3\n', 'b\n', '1.5\n']
  assert.is(await typed([...wrong, '1\n'], 'pick("Which?", { head: ["it"], rows: [["a"], ["b"]] })'), '0')
  const { output, status } = await terminal(
    ['\n', '3\n', '\u0003'],
    'pick("Which?", { head: ["it"], rows: [["a"], ["b"]] })',
  )
  assert.match(plain(output), /Nothing is no number of the list\. Which\? \(1-2\): 3\n3 is no number of the list/)
  assert.is(status, 130)
})

test('one of a list is taken by another word where that means one, and else asked for again', async () => {
  const question = 'pick("Which?", { head: ["it"], rows: [["a"], ["b"]] }, (word) => ["a", "b"].indexOf(word))'
  const { output } = await terminal(['c\n', '\n', 'b\n'], question)
  assert.match(
    plain(output),
    /: c\nc is no number of the list\. Which\? \(1-2\): \nNothing is no number of the list\. Which\? \(1-2\): b\n→ 1\n/,
  )
})

test('no control character of a name reaches the terminal, and no choice takes a line of its own', async () => {
  const { output: shown } = await terminal(
    '1\n',
    'pick("Which\\u001b[2J?", { head: ["it"], rows: [["a\\nOK: all is well"], ["b\\u202e"]] })',
  )
  assert.match(shown, / {3}1 {2}a\?OK: all is well\r?\n {3}2 {2}b\?\r?\n/)
  assert.match(shown, /Which\?\[2J\? \(1-2\): /)
})

for (const columns of [100, 60])
  test(`a list fits a terminal of ${columns} columns`, async () => {
    const words = await command(`await ask.pick('Only photos are gone? restore --media-only\\nWhich archive?', {
      head: ['archive', 'age', 'database', 'photos', 'release', ''],
      rows: [
        ['Sat 28 Feb 03:00 UTC', '6 hours', '5.70 MB', '62, 1.30 MB', '01234567', ''],
        ['Fri 27 Feb 03:00 UTC', '30 hours', '5.70 MB', '62, 1.30 MB', '01234567', 'before 0123abcd'],
      ],
      notes: ['', 'INCOMPLETE: the dump shrank to less than half, and all of it is told here, which takes some room'],
    })`)
    const { output } = await runAtTerminal(`stty cols ${columns}; ${words}`, {
      env: ENV,
      prompt: PROMPT,
      answer: () => '1\n',
    })
    const lines = plain(output).split('\n')
    for (const line of lines) assert.ok(line.length <= columns, line)
    if (columns === 100)
      assert.equal(lines.slice(0, 5), [
        '      archive               age       database  photos       release',
        '   1  Sat 28 Feb 03:00 UTC  6 hours   5.70 MB   62, 1.30 MB  01234567',
        '   2  Fri 27 Feb 03:00 UTC  30 hours  5.70 MB   62, 1.30 MB  01234567  before 0123abcd',
        '      ! INCOMPLETE: the dump shrank to less than half, and all of it is told here, which takes some',
        '        room',
      ])
    else
      assert.equal(lines.slice(0, 3), [
        '   1  Sat 28 Feb 03:00 UTC',
        '    age 6 hours  database 5.70 MB  photos 62, 1.30 MB',
        '    release 01234567',
      ])
  })

for (const [what, keys, says, expected] of [
  ['the end of the input is no answer', '\u0004', 'No answer was given.', 1],
  ['Ctrl-C is an interruption', '\u0003', 'SIGINT: cleaning up, wait.', 130],
] as const)
  test(`${what}, and it is told on a line of its own`, async () => {
    const { output, status } = await terminal(keys, 'confirm("Sure?", "replace")')
    const told = plain(output).replace('^C', '')
    assert.match(told, `Type replace to go on: \n${says}\n`)
    assert.match(told, /\nNothing was changed\.\n$/)
    assert.is(status, expected)
  })

test('after Ctrl-Z and fg the question stands there again, and its answer counts', async () => {
  const words = await command(`await ask.confirm('Sure?', 'replace')
  print('→ agreed')`)
  await writeFile(join(folder, 'jobs.sh'), `set -m\n${words}\necho stopped\nfg >/dev/null\n`)
  const keys = ['\u001a', 'replace\n']
  const { output } = await runAtTerminal(`bash ${folder}/jobs.sh`, {
    env: ENV,
    prompt: PROMPT,
    answer: () => keys.shift(),
  })
  assert.match(plain(output), /go on: (\^Z)?\n?.*stopped\n+Sure\?\nType replace to go on: replace\n→ agreed\n/s)
})

/**
 * What a terminal shows where these keys are typed while the command still works, and only then its question comes.
 * @param settings of the terminal, as stty takes them
 */
async function typedAhead(
  keys: string,
  echo: RegExp,
  { answers, body, settings = 'sane' }: { answers: string[]; body: string; settings?: string },
) {
  const seen = join(folder, 'seen')
  await rm(seen, { force: true })
  const words = await command(`log.info('at work: ')
  while (!existsSync('${seen}')) await new Promise((resolve) => setTimeout(resolve, 20))
  ${body}`)
  let isTyped = false
  const { output, status } = await runAtTerminal(`stty ${settings}; ${words}`, {
    env: ENV,
    prompt: new RegExp(`at work: |${echo.source}|${PROMPT.source}`),
    answer: () => {
      if (!isTyped) {
        isTyped = true
        return keys
      }
      if (existsSync(seen)) return answers.shift()
      // The terminal has it, for it has shown it.
      writeFileSync(seen, '')
      return undefined
    },
  })
  return { output: plain(output), status }
}

for (const [what, keys, echo] of [
  ['a line', 'replace\n', /replace\r\n/],
  ['a half line', 'replace', /replace/],
  ['an end of the input', 'replace\n\u0004', /replace\r\n/],
] as const)
  test(`${what} that was typed before the question is not its answer`, async () => {
    const { output, status } = await typedAhead(keys, echo, {
      answers: ['\n'],
      body: "await ask.confirm('Sure?', 'replace')",
    })
    assert.match(
      output,
      /^at work: \nreplace\n?(\^D[\b]*)?What was typed before this question was not taken\.\nSure\?\nType replace to go on: \nThe answer was not replace\.\n/,
    )
    assert.is(status, 1)
  })

test('a number that was typed before the list picks nothing', async () => {
  const body = "print('→ ' + (await ask.pick('Which?', { head: ['it'], rows: [['a'], ['b']] })))"
  const { output } = await typedAhead('2\n', /2\r\n/, { answers: ['1\n'], body })
  assert.match(output, /was not taken\.\n.*Which\? \(1-2\): 1\n→ 0\n/s)
})

test('Ctrl-C that was typed before the question interrupts, also where the terminal makes no signal of it', async () => {
  const { status } = await typedAhead('\u0003x', /\^Cx/, {
    answers: [],
    body: "await ask.confirm('Sure?', 'replace')",
    settings: '-isig',
  })
  assert.is(status, 130)
})

test('of two lines that are pasted the first answers, and the second is no answer to what comes then', async () => {
  const body = "await ask.confirm('First?', 'one')\nawait ask.confirm('Second?', 'two')"
  const pasted = ['one\ntwo\n', '\n']
  const { output, status } = await runAtTerminal(await command(body), {
    env: ENV,
    prompt: PROMPT,
    answer: () => pasted.shift(),
  })
  assert.match(
    plain(output),
    /Type one to go on: one\n(two\n)?What was typed before this question was not taken\.\nSecond\?\nType two to go on: \nThe answer was not two\./,
  )
  assert.is(status, 1)
})

for (const [where, body] of [
  ['at a question', "await ask.confirm('Sure?', 'replace')"],
  ['at a list', "await ask.pick('Which? go on:', { head: ['it'], rows: [['a'], ['b']] })"],
  [
    'at the second question',
    "await ask.pick('Which?', { head: ['it'], rows: [['a'], ['b']] })\nawait ask.confirm('Sure?', 'replace')",
  ],
  ['in mid-work', "log.info('go on: ')\nawait shell.run(['sleep', '60'])"],
] as const)
  for (const passesOn of where === 'in mid-work' ? [true] : [true, false])
    test(`when the window is closed ${where}, all is cleaned up: status 129${passesOn ? '' : ', also without a signal'}`, async () => {
      const made = join(folder, 'made')
      const words = await command(`writeFileSync('${made}', '')
  try {
    ${body}
  } finally {
    rmSync('${made}')
  }`)
      const answers = where === 'at the second question' ? ['1\n', CLOSE_WINDOW] : [CLOSE_WINDOW]
      const terminal = {
        env: ENV,
        prompt: where === 'at the second question' ? /Which\?|go on: / : PROMPT,
        answer: () => answers.shift(),
      }
      assert.is((await atClosedWindow(words, terminal, passesOn)).status, 129)
      assert.is(existsSync(made), false)
    })

test('where the output of a terminal is redirected, that is said, with the way to keep a log', async () => {
  const words = await command("await ask.confirm('Sure?', 'replace')")
  const { output } = await runAtTerminal(`${words} 'of the day' 2>&1 | cat`, {
    env: ENV,
    prompt: PROMPT,
    answer: () => undefined,
  })
  assert.match(output, /the output is redirected: the question would not be seen\.\r?\n/)
  assert.ok(output.includes(`script -c 'asks '\\''of the day'\\''' FILE`), output)
  assert.not.match(output, /no terminal/)
})

test('--yes answers beforehand, also without a terminal', async () => {
  const ask = createAsk(true, { interactive: false }, new AbortController().signal, QUIET)
  await ask.confirm('Sure?', 'replace')
})

test('without a terminal and without --yes nothing is asked: exit status 2', async () => {
  const ask = createAsk(false, { interactive: false }, new AbortController().signal, QUIET)
  const error = await ask.confirm('Sure?', 'replace').catch((reason: unknown) => reason)
  assert.is((error as Failure).exitCode, 2)
  assert.match((error as Failure).hint, /--yes/)
})

test.run()
