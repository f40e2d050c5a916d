import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Cloudflare, startCloudflare, TOKEN } from '../support/cloudflare.ts'
import type { Output } from '../support/launch.ts'
import { withReleases } from '../support/releases.ts'
import { type Server, startServer } from '../support/server.ts'
import { type Site, startSite } from '../support/site.ts'
import { atTerminal } from '../support/terminal.ts'

const test = suite('what runs is what the containers say')
let server: Server
let site: Site
let cloudflare: Cloudflare
let at: ReturnType<typeof withReleases>

function run(script: string, args: readonly string[], more: Record<string, string> = {}): Promise<Output> {
  const env = {
    SITE_URL: site.url,
    CLOUDFLARE_ZONE_ID: 'zone1',
    CLOUDFLARE_API_TOKEN: TOKEN,
    CLOUDFLARE_API_URL: cloudflare.url,
    ...more,
  }
  return server.script(script, args, { env })
}

function short(sha: string | undefined): string {
  return sha?.slice(0, 8) ?? ''
}

test.before(async () => {
  ;[server, site, cloudflare] = await Promise.all([startServer(), startSite(), startCloudflare()])
  at = withReleases(server)
  await writeFile(join(server.dir, 'apps/book-corners/others'), 'worker.1 running\n')
  await at.deploy()
})
test.before.each(async () => {
  cloudflare.requests.length = 0
  await server.reset()
})
test.after(async () => {
  await server?.stop()
  await site?.stop()
  await cloudflare?.stop()
})

test("after a failed deploy the server's restart would start what failed; --status says so, and --rebuild makes it safe", async () => {
  const good = server.running()
  const bad = await server.commit('Fail to migrate')
  await server.fault('git-hook', 'deploy_fails=predeploy')
  at.ends(await run('deploy.ts', []), 1)
  const status = await at.status()
  assert.match(status.stdout, new RegExp(`runs +${short(good)} A map`))
  assert.match(status.stdout, `GIT_REV is ${short(bad)}, which a restart would start`)
  assert.match(status.stdout, /To make them agree.*: rollback --rebuild/)
  at.ends(await run('rollback.ts', ['--rebuild', '--yes']), 0)
  await server.launch(join(server.dir, 'bin/dokku'), ['ps:restart', 'book-corners']).ended
  for (const name of ['running', 'code']) assert.is(server.property(name), good)
  server.git('reset', '-q', '--hard', 'HEAD~1')
})

for (const [fails, outcome, says] of [
  ['postdeploy', 'postdeploy-failed', /The postdeploy task of \S+ failed, after \S+ went live[\s\S]*ConnectionError/],
  ['killed', 'refused', /\S+ runs, but its deploy did not end well\.[\s\S]*pre-receive died of signal 9/],
  ['worker', 'health-failed', /runs, but not all of it: a process did not pass its health check[\s\S]*worker\.1/],
] as const)
  test(`a deploy that fails after the web processes were switched (${fails}) is told as that; cache and site are looked after`, async () => {
    const old = server.running()
    const sha = await server.commit(`Break the ${fails}`)
    server.push()
    await server.fault('git-hook', `deploy_fails=${fails}`)
    const output = await run('deploy.ts', [])
    await server.reset()
    at.ends(output, 1)
    const end = output.stderr.slice(output.stderr.indexOf('failed to push some refs'))
    assert.match(end, says)
    assert.not.match(end, /predeploy|\(migrate\)/)
    assert.match(end, /was looked after all the same.*cache purged; verified \(\d+ passed, \d+ skipped\)/)
    assert.is(cloudflare.requests.length, 1)
    const entry = await at.lastEntry()
    assert.equal([entry.outcome, entry.from, entry.to, entry.runs, entry.verified], [outcome, old, sha, sha, true])
  })

test('what such a deploy left on the deploy branch is not live: the containers say so, in the list and to a rollback', async () => {
  const [branch, runs] = [server.deployed() ?? '', server.running() ?? '']
  const list = await run('rollback.ts', ['--list'])
  assert.match(list.stdout, new RegExp(`^${short(runs)} .*runs now`, 'm'))
  const back = await run('rollback.ts', ['--to', short(branch), '--yes'])
  at.ends(back, 1)
  assert.match(back.stderr, `but the server runs ${short(runs)}`)
  assert.not.match(back.stderr, /is live already/)
  at.ends(await run('deploy.ts', ['--no-verify']), 0)
  assert.equal([server.running(), server.deployed()], [runs, runs])
})

test('a worker that is dead makes a deploy fail, and the new release is looked after all the same', async () => {
  const sha = await server.commit('Kill the worker')
  server.push()
  await writeFile(join(server.dir, 'apps/book-corners/others'), 'worker.1 exited\n')
  for (const _ of ['pushed', 'the same again']) {
    const output = await run('deploy.ts', [])
    at.ends(output, 1)
    assert.match(output.stderr, /not every process runs: web\.1 running, worker\.1 exited/)
    assert.match(output.stderr, /was looked after all the same.*cache purged; verified/)
    assert.equal([(await at.lastEntry()).runs, (await at.lastEntry()).verified], [sha, true])
  }
  assert.is(cloudflare.requests.length, 2)
  await writeFile(join(server.dir, 'apps/book-corners/others'), 'worker.1 running\n')
})

test('the old release may go on answering for a moment after a push that went well', async () => {
  const [old, sha] = [server.running(), await server.commit('Switch slowly')]
  const file = join(server.dir, 'asked')
  // Three answers of the old container after the switch.
  await server.fault(
    'enter',
    `if [[ "$(property "$1" running)" == ${sha} ]]; then echo x >>'${file}'; [[ $(wc -l <'${file}') -gt 3 ]] || { echo ${old}; exit 0; }; fi`,
  )
  const output = await run('deploy.ts', ['--no-verify'])
  await rm(file)
  at.ends(output, 0)
  assert.equal([(await at.lastEntry()).outcome, (await at.lastEntry()).runs], ['deployed', sha])
})

test('an older commit than the one that is deployed needs a terminal, and somebody who types it', async () => {
  const newer = await server.commit('Newer', { 'libraries/migrations/0002_city.py': 'operations = []\n' })
  const older = server.git('rev-parse', 'HEAD~1')
  await at.bringLive()
  for (const args of [[], ['--yes']]) {
    const output = await run('deploy.ts', [older, '--no-verify', ...args])
    at.ends(output, 1)
    assert.match(
      output.stderr,
      `${short(older)} is older than ${short(newer)}, which is deployed: it would take back 1 commit.`,
    )
    assert.match(output.stderr, `rollback --to ${short(older)}`)
  }
  assert.is(server.running(), newer)
  for (const [typed, runs] of [
    ['yes', newer],
    [short(older), older],
  ] as const) {
    const { status, output } = await atTerminal('deploy.ts', [older, '--no-verify', '--yes'], {
      env: server.env,
      cwd: server.app,
      prompt: /to go on: /,
      answer: () => `${typed}\r`,
    })
    assert.is(status, runs === older ? 0 : 1, output)
    assert.is(server.running(), runs)
  }
})

/** The warning of a deploy that brings a commit live again. */
function takenBack(before: string, sha: string): RegExp {
  const when = '(just now|\\d+ minutes? ago)'
  return new RegExp(`${before}1 commit of this was taken back by a rollback ${when} \\(by Engineer\\): ${short(sha)} `)
}

test('a job that is run again does not bring back what was rolled back', async () => {
  const [bad, good] = [server.git('rev-parse', 'HEAD'), server.running() ?? '']
  await at.bringLive()
  at.ends(await run('rollback.ts', ['--to', good, '--yes', '--allow-migrations']), 0)
  const rerun = await run('deploy.ts', ['--no-verify', '--yes'], { GITHUB_RUN_ATTEMPT: '2' })
  at.ends(rerun, 1)
  assert.match(rerun.stderr, `${short(bad)} was rolled back (Engineer, just now), and this job is run again`)
  assert.is(server.running(), good)
  // A fix on top of it is another commit.
  await server.commit('Fix it')
  const fixed = await run('deploy.ts', ['--no-verify', '--yes'], { GITHUB_RUN_ATTEMPT: '2' })
  at.ends(fixed, 0)
  assert.match(fixed.stdout, takenBack('WARNING: ', bad))
})

test('whoever deploys what a rollback took back is told before the question, and in the log; its revert is no news', async () => {
  const good = server.running() ?? ''
  await server.commit('Break the map')
  const bad = await at.bringLive()
  await at.bringBack(good)
  let shown = ''
  const asked = await atTerminal('deploy.ts', ['--no-verify'], {
    env: { ...server.env, COLUMNS: '300' },
    cwd: server.app,
    prompt: /to go on: /,
    answer: (output) => {
      shown = output
      return 'no\r'
    },
  })
  assert.is(asked.status, 1, asked.output)
  assert.match(shown.replace(/\s+/g, ' '), takenBack('Warning: ', bad))
  const told = await run('deploy.ts', ['--no-verify', '--yes'])
  at.ends(told, 0)
  assert.match(told.stderr, takenBack('Warning: ', bad))
  assert.is(server.running(), bad)

  await at.bringBack(good)
  server.git('revert', '--no-edit', bad)
  server.push()
  const reverted = await run('deploy.ts', ['--no-verify', '--yes'])
  at.ends(reverted, 0)
  assert.is(server.running(), at.onOrigin())
  assert.not.match(reverted.stderr, /taken back by/)
})

test.run()
