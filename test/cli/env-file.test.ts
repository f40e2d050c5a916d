import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'dotenv'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bashisms, readEnvFile } from '../../lib/cli/env-file.ts'
import { processorMs } from '../support/processor-time.ts'

const test = suite('envfile')

const ALIKE = [
  '# comment',
  '',
  '   # indented comment',
  'KEY=value',
  'export KEY=value',
  'KEY=',
  'KEY=   # nothing',
  'KEY=value # comment',
  'KEY=\'a b#c $d `e` "f"\'',
  "KEY='a' # comment",
  'KEY="a b#c"',
  'KEY=ssh://x1@x1.repo.borgbase.com/./repo',
  'KEY=32767:32767',
  'KEY=https://hc-ping.com/uuid?x=1',
  "KEY='a\\'",
  "KEY=' a\u00a0b\u2028c '",
  '# a\u00a0comment\f',
  'KEY=größe',
]
for (const line of ALIKE)
  test(`read alike by bash: ${line}`, () => {
    assert.equal(bashisms(line), [])
    assert.equal(parse(line), inBash(`${line}\n`))
  })

/** What bash makes of a file's KEY. */
function inBash(text: string): Record<string, string> {
  const variables = execFileSync('bash', ['--norc', '-c', 'set -a; . <(cat); env -0'], {
    env: { SHLVL: '1' },
    input: text,
  }).toString()
  const found = variables.split('\0').find((variable) => variable.startsWith('KEY='))
  return found === undefined ? {} : { KEY: found.slice(4) }
}

const DIFFERENT: [line: string, says: RegExp][] = [
  ['KEY=a#b', /unquoted #/],
  ['KEY=$HOME/x', /expanded by bash/],
  ['KEY="a $B"', /expanded by bash/],
  ['KEY="a `b`"', /expanded by bash/],
  ['KEY=$(cat x)', /expanded by bash/],
  ['KEY="a\\nb"', /backslash/],
  ['KEY=a b', /unquoted space/],
  ['KEY=a;b', /unquoted space/],
  ['KEY=~/x', /~/],
  ['KEY = a', /space before =/],
  ['KEY= a', /space after =/],
  ["KEY='a'b", /single quote inside/],
  ["KEY='it'\\''s'", /single quote inside/],
  ['KEY="a', /does not end/],
  ['set -a', /not KEY=value/],
  ['source other', /not KEY=value/],
  ['KEY=a\0b', /NUL/],
  ['KEY=#a', /unquoted #/],
  ['KEY=a:~/b', /~/],
  ["KEY='a\\' # b'", /comment behind KEY's value/],
  ['KEY=a\u00a0', /a blank that bash takes for a letter/],
  ["KEY='a'\u00a0", /a blank that bash takes for a letter/],
  ['\u00a0KEY=a', /a blank that bash takes for a letter/],
  ['KEY=a\f', /a blank that bash takes for a letter/],
  ['KEY=a\rb', /a blank that bash takes for a letter/],
  ["KEY='a\rb'", /a blank that bash takes for a letter/],
  ['\ufeffKEY=a', /a blank that bash takes for a letter/],
]
for (const [line, says] of DIFFERENT)
  test(`refused with the fix: ${line}`, () => {
    const [problem = '', ...more] = bashisms(`OK=1\n${line}\n`)
    assert.equal(more, [])
    assert.match(problem, /^line 2: /)
    assert.match(problem, says)
  })

test('a refusal never shows the value', () => {
  const text = bashisms('BORG_PASSPHRASE=hunter#two\nBORG_PASSPHRASE="hunter$two"\nBORG_PASSPHRASE=hunter two').join(
    '\n',
  )
  assert.not.match(text, /hunter|two/)
})

test('a file for everybody to read is refused; a missing one only when it was named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-env-'))
  const path = join(folder, '.env')
  assert.equal((await readEnvFile(path, false)).problems, [])
  assert.match((await readEnvFile(path, true)).problems.join(), /does not exist/)
  await writeFile(path, "BORG_PASSPHRASE='a b'\n")
  await chmod(path, 0o604)
  assert.match((await readEnvFile(path, false)).problems.join(), /chmod 600/)
  await chmod(path, 0o600)
  const file = await readEnvFile(path, false)
  assert.equal(file.problems, [])
  assert.equal(file.values, { BORG_PASSPHRASE: 'a b' })
  assert.match((await readEnvFile(folder, true)).problems.join(), /is not a file/)
  await rm(folder, { recursive: true })
})

test('a file that its group can change is refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-env-'))
  const path = join(folder, '.env')
  await writeFile(path, "BORG_PASSPHRASE='a b'\n")
  await chmod(path, 0o620)
  assert.match((await readEnvFile(path, false)).problems.join(), /can be changed by its group.*chmod 600/)
  await rm(folder, { recursive: true })
})

const asRoot = process.getuid?.() === 0 ? test : test.skip
if (process.getuid?.() !== 0) console.log("Skipped: another user's file, because only root can make one.")

asRoot("another user's file is refused where it was named, and not read elsewhere", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-env-'))
  const path = join(folder, '.env')
  await writeFile(path, "BORG_PASSCOMMAND='id'\n", { mode: 0o600 })
  await chown(path, 54321, 54321)
  const named = await readEnvFile(path, true)
  assert.match(named.problems.join(), /belongs to another user \(UID 54321\): run this as that user/)
  const unnamed = await readEnvFile(path, false)
  assert.equal([unnamed.denied, unnamed.problems, unnamed.values], [true, [], {}])
  await rm(folder, { recursive: true })
})

test('a pipe that nobody writes to, a huge file and thousands of mistakes are told at once, in a few lines', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-env-'))
  const path = join(folder, '.env')
  execFileSync('mkfifo', [path])
  assert.match((await readEnvFile(path, true)).problems.join(), /is not a file/)
  await rm(path)
  await writeFile(path, 'A=b\n'.repeat(100_000), { mode: 0o600 })
  assert.match((await readEnvFile(path, true)).problems.join(), /is larger than 64 kB/)
  await writeFile(path, 'set -a\n'.repeat(2000), { mode: 0o600 })
  const { problems } = await readEnvFile(path, true)
  assert.is(problems.length, 21)
  assert.match(problems.at(-1) ?? '', /1980 more problems/)
  await rm(folder, { recursive: true })
})

for (const [what, content, says] of [
  ['the line ends of Windows', "# é\r\nKEY='a b'\r\n\r\n", /has the line ends of Windows/],
  ['a byte order mark', "\ufeffKEY='a b'\n", /begins with a byte order mark/],
  ['both', "\ufeffOK=1\r\nKEY='a b'\r\n", /byte order mark.* has the line ends/],
] as const)
  test(`a file with ${what} is refused, and is read alike after the command that is advised`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bc-env-'))
    const path = join(folder, '.env')
    await writeFile(path, content, { mode: 0o600 })
    const { problems } = await readEnvFile(path, true)
    assert.match(problems.join(' '), says)
    for (const problem of problems) execFileSync('sh', ['-c', /Type: (.*)/.exec(problem)?.[1] ?? 'exit 1'])
    const fixed = await readEnvFile(path, true)
    assert.equal([fixed.problems, fixed.values.KEY, fixed.mode], [[], 'a b', 0o600])
    assert.equal(inBash(readFileSync(path, 'utf8')), { KEY: 'a b' })
    await rm(folder, { recursive: true })
  })

test('bytes that are not UTF-8 are refused in a value, by line, and left alone in a comment', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-env-'))
  const path = join(folder, '.env')
  await writeFile(path, Buffer.from("# caf\xe9\nKEY='caf\xe9'\n", 'latin1'), { mode: 0o600 })
  const { problems } = await readEnvFile(path, true)
  assert.equal(problems, [`${path}, line 2: it holds bytes that are not UTF-8: save the file as UTF-8.`])
  await writeFile(path, "KEY='caf\ufffd'\n")
  assert.equal((await readEnvFile(path, true)).problems, [])
  await rm(folder, { recursive: true })
})

test('the commands that are told can be typed as they stand, whatever the path', async () => {
  const folder = await mkdtemp(join(tmpdir(), "bc-env-$(touch x) #'"))
  const path = join(folder, '.env')
  await writeFile(path, '\ufeffBORG_REPO=/a\r\n', { mode: 0o644 })
  for (const problem of (await readEnvFile(path, true)).problems) {
    const [, command = ''] = /Type: (.*)$/.exec(problem) ?? []
    execFileSync('bash', ['-c', command], { cwd: folder })
  }
  assert.equal(await readEnvFile(path, true), {
    path,
    exists: true,
    values: { BORG_REPO: '/a' },
    problems: [],
    mode: 0o600,
  })
  await rm(folder, { recursive: true })
})

test('the lines that bash reads alike are read although others are not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-env-'))
  const path = join(folder, '.env')
  await writeFile(path, "HEALTHCHECK_URL=https://x/y # why\nBORG_PASSPHRASE=a#b\nBORG_REPO='/a b'\n", { mode: 0o600 })
  const { values, problems } = await readEnvFile(path, true)
  assert.equal(values, { HEALTHCHECK_URL: 'https://x/y', BORG_REPO: '/a b' })
  assert.is(problems.length, 1)
  await rm(folder, { recursive: true })
})

for (const [what, line] of [
  ['blanks after the value', `KEY=a${' '.repeat(60_000)}b`],
  ['blanks before a comment', `KEY=a${' '.repeat(60_000)}# b`],
  ['blanks before the value', `KEY=${' '.repeat(60_000)}b`],
  ['a quote that does not end', `KEY='${'a'.repeat(60_000)}`],
  ['a key that does not end', 'K'.repeat(60_000)],
  ['blanks alone before something', `${' '.repeat(60_000)}K`],
  ['escapes in quotes', `KEY="${'\\"'.repeat(30_000)}`],
] as const)
  test(`the longest line takes no time: ${what}`, () => {
    const startedMs = processorMs()
    bashisms(line)
    assert.ok(processorMs() - startedMs < 300)
  })

test.run()
