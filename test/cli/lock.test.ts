import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type HeldLock, lockHolder, parseHolder, takeLock } from '../../lib/cli/lock.ts'
import { Failure } from '../../lib/core/failure.ts'
import { createShell, type Shell } from '../../lib/core/shell.ts'
import { LOADER } from '../support/loader.ts'
import { ATTACKER, asUser, DEPLOY, hasOtherUsers } from '../support/other-users.ts'

const test = suite('lock')
const between = hasOtherUsers() ? test : test.skip

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
const WHAT = { DB_SERVICE: 'db', MEDIA_DIR: '/media' }
const NO_SHARED = '/nonexistent/shared'
let folder: string
let shell: Shell
const running: ChildProcess[] = []

test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-lock-'))
  await chmod(folder, 0o755)
  shell = createShell({ PATH: process.env.PATH ?? '', HOME: folder }, new AbortController().signal)
})
test.after.each(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
  await rm(folder, { recursive: true })
})

/** Where the lock's file is, for a user without a shared folder. */
function state(): string {
  return join(folder, '.local/state/book-corners-ops')
}

function lock(what = WHAT, shared = NO_SHARED): Promise<() => Promise<void>> {
  return takeLock({ shell }, 'backup.ts', what, shared)
}

async function refusal(shared = NO_SHARED): Promise<HeldLock> {
  return lock(WHAT, shared).then(
    () => assert.unreachable('the lock was free') as never,
    (error: HeldLock) => error,
  )
}

/** Starts a process that takes the lock, says `held` or why not, and then stays. */
function holder(shared = NO_SHARED, launcher: readonly string[] = []): ChildProcess & { said: Promise<string> } {
  const program = `const { takeLock } = await import(${JSON.stringify(join(PROJECT, 'lib/cli/lock.ts'))})
    const { createShell } = await import(${JSON.stringify(join(PROJECT, 'lib/core/shell.ts'))})
    const shell = createShell({ PATH: '/usr/bin:/bin', HOME: ${JSON.stringify(folder)} }, new AbortController().signal)
    const said = await takeLock({ shell }, 'restore.ts', ${JSON.stringify(WHAT)}, ${JSON.stringify(shared)}).then(
      (unlock) => { globalThis.unlock = unlock; return 'held' }, (error) => error.exitCode === 75 ? 'taken' : error.stack)
    console.log(said); setTimeout(() => {}, 60000)`
  const [file = '', ...args] = [...launcher, process.execPath, '--import', LOADER, '--input-type=module', '-e', program]
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  running.push(child)
  return Object.assign(child, { said: once(child.stdout, 'data').then(([text]) => String(text).trim()) })
}

test('the second is told who holds it since when; what is given back is free', async () => {
  const unlock = await lock()
  const error = await refusal()
  assert.instance(error, Failure)
  assert.is(error.exitCode, 75)
  assert.match(
    error.message,
    new RegExp(
      `backup\\.ts of \\S+, process ${process.pid}, since \\w{3} \\d+ \\w{3} \\d\\d:\\d\\d \\S+ \\(just now\\)`,
    ),
  )
  assert.is(error.hint, `Wait for it, or look: ps -fp ${process.pid}`)
  await unlock()
  await (await lock())()
})

test('while its operator is asked, the second is told that an answer is missing, and no longer', async () => {
  const tell: ((asks: boolean) => void)[] = []
  const ask = { watch: (watcher: (asks: boolean) => void) => void tell.push(watcher) }
  const unlock = await takeLock({ shell, ask }, 'restore.ts', WHAT, NO_SHARED)
  tell[0]?.(true)
  const asked = await refusal()
  assert.match(asked.message, /\(just now\)\. It waits for an answer at its terminal, since .* \(just now\)\.$/)
  assert.is(asked.hint, `Answer it there (ps -fp ${process.pid}), or end it: kill -INT ${process.pid}`)
  tell[0]?.(false)
  assert.match((await refusal()).hint, /^Wait for it/)
  await unlock()
  tell.at(-1)?.(true)
  assert.equal(
    (await readdir(state())).filter((name) => name.endsWith('.json')),
    [],
  )
})

test('another service is another lock', async () => {
  const unlock = await lock()
  await (await lock({ ...WHAT, DB_SERVICE: 'other' }))()
  await unlock()
})

test('a killed holder leaves nothing that keeps the next one out', async () => {
  const first = holder()
  assert.is(await first.said, 'held')
  assert.match((await refusal()).message, new RegExp(`restore\\.ts of \\S+, process ${first.pid}`))
  first.kill('SIGKILL')
  await once(first, 'close')
  await (await lock())()
})

test('of twenty that start at once exactly one wins, and none fails in another way', async () => {
  const said = await Promise.all(Array.from({ length: 20 }, () => holder().said))
  assert.equal(said.sort(), ['held', ...Array.from({ length: 19 }, () => 'taken')])
})

const GOOD = { script: 'backup.ts', pid: 4711, user: 'deploy', since: '2026-02-28T03:00:00+01:00' }
for (const [what, record] of [
  ['a command in place of the process', { ...GOOD, pid: '1; touch /tmp/x' }],
  ['a negative process', { ...GOOD, pid: -1 }],
  ['a name that is a command', { ...GOOD, user: '$(id)' }],
  ['a name with an escape', { ...GOOD, user: 'deploy\u001b[2J' }],
  ['a script of another kind', { ...GOOD, script: 'backup.ts\nOK: all is well' }],
  ['a time that is none', { ...GOOD, since: '2026-02-31T99:00:00+01:00' }],
  ['a list', [GOOD]],
  ['null', null],
] as const)
  test(`a record with ${what} is not shown`, () => assert.is(parseHolder(JSON.stringify(record)), undefined))

test('a whole record is read, one that is cut or endless is not', async () => {
  assert.equal(parseHolder(JSON.stringify(GOOD)), GOOD)
  assert.is(parseHolder(JSON.stringify(GOOD).slice(0, 50)), undefined)
  const unlock = await lock()
  const [record = ''] = (await readdir(state())).filter((name) => name.endsWith('.json'))
  await writeFile(join(state(), record), JSON.stringify({ ...GOOD, more: 'x'.repeat(1e6) }))
  const { message, hint } = await refusal()
  assert.is(message, 'Another run holds the lock and does not say who it is.')
  assert.is(hint, 'Look: pgrep -af "backup.ts|restore.ts"')
  await unlock()
})

test("a link in the lock's place is not followed", async () => {
  await (await lock())()
  const [name = ''] = await readdir(state())
  await rm(join(state(), name))
  await symlink(join(folder, 'elsewhere'), join(state(), name))
  assert.match((await refusal()).message, /The lock can't be taken: ELOOP/)
})

test('without flock it says what to install', async () => {
  await mkdir(join(folder, 'bin'))
  const poor = createShell({ PATH: join(folder, 'bin'), HOME: folder }, new AbortController().signal)
  const error = await takeLock({ shell: poor }, 'backup.ts', WHAT, NO_SHARED).catch((reason: unknown) => reason)
  assert.match((error as Failure).message, /flock is not installed/)
})

between('another user can neither take the lock nor open its file', async () => {
  await (await lock())()
  const [name = ''] = await readdir(state())
  const tried = await shell.run([...asUser(ATTACKER), 'flock', '--nonblock', join(state(), name), 'true'])
  assert.match(tried.stderr, /Permission denied/)
  // Where the lock was a socket, whoever bound its name held it.
  const key = name.replace('.lock', '')
  const squat = `require('node:net').createServer().listen('\\0book-corners-ops-${key}', () => console.log('bound'))`
  const [file = '', ...args] = [...asUser(ATTACKER), process.execPath, '-e', squat]
  const squatter = spawn(file, args)
  running.push(squatter)
  await once(squatter.stdout, 'data')
  await (await lock())()
})

between('in the shared folder, as the setup makes it, users keep each other out; nobody else comes in', async () => {
  const shared = join(folder, 'shared')
  await mkdir(shared)
  await chown(shared, 0, DEPLOY)
  await chmod(shared, 0o770)
  const deploy = holder(shared, asUser(DEPLOY))
  assert.is(await deploy.said, 'held')
  assert.match((await refusal(shared)).message, new RegExp(`restore\\.ts of ${DEPLOY}, process ${deploy.pid}`))
  deploy.kill('SIGKILL')
  await once(deploy, 'close')
  // What root makes first, under whatever umask, must not keep the other out.
  for (const name of await readdir(shared)) await rm(join(shared, name))
  const umask = process.umask(0o077)
  const unlock = await lock(WHAT, shared).finally(() => process.umask(umask))
  assert.is(await holder(shared, asUser(DEPLOY)).said, 'taken')
  await unlock()
  assert.is(await holder(shared, asUser(DEPLOY)).said, 'held')
  assert.match(await holder(shared, asUser(ATTACKER)).said, /EACCES/)
  assert.is((await stat(shared)).mode & 0o7777, 0o770)
})

between('a shared folder that others can enter, or that another user owns, is refused', async () => {
  const shared = join(folder, 'shared')
  await mkdir(shared)
  await chmod(shared, 0o775)
  assert.match((await refusal(shared)).message, /Other users can enter/)
  await chmod(shared, 0o700)
  await chown(shared, ATTACKER, ATTACKER)
  assert.match(await holder(shared, asUser(DEPLOY)).said, /Other users can enter/)
})

test('who only looks is told who holds it, and keeps nobody out', async () => {
  assert.is(await lockHolder(shell, WHAT, NO_SHARED), undefined)
  const unlock = await lock()
  assert.match((await lockHolder(shell, WHAT, NO_SHARED))?.message ?? '', /Another run holds the lock: backup\.ts of /)
  await unlock()
  assert.is(await lockHolder(shell, WHAT, NO_SHARED), undefined)
  await (await lock())()
})

test.run()
