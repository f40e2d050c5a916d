import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VERSION } from '../../lib/core/version.ts'
import { type Server, startServer } from '../support/server.ts'

const test = suite('sync interrupted')
let server: Server

function near(): string {
  return join(server.dir, 'near/scp')
}

function marker(): string {
  return join(server.dir, 'reached')
}

/** Makes the step's program say that it was reached, and take its time. */
function slow(program: string, when = '*'): string {
  return `#!/bin/sh\ncase "$*" in ${when}) touch '${marker()}'; sleep 2 ;; esac\nexec /usr/bin/${program} "$@"\n`
}

let scp = ''

/** A new file: bash goes on reading the one that it runs. */
async function nearScp(text: string): Promise<void> {
  await rm(near())
  await writeFile(near(), text, { mode: 0o755 })
}

const STEPS: [step: string, hold: () => Promise<void>, release: () => Promise<void>][] = [
  ['the upload', () => nearScp(scp.replace('exec ', `touch '${marker()}'; sleep 2; exec `)), () => nearScp(scp)],
  ...(
    [
      ['npm ci', 'npm', '*'],
      ['the proof', 'env', '*--version*'],
      ['the move of the new release', 'mv', '*.partial*'],
      ['the switch', 'ln', '*current.new*'],
      ['the launchers', 'chmod', '*.new*'],
    ] as const
  ).map(([step, program, when]): (typeof STEPS)[number] => [
    step,
    () => server.farProgram(program, slow(program, when)),
    () => server.farProgram(program),
  ]),
]

test.before(async () => {
  server = await startServer()
  scp = await readFile(near(), 'utf8')
})
test.after(() => server?.stop())

/** Nothing is synced, and no step was reached. */
async function emptied(): Promise<void> {
  await rm(join(server.opsDir, 'current'))
  await rm(join(server.opsDir, 'releases'), { recursive: true })
  await rm(join(server.home, 'backup'))
  await rm(marker(), { force: true })
}

for (const [index, [step, hold, release]] of STEPS.entries()) {
  // Ctrl-C is handled, SIGKILL can't be: the far side must cope with both.
  const signal = index % 2 ? 'SIGINT' : 'SIGKILL'
  test(`at ${step} by ${signal}: there is a release that runs, and the next sync clears up`, async () => {
    await emptied()
    await hold()
    const running = server.start('deploy.ts', ['--sync-only'])
    await running.reaches(marker())
    running.child.kill(signal)
    assert.is((await running.ended).exitCode, signal === 'SIGINT' ? 130 : null)
    await release()
    endsWithout(await server.script('deploy.ts', ['--sync-only']))
    const backup = await server.launch('env', ['-i', `HOME=${server.home}`, `${server.home}/backup`, '--version']).ended
    assert.is(backup.stdout.trim(), VERSION)
    assert.equal((await readdir(server.opsDir)).sort(), ['.lock', 'current', 'releases'])
    assert.match((await readdir(join(server.opsDir, 'releases'))).join(), /^[0-9a-f]{16}$/)
    assert.equal(
      (await readdir(server.home)).filter((name) => name.includes('.new')),
      [],
    )
  })
}

test('an scp that outlives its killed deploy reaches no release of another', async () => {
  await emptied()
  const [go, end] = [join(server.dir, 'go'), join(server.dir, 'end')]
  const wait = (path: string): string => `for _ in $(seq 400); do [ -e '${path}' ] && break; sleep 0.05; done`
  // Nothing of it has arrived when the deploy is killed; it goes on while the next one installs.
  const slowScp = scp.replace('exec ', `touch '${marker()}'; ${wait(go)}; `)
  await nearScp(`${slowScp}echo $? >'${end}'\n`)
  const running = server.start('deploy.ts', ['--sync-only'])
  await running.reaches(marker())
  running.child.kill('SIGKILL')
  await running.ended
  await nearScp(scp)
  await server.farProgram('npm', `#!/bin/sh\ntouch '${go}'; ${wait(end)}\nexec /usr/bin/npm "$@"\n`)
  endsWithout(await server.script('deploy.ts', ['--sync-only']))
  await server.farProgram('npm')
  assert.is.not((await readFile(end, 'utf8')).trim(), '0')
  assert.match((await readdir(join(server.opsDir, 'releases'))).join(), /^[0-9a-f]{16}$/)
})

/** A SIGKILL leaves the shared connection behind for a while: nobody is there to end it. */
function endsWithout({ exitCode, stderr }: { exitCode: number | null; stderr: string }): void {
  assert.is(exitCode, 0, stderr)
}

test.run()
