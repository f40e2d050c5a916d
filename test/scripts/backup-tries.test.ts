// A night does not give up because of one hiccup, and one repository's trouble is not another's.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { JournalEntry } from '../../lib/cli/journal.ts'
import type { Output } from '../support/launch.ts'
import { startMonitor } from '../support/monitor.ts'
import { PASSPHRASE, type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('tries')
let sandbox: Sandbox
let monitor: Awaited<ReturnType<typeof startMonitor>>

/** Reaches the repository as over SSH; a connection ends as `broken` says, by its number in `$n`. */
async function over(broken: string): Promise<Record<string, string>> {
  const connections = join(sandbox.dir, 'connections')
  await rm(connections, { force: true })
  const ssh = join(sandbox.dir, 'ssh')
  const script = `#!/bin/sh\nn=$(cat ${connections} 2>/dev/null || echo 0); n=$((n + 1)); echo $n >${connections}\n${broken}\nexec borg serve\n`
  await writeFile(ssh, script, { mode: 0o755 })
  return { BORG_REPO: `ssh://host${sandbox.repository}`, BORG_RSH: ssh, BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' }
}

async function night(env: Record<string, string>): Promise<Output> {
  await sleep(1000 - (Date.now() % 1000) + 20)
  monitor.pings.length = 0
  return sandbox.script('backup.ts', ['--json'], { env: { RETRIES: '2', RETRY_WAIT_SECONDS: '0', ...env } })
}

function told(): string[] {
  return monitor.pings.map(({ path }) => path.replace('/check-uuid', ''))
}

const LINE = /Try \d of \d failed; the next one is in .*/g

test.before(async () => {
  sandbox = await startSandbox()
  monitor = await startMonitor()
  await seed(sandbox, { libraries: 30, photos: 3 })
  await sandbox.configure({
    HEALTHCHECK_URL: monitor.url,
    DRILL_HEALTHCHECK_URL: monitor.url,
    CHECK_EVERY_DAYS: '0',
    KEEP_APP_CONFIG: 'no',
    RETRIES: undefined,
  })
})
test.after(async () => {
  monitor.stop()
  await sandbox.stop()
})

test('a connection that is cut while the archive is stored leaves nothing, and the next try stores one with a new dump', async () => {
  await writeFile(join(sandbox.mediaDir, 'large'), randomBytes(5_000_000))
  // The first lists the archives, the second stores: it is cut off after two megabytes.
  const { exitCode, stdout, stderr } = await night(
    await over('[ $n != 2 ] || { stdbuf -o0 head -c 2000000 | borg serve; exit 255; }'),
  )
  assert.is(exitCode, 0, stderr)
  assert.is(stderr.match(LINE)?.length, 1, stderr)
  assert.match(stderr, /Try 1 of 3 failed.*can't be reached/)
  assert.is(stderr.match(/Storing the database/g)?.length, 2)
  const { archive, tries, warnings } = JSON.parse(stdout)
  assert.equal([tries, warnings], [2, []])
  assert.equal(await sandbox.archives(), [archive])
  assert.equal(told(), ['/start', ''])
  assert.match(monitor.pings[1]?.body ?? '', /, 2 tries$/)
})

test('what stays away is told once, with how often it was tried; what no wait can change fails at once', async () => {
  const away = await night(
    await over('echo "ssh: connect to host host port 22: Connection refused" >&2; sleep 0.3; exit 255'),
  )
  assert.is(away.exitCode, 1)
  assert.is(away.stderr.match(LINE)?.length, 2)
  assert.match(away.stderr, /Connection refused.*\(tried 3 times\)/)
  assert.equal(told(), ['/start', '/fail'])
  for (const env of [
    await over('echo "deploy@host: Permission denied (publickey)." >&2; sleep 0.3; exit 255'),
    { BORG_PASSPHRASE: 'another one' },
  ]) {
    const { exitCode, stderr } = await night(env)
    assert.is(exitCode, 1)
    assert.not.match(stderr, /Try 1/)
  }
})

test('the drill is tried again, too', async () => {
  const env = await over('[ $n != 1 ] || { echo "Connection timed out" >&2; exit 255; }')
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', ['--drill', '--json'], {
    env: { ...env, RETRY_WAIT_SECONDS: '0' },
  })
  assert.is(exitCode, 0, stderr)
  assert.is(JSON.parse(stdout).tries, 2)
})

test('the history tells of every run at a repository, of its end where that is known, and of no secret', async () => {
  const remote = await over('')
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--history', '--json'], { env: remote })
  assert.is(exitCode, 0, stderr)
  const { runs, lastGood, lastDrill, limits } = JSON.parse(stdout)
  const ended = runs.map(({ kind, outcome, tries }: JournalEntry) => `${kind} ${outcome} ${tries}`)
  assert.equal(ended, ['night done 2', 'night failed 3', 'night failed 1', 'drill done 2'])
  assert.equal([lastGood, lastDrill, limits], [runs[0], runs[3], []])
  assert.match(runs[0].archive, /^book-corners-/)
  assert.ok(runs[0].originalBytes > 5e6 && runs[0].newBytes > 5e6 && runs[0].repositoryBytes > 5e6)
  assert.match(runs[1].reason, /Connection refused/)
  assert.not.match(stdout, PASSPHRASE)
  const check = await sandbox.script('backup.ts', ['--check'], { env: remote })
  assert.match(check.stdout, /^warn {2}last run .*: failed.*Permission denied/m)
  assert.match(check.stdout, /^pass {2}last drill .*: done/m)

  await sandbox.borg(['config', sandbox.repository, 'storage_quota', '500M'])
  const own = await night({ BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' })
  assert.is(own.exitCode, 0, own.stderr)
  const text = await sandbox.script('backup.ts', ['--history'])
  assert.match(text.stdout, /night +FAILED .*passphrase/)
  assert.match(text.stdout, /night +done +########/)
  assert.match(text.stdout, /Quota of the repository: 4\d\d\.\d\d MB are free\nDisk of the repository: .* are free/)
  assert.match(text.stdout, /Last good night: .*\(just now\)\n$/)
})

test('two repositories a night, each with an env file: one that is broken keeps nothing from the other', async () => {
  const folder = join(sandbox.dir, 'apps.d')
  const second = join(sandbox.dir, 'second-repository')
  await cp(sandbox.repository, second, { recursive: true })
  await mkdir(folder)
  const own = `${readFileSync(sandbox.envFile, 'utf8')}BORG_RELOCATED_REPO_ACCESS_IS_OK=yes\n`
  for (const [name, text] of [
    ['first.env', own],
    ['second.env', own.replace(sandbox.repository, second)],
    ['third.env', `${own}KEEP_DAILY=many\n`],
    ['notes.txt', 'no env file'],
  ] as const)
    await writeFile(join(folder, name), text, { mode: 0o600 })
  await rm(join(sandbox.repository, 'config'))
  // What the environment says would be every app's.
  const env = { BORG_REPO: '/nowhere', DB_SERVICE: 'nope', RETRIES: '5' }
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--env-dir', folder], { env })
  assert.is(exitCode, 1, stderr)
  assert.match(stdout, /^first +FAILED \(1\) .*repository/m)
  assert.match(stdout, /^second +done .*book-corners-\d{4}/m)
  assert.match(stdout, /^third +FAILED \(2\) .*KEEP_DAILY/m)
  assert.not.match(stdout + stderr, PASSPHRASE)
  const listed = await sandbox.borg(['list', '--short'], {
    env: { BORG_REPO: second, BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' },
  })
  assert.is(listed.stdout.split('\n').filter(Boolean).length, 3)

  const checked = await sandbox.script('backup.ts', ['--env-dir', folder, '--check', '--json'])
  assert.is(checked.exitCode, 1)
  assert.equal(
    JSON.parse(checked.stdout).apps.map(({ app, exitCode, result }: Record<string, { checks: unknown[] }>) => [
      app,
      exitCode,
      (result?.checks.length ?? 0) > 10,
    ]),
    [
      ['first', 1, true],
      ['second', 0, true],
      ['third', 2, true],
    ],
  )
  for (const args of [
    ['--env-dir', folder, '--accept'],
    ['--env-dir', '/nowhere'],
    ['--env-dir', sandbox.mediaDir],
  ])
    assert.is((await sandbox.script('backup.ts', args)).exitCode, 2)
})

test.run()
