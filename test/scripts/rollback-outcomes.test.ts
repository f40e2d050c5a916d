import { readdirSync } from 'node:fs'
import { appendFile, chmod, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Output, Running } from '../support/launch.ts'
import { withReleases } from '../support/releases.ts'
import { type Server, startServer } from '../support/server.ts'
import { type Site, startSite } from '../support/site.ts'
import { atTerminal } from '../support/terminal.ts'
import { until } from '../support/until.ts'

const test = suite('what becomes of a rollback')
let server: Server
let site: Site
let at: ReturnType<typeof withReleases>
let good: string
let bad: string
let entries: string

function start(...args: string[]): Running {
  return server.start('rollback.ts', [...args, '--yes'], { env: { SITE_URL: site.url } })
}

function rollback(...args: string[]): Promise<Output> {
  return start(...args).ended
}

function waitsAt(step: string): Promise<void> {
  return server.fault('git-hook', `deploy_waits=${step}`)
}

const originHook = join('origin.git', 'hooks', 'pre-receive')

/** What origin's hook does before it takes a push; nothing takes the hook away. */
async function onPushToOrigin(script?: string): Promise<void> {
  const file = join(server.dir, originHook)
  if (script === undefined) return rm(file, { force: true })
  await writeFile(file, `#!/bin/sh\n${script}\n`)
  await chmod(file, 0o755)
}

test.before(async () => {
  ;[server, site] = await Promise.all([startServer(), startSite()])
  at = withReleases(server)
  good = await at.deploy()
  await server.commit('Break the map')
  bad = await at.bringLive()
  entries = await readFile(join(server.opsDir, 'deploys.jsonl'), 'utf8')
})
test.before.each(async () => {
  await server.reset()
  // Each test begins with the bad release live, on origin, and checked out, whatever the one before did.
  await onPushToOrigin()
  for (const name of ['GIT_REV', 'running', 'latest', 'code'])
    await writeFile(join(server.dir, 'apps/book-corners', name), `${bad}\n`)
  for (const repo of [join(server.dir, 'apps/book-corners/repo'), server.origin])
    server.git('--git-dir', repo, 'update-ref', 'refs/heads/master', bad)
  server.git('fetch', '-q')
  server.git('reset', '-q', '--hard', bad)
  await writeFile(join(server.opsDir, 'deploys.jsonl'), entries)
})
test.after(async () => {
  await server?.stop()
  await site?.stop()
})

test('a lease gone stale: what somebody deployed meanwhile is not overwritten', async () => {
  const theirs = await server.commit('Theirs')
  server.git('reset', '-q', '--hard', 'HEAD~1')
  const repo = `${server.dir}/apps/book-corners/repo`
  await server.fault(
    'git-receive-pack',
    `git --git-dir='${repo}' fetch -q '${server.app}' ${theirs}; git --git-dir='${repo}' update-ref refs/heads/master ${theirs}`,
  )
  const output = await rollback('--to', good)
  await server.fault('git-receive-pack')
  assert.is(server.deployed(), theirs)
  at.ends(output, 1)
  assert.match(output.stderr, /Somebody deployed since this run looked.*[\s\S]*type the same again/)
})

for (const fails of ['build', 'predeploy', 'health'])
  test(`a failed ${fails} says what still runs, and is recorded`, async () => {
    await server.fault('git-hook', `deploy_fails=${fails}`)
    const output = await rollback('--to', good)
    at.ends(output, 1)
    assert.match(output.stderr, `The server runs ${bad.slice(0, 8)}, not the release asked for (`)
    assert.match(output.stderr, /rollback --list/)
    assert.is(server.running(), bad)
    assert.equal([server.property('latest'), server.property('GIT_REV')], [fails === 'build' ? bad : good, good])
    const entry = await at.lastEntry()
    assert.equal([entry.kind, entry.from, entry.to, entry.outcome], ['rollback', bad, good, `${fails}-failed`])
  })

test('--rebuild after a failed deploy: what fails says so, and leaves GIT_REV with the image that it names', async () => {
  // As a predeploy task that failed left it.
  for (const name of ['GIT_REV', 'latest']) await writeFile(join(server.dir, 'apps/book-corners', name), `${good}\n`)
  await server.fault('ps:rebuild', 'deploy_fails=build')
  const failed = await rollback('--rebuild')
  at.ends(failed, 1)
  assert.match(failed.stderr, `GIT_REV is ${good.slice(0, 8)}, of a deploy that failed or was cut off`)
  assert.match(failed.stderr, /The build of \S+ failed[\s\S]*GIT_REV is \S+, which a restart would start/)
  assert.equal([server.property('latest'), server.property('GIT_REV')], [good, good])
  await server.fault('ps:rebuild', 'deploy_fails=health')
  const output = await rollback('--rebuild')
  at.ends(output, 1)
  assert.match(output.stderr, /did not pass the health check[\s\S]*ModuleNotFoundError/)
  assert.is((await at.lastEntry()).outcome, 'health-failed')
  assert.equal([server.property('latest'), server.property('GIT_REV')], [bad, bad])
})

test('while another deploy holds the lock, --to and --rebuild exit 75', async () => {
  await waitsAt('build')
  const first = start('--to', good)
  await first.prints(/waiting at build/)
  await writeFile(join(server.dir, 'apps/book-corners/GIT_REV'), `${bad}\n`)
  const [second, third] = [await rollback('--to', good), await rollback('--rebuild')]
  await writeFile(join(server.dir, 'apps/book-corners/GIT_REV'), `${good}\n`)
  await server.go()
  at.ends(await first.ended, 0)
  assert.is(server.running(), good)
  for (const output of [second, third]) {
    assert.is(output.exitCode, 75, output.stderr)
    assert.match(output.stderr, /Another deploy of book-corners is under way/)
  }
})

for (const [mode, args] of [
  ['--to', () => ['--to', good]],
  ['--rebuild', () => ['--rebuild']],
] as const)
  test(`a connection cut during ${mode}: the server is asked, and says what runs`, async () => {
    await server.fault(mode === '--to' ? 'git-hook' : 'ps:rebuild', 'deploy_waits=build')
    const running = start(...args())
    await running.prints(/waiting at build/)
    server.cut()
    const output = await running.ended
    await server.go()
    assert.is(output.exitCode, 1, output.stderr)
    assert.match(output.stderr, /The connection was lost while [0-9a-f]{8} was being deployed/)
    assert.match(output.stderr, `The server runs ${bad.slice(0, 8)}`)
    assert.is((await at.lastEntry()).outcome, 'lost')
  })

test('Ctrl-C in mid-push tells what the server does', async () => {
  await waitsAt('build')
  const running = start('--to', good)
  await running.prints(/waiting at build/)
  running.child.kill('SIGINT')
  const output = await running.ended
  await server.go()
  assert.is(output.exitCode, 130, output.stderr)
  assert.match(output.stderr, `The server runs ${bad.slice(0, 8)}, not the release asked for (`)
  assert.is((await at.lastEntry()).outcome, 'interrupted')
})

test('a deploy that was interrupted and that Dokku finished: the way back, and then its revert, know what it brought', async () => {
  const sha = await server.commit('Finished without us')
  server.push()
  await waitsAt('build')
  const running = server.start('deploy.ts', ['--no-verify'])
  await running.prints(/waiting at build/)
  running.child.kill('SIGINT')
  const interrupted = await running.ended
  assert.is(interrupted.exitCode, 130, interrupted.stderr)
  assert.match(interrupted.stderr, `The server runs ${bad.slice(0, 8)}, the old release`)
  await server.go()
  await until(() => server.deployed() === sha)
  await server.reset()
  const list = await rollback('--list')
  assert.match(list.stdout, new RegExp(`^${sha.slice(0, 8)} .*runs now`, 'm'))

  const back = await rollback('--to', bad)
  at.ends(back, 0)
  assert.match(back.stderr, /takes back 1 commit, no migration:\n.*Finished without us/)
  assert.match(back.stdout, new RegExp(`^${bad.slice(0, 8)} is live`))
  const { from, to, runs } = await at.lastEntry()
  assert.equal([from, to, runs, server.running()], [sha, bad, bad, bad])

  const revert = await rollback('--revert')
  at.ends(revert, 0)
  assert.match(
    revert.stderr,
    /What the rollback took back, and origin still holds[^\n]*\n\S+ +[0-9a-f]{8} Finished without us/,
  )
  assert.is(at.tree(at.onOrigin()), at.tree(bad))
  assert.is(server.git('rev-list', '--count', `${sha}..${at.onOrigin()}`), '1')
  assert.match(revert.stdout, `${bad.slice(0, 8)} runs until then: verified`)
  assert.is(server.running(), bad)
})

test('a host that is away, and an origin that is, are named', async () => {
  const output = await server.script('rollback.ts', ['--to', good, '--yes'], {
    env: { DOKKU_HOST: 'nowhere.invalid' },
  })
  at.ends(output, 1)
  assert.match(output.stderr, /nowhere\.invalid can't be reached/)
  server.git('remote', 'set-url', 'origin', '/nowhere.git')
  const revert = await rollback('--revert', '--now')
  server.git('remote', 'set-url', 'origin', server.origin)
  at.ends(revert, 1)
  assert.match(revert.stderr, /origin did not give its master: .*nowhere\.git/)
  assert.is(server.running(), bad)
})

test('an origin that refuses the revert: nothing goes to Dokku either, and the two ways out are told', async () => {
  await onPushToOrigin('echo "GH006: Protected branch update failed" >&2; exit 1')
  const checkout = at.checkout()
  const output = await rollback('--revert', '--now')
  await onPushToOrigin()
  at.ends(output, 1)
  assert.match(output.stderr, /origin did not take the revert: nothing was pushed.*[\s\S]*GH006[\s\S]*pull request/)
  assert.match(output.stderr, /rollback --to SHA/)
  assert.is(at.checkout(), checkout)
  assert.is(at.onOrigin(), bad)
  assert.is(server.running(), bad)
})

test('somebody pushed to origin meanwhile: nothing is pushed, and the next try is on top of theirs', async () => {
  const theirs = await server.commit('Theirs, pushed')
  server.git('push', '-q', 'origin', 'HEAD:refs/heads/theirs')
  server.git('reset', '-q', '--hard', 'HEAD~1')
  // Origin moves after the fetch and before the push.
  await onPushToOrigin(`unset GIT_QUARANTINE_PATH; git update-ref refs/heads/master ${theirs}`)
  const output = await rollback('--revert')
  await onPushToOrigin()
  at.ends(output, 1)
  assert.match(output.stderr, /Somebody pushed to origin\/master since this run looked: nothing was pushed/)
  assert.is(at.onOrigin(), theirs)
})

test('--revert interrupted in the push to origin tells whether origin has it', async () => {
  const marker = join(server.dir, 'waiting')
  await onPushToOrigin(`touch '${marker}'; sleep 3`)
  const running = start('--revert')
  await running.reaches(marker)
  running.child.kill('SIGTERM')
  const output = await running.ended
  await onPushToOrigin()
  assert.is(output.exitCode, 143, output.stderr)
  assert.match(
    output.stderr,
    /origin\/master holds the revert [0-9a-f]{8}: CI deploys it|Whether origin\/master has the revert is not known/,
  )
})

test('--revert --now that fails at Dokku says that origin has it, and the same again goes on from there', async () => {
  await server.fault('git-hook', 'deploy_fails=build')
  const output = await rollback('--revert', '--now')
  at.ends(output, 1)
  assert.match(
    output.stderr,
    /origin\/master holds the revert: CI deploys it\. At once, again: rollback --revert --now/,
  )
  assert.match(output.stderr, `The server runs ${bad.slice(0, 8)}, without the revert (`)
  const revert = at.onOrigin()
  assert.is(at.tree(revert), at.tree(good))
  await server.reset()
  const again = await rollback('--revert', '--now')
  at.ends(again, 0)
  assert.match(again.stderr, /origin has that already/)
  assert.is(at.onOrigin(), revert)
  assert.is(server.running(), revert)
})

/** A commit of somebody else's, on a branch of origin. */
async function theirs(subject: string, files?: Record<string, string>): Promise<string> {
  const sha = await server.commit(subject, files)
  server.git('push', '-q', 'origin', `HEAD:refs/heads/${sha}`)
  server.git('reset', '-q', '--hard', bad)
  return sha
}

test('a deploy that was cut off after the switch: what runs is asked, not what the deploy branch has', async () => {
  const cut = await theirs('Migrate', { 'libraries/migrations/0002_city.py': 'operations = []\n' })
  for (const name of ['GIT_REV', 'running']) await writeFile(join(server.dir, 'apps/book-corners', name), `${cut}\n`)
  const list = await rollback('--list')
  at.ends(list, 0)
  assert.match(list.stdout, new RegExp(`^${cut.slice(0, 8)} .*runs now`, 'm'))
  assert.match(list.stdout, new RegExp(`^${bad.slice(0, 8)} .*1 MIGRATION`, 'm'))
  const before = await rollback('--to', bad)
  at.ends(before, 1)
  assert.match(before.stderr, `${bad.slice(0, 8)} is on the deploy branch there already`)
  assert.match(before.stderr, /To build and start it again: rollback --rebuild/)
  const further = await rollback('--to', good)
  at.ends(further, 1)
  assert.match(further.stderr, /0002_city\.py \(added\)/)
  assert.match(
    further.stderr,
    /Newest backup: fail: BORG_REPO is not set\..*[^.]\. Look on the server: \S+\/home\/deploy\/restore --list/,
  )
  assert.is(server.running(), cut)
})

test('a container that was restarted after a failed deploy is not taken for what failed', async () => {
  const failed = await theirs('Fail to build')
  await writeFile(join(server.dir, 'apps/book-corners/running'), `${failed}\n`)
  const entry = { at: new Date().toISOString(), kind: 'deploy', from: bad, to: failed, outcome: 'build-failed' }
  await appendFile(join(server.opsDir, 'deploys.jsonl'), `${JSON.stringify(entry)}\n`)
  const output = await rollback('--list')
  at.ends(output, 0)
  assert.match(output.stdout, new RegExp(`^${bad.slice(0, 8)} .*runs now`, 'm'))
})

test('without access as the deploy user every way back is open; --revert says that it takes the newest commit alone', async () => {
  const key = join(server.dir, 'key_deploy')
  await rename(key, `${key}.away`)
  const to = await rollback('--to', good, '--dry-run')
  const revert = await rollback('--revert')
  await rename(`${key}.away`, key)
  at.ends(to, 0)
  assert.match(to.stderr, /The ledger can't be read: deploy@vps\.test does not accept/)
  at.ends(revert, 0)
  assert.match(revert.stderr, /The ledger does not know what the last deploy brought: HEAD of origin alone/)
  assert.is(at.tree(at.onOrigin()), at.tree(good))
  assert.match(revert.stdout, /WARNING: The ledger can't be read.*WARNING: This revert is not in the ledger/)
})

test('a container that hangs keeps nobody from going back', async () => {
  await server.fault('enter', 'exec sleep 15')
  const startedMs = Date.now()
  const output = await rollback('--list')
  at.ends(output, 0)
  assert.ok(Date.now() - startedMs < 30_000)
})

test('a release that is picked and only origin has is fetched', async () => {
  const sha = await theirs('Theirs, rolled back')
  server.git('reflog', 'expire', '--expire=now', '--all')
  server.git('update-ref', '-d', `refs/remotes/origin/${sha}`)
  server.git('update-ref', '-d', 'ORIG_HEAD')
  server.git('gc', '-q', '--prune=now')
  for (const [kind, from, to] of [
    ['deploy', bad, sha],
    ['rollback', sha, bad],
  ]) {
    const entry = { at: new Date().toISOString(), kind, from, to, outcome: 'deployed', verified: true }
    await appendFile(join(server.opsDir, 'deploys.jsonl'), `${JSON.stringify(entry)}\n`)
  }
  const { status, output } = await atTerminal('rollback.ts', [], {
    env: { ...server.env, SITE_URL: site.url },
    cwd: server.app,
    prompt: /to go on: |release\? \(1-\d+\): /,
    answer: (shown) => (/to go on: /.test(shown) ? 'no\r' : '1\r'),
  })
  assert.is(status, 1, output)
  assert.match(output, new RegExp(`1 +${sha.slice(0, 8)} .*not in this checkout`))
  assert.match(output, /fetching from origin/)
  assert.match(output, `→ ${sha.slice(0, 8)} Theirs, rolled back (Engineer)`)
})

test('who makes the revert must be known to git: else exit 2, and the server is not called', async () => {
  const before = server.calls().length
  const output = await server.script('rollback.ts', ['--revert', '--yes'], {
    env: {
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'user.useConfigOnly',
      GIT_CONFIG_VALUE_0: 'true',
    },
  })
  at.ends(output, 2)
  assert.match(output.stderr, /Git does not know who makes the revert[\s\S]*git config --global user\.name/)
  assert.is(server.calls().length, before)
})

test('what a --revert left behind that was killed outright is cleared up by the next', async () => {
  const marker = join(server.dir, 'checking out')
  server.git('config', 'filter.slow.smudge', `touch '${marker}'; sleep 2; cat`)
  const attributes = join(server.app, '.git/info/attributes')
  await writeFile(attributes, 'notes/* filter=slow\n')
  const running = start('--revert')
  await running.reaches(marker)
  running.child.kill('SIGKILL')
  await running.ended
  server.cut()
  assert.is(server.git('worktree', 'list').split('\n').length, 2)
  await rm(attributes)
  server.git('config', '--unset', 'filter.slow.smudge')
  const output = await rollback('--revert', '--dry-run')
  at.ends(output, 0)
  assert.equal(
    readdirSync(join(server.dir, 'tmp')).filter((name) => name.startsWith('bc-revert-')),
    [],
  )
})

test.run()
