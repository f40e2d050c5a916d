import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Borg } from '../../lib/borg/borg.ts'
import { askRights, parseRights } from '../../lib/borg/rights.ts'

const test = suite('what the repository lets its key do')

/** As Borg 1.2.4 and 1.4.1 print it with --log-json. */
function said(argv: string, original = "'borg serve'") {
  const server = ['Borg: 1.2.4  Python: CPython 3.11.2', `sys.argv: [${argv}]`, `SSH_ORIGINAL_COMMAND: ${original}`]
  const client = ["sys.argv: ['/usr/bin/borg', 'list', '--append-only']", 'SSH_ORIGINAL_COMMAND: None']
  const message = [...server.map((line) => `Borg server: ${line}`), ...client].join('\n')
  return [{ levelname: 'ERROR', name: 'borg.archiver', message }]
}

for (const [what, messages, rights] of [
  ['appends only', said("'/usr/bin/borg', 'serve', '--append-only', '--restrict-to-path', '/r'"), 'append'],
  ['may delete', said("'/usr/bin/borg', 'serve', '--restrict-to-path', '/append-only'"), 'delete'],
  ['may delete, by a command that nothing forces', said("'borg', 'serve'", 'None'), 'shell'],
  ['says nothing', [{ message: 'Repository path not allowed: /r/xxx' }], 'untold'],
] as const)
  test(`a server that ${what}: ${rights}`, () => {
    assert.is(parseRights(messages), rights)
  })

test('a repository on this machine is asked nothing', async () => {
  for (const repository of ['/srv/borg', './repo', '/srv/with:colon'])
    assert.is(await askRights({ repository } as Borg), 'folder')
  const asked: (readonly string[])[] = []
  const say = async (args: readonly string[]) => {
    asked.push(args)
    return []
  }
  for (const repository of ['ssh://x1@host/./repo/', 'x1@host:repo', 'host:repo'])
    assert.is(await askRights({ repository, say } as unknown as Borg), 'untold')
  assert.equal(
    asked.map((args) => args.at(-1)?.replace(/x{300}$/, 'NAME')),
    ['ssh://x1@host/./repo/NAME', 'x1@host:repo/NAME', 'host:repo/NAME'],
  )
})

test.run()
