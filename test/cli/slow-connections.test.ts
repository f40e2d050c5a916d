import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { verify } from '../support/verify.ts'

// A host with two IPv4 addresses and two IPv6 ones that this machine can't reach, and a connection that takes a second to
// be made. Node gives an address 250 ms by itself (autoSelectFamilyAttemptTimeout), and then gives it up.

const test = suite('connections that take long to be made')
const HOST = 'slow.example'
const dir = mkdtempSync(join(tmpdir(), 'bc-slow-'))
const lookup = join(dir, 'lookup.cjs')
test.after(() => rmSync(dir, { recursive: true }))

// Loaded into the program that connects: the name has these addresses, as a resolver would give them.
writeFileSync(
  lookup,
  `const dns = require('node:dns')
const { lookup } = dns
const ADDRESSES = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
]
dns.lookup = (host, options, callback) =>
  host === '${HOST}' ? process.nextTick(() => options.all ? callback(null, ADDRESSES) : callback(null, '127.0.0.1', 4)) : lookup(host, options, callback)
`,
)

/** A server of its own process, so that it can be stopped: then nobody takes its connections. */
const SERVER = `
const { createServer } = require('node:http')
createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"ok"}')
}).listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { console.log(this.address().port) })`

async function startSlowServer(): Promise<{ server: ChildProcess; port: number; waiting: Socket[] }> {
  const server = spawn(process.execPath, ['-e', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = (await once(server.stdout, 'data')) as [Buffer]
  server.kill('SIGSTOP')
  // What waits to be taken fills the queue: the kernel drops the next one's first packet, which is sent again after a second.
  const waiting = [1, 2, 3].map(() => createConnection(Number(port), '127.0.0.1').on('error', () => {}))
  await new Promise((resolve) => setTimeout(resolve, 100))
  return { server, port: Number(port), waiting }
}

async function withSlowServer(check: (port: number) => Promise<void>): Promise<void> {
  const { server, port, waiting } = await startSlowServer()
  // Taken up again when the first packet has been dropped.
  const timer = setTimeout(() => server.kill('SIGCONT'), 900)
  try {
    await check(port)
  } finally {
    clearTimeout(timer)
    for (const socket of waiting) socket.destroy()
    server.kill('SIGKILL')
  }
}

test('verify waits for a connection that takes a second', () =>
  withSlowServer(async (port) => {
    const env = { NODE_OPTIONS: `--require=${lookup}` }
    const { stdout } = await verify(['--url', `http://${HOST}:${port}`, '--timeout', '6', '--json'], { env })
    const { checks } = JSON.parse(stdout) as {
      checks: { name: string; verdict: string; seen: string; tries: number }[]
    }
    const health = checks.find(({ name }) => name === 'health')
    assert.equal([health?.verdict, health?.tries], ['pass', 1], health?.seen)
  }))

// The monitor, Cloudflare's API and the health question of a restore use fetch.
test('fetch, in any of the scripts, waits for it as well', () =>
  withSlowServer(async (port) => {
    const script = join(dir, 'script.ts')
    writeFileSync(
      script,
      `import { main } from '${new URL('../../lib/cli/main.ts', import.meta.url)}'
void main({ name: 'ask', help: '', switches: [] }, async ({ print }) => {
  print(await (await fetch('http://${HOST}:${port}/', { signal: AbortSignal.timeout(4000) })).text())
  return 0
})`,
    )
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script], {
      env: { PATH: '/usr/bin:/bin', HOME: dir, NODE_OPTIONS: `--require=${lookup}` },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.on('data', (text: Buffer) => {
      said += text
    })
    assert.equal(await once(child, 'close'), [0, null])
    assert.is(said, '{"status":"ok"}\n')
  }))

test.run()
