// Every way out of a deploy and a way back, at each question and step: the last line is what is so, and it is true.
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { withReleases } from '../support/releases.ts'
import { type Server, startServer } from '../support/server.ts'
import { atClosedWindow, atTerminal, CLOSE_WINDOW, lastLine, typedScript } from '../support/terminal.ts'

const test = suite('every way out of a deploy')
let server: Server
let at: ReturnType<typeof withReleases>

const CTRL_C = '\u0003'
const NOT_PUSHED = 'Production runs what it ran: nothing was pushed to it.'

test.before(async () => {
  server = await startServer()
  assert.is((await server.script('deploy.ts', ['--no-verify', '--yes'])).exitCode, 0)
  await server.commit('Second')
  at = withReleases(server)
  await at.bringLive()
  await server.commit('Third')
})
test.before.each(() => server.reset())
test.after(() => server?.stop())

const AT_QUESTIONS: [where: string, script: string, args: string[], answers: string[], status: number][] = [
  ['before a deploy: Ctrl-C', 'deploy.ts', ['--no-verify'], [CTRL_C], 130],
  ['before a deploy: twice wrong', 'deploy.ts', ['--no-verify'], ['y\r', 'ys\r'], 1],
  ['back to which release: Ctrl-C', 'rollback.ts', [], ['7\r', CTRL_C], 130],
  ['before a rollback: Enter', 'rollback.ts', [], ['1\r', '\r'], 1],
  ['before a rebuild: Ctrl-C', 'rollback.ts', ['--rebuild'], [CTRL_C], 130],
]
for (const [where, script, args, answers, status] of AT_QUESTIONS)
  test(`at the question ${where}`, async () => {
    const before = server.running()
    const left = [...answers]
    const ended = await atTerminal(script, args, {
      env: server.env,
      cwd: server.app,
      prompt: /to go on: |\(1-\d+\): /,
      answer: () => left.shift(),
    })
    assert.is(ended.status, status, ended.output)
    assert.is(lastLine(ended.output), NOT_PUSHED)
    assert.is(server.running(), before)
  })

for (const [script, args, answers] of [
  ['deploy.ts', ['--no-verify'], []],
  ['rollback.ts', [], []],
  ['rollback.ts', [], ['1\r']],
] as const)
  test(`when the window is closed at question ${answers.length + 1} of ${script}, nothing is pushed`, async () => {
    const before = server.running()
    const left = [...answers]
    const { status, output } = await atClosedWindow(typedScript(script, args), {
      env: server.env,
      cwd: server.app,
      prompt: /to go on: |\(1-\d+\): /,
      answer: () => left.shift() ?? CLOSE_WINDOW,
    })
    assert.is(status, 129, output)
    assert.is(server.running(), before)
  })

test('interrupted while Dokku builds: what the server runs, and that it may go on', async () => {
  const before = server.running()?.slice(0, 8)
  await server.fault('git-hook', 'deploy_waits=build')
  const run = server.start('deploy.ts', ['--no-verify', '--yes'])
  await run.prints(/waiting at build/)
  run.child.kill('SIGINT')
  const { exitCode, stderr } = await run.ended
  assert.is(exitCode, 130, stderr)
  assert.match(
    lastLine(stderr),
    new RegExp(`^The server runs ${before}, the old release .*Follow it: deploy --status$`),
  )
  await server.go()
})

test('interrupted after the switch: the new release is named', async () => {
  const sha = await server.commit('Fourth')
  // Nobody answers there: the checks wait.
  const env = { SITE_URL: 'http://127.0.0.1:9' }
  const run = server.start('deploy.ts', ['--yes'], { env })
  await run.prints(/Purge: /)
  run.child.kill('SIGTERM')
  const { exitCode, stderr } = await run.ended
  assert.is(exitCode, 143, stderr)
  const it = sha.slice(0, 8)
  assert.is(lastLine(stderr), `The server runs ${it}. Not done: the verification (verify --expect-sha ${it}).`)
  assert.is(server.running(), sha)
  const { stdout } = await at.status()
  assert.match(stdout, / → \S+ Fourth · deployed, not done: verify · /)
  const list = await server.script('rollback.ts', ['--list'])
  assert.match(list.stdout, new RegExp(`^${it} .* not checked: interrupted +runs now`, 'm'))
})

test('interrupted in the sync: all that follows is named, each with its command', async () => {
  const sha = await server.commit('Fifth')
  const marker = join(server.dir, 'syncing')
  await server.farProgram('timeout', `#!/bin/sh\ntouch '${marker}'; sleep 3\nexec /usr/bin/timeout "$@"\n`)
  const run = server.start('deploy.ts', ['--yes'], {
    env: { CLOUDFLARE_ZONE_ID: 'zone1', CLOUDFLARE_API_TOKEN: 'a-token', CLOUDFLARE_API_URL: 'http://127.0.0.1:9' },
  })
  await run.reaches(marker)
  run.child.kill('SIGINT')
  const { exitCode, stderr } = await run.ended
  await server.farProgram('timeout')
  assert.is(exitCode, 130, stderr)
  const it = sha.slice(0, 8)
  assert.is(
    lastLine(stderr),
    `The server runs ${it}. Not done: the sync of the ops scripts (deploy --sync-only), the purge of the cache (deploy --purge-only), the verification (verify --expect-sha ${it}).`,
  )
})

test('a rollback that is interrupted after the switch ends with what is left to do', async () => {
  const back = server.git('rev-parse', 'HEAD~1')
  const run = server.start('rollback.ts', ['--to', back, '--yes'], { env: { SITE_URL: 'http://127.0.0.1:9' } })
  await run.prints(/Purge: /)
  run.child.kill('SIGTERM')
  const { exitCode, stderr } = await run.ended
  assert.is(exitCode, 143, stderr)
  assert.is(
    lastLine(stderr),
    `The server runs ${back.slice(0, 8)}. Not done: the verification (verify --expect-sha ${back.slice(0, 8)}). origin/master may hold newer commits: the next CI deploy brings them back. Now, before anybody pushes: rollback --revert`,
  )
  assert.is(server.running(), back)
})

test('where no temporary folder can be made nothing is begun', async () => {
  for (const [script, args] of [
    ['deploy.ts', ['--no-verify', '--yes']],
    ['rollback.ts', ['--list']],
  ] as const) {
    const { exitCode, stderr } = await server.script(script, args, { env: { TMPDIR: join(server.dir, 'nowhere') } })
    assert.is(exitCode, 1, stderr)
    assert.match(
      stderr,
      /Nothing can be made in the folder for temporary files, .*nowhere: ENOENT.*\n.*TMPDIR names another/,
    )
  }
})

test('what could not begin pushed nothing', async () => {
  const { exitCode, stderr } = await server.script('deploy.ts', ['--repo', join(server.dir, 'nowhere')])
  assert.ok(exitCode !== 0)
  assert.match(lastLine(stderr), /^(Nothing was changed\.|Production runs what it ran: nothing was pushed to it\.)$/)
})

test.run()
