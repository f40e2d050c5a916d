import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { executable } from '../support/engineer.ts'
import type { Output } from '../support/launch.ts'
import { withReleases } from '../support/releases.ts'
import { type Server, startServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const test = suite('the restore point of a deploy')
let server: Server
let at: ReturnType<typeof withReleases>
let count = 1

function deploy(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Output> {
  return server.script('deploy.ts', ['--no-verify', ...args], { env })
}

/** A commit that adds a migration. */
function migrate(): Promise<string> {
  const name = `${String(++count).padStart(4, '0')}_step`
  return server.commit(`Migrate ${name}`, { [`libraries/migrations/${name}.py`]: 'operations = []\n' })
}

/** What the server's `~/backup` does. */
function backup(script: string): Promise<void> {
  return executable(join(server.home, 'backup'), `#!/bin/sh\necho "$*" >>'${calls()}'\n${script}\n`)
}

function calls(): string {
  return join(server.dir, 'backup-calls')
}

function pushes(): number {
  return server.calls().filter((call) => call.includes('git-receive-pack')).length
}

const POINT = 'book-corners-before-LABEL-2026-02-28T09:15:37'
const WELL = `echo "2026-02-28T09:15:37+01:00 Storing the database" >&2
echo "{\\"app\\":\\"book-corners\\",\\"archive\\":\\"book-corners-before-$2-2026-02-28T09:15:37\\"}"`

test.before(async () => {
  server = await startServer()
  at = withReleases(server)
  // With no scripts on the server yet.
  await migrate()
  await at.deploy()
  // A sync would put the real one back each time.
  await server.farProgram('timeout', '#!/bin/sh\nexit 1\n')
})
test.before.each(() => server.reset())
test.after(() => server?.stop())

test('a server without any backup is warned of, and the deploy goes on', async () => {
  for (const there of ['no settings', 'no launcher']) {
    if (there === 'no launcher') await rm(join(server.home, 'backup'))
    const sha = await migrate()
    server.push()
    const output = await deploy()
    at.ends(output, 0)
    assert.match(
      output.stdout,
      /is deployed .*WARNING: No restore point was taken: no backup was ever set up on vps\.test/,
    )
    assert.is(server.running(), sha)
    assert.is((await at.lastEntry()).restorePoint, undefined)
  }
})

test('before migrations go live one is taken: its lines come first, its name is in the summary and in the ledger', async () => {
  const sha = await migrate()
  server.push()
  const name = POINT.replace('LABEL', sha.slice(0, 8))
  await backup(WELL)
  const before = pushes()
  const dry = await deploy(['--dry-run'])
  at.ends(dry, 0)
  assert.match(dry.stdout, `A restore point is taken first, on the server: backup --restore-point ${sha.slice(0, 8)}`)
  assert.is(pushes(), before)
  assert.not.match(await readFile(calls(), 'utf8').catch(() => ''), /restore-point/)

  const output = await deploy()
  at.ends(output, 0)
  assert.match(
    output.stderr,
    /Taking a restore point[\s\S]*Storing the database[\s\S]*The restore point is [\s\S]*-----> Building/,
  )
  assert.match(output.stdout, new RegExp(`is deployed \\(book-corners, .*s\\); restore point ${name}; `))
  assert.is((await at.lastEntry()).restorePoint, name)
  assert.match(await readFile(calls(), 'utf8'), `--restore-point ${sha.slice(0, 8)} --json\n`)
})

test('RESTORE_POINT and --no-restore-point say when; a push that changes nothing takes none', async () => {
  for (const [setting, migrates, args, taken] of [
    ['migrations', false, [], false],
    ['always', false, [], true],
    ['always', true, ['--no-restore-point'], false],
    ['never', true, [], false],
  ] as const) {
    await rm(calls(), { force: true })
    await backup(WELL)
    await (migrates ? migrate() : server.commit(`Without ${setting}`))
    server.push()
    const output = await deploy(args, { RESTORE_POINT: setting })
    at.ends(output, 0)
    assert.is('restorePoint' in (await at.lastEntry()), taken, `${setting} ${args}`)
    assert.is(/restore-point/.test(await readFile(calls(), 'utf8').catch(() => '')), taken)
  }
  const again = await deploy([], { RESTORE_POINT: 'always' })
  at.ends(again, 0)
  assert.not.match(again.stderr, /restore point/i)
  at.ends(await deploy([], { RESTORE_POINT: 'sometimes' }), 2)
})

for (const [what, script, says] of [
  [
    'that fails',
    'echo "2026-02-28T03:00:00+01:00 Borg has no key for that" >&2; exit 1',
    /so nothing was pushed: Borg has no key for that\n[\s\S]*backup --check/,
  ],
  [
    'that waited for another run in vain',
    'echo "2026-02-28T03:00:00+01:00 Another run holds the lock: restore.ts of deploy, process 4711" >&2; exit 75',
    /Another run holds the lock: restore\.ts of deploy, process 4711/,
  ],
  ['of older scripts', 'echo "Unknown flag --restore-point." >&2; exit 2', /too old for it\.[\s\S]*deploy --sync-only/],
  [
    'of another app',
    `[ "$OPS_APP" = book-corners ] && echo '{"app":"gardens","archive":null}'; exit 2`,
    /so nothing was pushed: the backup there is that of gardens, not of book-corners\.\n.*docs\/settings\.md/,
  ],
  [
    'of scripts that do not say whose it is',
    `echo '{"archive":"book-corners-before-x-2026-02-28T09:15:37"}'`,
    /too old for it\.[\s\S]*deploy --sync-only/,
  ],
  ['that says nothing', 'exit 0', /the backup there ended with exit status 0/],
  ['that names no archive', `echo '{"archive":"$(id)"}'`, /the backup there ended with exit status 0/],
] as const)
  test(`a backup ${what}: nothing is pushed, exit 1, and the way without is named`, async () => {
    const old = server.running()
    await migrate()
    await backup(script)
    const before = pushes()
    const output = await deploy()
    at.ends(output, 1)
    assert.match(output.stderr, says)
    assert.match(output.stderr, /To push these migrations without a way back: deploy --no-restore-point/)
    assert.equal([pushes(), server.running()], [before, old])
    server.git('reset', '-q', '--hard', 'HEAD~1')
  })

for (const [fault, outcome, args] of [
  ['predeploy', 'predeploy-failed', []],
  ['health', 'health-failed', []],
  ['health', 'health-failed', ['--no-restore-point']],
] as const)
  test(`${fault} that fails ${args}: its migrations may have been applied, and the way back is named`, async () => {
    const sha = await migrate()
    await backup(WELL)
    await server.fault('git-hook', `deploy_fails=${fault}`)
    const output = await deploy(args)
    at.ends(output, 1)
    const taken = args.length === 0 ? POINT.replace('LABEL', sha.slice(0, 8)) : undefined
    assert.match(output.stderr, `The migrations of ${sha.slice(0, 8)} may have been applied`)
    if (taken === undefined) assert.match(output.stderr, /No restore point was taken before them; .*\/restore --list/)
    else {
      assert.match(output.stderr, `. The restore point of before the push: ${taken}`)
      assert.match(output.stderr, `${join(server.opsDir, '..')}/restore --db-only ${taken}`)
    }
    // A sentence ends before the next one begins.
    assert.not.match(output.stderr, /\) The /)
    const entry = await at.lastEntry()
    assert.equal([entry.outcome, entry.restorePoint], [outcome, taken])
    server.git('reset', '-q', '--hard', 'HEAD~1')
  })

for (const how of ['SIGINT', 'a cut connection'] as const)
  test(`${how} while it is taken ends it on the server as well, and nothing is pushed`, async () => {
    await migrate()
    const [begun, ended] = [join(server.dir, 'begun'), join(server.dir, 'ended')]
    await backup(`trap "touch '${ended}'; exit 143" TERM; touch '${begun}'; while :; do sleep 0.1; done`)
    const before = pushes()
    const running = server.start('deploy.ts', ['--no-verify'])
    await running.reaches(begun)
    if (how === 'SIGINT') running.child.kill('SIGINT')
    else server.cut()
    const output = await running.ended
    at.ends(output, how === 'SIGINT' ? 130 : 1)
    assert.match(output.stderr, /[Nn]othing was pushed/)
    await until(async () => (await readFile(ended, 'utf8').catch(() => undefined)) !== undefined)
    assert.is(pushes(), before)
    for (const file of [begun, ended]) await rm(file)
    server.git('reset', '-q', '--hard', 'HEAD~1')
  })

test('a gate that is older refuses it, and that is the reason', async () => {
  const gate = join(server.dir, 'bin/gate')
  const text = await readFile(gate, 'utf8')
  await executable(gate, text.replace('"$point"*)', '"$nothing"*)').replace('set -u', 'set -u; nothing=never'))
  await migrate()
  const output = await deploy()
  await executable(gate, text)
  at.ends(output, 1)
  assert.match(
    output.stderr,
    /so nothing was pushed: The gate of book-corners does not let this key say that.*deploy --gate/,
  )
})

test.run()
