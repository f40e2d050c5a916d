import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { borgEnv, childEnv, UNATTENDED_SSH } from '../../lib/cli/child-env.ts'
import type { EnvFile } from '../../lib/cli/env-file.ts'

const test = suite('the environment of the programs that are started')

function file(values: Record<string, string> = {}): EnvFile {
  return { path: '/x/.env', exists: true, values, problems: [] }
}

test("a child gets neither Borg's variables nor tokens nor ping addresses, but a PATH and a HOME", () => {
  const env = childEnv(
    {
      BORG_PASSPHRASE: 'p',
      CLOUDFLARE_API_TOKEN: 't',
      DRILL_HEALTHCHECK_URL: 'u',
      SSH_ORIGINAL_COMMAND: 'sh',
      LANG: 'C',
    },
    '/home/deploy',
  )
  assert.equal(Object.keys(env).sort(), ['HOME', 'LANG', 'PATH'])
  assert.is(env.HOME, '/home/deploy')
  assert.match(env.PATH ?? '', /\/usr\/bin/)
})

test('nor the address of the database, nor what PostgreSQL would go by', () => {
  const env = childEnv(
    { DATABASE_URL: 'postgres://u:p@h/d', PGHOST: 'elsewhere', PGOPTIONS: '-c x', PGP: 'kept? no', LANG: 'C' },
    '/home/deploy',
  )
  assert.equal(Object.keys(env).sort(), ['HOME', 'LANG', 'PATH'])
})

test("Borg's questions are answered no, unless the environment says otherwise", () => {
  assert.is(borgEnv({}, file()).BORG_RELOCATED_REPO_ACCESS_IS_OK, 'no')
  assert.is(borgEnv({ BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' }, file()).BORG_RELOCATED_REPO_ACCESS_IS_OK, 'yes')
  assert.is(borgEnv({ BORG_PASSPHRASE: '' }, file({ BORG_PASSPHRASE: 'p' })).BORG_PASSPHRASE, 'p')
})

test("whatever the user's configuration says, ssh forwards nothing, adds no host key, runs no other command and asks nothing", () => {
  const folder = mkdtempSync(join(tmpdir(), 'bc-ssh-'))
  const config = join(folder, 'config')
  const hostile = [
    'ForwardAgent yes',
    'ForwardX11 yes',
    'UpdateHostKeys yes',
    'StrictHostKeyChecking no',
    'RemoteCommand id',
  ]
  const forwards = [
    'LocalForward 1 localhost:1',
    'RemoteForward 2 localhost:2',
    'PermitLocalCommand yes',
    'RequestTTY force',
  ]
  writeFileSync(config, ['Host *', ...hostile, ...forwards, ''].join('\n'))
  const ours = UNATTENDED_SSH.flatMap((option) => ['-o', option])
  const borgs = (borgEnv({}, file()).BORG_RSH ?? '').split(' ').slice(1)
  const wanted = [
    'forwardagent no',
    'forwardx11 no',
    'updatehostkeys false',
    'stricthostkeychecking true',
    'batchmode yes',
  ]
  for (const options of [ours, borgs]) {
    const said = execFileSync('ssh', ['-F', config, ...options, '-G', 'host'], { encoding: 'utf8' })
    for (const line of [...wanted, 'permitlocalcommand no', 'clearallforwardings yes', 'requesttty false'])
      assert.match(said, new RegExp(`^${line}$`, 'm'))
    assert.not.match(said, /^(localforward|remoteforward|remotecommand (?!none)) /m)
  }
  rmSync(folder, { recursive: true })
})

test.run()
