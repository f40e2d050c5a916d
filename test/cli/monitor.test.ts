import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HeldLock } from '../../lib/cli/lock.ts'
import { createMonitor, watched } from '../../lib/cli/monitor.ts'
import { Failure, Interrupted } from '../../lib/core/failure.ts'
import { isoLocal } from '../../lib/core/format.ts'
import { createLog, type Log } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'

const test = suite('monitor')
/** What the monitor was told: `/start begun`, ` summary`, `/fail reason`. */
const told: string[] = []
/** How it answers the requests that come, one after the other; then 200 at once. */
const answers: ((response: ServerResponse) => void)[] = []
let address = ''
let log: Log

const server = createServer(async (request, response) => {
  request.setEncoding('utf8')
  const body = (await request.toArray()).join('')
  told.push(`${request.url?.replace('/uuid', '')} ${body}`)
  const answer = answers.shift()
  if (answer) answer(response)
  else response.end('OK')
})

test.before(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/uuid`
})
test.before.each(() => {
  told.length = 0
  answers.length = 0
  log = createLog(new Writable({ write: (_chunk, _encoding, done) => done() }) as NodeJS.WriteStream)
})
test.after(() => void server.close())

const never = new AbortController().signal
const shell = createShell({ PATH: '/usr/bin:/bin' }, never)

/** Runs a program as the work; its output is the summary, its stderr the reason when it fails. */
async function work(script: string, begin: () => void, runner = shell): Promise<string> {
  begin()
  const { exitCode, stdout, stderr } = await runner.run(['sh', '-c', script])
  if (exitCode !== 0) throw new Failure(stderr.trim())
  return stdout.trim()
}

async function failing(run: Promise<void>): Promise<unknown> {
  return run.then(
    () => assert.unreachable('it went well'),
    (error: unknown) => error,
  )
}

test('the start is told, and then success with the summary', async () => {
  await watched(createMonitor(address, log), never, (begin) => work('echo 3 tables', begin))
  assert.equal(told, ['/start ', ' 3 tables'])
})

test('a failure is told with its reason, and stays a failure', async () => {
  const run = watched(createMonitor(address, log), never, (begin) => work('echo no room >&2; exit 3', begin))
  assert.match(String(await failing(run)), /no room/)
  assert.equal(told, ['/start ', '/fail no room'])
})

test('what fails before the work begins is told without a start', async () => {
  await failing(watched(createMonitor(address, log), never, () => Promise.reject(new Failure('BORG_REPO is not set.'))))
  assert.equal(told, ['/fail BORG_REPO is not set.'])
})

test('an interruption is told as the reason, whatever it leads to', async () => {
  const interruption = new AbortController()
  const runner = createShell(shell.env, interruption.signal)
  setTimeout(() => interruption.abort(new Interrupted('SIGTERM')), 200)
  const run = watched(createMonitor(address, log), interruption.signal, async (begin) => {
    await work('sleep 93', begin, runner).catch(() => {
      throw new Failure('The dump is cut short.')
    })
    return ''
  })
  await failing(run)
  assert.equal(told, ['/start ', '/fail Interrupted by SIGTERM.'])
})

for (const [what, hours, outcome] of [
  ['for an hour', 1, []],
  [
    'for longer than a night',
    21,
    [/^\/fail Another run holds the lock: restore\.ts of deploy, process 7, since .* \(21 hours ago\)\.$/],
  ],
  ['by who knows whom', undefined, [/^\/fail Another run holds the lock and does not say who it is\.$/]],
] as const)
  test(`a lock that is held ${what} is ${outcome.length > 0 ? '' : 'not '}told`, async () => {
    const since = isoLocal(new Date(Date.now() - (hours ?? 0) * 3_600_000))
    const held = new HeldLock(hours === undefined ? undefined : { script: 'restore.ts', pid: 7, user: 'deploy', since })
    const error = await failing(watched(createMonitor(address, log), never, () => Promise.reject(held)))
    assert.is((error as Failure).exitCode, 75)
    assert.is(told.length, outcome.length)
    for (const [i, pattern] of outcome.entries()) assert.match(told[i] ?? '', pattern)
  })

test('the work does not wait for the monitor, but its end is told after its start', async () => {
  let startAnswered = false
  let hasWorked = (): void => {}
  const worked = new Promise<void>((resolve) => {
    hasWorked = resolve
  })
  answers.push(async (response) => {
    await worked
    // The end is not told meanwhile.
    await sleep(200)
    startAnswered = true
    response.end()
  })
  answers.push((response) => {
    assert.ok(startAnswered)
    response.end()
  })
  await watched(createMonitor(address, log), never, async (begin) => {
    const summary = await work('echo quick', begin)
    assert.not(startAnswered)
    hasWorked()
    return summary
  })
  assert.equal(told, ['/start ', ' quick'])
})

test('what the monitor refuses once is told again', async () => {
  answers.push((response) => void response.writeHead(503).end())
  await createMonitor(address, log).success('done')
  assert.equal(told, [' done', ' done'])
  assert.equal(log.warnings, [])
})

test('an answer without an end, and one that leads elsewhere, keep nobody', async () => {
  answers.push((response) => {
    const more = setInterval(() => response.write('x'.repeat(64 * 1024)), 5)
    response.on('close', () => clearInterval(more))
  })
  await createMonitor(address, log).success('done')
  assert.equal(log.warnings, [])
  for (let i = 0; i < 2; i++) answers.push((response) => void response.writeHead(307, { location: '/elsewhere' }).end())
  await createMonitor(address, log).success('again')
  assert.equal(told, [' done', ' again', ' again'])
  assert.match(log.warnings[0] ?? '', /it answered 307/)
})

test('a monitor that can not be told is a warning, never a failure', async () => {
  for (let i = 0; i < 2; i++) answers.push((response) => void response.writeHead(503).end())
  await createMonitor(address, log).fail('why')
  await watched(createMonitor('http://127.0.0.1:4/uuid', log), never, (begin) => work('echo stored', begin))
  assert.match(log.warnings[0] ?? '', /\(\/fail\): it answered 503/)
  assert.match(log.warnings[1] ?? '', /\(\/start\): .*ECONNREFUSED/)
  assert.match(log.warnings[2] ?? '', /\(success\): .*ECONNREFUSED/)
})

test('a secret is not told, and without an address nothing is', async () => {
  log.addSecrets(['correct-horse-7'])
  await createMonitor(address, log).fail('the key correct-horse-7 is wrong')
  assert.equal(told, ['/fail the key *** is wrong'])
  await createMonitor(undefined, log).success('done')
  assert.is(told.length, 1)
})

test.run()
