import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import {
  appendFile,
  chmod,
  cp,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Failure } from '../../lib/core/failure.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'
import { VERSION } from '../../lib/core/version.ts'
import { connectRemote, type Remote } from '../../lib/server/ssh.ts'
import { CONTENT, PROJECT, releaseId, type SyncResult, syncRelease } from '../../lib/server/sync.ts'
import { takeRestorePoint } from '../../lib/server/words.ts'
import { type Server, startServer } from '../support/server.ts'

const test = suite('sync of the ops scripts')
let server: Server
let remote: Remote
let project: string
const log = createLog(process.stderr)

function sync(project_ = project): Promise<SyncResult> {
  return syncRelease(remote, { opsDir: server.opsDir, log, project: project_ })
}

function failing(): Promise<Failure> {
  return sync().then(
    () => assert.unreachable('it went well') as never,
    (error: Failure) => error,
  )
}

/** A change of the scripts, which makes a release of its own. */
async function change(): Promise<void> {
  return writeFile(join(project, 'lib/change.ts'), `// ${Math.random()}\n`)
}

function current(): Promise<string> {
  return readlink(join(server.opsDir, 'current'))
}

async function releases(): Promise<string[]> {
  return (await readdir(join(server.opsDir, 'releases'))).sort()
}

/** As cron does it. */
function cron(name: string, args: readonly string[]) {
  return server.launch('env', ['-i', `HOME=${server.home}`, 'PATH=/usr/bin:/bin', `${server.home}/${name}`, ...args], {
    cwd: '/',
  }).ended
}

/** What is there is whole: cron's backup runs, and nothing unfinished lies about. */
async function consistent(): Promise<void> {
  assert.is((await cron('backup', ['--version'])).stdout.trim(), VERSION)
  await tidy()
}

async function tidy(): Promise<void> {
  assert.equal(
    (await releases()).filter((name) => !/^[0-9a-f]{16}$/.test(name)),
    [],
  )
  assert.equal((await readdir(server.opsDir)).sort(), ['.lock', 'current', 'releases'])
  assert.equal(
    (await readdir(server.home)).filter((name) => name.includes('.new')),
    [],
  )
}

/** The packages in a node_modules folder, scoped ones by their full name. */
async function installedIn(modules: string): Promise<string[]> {
  const names = (await readdir(modules)).filter((name) => !name.startsWith('.'))
  const inScopes = names
    .filter((name) => name.startsWith('@'))
    .map(async (scope) => (await readdir(join(modules, scope))).map((name) => `${scope}/${name}`))
  return [...names.filter((name) => !name.startsWith('@')), ...(await Promise.all(inScopes)).flat()]
}

/** Packages and all that they depend on; what is optional counts only where it is installed. */
async function neededBy(modules: string, names: readonly string[]): Promise<string[]> {
  const needed = new Set(names)
  for (const name of needed) {
    const file = JSON.parse(await readFile(join(modules, name, 'package.json'), 'utf8'))
    for (const dependency of Object.keys(file.dependencies ?? {})) needed.add(dependency)
    for (const dependency of Object.keys(file.optionalDependencies ?? {}))
      if (existsSync(join(modules, dependency))) needed.add(dependency)
  }
  return [...needed]
}

const children: ChildProcess[] = []

test.before(async () => {
  server = await startServer({ isSynced: false })
  remote = await connectRemote(createShell(server.env, new AbortController().signal), {
    DOKKU_HOST: server.host,
    DEPLOY_USER: 'deploy',
  })
  project = join(server.dir, 'project')
  for (const name of CONTENT) await cp(join(PROJECT, name), join(project, name), { recursive: true })
})
test.after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await remote?.close()
  await server?.stop()
})

test('the name of a release is its content: the same anywhere, another with any change', async () => {
  const id = await releaseId(project)
  assert.match(id, /^[0-9a-f]{16}$/)
  await cp(project, join(server.dir, 'elsewhere'), { recursive: true })
  await utimes(join(server.dir, 'elsewhere/package.json'), 1, 1)
  assert.is(await releaseId(join(server.dir, 'elsewhere')), id)
  await writeFile(join(server.dir, 'elsewhere/lib/core/log.ts'), 'x')
  assert.is.not(await releaseId(join(server.dir, 'elsewhere')), id)
})

test('the first sync makes a release that cron can run', async () => {
  assert.equal(await sync(), { release: await releaseId(project), changed: true })
  assert.is(await current(), `releases/${await releaseId(project)}`)
  await consistent()
  const { exitCode, stderr } = await cron('backup', ['--bogus'])
  assert.is(exitCode, 2, 'arguments and exit status pass the launcher')
  assert.match(stderr, /Unknown flag --bogus/)
})

test('the settings beside OPS_DIR are those of its launchers: of another app no restore point is taken', async () => {
  const envFile = join(server.home, '.env.backup')
  const settings = "BORG_REPO=/nowhere\nBORG_PASSPHRASE='x1 y2 z3'\nDOKKU_APP=gardens\n"
  await writeFile(envFile, settings, { mode: 0o600 })
  const output = await remote.follow(takeRestorePoint(server.opsDir, 'book-corners', '0123abcd'), () => {})
  await rm(envFile)
  assert.is(output.exitCode, 2, output.stderr)
  assert.equal(JSON.parse(output.stdout), { app: 'gardens', archive: null })
  assert.match(
    output.stderr,
    `A restore point of book-corners is asked for, and by ${envFile} this is the backup of gardens.`,
  )
})

test('a release is all of the scripts with their folders, and three packages with what they need', async () => {
  const release = join(server.opsDir, 'current')
  for (const folder of ['lib', 'scripts'])
    assert.equal(
      (await readdir(join(release, folder), { recursive: true })).sort(),
      (await readdir(join(project, folder), { recursive: true })).sort(),
    )
  const modules = join(release, 'node_modules')
  assert.equal((await installedIn(modules)).sort(), (await neededBy(modules, ['dotenv', 'tsx', 'zx'])).sort())
})

test('with nothing changed one SSH call is made, and nothing else', async () => {
  const before = server.calls().length
  assert.is((await sync()).changed, false)
  assert.is(server.calls().length - before, 1)
})

test('a launcher that was changed or removed is written again', async () => {
  await rm(join(server.home, 'restore'))
  await writeFile(join(server.home, 'backup'), '#!/bin/sh\nexit 1\n')
  assert.is((await sync()).changed, true)
  await consistent()
  assert.match(await readFile(join(server.home, 'restore'), 'utf8'), /scripts\/restore\.ts/)
})

test('a release whose packages are damaged is installed anew', async () => {
  await rm(join(server.opsDir, 'current/node_modules/tsx'), { recursive: true })
  assert.is((await sync()).changed, true)
  await consistent()
})

// One after the other, and no sync between them that works: each gets as far as its own trouble, whatever the one before left.
let old = ''

function staysOld(what: string, hurt: () => Promise<void>, undo: () => Promise<void>, says: RegExp): void {
  test(`${what}: the reason is told, and the old release stays`, async () => {
    if (!old) {
      old = await current()
      await change()
    }
    await hurt()
    const error = await failing()
    await undo()
    assert.match(error.message, says)
    assert.is(await current(), old)
    await tidy()
  })
}

function near(name: string): string {
  return join(server.dir, 'near', name)
}

let scp = ''
staysOld(
  'scp fails',
  async () => {
    scp = await readFile(near('scp'), 'utf8')
    await writeFile(near('scp'), '#!/bin/sh\necho "scp: write remote: No space left on device" >&2\nexit 1\n')
  },
  () => writeFile(near('scp'), scp),
  /scp failed.*No space left on device/,
)
staysOld(
  'the server has no scp',
  () => server.farProgram('scp', '#!/bin/sh\necho "sh: 1: scp: not found" >&2\nexit 127\n'),
  () => server.farProgram('scp'),
  /scp can upload nothing, though the connection stands/,
)

for (const [what, harm] of [
  ['a file is exchanged on the way', 'printf \'%s\' "$(tr a b < lib/verify/html.ts)" > lib/verify/html.ts'],
  ['a file is added on the way', 'echo ignore-scripts=false > .npmrc'],
] as const)
  staysOld(
    what,
    () => writeFile(near('scp'), `${scp.replace(/^exec /m, '')}cd '${server.opsDir}'/releases/*.partial && ${harm}\n`),
    () => writeFile(near('scp'), scp),
    /what arrived is not what was sent/,
  )

function npm(script?: string) {
  return (): Promise<void> => server.farProgram('npm', script)
}

staysOld(
  'npm fails',
  npm('#!/bin/sh\necho "npm error code ENOTFOUND" >&2\nexit 1\n'),
  npm(),
  /packages can.t be installed.*code ENOTFOUND/,
)

function node(script?: string) {
  return (): Promise<void> => server.farProgram('node', script)
}

staysOld(
  'Node is too old',
  node('#!/bin/sh\n[ "$1" = --version ] && echo v18.2.0\nexit 1\n'),
  node(),
  /Node v18.2.0.* is too old/,
)
staysOld(
  'the new scripts do not run',
  async () => {
    await cp(join(project, 'lib/core/failure.ts'), join(server.dir, 'failure.ts'))
    await appendFile(join(project, 'lib/core/failure.ts'), "throw new Error('broken on purpose')\n")
  },
  () => cp(join(server.dir, 'failure.ts'), join(project, 'lib/core/failure.ts')),
  /new release does not run:.*broken on purpose/,
)
staysOld(
  'OPS_DIR has no room for a release',
  async () => {
    await writeFile(
      join(server.dir, 'far-bin/mkdir'),
      '#!/bin/sh\ncase $* in *.partial) echo "mkdir: No space left on device" >&2; exit 1;; esac\nexec /bin/mkdir "$@"\n',
    )
    await chmod(join(server.dir, 'far-bin/mkdir'), 0o755)
  },
  () => server.farProgram('mkdir'),
  /No space left on device.*can't be made/,
)

test('after all of these the old release runs, and a sync works: over an scp of before OpenSSH 8.7, too, which lacks a flag', async () => {
  await consistent()
  // It does not know the flag of its only protocol.
  const first = '#!/bin/bash\n[ "$1" != -O ] || { echo "unknown option -- O" >&2; exit 1; }\nset -- -O "$@"\n'
  await writeFile(near('scp'), scp.replace(/^#!.*\n/, first))
  assert.is((await sync()).changed, true)
  await writeFile(near('scp'), scp)
  assert.is.not(await current(), old)
  await consistent()
})

/** The release that runs before the tests below, and the next one; both stay, and going from one to the other installs nothing. */
let older = ''
let newer = ''
let help = ''

/** Makes the scripts those of the newer release: another line of help, and a script that takes its time. */
async function makeNewer(): Promise<void> {
  await writeFile(join(project, 'scripts/backup.ts'), help.replace('Usage: backup', 'Usage: newer backup'))
  await writeFile(
    join(project, 'scripts/slow.ts'),
    `console.log('started')
     await new Promise((resolve) => setTimeout(resolve, 4000))
     const { bytes } = await import('../lib/core/format.ts')
     console.log(bytes(1000), import.meta.url)\n`,
  )
}

async function makeOlder(): Promise<void> {
  await writeFile(join(project, 'scripts/backup.ts'), help)
  await rm(join(project, 'scripts/slow.ts'))
}

test('three releases are kept, and one that a process still runs from', async () => {
  older = await current()
  for (const name of await releases())
    if (`releases/${name}` !== older) await rm(join(server.opsDir, 'releases', name), { recursive: true })
  children.push(spawn('sleep', ['60'], { argv0: `${join(server.opsDir, older)}/scripts/backup.ts`, stdio: 'ignore' }))
  for (const [age, name] of ['old', 'older', 'oldest', 'ancient'].entries()) {
    const release = join(server.opsDir, 'releases', Buffer.from(name).toString('hex').padEnd(16, '0').slice(0, 16))
    await mkdir(release, { recursive: true })
    await utimes(release, 1e9 - age, 1e9 - age)
  }
  await utimes(join(server.opsDir, older), 1, 1)
  help = await readFile(join(project, 'scripts/backup.ts'), 'utf8')
  await makeNewer()
  await sync()
  newer = await current()
  const kept = await releases()
  assert.is(kept.length, 4, kept.join())
  assert.ok(kept.includes(Buffer.from('old').toString('hex').padEnd(16, '0')), 'the newest of the old ones')
  assert.ok(kept.includes(older.replace('releases/', '')))
  assert.ok(kept.includes(newer.replace('releases/', '')))
  await consistent()
})

test('going back to a release that is still there uploads nothing; a backup that runs meanwhile goes on in its own', async () => {
  const launcher = (await readFile(join(server.home, 'backup'), 'utf8')).replace('scripts/backup.ts', 'scripts/slow.ts')
  await writeFile(join(server.dir, 'slow'), launcher, { mode: 0o755 })
  const backup = server.launch('env', ['-i', 'PATH=/usr/bin:/bin', join(server.dir, 'slow')])
  await backup.prints(/started/)
  await makeOlder()
  const before = server.calls().length
  assert.is((await sync()).changed, true)
  assert.is(server.calls().length - before, 1)
  assert.is(await current(), older)
  assert.is(await current(), `releases/${await releaseId(project)}`)
  const { exitCode, stdout } = await backup.ended
  assert.is(exitCode, 0)
  assert.match(stdout, `1.00 kB file://${join(server.opsDir, newer)}/scripts/slow.ts`)
})

test('an older release runs again when `current` is pointed back at it by hand; the next sync goes forward', async () => {
  await makeNewer()
  await sync()
  assert.match((await cron('backup', ['--help'])).stdout, /^Usage: newer backup/)
  await server.launch('ln', ['-sfn', older, join(server.opsDir, 'current')]).ended
  const { exitCode, stdout } = await cron('backup', ['--help'])
  assert.is(exitCode, 0)
  assert.match(stdout, /^Usage: backup/)
  await consistent()
  assert.is((await sync()).changed, true)
  assert.match((await cron('backup', ['--help'])).stdout, /^Usage: newer backup/)
  await makeOlder()
})

test('OPS_DIR may hold any sign', async () => {
  const opsDir = join(server.dir, 'o\'p "s" $(id)', 'ops')
  // The gate is for one folder.
  await server.gate('')
  await syncRelease(remote, { opsDir, log, project })
  await server.gate('sync')
  const backup = () => server.launch('env', ['-i', 'PATH=/usr/bin:/bin', join(opsDir, '../backup'), '--version']).ended
  assert.is((await backup()).stdout.trim(), VERSION)
  await rm(join(opsDir, 'current'))
  assert.match((await backup()).stderr, `no usable release in ${opsDir}.`)
})

test('two syncs at once take turns', async () => {
  await change()
  const other = join(server.dir, 'project-2')
  await cp(project, other, { recursive: true })
  await writeFile(join(other, 'lib/change.ts'), '// another\n')
  const both = await Promise.all([sync(), sync(other)])
  assert.equal(
    both.map(({ changed }) => changed),
    [true, true],
  )
  await consistent()
})

test('what is in the way of a launcher is named, and the run still has a current release', async () => {
  await rm(join(server.home, 'restore'))
  await mkdir(join(server.home, 'restore'))
  assert.match((await failing()).message, /launchers in .* can't be written/)
  await rm(join(server.home, 'restore'), { recursive: true })
  await rm(join(server.home, '.restore.new'), { force: true })
  await sync()
  await consistent()
})

test('a launcher without a release says what to do', async () => {
  const link = await current()
  await rm(join(server.opsDir, 'current'))
  const { exitCode, stderr } = await cron('backup', ['--version'])
  assert.is(exitCode, 1)
  assert.match(stderr, /no usable release.*deploy --sync-only/)
  await symlink(link, join(server.opsDir, 'current'))
})

test.run()
