import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { backUpAndDamage, counts, DAMAGED, OLD, reset } from '../support/damage.ts'
import type { Output } from '../support/launch.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('the app after a swap')
let sandbox: Sandbox
let site: Server
/** How the site answers `/health/`, told the number of the question. */
let answers: (asked: number) => number = () => 200
let asked = 0

const OTHER = 'fedcba9876543210fedcba9876543210fedcba98'
const FAST = `--import=${fileURLToPath(new URL('../support/fast-clock.mjs', import.meta.url))}`

test.before(async () => {
  site = createServer((request, response) => {
    const status = request.url === '/health/' ? answers(++asked) : 404
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ status: status === 200 ? 'ok' : 'error' }))
  })
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve))
  sandbox = await startSandbox()
  await backUpAndDamage(sandbox)
})
test.after(async () => {
  site.close()
  await sandbox.stop()
})
test.before.each(async () => {
  await reset(sandbox)
  answers = () => 200
  asked = 0
  for (const command of ['ps:restart', 'ps:report', 'config:get']) await sandbox.fault(command)
  await rm(appFile('others'), { force: true })
  await rm(appFile('restarts'), { force: true })
})

function appFile(name: string): string {
  return join(sandbox.dir, 'apps/book-corners', name)
}

function isRestarted(): boolean {
  return existsSync(appFile('restarts'))
}

/** With short waits. */
function run(args: readonly string[], env: Record<string, string>): Promise<Output> {
  return sandbox.script('restore.ts', [...args, '--yes'], { env: { NODE_OPTIONS: FAST, ...env } })
}

function withSite(): Record<string, string> {
  return { SITE_URL: `http://127.0.0.1:${(site.address() as AddressInfo).port}` }
}

function restore(env = withSite()): Promise<Output> {
  return run(['latest', '--db-only'], env)
}

test('a site that is well is asked once, and nothing is restarted', async () => {
  const { exitCode, stdout, stderr } = await restore()
  assert.is(exitCode, 0, stderr)
  assert.is(asked, 1)
  assert.match(stderr, /\/health\/ says ok/)
  assert.match(stdout, /the app misbehaves +sudo dokku ps:restart book-corners$/m)
  assert.is(isRestarted(), false)
})

test('a few bad answers, of connections that the swap has ended, are no reason for a restart', async () => {
  answers = (number) => (number > 5 ? 200 : 503)
  const { exitCode, stderr } = await restore()
  assert.is(exitCode, 0, stderr)
  assert.is(isRestarted(), false)
})

test('a site that stays bad is restarted, and that is said', async () => {
  answers = () => (isRestarted() ? 200 : 503)
  const { exitCode, stderr } = await restore()
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /\/health\/ stays bad: it answers 503\n[\s\S]*Restarting book-corners\n[\s\S]*says ok/)
})

test('a site that is bad after a restart too is said to be, with the way back', async () => {
  answers = () => 503
  const { exitCode, stderr } = await restore()
  assert.is(exitCode, 1)
  assert.match(
    stderr,
    /The data is restored, but http\S+\/health\/ is not well: it answers 503\n.*dokku logs book-corners.*restore --undo/,
  )
  assert.is(isRestarted(), true)
  assert.is(await counts(sandbox), OLD)
})

for (const [what, snippet, says] of [
  ['another release than runs', `echo ${OTHER}; exit 0`, /it runs 01234567, and a restart would start fedcba98/],
  ['a release that cannot be known', 'exit 1', /a restart would start one that Dokku does not name/],
] as const)
  test(`nothing is restarted where that would start ${what}`, async () => {
    answers = () => 503
    await sandbox.fault('config:get', snippet)
    const { exitCode, stderr } = await restore()
    assert.is(exitCode, 1)
    assert.match(stderr, says)
    assert.not.match(stderr, /dokku ps:restart/)
    assert.match(
      stderr,
      /To start it again: on the laptop, rollback --rebuild \(ps:restart would start .*To go back: restore --undo/,
    )
    assert.is(isRestarted(), false)
    assert.is(await counts(sandbox), OLD)
  })

test('an app that does not restart is said, and so is the way back', async () => {
  answers = () => 503
  // Dokku says it on stdout.
  await sandbox.fault('ps:restart', 'echo " !     App did not start"; exit 1')
  const { exitCode, stderr } = await restore()
  assert.is(exitCode, 1)
  assert.match(stderr, /restored, but book-corners did not restart: App did not start[\s\S]*restore --undo/)
  assert.is(await counts(sandbox), OLD)
})

test('a worker that lost its connection is waited for', async () => {
  await writeFile(appFile('others'), 'worker.1 restarting\n')
  await sandbox.fault(
    'ps:report',
    `if [ -e "$root/asked" ]; then echo "worker.1 running" >"${appFile('others')}"; fi; touch "$root/asked"`,
  )
  const { exitCode, stderr } = await restore({})
  assert.is(exitCode, 0, stderr)
  assert.is(asked, 0, 'without SITE_URL no site is asked')
})

test('a process that stays down is named, with the command that starts it', async () => {
  await writeFile(appFile('others'), 'worker.1 exited\nscheduler.1 running\n')
  const { exitCode, stderr } = await restore()
  assert.is(exitCode, 1)
  assert.match(stderr, /restored, but not every process of book-corners runs: worker\.1 exited\.\n/)
  assert.match(stderr, /sudo dokku ps:restart book-corners worker\. To go back: restore --undo/)
  assert.is(await counts(sandbox), OLD)
})

test('after a failed deploy no line names a restart, which would start what failed', async () => {
  const before = await readFile(appFile('GIT_REV'), 'utf8')
  for (const name of ['GIT_REV', 'latest']) await writeFile(appFile(name), `${OTHER}\n`)
  const well = await restore()
  assert.is(well.exitCode, 0, well.stderr)
  const safe =
    /on the laptop, rollback --rebuild \(ps:restart would start fedcba98, which need not have gone live; 01234567 runs\)/
  assert.match(well.stdout, new RegExp(`^  the app misbehaves   ${safe.source}$`, 'm'))
  await writeFile(appFile('others'), 'worker.1 exited\n')
  const down = await run(['--undo'], withSite())
  await writeFile(appFile('GIT_REV'), before)
  await rm(appFile('latest'))
  assert.is(down.exitCode, 1)
  assert.match(down.stderr, new RegExp(`To start what is down: ${safe.source}. To go back: restore --undo`))
  for (const { stdout, stderr } of [well, down]) assert.not.match(stdout + stderr, /dokku ps:restart/)
})

test('an app that is not deployed yet, or not there, is no reason to fail', async () => {
  await sandbox.fault('ps:report', 'echo \'{"deployed":"false","running":"false"}\'; exit 0')
  const early = await restore({})
  assert.is(early.exitCode, 0, early.stderr)
  assert.match(early.stderr, /is not deployed/)
  await sandbox.fault('ps:report')
  const missing = await restore({ DOKKU_APP: 'nope' })
  assert.is(missing.exitCode, 0, missing.stderr)
  assert.match(
    missing.stderr,
    /Warning: Whether the processes of nope run could not be found out: Dokku has no app nope/,
  )
})

test('after --undo the app is looked at, too', async () => {
  assert.is((await restore()).exitCode, 0)
  answers = () => 503
  const { exitCode, stderr } = await run(['--undo'], withSite())
  assert.is(exitCode, 1)
  assert.match(stderr, /is not well: it answers 503/)
  assert.is(await counts(sandbox), DAMAGED)
})

test.run()
