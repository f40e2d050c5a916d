import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { awaitApp, restartAdvice } from '../../lib/restore/app.ts'
import type { Restore } from '../../lib/restore/restore.ts'
import { backUpAndDamage, counts, DAMAGED, OLD } from '../support/damage.ts'
// Here, too, waits are short.
import '../support/fast-clock.mjs'
import type { Output } from '../support/launch.ts'
import { listen, restoreIn } from '../support/rescue.ts'
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
function run(args: readonly string[]): Promise<Output> {
  return sandbox.script('restore.ts', [...args, '--yes'], { env: { NODE_OPTIONS: FAST, ...withSite() } })
}

function withSite(): Record<string, string> {
  return { SITE_URL: `http://127.0.0.1:${(site.address() as AddressInfo).port}` }
}

/** A restore that is at the swap. */
function swapped(more = withSite()): { restore: Restore; stderr: () => string } {
  const { said, log } = listen()
  return { restore: restoreIn(sandbox, { flags: [], log, more }), stderr: () => said.stderr }
}

/** What follows a swap. @returns what is said; of a failure message and hint */
async function look(more = withSite()): Promise<{ isWell: boolean; isDeployed: boolean; stderr: string }> {
  const { restore, stderr } = swapped(more)
  try {
    const isDeployed = await awaitApp(restore)
    return { isWell: true, isDeployed, stderr: stderr() }
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return { isWell: false, isDeployed: true, stderr: `${stderr()}${error.message}\n${error.hint}` }
  }
}

test('a restore looks at the app and names no restart after a failed deploy, which would start what failed; --undo looks at it, too', async () => {
  const before = await readFile(appFile('GIT_REV'), 'utf8')
  for (const name of ['GIT_REV', 'latest']) await writeFile(appFile(name), `${OTHER}\n`)
  const well = await run(['latest', '--db-only'])
  const safe =
    /on the laptop, rollback --rebuild \(ps:restart would start fedcba98, which need not have gone live; 01234567 runs\)/
  await writeFile(appFile('others'), 'worker.1 exited\n')
  const down = await look()
  await rm(appFile('others'))
  await writeFile(appFile('GIT_REV'), before)
  await rm(appFile('latest'))
  assert.is(well.exitCode, 0, well.stderr)
  assert.is(asked, 2)
  assert.match(well.stderr, /\/health\/ says ok/)
  assert.match(well.stdout, new RegExp(`^  the app misbehaves   ${safe.source}$`, 'm'))
  assert.is(await counts(sandbox), OLD)
  assert.is(down.isWell, false)
  assert.match(down.stderr, new RegExp(`To start what is down: ${safe.source}. To go back: restore --undo`))
  for (const text of [well.stdout, well.stderr, down.stderr]) assert.not.match(text, /dokku ps:restart/)
  assert.is(isRestarted(), false)

  answers = () => 503
  const { exitCode, stderr } = await run(['--undo'])
  assert.is(exitCode, 1)
  assert.match(stderr, /The data is restored, but \S+ is not well: it answers 503/)
  assert.is(isRestarted(), true)
  assert.is(await counts(sandbox), DAMAGED)
})

test('a site that is well is asked once, and nothing is restarted', async () => {
  const { isWell, stderr } = await look()
  assert.is(isWell, true, stderr)
  assert.is(asked, 1)
  assert.match(stderr, /\/health\/ says ok/)
  assert.is(await restartAdvice(swapped().restore), 'sudo dokku ps:restart book-corners')
  assert.is(isRestarted(), false)
})

test('a few bad answers, of connections that the swap has ended, are no reason for a restart', async () => {
  answers = (number) => (number > 5 ? 200 : 503)
  const { isWell, stderr } = await look()
  assert.is(isWell, true, stderr)
  assert.is(isRestarted(), false)
})

test('a site that stays bad is restarted, and that is said', async () => {
  answers = () => (isRestarted() ? 200 : 503)
  const { isWell, stderr } = await look()
  assert.is(isWell, true, stderr)
  assert.match(stderr, /\/health\/ stays bad: it answers 503\n[\s\S]*Restarting book-corners\n[\s\S]*says ok/)
})

test('a site that is bad after a restart too is said to be, with the way back', async () => {
  answers = () => 503
  const { isWell, stderr } = await look()
  assert.is(isWell, false)
  assert.match(
    stderr,
    /The data is restored, but http\S+\/health\/ is not well: it answers 503\n.*dokku logs book-corners.*restore --undo/,
  )
  assert.is(isRestarted(), true)
})

for (const [what, snippet, says] of [
  ['another release than runs', `echo ${OTHER}; exit 0`, /it runs 01234567, and a restart would start fedcba98/],
  ['a release that cannot be known', 'exit 1', /a restart would start one that Dokku does not name/],
] as const)
  test(`nothing is restarted where that would start ${what}`, async () => {
    answers = () => 503
    await sandbox.fault('config:get', snippet)
    const { isWell, stderr } = await look()
    assert.is(isWell, false)
    assert.match(stderr, says)
    assert.not.match(stderr, /dokku ps:restart/)
    assert.match(
      stderr,
      /To start it again: on the laptop, rollback --rebuild \(ps:restart would start .*To go back: restore --undo/,
    )
    assert.is(isRestarted(), false)
  })

test('an app that does not restart is said, and so is the way back', async () => {
  answers = () => 503
  // Dokku says it on stdout.
  await sandbox.fault('ps:restart', 'echo " !     App did not start"; exit 1')
  const { isWell, stderr } = await look()
  assert.is(isWell, false)
  assert.match(stderr, /restored, but book-corners did not restart: App did not start[\s\S]*restore --undo/)
})

test('a worker that lost its connection is waited for', async () => {
  await writeFile(appFile('others'), 'worker.1 restarting\n')
  await sandbox.fault(
    'ps:report',
    `if [ -e "$root/asked" ]; then echo "worker.1 running" >"${appFile('others')}"; fi; touch "$root/asked"`,
  )
  const { isWell, stderr } = await look({})
  assert.is(isWell, true, stderr)
  assert.match(await readFile(appFile('others'), 'utf8'), /running/)
  assert.is(asked, 0, 'without SITE_URL no site is asked')
})

test('a process that stays down is named, with the command that starts it', async () => {
  await writeFile(appFile('others'), 'worker.1 exited\nscheduler.1 running\n')
  const { isWell, stderr } = await look()
  assert.is(isWell, false)
  assert.match(stderr, /restored, but not every process of book-corners runs: worker\.1 exited\.\n/)
  assert.match(stderr, /sudo dokku ps:restart book-corners worker\. To go back: restore --undo/)
})

test('an app that is not deployed yet, or not there, is no reason to fail', async () => {
  await sandbox.fault('ps:report', 'echo \'{"deployed":"false","running":"false"}\'; exit 0')
  const early = await look({})
  assert.is(early.isWell, true, early.stderr)
  assert.is(early.isDeployed, false)
  assert.match(early.stderr, /is not deployed/)
  await sandbox.fault('ps:report')
  const missing = await look({ DOKKU_APP: 'nope' })
  assert.is(missing.isWell, true, missing.stderr)
  assert.match(
    missing.stderr,
    /Warning: Whether the processes of nope run could not be found out: Dokku has no app nope/,
  )
})

test.run()
