import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bashisms, readEnvFile } from '../../lib/cli/env-file.ts'

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
]
for (const line of ALIKE) test(`read alike by bash: ${line}`, () => assert.equal(bashisms(line), []))

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
  assert.match((await readEnvFile(folder, true)).problems.join(), /is a directory/)
  await rm(folder, { recursive: true })
})

test.run()
