import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HeldLock, RESTORE_POINT_RUN } from '../../lib/cli/lock.ts'
import { createMonitor, describeMonitor, watched } from '../../lib/cli/monitor.ts'
import { Failure, Interrupted } from '../../lib/core/failure.ts'
import { createLog, type Log } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'
import { isoLocal } from '../../lib/core/times.ts'

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

test('a night that waited for a restore point in vain is told: nobody else tells of it', async () => {
  const held = new HeldLock({ script: RESTORE_POINT_RUN, pid: 7, user: 'deploy', since: isoLocal(new Date()) })
  await failing(watched(createMonitor(address, log), never, () => Promise.reject(held)))
  assert.match(told.join(), /^\/fail Another run holds the lock: backup\.ts --restore-point of deploy/)
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

/** How a service answers, and what it took a call for. */
interface Service {
  takes: RegExp
  path: string
  heard: string[]
}
const LONG = `${'ü'.repeat(70_000)}\u{1f4f7}`
const SERVICES: Record<string, Service> = {
  'healthchecks.io, or one like it': {
    takes: /^POST \/ping\/0b1e2f3a-0000-4000-8000-123456789abc(\/start|\/fail)?$/,
    path: '/ping/0b1e2f3a-0000-4000-8000-123456789abc/',
    heard: ['POST …/start', 'POST … done', 'POST …/fail why'],
  },
  Cronitor: {
    takes: /^GET \/p\/key\/job\?env=live&state=(run|complete|fail)(&message=[^&]{1,2000})?$/,
    path: '/p/key/job?env=live',
    heard: [
      'GET …?env=live&state=run',
      'GET …?env=live&state=complete&message=done',
      'GET …?env=live&state=fail&message=why',
    ],
  },
  'Uptime Kuma': {
    takes: /^GET \/api\/push\/token\?status=(up|down)&msg=[^&]{1,2000}&ping=$/,
    path: '/api/push/token?status=up&msg=OK&ping=',
    heard: ['GET …?status=up&msg=done&ping=', 'GET …?status=down&msg=why&ping='],
  },
  'Better Stack': {
    takes: /^POST \/api\/v1\/heartbeat\/token(\/fail)?$/,
    path: '/api/v1/heartbeat/token',
    heard: ['POST … done', 'POST …/fail why'],
  },
  'not known here': { takes: /^GET \/beat\/token$/, path: '/beat/token', heard: ['GET …'] },
}
for (const [name, { takes, path, heard }] of Object.entries(SERVICES))
  test(`${name}: it is told in its own words, and never more than it takes`, async () => {
    const calls: string[] = []
    const service = createServer(async (request, response) => {
      const call = `${request.method} ${request.url}`
      const body = (await request.setEncoding('utf8').toArray()).join('')
      if (!takes.test(call) || Buffer.byteLength(body) > 100_000) return void response.writeHead(404).end()
      calls.push(`${call.replace(/ \/[^?]*?(token|key\/job|-123456789abc)/, ' …')}${body && ` ${body}`}`)
      response.end('OK')
    })
    await once(service.listen(0, '127.0.0.1'), 'listening')
    const monitor = createMonitor(`http://127.0.0.1:${(service.address() as AddressInfo).port}${path}`, log)
    await monitor.start()
    await monitor.success('done')
    await monitor.fail('why')
    assert.equal(calls, heard)
    await monitor.fail(LONG)
    await monitor.success(`why? 100 % & more\n${LONG}`)
    service.close()
    assert.equal(log.warnings, [])
    assert.not.match(describeMonitor(`http://127.0.0.1:1${path}`), /token|key|127|uuid/)
    assert.match(describeMonitor(`http://127.0.0.1:1${path}`), new RegExp(`^${name}: it is told of `))
  })

for (const [address, name] of [
  ['https://hc-ping.com/0b1e2f3a-0000-4000-8000-123456789abc', 'healthchecks.io'],
  ['https://hc-ping.com/pingkey/nightly', 'healthchecks.io'],
  ['https://checks.example.org/ping/pingkey/nightly', 'healthchecks.io'],
  ['https://cronitor.link/p/0123/nightly', 'Cronitor'],
  ['https://cronitor.link/abc123', 'Cronitor'],
  ['https://status.example.org/kuma/api/push/abc?status=up&msg=OK&ping=', 'Uptime Kuma'],
  ['https://uptime.betterstack.com/api/v1/heartbeat/abc', 'Better Stack'],
  ['https://betteruptime.com/api/v1/heartbeat/abc', 'Better Stack'],
  ['https://heartbeat.uptimerobot.com/m780-abc', 'UptimeRobot'],
  ['https://nosnch.in/abc', 'not known here'],
  ['https://not-hc-ping.com.example.org/abc', 'not known here'],
] as const)
  test(`by its address, ${address} is ${name}`, () => assert.ok(describeMonitor(address).startsWith(name)))

test('a monitor without a word for a failure hears of it by silence, and that is said', () => {
  for (const address of ['https://heartbeat.uptimerobot.com/m780-abc', 'https://nosnch.in/abc'])
    assert.match(describeMonitor(address), /it is told of success alone; it hears of a failure by silence$/)
})

test.run()
