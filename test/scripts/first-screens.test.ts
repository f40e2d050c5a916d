// What somebody sees who types a command for the first time, at a terminal of 100 columns and at one of 60.
import { createServer, type Server as TcpServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { damage } from '../support/damage.ts'
import { withReleases } from '../support/releases.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { type Server, startServer } from '../support/server.ts'
import { runAtTerminal, typedScript } from '../support/terminal.ts'
import { until } from '../support/until.ts'

const BIN = fileURLToPath(new URL('../../bin', import.meta.url))
const WIDTHS = [100, 60]
/** What is pasted is no line of a table: it stays whole. */
const COMMAND = /^ *(→ )?(git|sudo|restore|echo|install|ls|\(set -a;|\((~\/)?restore --\S+) /
const CTRL_C = '\u0003'
const test = suite('first screens')
let sandbox: Sandbox
let server: Server

test.before(async () => {
  ;[sandbox, server] = await Promise.all([startSandbox(), startServer()])
  await seed(sandbox, { libraries: 300, photos: 10 })
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  let last = 0
  // A second backup of the same second would have the name of the first.
  const night = async () => {
    await until(() => Math.floor(Date.now() / 1000) > last)
    const { stdout } = await sandbox.script('backup.ts', ['--json'])
    last = Math.floor(Date.now() / 1000)
    return stdout
  }
  const { archive } = JSON.parse(await night())
  await night()
  await damage(sandbox)
  await night()
  await sandbox.borg(['rename', `::${archive}`, 'before-the-big-import'])
  const at = withReleases(server)
  await at.deploy()
  await server.commit('Add a map of the libraries of every city, with a search field, and a subject that is long')
  await at.bringLive()
  await server.commit('Another colour')
  await at.bringLive()
})
test.after(async () => {
  await Promise.all([sandbox.stop(), server.stop()])
})

interface Machine {
  env: Record<string, string>
  cwd?: string
}

/** The lines on the screen: of a live line the last state alone. At one of the widths the command is that of `bin`. */
async function screen(
  command: string,
  columns: number,
  { env, cwd = '/' }: Machine,
  answers: string[] = [],
): Promise<string[]> {
  const [name = '', ...args] = command.split(' ')
  const typed = columns === WIDTHS[0] ? join(BIN, command) : typedScript(`${name}.ts`, args)
  const { output } = await runAtTerminal(`stty cols ${columns} rows 40; ${typed}`, {
    env,
    cwd,
    prompt: /to go on: |\(1-\d+\): /,
    answer: () => answers.shift() ?? CTRL_C,
  })
  const lines = output
    .replace(/\u001b\[[\d;]*m/g, '')
    .replace(/[^\r\n]*\r\u001b\[K/g, '')
    .split(/\r?\n/)
  for (const line of lines) assert.ok(line.length <= columns || COMMAND.test(line), `${columns} columns: ${line}`)
  return lines
}

function atServer(): Record<string, string> {
  return { PATH: process.env.PATH ?? '', HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile, TZ: 'UTC' }
}

for (const columns of WIDTHS)
  test(`restore, ${columns} columns: the archives with what tells them apart, and what else one may want`, async () => {
    const lines = await screen('restore', columns, { env: atServer() }, ['2\r'])
    const text = lines.join('\n')
    assert.match(
      text,
      /^Nothing changes before you type book-corners\. Ctrl-C at any\s+time\. Now it is \w{3} \d+ \w{3}/,
    )
    assert.match(text, /Now it is \w{3} \d+ \w{3} \d\d:\d\d UTC\.$/m)
    assert.match(text, /^ {3}1 {2}\w{3} \d+ \w{3} \d\d:\d\d(:\d\d)? UTC/m)
    assert.match(text, /kept as\s+before-the-big-import/)
    assert.match(text, /! INCOMPLETE: .*\n {8}\S/)
    assert.match(text, /photos are missing\? restore --media-only\n.*rows are gone\? restore --rows TABLE\n/)
    assert.match(text, /The newest that is whole is number 2\.\nWhich archive\? \(1-3\): /)
    if (columns === 100) assert.match(text, /^ {6}archive +age +database +photos +release$/m)
    if (columns === 100) assert.match(text, /^ {2}table +production +archive +comes back +leaves +changed$/m)
    else
      assert.match(
        text,
        /^ {2}libraries_library\n {6}production 120 {2}archive 300 {2}comes back 180 {2}leaves 0\n {6}changed 0$/m,
      )
    assert.match(text, /Everything written to it since \w{3} \d+ \w{3} \d\d:\d\d UTC/)
  })

for (const columns of WIDTHS)
  test(`restore --dry-run, ${columns} columns: how to see which rows change is a command, whole`, async () => {
    const lines = await screen('restore --dry-run latest --db-only', columns, { env: atServer() })
    const [, name] = /A restore of\s+(\S+)/.exec(lines.join('\n')) ?? []
    assert.match(lines.slice(-5).join('\n'), `    restore --rows TABLE --dry-run ${name}`)
  })

for (const columns of WIDTHS)
  test(`rollback, ${columns} columns: what one sees, what is typed then, and the releases`, async () => {
    const env = { ...server.env, PATH: `${server.env.PATH}:${dirname(process.execPath)}` }
    const lines = await screen('rollback', columns, { env, cwd: server.app })
    const text = lines.join('\n')
    assert.match(text, /^Nothing is pushed before you type yes\. Ctrl-C at any time\./)
    assert.match(text, /The site is wrong since the last deploy\s+rollback --revert --now\n/)
    assert.match(text, /^[0-9a-f]{8} runs now: Another colour \(/m)
    assert.match(text, /^ {3}1 {2}[0-9a-f]{8}/m)
    if (columns === 100) assert.match(text, /^ {6}release +went live +site +on the way +author +subject$/m)
    assert.match(text, /Back to which release\? \(1-2\): /)
  })

for (const columns of WIDTHS)
  test(`backup --check, ${columns} columns: each line with its fix below it, and what failed last`, async () => {
    const text = (await screen('backup --check', columns, { env: atServer() })).join('\n')
    assert.match(text, /^Nothing is changed\. Where a line does not pass, → says what\s+to type\.\n/)
    assert.match(text, columns === 100 ? /^pass {2}settings {11}complete$/m : /^pass {2}settings\n {6}complete$/m)
    assert.match(text, /^ +→ Set HEALTHCHECK_URL/m)
    assert.match(text, /\n\nFAILED: as before\. Warnings: monitor, /)
  })

test('backup --check with a host that takes a connection and says nothing: the others are told, and it waits no longer than ssh is told to', async () => {
  const silent = await listen()
  try {
    const { port } = silent.address() as { port: number }
    const env = {
      ...atServer(),
      BORG_REPO: `ssh://borg@127.0.0.1:${port}/./repo`,
      BORG_RSH: 'ssh -o BatchMode=yes -o ConnectTimeout=2',
    }
    const { output } = await runAtTerminal(`stty cols 100; ${join(BIN, 'backup')} --check`, {
      env,
      prompt: /never/,
      answer: () => undefined,
    })
    const [media, waits, repository] = [
      /pass {2}media /,
      /Waiting \d+ s for the repository ssh:/,
      /fail {2}repository /,
    ]
    const places = [media, waits, repository].map((pattern) => output.search(pattern))
    assert.ok(
      places.every((place) => place >= 0),
      output,
    )
    assert.ok((places[0] ?? 0) < (places[2] ?? 0), output)
    assert.not.match(output, /Waiting \d+ ms/)
  } finally {
    silent.close()
  }
})

function listen(): Promise<TcpServer> {
  const tcp = createServer(() => {})
  return new Promise((resolve) => tcp.listen(0, '127.0.0.1', () => resolve(tcp)))
}

test.run()
