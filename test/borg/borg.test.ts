import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createBorg } from '../../lib/borg/borg.ts'
import { compactArgs, initArgs, listArgs } from '../../lib/borg/commands.ts'
import { createShell } from '../../lib/core/shell.ts'
import { programs } from '../support/borg.ts'

const test = suite('borg')
const REAL = `env PATH=${programs()} borg`

test('a Borg that writes tests itself until that has gone well once, and not again in the same run', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-selftest-'))
  const program = `#!/bin/sh\necho "\${BORG_SELFTEST:-all}" >>'${folder}/log'\nexec ${REAL} "$@"\n`
  await writeFile(join(folder, 'borg'), program, { mode: 0o755 })
  const shell = createShell({ PATH: `${folder}:/usr/bin:/bin`, HOME: folder }, new AbortController().signal)
  const env = { BORG_PASSPHRASE: 'x' }
  const real = createBorg(shell, env, join(folder, 'repo'), '/x/.env')
  await real.call(listArgs('a')).then(
    () => assert.unreachable('there was no repository yet'),
    () => {},
  )
  await real.call(compactArgs()).then(
    () => assert.unreachable('nor is there now'),
    () => {},
  )
  await real.call(initArgs())
  await real.call(compactArgs())
  const asked = (await readFile(join(folder, 'log'), 'utf8')).trim().split('\n')
  assert.equal(asked, ['disabled', 'all', 'all', 'disabled'])
  await rm(folder, { recursive: true })
})

test('the first list of a night tells the version with it: one start of Borg, and nothing that it says is lost', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-first-'))
  await writeFile(join(folder, 'borg'), `#!/bin/sh\necho "$1" >>'${folder}/log'\nexec ${REAL} "$@"\n`, {
    mode: 0o755,
  })
  const shell = createShell({ PATH: `${folder}:/usr/bin:/bin`, HOME: folder }, new AbortController().signal)
  const borg = createBorg(shell, { BORG_PASSPHRASE: 'x' }, join(folder, 'repo'), '/x/.env')
  await borg.callChecked(listArgs('a')).then(
    () => assert.unreachable('there was no repository yet'),
    ({ message }) => assert.match(message, /does not exist/),
  )
  await borg.call(initArgs())
  const { stdout, messages, warned } = await borg.callChecked(listArgs('a'))
  assert.equal([JSON.parse(stdout).archives, messages, warned], [[], [], false])
  assert.is(await readFile(join(folder, 'log'), 'utf8'), 'list\ninit\nlist\n')
  await rm(folder, { recursive: true })
})

/** As --show-version says it, before anything else. */
function says(version: string): string {
  const told = { type: 'log_message', levelname: 'INFO', name: 'borg.output.show-version', message: version }
  return `[ "$1" = --version ] && echo borg ${version.replace(/.* /, '')} || { echo '${JSON.stringify(told)}' >&2; echo '{"archives": []}'; }`
}

for (const [what, program, message] of [
  ['Borg 2', says('borgbackup version 2.0.0'), /Borg 2\.0\.0 is not supported/],
  ['Borg 2 that does not know the words', '[ "$1" = --version ] || exit 2; echo borg 2.0.0', /Borg 2\.0\.0 is not sup/],
  ['Borg 1.1', says('borgbackup version 1.1.18'), /Borg 1\.1\.18 is not supported/],
  ['a machine without Borg', 'exit 127', /not installed/],
  ['a Borg that does not run', 'echo "ImportError: no module named borg" >&2; exit 1', /does not run: ImportError/],
] as const)
  test(`${what} is refused, with the command that installs one`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bc-version-'))
    await writeFile(join(folder, 'borg'), `#!/bin/sh\n${program}\n`, { mode: 0o755 })
    const shell = createShell({ PATH: `${folder}:/usr/bin:/bin`, HOME: folder }, new AbortController().signal)
    const borg = createBorg(shell, {}, '/r', '/x/.env')
    for (const asked of [() => borg.version(), () => borg.callChecked(listArgs('a'))])
      await asked().then(
        () => assert.unreachable(),
        ({ message: said, hint }) => {
          assert.match(said, message)
          assert.match(hint, /apt-get install borgbackup/)
        },
      )
    await rm(folder, { recursive: true })
  })

test.run()
