import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeKeepsakes, keepsakes } from '../../lib/backup/keep-elsewhere.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('what is kept elsewhere')
let sandbox: Sandbox

test.before(async () => {
  sandbox = await startSandbox()
})
test.after(() => sandbox.stop())

test('each command that is named for the repository works as it is typed', async () => {
  const all = keepsakes(sandbox.repository, sandbox.envFile)
  const output: string[] = []
  for (const { command } of all) {
    const { exitCode, stdout, stderr } = await sandbox.launch('sh', ['-c', command]).ended
    assert.is(exitCode, 0, `${command}: ${stderr}`)
    output.push(stdout)
  }
  assert.match(output[0] ?? '', /BORG PAPER KEY/)
  assert.match(output[1] ?? '', /^BORG_PASSPHRASE=/)
  assert.is(output[3]?.trim(), sandbox.repository)
})

test('of a repository that is far away the way in is named: a new machine has a new SSH key', () => {
  for (const repository of ['ssh://x1@x1.repo.borgbase.com/./repo', 'borg@backup.example:repo'])
    assert.match(
      describeKeepsakes(keepsakes(repository, '/home/deploy/.env.backup')),
      /storage provider.*\n.*ssh-keygen/,
    )
  assert.not.match(describeKeepsakes(keepsakes('/srv/borg', '/home/deploy/.env.backup')), /ssh-keygen/)
})

test('--check ends with it, also for a program', async () => {
  const { stdout } = await sandbox.script('backup.ts', ['--check'])
  assert.match(stdout, /\n\nKeep elsewhere, .*\n[\s\S]*borg key export --paper\)\n[\s\S]*ls -d \S+\n\n.*failed.*\n$/)
  const { stdout: json } = await sandbox.script('backup.ts', ['--check', '--json'])
  assert.is(JSON.parse(json).keepElsewhere.length, 4)
})

test.run()
