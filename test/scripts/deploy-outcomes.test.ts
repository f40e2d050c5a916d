import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Output } from '../support/launch.ts'
import { withReleases } from '../support/releases.ts'
import { endsWith, readJsonLines, type Server, startServer } from '../support/server.ts'

const test = suite('what becomes of a push')
let server: Server

function push(...args: string[]): Promise<Output> {
  return server.script('deploy.ts', ['--no-verify', ...args])
}

function ledger() {
  return readJsonLines(join(server.opsDir, 'deploys.jsonl'))
}

function ends(output: Output, exitCode: number): void {
  endsWith(server, output, exitCode)
}

/** The next deployment stops at a step until `server.go()`. */
function waitsAt(step: string): Promise<void> {
  return server.fault('git-hook', `deploy_waits=${step}`)
}

test.before(async () => {
  server = await startServer()
  ends(await push(), 0)
})
test.before.each(() => server.reset())
test.after(() => server?.stop())

for (const [fails, says, hint] of [
  ['build', /The build of .* failed[\s\S]*npm error[\s\S]*App build failed/, /docker build/],
  ['predeploy', /predeploy task.*failed[\s\S]*column "city".*already exists/, /Applying … OK/],
  [
    'health',
    /did not pass the health check[\s\S]*ModuleNotFoundError[\s\S]*HaltServer: Worker failed to boot/,
    /logs:failed/,
  ],
] as const)
  test(`a failed ${fails} says why, what still runs, and what to do; nothing is purged`, async () => {
    const old = server.running() ?? ''
    const sha = await server.commit(`Break the ${fails}`)
    // A line of an asset as a bundler prints it, and the line ends of a container's terminal.
    const noise = `head -c 300000 /dev/zero | tr '\\0' x; printf '\\r\\nerror: cannot lock ref\\r\\n'`
    await server.fault('git-hook', `${noise}; deploy_fails=${fails}`)
    const output = await push()
    ends(output, 1)
    assert.match(output.stderr, /^\s+x{4000}… \(\d{6} characters\)$/m)
    const [, end = ''] = output.stderr.split('failed to push some refs')
    assert.match(end, says)
    assert.match(end, `The server runs ${old.slice(0, 8)}, the old release (web.1 running).`)
    assert.match(
      end,
      new RegExp(`GIT_REV is ${sha.slice(0, 8)}, which a restart would start. To make them agree: rollback --rebuild`),
    )
    assert.match(end, hint)
    assert.not.match(end, /deploy lock/)
    assert.is(server.running(), old)
    const last = (await ledger()).at(-1)
    assert.equal([last?.to, last?.from, last?.outcome, last?.verified], [sha, old, `${fails}-failed`, null])
    server.git('reset', '-q', '--hard', 'HEAD~1')
  })

test('of two deploys at once the second says that the first holds the lock', async () => {
  await server.commit('First')
  await waitsAt('build')
  const first = server.start('deploy.ts', ['--no-verify'])
  await first.prints(/waiting at build/)
  const second = await push()
  ends(await server.go().then(() => first.ended), 0)
  assert.is(second.exitCode, 75, second.stderr)
  assert.match(second.stderr, /Another deploy of book-corners is under way[\s\S]*deploy lock in place/)
  assert.match(second.stderr, /deploy --status/)
  assert.not.match(second.stderr, /goes on without us/)
})

test('a lease gone stale: what somebody deployed meanwhile is not overwritten', async () => {
  const theirs = await server.commit('Theirs')
  server.git('reset', '-q', '--hard', 'HEAD~1')
  const mine = await server.commit('Mine')
  // Their push goes through after this run has looked, and before its own.
  const repo = `${server.dir}/apps/book-corners/repo`
  await server.fault(
    'git-receive-pack',
    `git --git-dir='${repo}' fetch -q '${server.app}' ${theirs}; git --git-dir='${repo}' update-ref refs/heads/master ${theirs}; echo ${theirs} >'${server.dir}/apps/book-corners/running'`,
  )
  const output = await push()
  await server.fault('git-receive-pack')
  ends(output, 1)
  assert.match(output.stderr, /Somebody deployed since this run looked/)
  assert.match(output.stderr, `The server runs ${theirs.slice(0, 8)}, not the release asked for`)
  assert.is(server.deployed(), theirs)
  const going = await push()
  ends(going, 0)
  assert.match(going.stderr, /takes back 1 commit that is deployed/)
  assert.is(server.running(), mine)
})

test('a connection cut in mid-push: the server is asked, and says that the old release runs', async () => {
  const old = server.running() ?? ''
  await server.commit('Cut in the build')
  await waitsAt('build')
  const running = server.start('deploy.ts', ['--no-verify'])
  await running.prints(/waiting at build/)
  server.cut()
  const output = await running.ended
  await server.go()
  await server.reset()
  ends(output, 1)
  assert.match(output.stderr, /The connection was lost while [0-9a-f]{8} was being deployed/)
  assert.match(output.stderr, `The server runs ${old.slice(0, 8)}, the old release`)
  assert.match(output.stderr, /deploy lock is there: the deploy goes on without us, or was cut off/)
  assert.is((await ledger()).at(-1)?.outcome, 'lost')
})

test('a connection cut after the switch: the server is asked, and says that the new release runs', async () => {
  const old = server.deployed() ?? ''
  const sha = await server.commit('Cut after the switch')
  await waitsAt('switched')
  const running = server.start('deploy.ts', ['--no-verify'])
  await running.prints(/waiting at switched/)
  server.cut()
  const output = await running.ended
  await server.go()
  await server.reset()
  ends(output, 1)
  assert.match(output.stderr, `The server runs ${sha.slice(0, 8)}, the new release (`)
  // A hook that ends in between leaves the branch there behind.
  server.git('--git-dir', join(server.dir, 'apps/book-corners/repo'), 'update-ref', 'refs/heads/master', old)
  const status = await withReleases(server).status()
  assert.match(status.stdout, new RegExp(`runs +${sha.slice(0, 8)} Cut after the switch`))
  assert.match(status.stdout, `the deploy branch there is at ${old.slice(0, 8)}`)
  assert.match(status.stdout, `To make them agree: rollback --to ${sha.slice(0, 8)} (keeps what runs)`)
  // What is on the branch is not live, whatever a push would say of it.
  const again = await push(old)
  ends(again, 1)
  assert.match(again.stderr, `a push changes nothing; but the server runs ${sha.slice(0, 8)}`)
  assert.is(server.running(), sha)
  const same = await push()
  ends(same, 0)
  assert.is(server.deployed(), sha)
})

test('a connection cut in mid-push that the server gets over is a deploy, and says so', async () => {
  const sha = await server.commit('Cut, and finished')
  await waitsAt('build')
  const running = server.start('deploy.ts', ['--no-verify'])
  await running.prints(/waiting at build/)
  server.cut()
  await server.go()
  const output = await running.ended
  ends(output, 0)
  assert.match(output.stdout, /WARNING: The connection was lost during the push, but the server finished the deploy/)
  assert.is(server.running(), sha)
})

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  test(`${signal} in mid-push: it says what the server does, exits ${status}, and leaves no process`, async () => {
    const old = server.running() ?? ''
    await server.commit(`Interrupted by ${signal}`)
    await waitsAt('build')
    const running = server.start('deploy.ts', ['--no-verify'])
    await running.prints(/waiting at build/)
    running.child.kill(signal)
    const output = await running.ended
    await server.go()
    assert.is(output.exitCode, status, output.stderr)
    assert.match(output.stderr, `The server runs ${old.slice(0, 8)}, the old release`)
    assert.match(output.stderr, /deploy --status/)
    assert.is((await ledger()).at(-1)?.outcome, 'interrupted')
  })

test('a run that is interrupted right after the push says what runs, and is in the ledger', async () => {
  const sha = await server.commit('Pushed, then interrupted')
  const asked = join(server.dir, 'asked')
  await server.fault(
    'ps:report',
    `[[ -e '${asked}' || "$(property "$1" running)" != ${sha} ]] || { touch '${asked}'; sleep 3; }`,
  )
  const running = server.start('deploy.ts', ['--no-verify'])
  await running.reaches(asked)
  running.child.kill('SIGTERM')
  const output = await running.ended
  assert.is(output.exitCode, 143, output.stderr)
  assert.match(output.stderr, `The server runs ${sha.slice(0, 8)}, the new release`)
  assert.match(output.stderr, /Not done: the sync of the ops scripts \(deploy --sync-only\)\.$/m)
  const last = (await ledger()).at(-1)
  assert.equal([last?.to, last?.outcome], [sha, 'interrupted'])
})

test('a run that is interrupted after the release went live is in the ledger', async () => {
  const sha = await server.commit('Live, then interrupted')
  await server.farProgram('timeout', `#!/bin/sh\ntouch '${server.dir}/synced'; sleep 3\nexec /usr/bin/timeout "$@"\n`)
  const running = server.start('deploy.ts', ['--no-verify'])
  await running.reaches(join(server.dir, 'synced'))
  running.child.kill('SIGTERM')
  const output = await running.ended
  await server.farProgram('timeout')
  assert.is(output.exitCode, 143, output.stderr)
  assert.is(server.running(), sha)
  const last = (await ledger()).at(-1)
  assert.equal([last?.to, last?.outcome, last?.verified, last?.notDone], [sha, 'deployed', null, ['sync']])
})

test('a host key that is not known is refused before anything is sent', async () => {
  const before = server.calls().length
  await server.forgetHostKey()
  const output = await push()
  ends(output, 1)
  assert.match(output.stderr, /host key of vps\.test is not known here[\s\S]*ssh-keyscan vps\.test/)
  assert.is(server.calls().length, before)
})

test('a host that is away is named', async () => {
  const output = await server.script('deploy.ts', ['--no-verify'], { env: { DOKKU_HOST: 'nowhere.invalid' } })
  ends(output, 1)
  assert.match(output.stderr, /nowhere\.invalid can't be reached/)
})

test('a push that the server calls a success without running it is not called deployed', async () => {
  await server.commit('Accepted, not running')
  await server.fault(
    'ps:report',
    `echo '{"deployed":"true","status-web.1":"exited (CID: 0123)","running":"false"}'; exit 0`,
  )
  const output = await push()
  ends(output, 1)
  assert.match(output.stderr, /not every process runs: web\.1 exited/)
})

test('a commit that Dokku took and did not start (skip-deploy) is not called deployed', async () => {
  const old = server.running() ?? ''
  await server.commit('Taken, not started')
  const property = join(server.dir, 'apps/book-corners/skip-deploy')
  await writeFile(property, 'true\n')
  const output = await push()
  ends(output, 1)
  assert.match(output.stderr, `The push went through, but the server says it runs ${old.slice(0, 8)}.`)
  assert.match(output.stderr, /its setting skip-deploy[\s\S]*To leave it: rollback --to \S+ \(keeps what runs\)$/m)
  const last = (await ledger()).at(-1)
  assert.equal([last?.outcome, last?.runs, last?.verified], ['refused', old, false])
  // A job that is run again must not turn green.
  const again = await push()
  await rm(property)
  ends(again, 1)
  assert.match(again.stderr, /a push changes nothing; but the server runs/)
  assert.is(server.running(), old)
  server.git('reset', '-q', '--hard', old)
  ends(await push(), 0)
  assert.is(server.deployed(), old)
})

test('the same commit again is not called live when its processes are stopped', async () => {
  await writeFile(join(server.dir, 'apps/book-corners/state'), 'false\n')
  const output = await push()
  await rm(join(server.dir, 'apps/book-corners/state'))
  ends(output, 1)
  assert.match(
    output.stderr,
    /is deployed already, but not every process runs: web\.1 exited[\s\S]*start it again: rollback --rebuild/,
  )
})

test('a deploy branch of another name than the HEAD of the repository there', async () => {
  const dir = join(server.dir, 'apps/book-corners-2')
  await mkdir(dir)
  await writeFile(join(dir, 'deploy-branch'), 'main\n')
  const env = { DOKKU_APP: 'book-corners-2', DEPLOY_BRANCH: 'main' }
  // The gate is for one app.
  await server.gate('')
  const output = await server.script('deploy.ts', ['--no-verify'], { env })
  ends(output, 0)
  const status = await withReleases(server).status({ env })
  assert.match(status.stdout, `runs         ${server.git('rev-parse', 'HEAD').slice(0, 8)}`)
})

test.run()
