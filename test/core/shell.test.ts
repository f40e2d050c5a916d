import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure, Interrupted } from '../../lib/core/failure.ts'
import { lines } from '../../lib/core/lines.ts'
import { createRedaction } from '../../lib/core/redaction.ts'
import { type Child, createShell } from '../../lib/core/shell.ts'
import { LOADER } from '../support/loader.ts'
import { processesThatStay, processesWith } from '../support/processes.ts'
import { until } from '../support/until.ts'

const test = suite('shell')
const env = { PATH: '/usr/bin:/bin' }
const shell = createShell(env, new AbortController().signal)

test('arguments arrive as they are, whatever they hold', async () => {
  const args = ['a b', "it's", '$HOME', '`id`', '', '-n', 'x\ny', 'é*?']
  const { stdout } = await shell.run(['printf', '%s|', ...args])
  assert.is(stdout, args.map((arg) => `${arg}|`).join(''))
})

test('a program has a session of its own, or stays at our terminal to ask for a password there', async () => {
  const sessionOf = async (child: Child): Promise<string> => (await text(child.stdout)).trim()
  const ours = (await shell.run(['ps', '-o', 'sid=', '-p', String(process.pid)])).stdout.trim()
  const own = shell.start(['sh', '-c', 'ps -o sid= -p $$'])
  assert.is(await sessionOf(own), String(own.pid))
  assert.is(await sessionOf(shell.start(['sh', '-c', 'ps -o sid= -p $$'], { terminal: true })), ours)
  const sleeping = shell.start(['sleep', '95'], { terminal: true })
  assert.is((await sleeping.stop()).signal, 'SIGTERM')
})

test('stdout and stderr are apart, and the exit status is the program’s', async () => {
  const output = await shell.run(['sh', '-c', 'echo out; echo err >&2; exit 3'])
  assert.equal([output.exitCode, output.stdout, output.stderr], [3, 'out\n', 'err\n'])
  assert.is((await shell.run(['no-such-program'])).exitCode, 127)
  assert.is((await shell.start(['no-such-program']).ended).exitCode, 127)
})

test('a program that fills its stderr fills no memory; of one that gives its results there all is kept', async () => {
  const line = 'x'.repeat(99)
  const noisy = ['sh', '-c', `yes ${line} | head -n 20000 >&2; echo last >&2`]
  const lines: string[] = []
  const kept = await shell.run(noisy, { onLine: (line) => lines.push(line) })
  assert.ok(kept.stderr.length <= 2 ** 16, `${kept.stderr.length} characters`)
  assert.match(kept.stderr, /^x{99}\n[\s\S]*\nlast\n$/)
  assert.is(lines.length, 20_001)
  const whole = await shell.run(noisy, { wholeStderr: true })
  assert.is(whole.stderr.length, 20_000 * 100 + 5)
})

test('of a long stderr the end is kept, and no secret that was cut is shown', async () => {
  const secret = 'correct-horse-battery-staple'
  const { redact, addSecrets } = createRedaction()
  addSecrets([secret])
  const kept = async (text: string): Promise<string> => {
    const child = shell.start(['sh', '-c', 'cat >&2'])
    child.stdin.end(text)
    return redact((await child.ended).stderr)
  }
  // However it is cut, at its beginning or at its end, in one long line or between others.
  for (const before of [0, 2 ** 15 - 14, 2 ** 15, 100_000])
    for (const after of [0, 2 ** 15, 2 ** 16 - 14, 2 ** 16])
      for (const [begin, end] of [
        ['', ''],
        ['first\n', '\nlast\n'],
      ] as const) {
        const stderr = await kept(`${begin}${'x'.repeat(before)}${secret}${'y'.repeat(after)}${end}`)
        assert.not.match(stderr, /correct|staple/, `${before}, ${after}`)
        assert.ok(stderr.length <= 2 ** 16 + 2 ** 15 + 1, `${stderr.length} characters`)
        if (end) assert.match(stderr, /\nlast\n$/)
      }
  const numbers = (first: number): string => Array.from({ length: 20_000 - first }, (_, i) => `${first + i}\n`).join('')
  const end = await kept(numbers(0))
  assert.is(end, numbers(Number(end.split('\n', 1))))
  assert.ok(end.length > 2 ** 16 - 10)
})

test('a program that could not be started at all says why', async () => {
  const { exitCode, stderr } = await shell.run(['echo', 'x'.repeat(200_000)])
  assert.is(exitCode, 126)
  assert.match(stderr, /^echo: .*E2BIG/)
})

test('a program that reads stdin gets its end, not a hang', async () => {
  assert.is((await shell.run(['cat'])).stdout, '')
  assert.is((await shell.run(['cat'], { input: 'text' })).stdout, 'text')
})

test('a child gets the given environment and nothing else', async () => {
  process.env.LEAK = 'leak'
  const { stdout } = await shell.run(['env'], { env: { SECRET: 's' } })
  assert.match(stdout, /^SECRET=s$/m)
  assert.not.match(stdout, /LEAK/)
})

test('an interruption ends the program and what it started', async () => {
  const interruption = new AbortController()
  const running = createShell(env, interruption.signal).run(['sh', '-c', `sleep 98.${process.pid} & wait`])
  await sleep(100)
  interruption.abort(new Interrupted('SIGTERM'))
  const error = await running.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, Interrupted)
  assert.is((await shell.run(['pgrep', '-f', `^sleep 98.${process.pid}$`])).stdout, '')
})

test('a program that does not answer in time is ended, and that is said', async () => {
  const error = await shell.run(['sleep', '97'], { timeoutMs: 100 }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, Failure)
  assert.match((error as Failure).message, /sleep did not answer within 100 ms\./)
})

test('what lives on in another session, as behind sudo, keeps nobody waiting', async () => {
  // It holds the pipes, and no signal of ours reaches it.
  const command = ['bash', '-c', `setsid sleep 20.${process.pid} & wait`]
  const startedMs = Date.now()
  const child = shell.start(command)
  await sleep(200)
  await child.stop()
  const timedOut = await shell.run(command, { timeoutMs: 200 }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(timedOut, Failure)
  assert.ok(Date.now() - startedMs < 10_000)
  await shell.run(['pkill', '-f', `^sleep 20.${process.pid}$`])
})

test('the lines of a program end with it, also when it is stopped and its output is still held open', async () => {
  const child = shell.start(['bash', '-c', `echo one; echo two; setsid sleep 21.${process.pid} & wait`])
  const printed: string[] = []
  const deadline = setTimeout(() => assert.unreachable('the lines did not end'), 10_000)
  for await (const line of lines(child)) {
    printed.push(line)
    if (line === 'two') void child.stop()
  }
  clearTimeout(deadline)
  assert.equal(printed, ['one', 'two'])
  await shell.run(['pkill', '-f', `^sleep 21.${process.pid}$`])
})

test('lines come whole, however their bytes are cut, and the last one needs no newline', async () => {
  const child = shell.start(['sh', '-c', "printf 'a\\n\\303'; sleep 0.2; printf '\\251\\n\\nlast'"])
  const printed: string[] = []
  for await (const line of lines(child)) printed.push(line)
  assert.equal(printed, ['a', 'é', '', 'last'])
})

test("the set-up of the user's shell is not read", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-run-'))
  const setUp = join(folder, '.bashrc')
  await writeFile(setUp, 'echo polluted\n')
  const own = createShell({ ...env, HOME: folder, BASH_ENV: setUp, ENV: setUp }, new AbortController().signal)
  for (const options of [{ input: 'x' }, {}]) {
    const { stdout, stderr } = await own.run(['cat'], options)
    assert.equal([stdout, stderr], [options.input ?? '', ''])
  }
  await rm(folder, { recursive: true })
})

test('what the signal of a closed window or of Ctrl-C ends as it begins is started again', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-run-'))
  for (const name of ['HUP', 'INT']) {
    const began = join(folder, name)
    const twice = `[ $(cat ${began} | wc -l) -lt 2 ] || exec cat; echo >> ${began}; kill -${name} $$`
    await writeFile(began, '')
    assert.is((await shell.run(['sh', '-c', twice], { input: 'cleared up' })).stdout, 'cleared up')
    assert.is((await shell.run(['sh', '-c', `kill -${name} $$`])).signal, `SIG${name}`, 'not for ever')
  }
  await rm(folder, { recursive: true })
})

test('a program that gives up before it reads its input says why itself', async () => {
  for (const input of ['a line\n', 'x'.repeat(2_000_000)])
    for (const script of ['echo no room >&2; exit 3', 'exec 0<&-; sleep 0.1; echo no room >&2; exit 3']) {
      const { exitCode, stderr } = await shell.run(['sh', '-c', script], { input })
      assert.equal([exitCode, stderr], [3, 'no room\n'])
    }
})

test('when this process is killed, a guarded child is ended before it sees the end of its input', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-run-'))
  const said = join(folder, 'said')
  const child = `trap 'echo TERM > ${said}; exit' TERM; echo ready; while read -r line; do :; done; echo EOF > ${said}`
  const program = `import { createShell } from ${JSON.stringify(fileURLToPath(new URL('../../lib/core/shell.ts', import.meta.url)))}
    const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
    const child = shell.start(['sh', '-c', ${JSON.stringify(child)}], { guarded: true })
    child.stdin.write('half a line')
    child.stdout.pipe(process.stdout)`
  const parent = spawn(process.execPath, ['--import', LOADER, '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(parent.stdout, 'data')
  parent.kill('SIGKILL')
  await once(parent, 'close')
  await until(() => existsSync(said))
  assert.equal(
    processesThatStay(() => processesWith(said)),
    [],
  )
  assert.is(readFileSync(said, 'utf8'), 'TERM\n')
  await rm(folder, { recursive: true })
})

test.run()
