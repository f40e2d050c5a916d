import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lines } from '../../lib/core/lines.ts'
import { createShell, type Output, type Shell } from '../../lib/core/shell.ts'
import { VERSION } from '../../lib/core/version.ts'
import { LOADER } from '../support/loader.ts'

const test = suite('main')
let folder = ''
let shell: Shell

test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-main-'))
  shell = createShell({ PATH: process.env.PATH ?? '', HOME: folder }, new AbortController().signal)
})
test.after(() => rm(folder, { recursive: true }))

function source(path: string): string {
  return JSON.stringify(fileURLToPath(new URL(`../../lib/${path}`, import.meta.url)))
}

/** The command line of a script with this body. */
async function scriptOf(body: string): Promise<string[]> {
  const file = join(folder, 'script.mjs')
  await writeFile(
    file,
    `import { main } from ${source('cli/main.ts')}
import { Failure } from ${source('core/failure.ts')}
await main({ name: 'example', help: '\\nUsage: example\\n', switches: ['yes'] }, async (context) => { ${body} })
`,
  )
  return [process.execPath, '--import', LOADER, file]
}

async function run(body: string, args: string[] = [], env: Record<string, string> = {}): Promise<Output> {
  return shell.run([...(await scriptOf(body)), ...args], { env })
}

test('the exit status is the script’s, and results alone go to stdout', async () => {
  const output = await run('context.log.info("a step"); context.print("a result"); return 0')
  assert.equal([output.exitCode, output.stdout], [0, 'a result\n'])
  assert.match(output.stderr, /^\d{4}-\S+ a step\n$/)
})

test('a failure is told with what to do next, without a stack', async () => {
  const { exitCode, stderr } = await run('throw new Failure("The disk is full.", "Type: df -h", 75)')
  assert.is(exitCode, 75)
  assert.match(stderr, /^\S+ The disk is full\.\n\S+ Type: df -h\n\S+ Nothing was changed\.\n$/)
})

test('what is so is said last, whichever way the run ends, each part once', async () => {
  const body = `context.closing.so('photos', 'Two photos came back.')
    context.closing.so('production', 'It is not known.')
    context.closing.so('production', 'Production was not touched.')`
  const last = /\S+ Production was not touched\. Two photos came back\.\n$/
  for (const end of [
    'throw new Failure("The disk is full.")',
    'throw new Error("a bug")',
    'process.kill(process.pid, "SIGTERM"); await context.shell.run(["sleep", "60"])',
  ])
    assert.match((await run(`${body}; ${end}`)).stderr, last)
  assert.not.match((await run(`${body}; return 0`)).stderr, /Production/)
})

test('anything else that is thrown is a bug, told with its stack', async () => {
  const { exitCode, stderr } = await run('context.shell.nothing()')
  assert.is(exitCode, 1)
  assert.match(stderr, new RegExp(`A bug in example ${VERSION}: TypeError.*script\\.mjs`, 's'))
})

test('what the machine refuses is no bug: what, and where to look', async () => {
  const { exitCode, stderr } = await run('(await import("node:fs")).writeFileSync("/dev/full", "x")')
  assert.is(exitCode, 1)
  assert.match(
    stderr,
    /This machine refuses what is needed: ENOSPC: no space left on device.*\n.*Free space there: df -h/,
  )
  const elsewhere = await run('(await import("node:fs")).writeFileSync("/dev/null/x y", "")')
  assert.match(elsewhere.stderr, /refuses what is needed: ENOTDIR.*\n.*Look: ls -ld \/dev\/null;/)
})

test('an error where nobody waits for it is told as a bug, by the log, after all was cleaned up', async () => {
  const file = join(folder, 'secret-env')
  await writeFile(file, "BORG_PASSPHRASE='correct-horse-7'\n", { mode: 0o600 })
  const body = `
    setTimeout(() => { throw new Error('it was correct-horse-7') }, 100)
    try { await context.shell.run(['sleep', '91.${process.pid}']) }
    finally { context.print((await context.cleanup.run(['echo', 'cleaned up'])).stdout.trim()) }
    return 0`
  const { exitCode, stdout, stderr } = await run(body, ['--env-file', file])
  assert.equal([exitCode, stdout], [1, 'cleaned up\n'])
  assert.match(stderr, /A bug in example \S+: Error: it was \*\*\*/)
  assert.not.match(stderr, /correct-horse/)
  assert.is((await shell.run(['pgrep', '-f', `^sleep 91.${process.pid}$`])).stdout, '')
})

test('a script that can never return is no success', async () => {
  assert.is((await run('await new Promise(() => {})')).exitCode, 1)
})

test('help and version need no settings', async () => {
  const env = { OPS_ENV_FILE: '/does/not/exist' }
  assert.is((await run('return 1', ['--help'], env)).stdout, 'Usage: example\n')
  assert.is((await run('return 1', ['--version'], env)).stdout, `${VERSION}\n`)
  assert.is((await run('return 1', ['--hlep'], env)).exitCode, 2)
})

test('what the env file keeps secret is in no line of the log, and in no program’s environment', async () => {
  const file = join(folder, 'env')
  await writeFile(file, "BORG_PASSPHRASE='correct-horse-7'\n", { mode: 0o600 })
  const body =
    'context.log.info("it is " + context.envFile.values.BORG_PASSPHRASE); context.print((await context.shell.run(["env"])).stdout); return 0'
  const { stdout, stderr } = await run(body, ['--env-file', file], { BORG_PASSPHRASE: 'correct-horse-8' })
  assert.match(stderr, /it is \*\*\*/)
  assert.not.match(stdout + stderr, /correct-horse/)
})

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)
  test(`${signal} ends what runs, lets the script clean up, and gives ${status}`, async () => {
    const body = `
      context.print('begun')
      try { await context.shell.run(['sleep', '92.${process.pid}']) }
      finally { context.print((await context.cleanup.run(['echo', 'cleaned up'])).stdout.trim()) }
      return 0`
    const child = shell.start(await scriptOf(body))
    const printed: string[] = []
    for await (const line of lines(child)) {
      printed.push(line)
      if (line !== 'begun') continue
      await sleep(200)
      process.kill(child.pid, signal)
    }
    const { exitCode, stderr } = await child.ended
    assert.equal([exitCode, printed], [status, ['begun', 'cleaned up']])
    assert.match(stderr, new RegExp(`Interrupted by ${signal}`))
    assert.is((await shell.run(['pgrep', '-f', `^sleep 92.${process.pid}$`])).stdout, '')
  })

test('a reader that has gone is no error', async () => {
  const command = await scriptOf('for (let i = 0; i < 10000; i++) context.print("line " + i); return 0')
  const { stdout, stderr } = await shell.run(['sh', '-c', '"$@" | head -n 1', 'sh', ...command])
  assert.equal([stdout, stderr], ['line 0\n', ''])
})

test.run()
