// A source that is gone, empty or the wrong one stays red until somebody says that it is right.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ArchiveComment } from '../../lib/borg/comment.ts'
import { programs } from '../support/borg.ts'
import type { Output } from '../support/launch.ts'
import { startMonitor } from '../support/monitor.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { scriptCommand } from '../support/scripts.ts'
import { atTerminal, lastLine } from '../support/terminal.ts'

const test = suite('losses')
let sandbox: Sandbox
let monitor: Awaited<ReturnType<typeof startMonitor>>
let away: string

/** Archives of one second would have one name. */
async function night(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Output> {
  await sleep(1000 - (Date.now() % 1000) + 20)
  return sandbox.script('backup.ts', args, { env })
}

async function good(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Output> {
  const output = await night(args, { PRUNE: 'no', ...env })
  assert.is(output.exitCode, 0, output.stderr)
  return output
}

/** A night that ends with 1 and says why, to the monitor as well, and prunes nothing. */
async function red(says: RegExp, env: Record<string, string> = {}): Promise<string> {
  const before = await sandbox.archives()
  monitor.pings.length = 0
  const { exitCode, stderr } = await night([], { KEEP_DAILY: '1', KEEP_WEEKLY: '0', KEEP_MONTHLY: '0', ...env })
  assert.is(exitCode, 1, stderr)
  assert.match(stderr, says)
  assert.match(stderr, /backup --accept/)
  const after = await sandbox.archives()
  assert.equal(after.slice(0, -1), before, 'one more archive, and none less')
  assert.match(monitor.pings.at(-1)?.path ?? '', /\/fail$/)
  assert.match(monitor.pings.at(-1)?.body ?? '', says)
  return stderr
}

const NOT_ACCEPTED = 'Nothing was accepted: no archive was stored, and nothing was pruned. Production was only read.'

async function comment(): Promise<ArchiveComment> {
  const { stdout } = await sandbox.borg(['list', '--json', '--last', '1', '--format', '{comment}'])
  return JSON.parse(JSON.parse(stdout).archives[0].comment)
}

/** The lines of one `backup --check`, each with its fix, by their names. */
async function check(): Promise<(name: string) => string> {
  const { stdout } = await sandbox.script('backup.ts', ['--check'])
  return (name) => new RegExp(`^\\w+ +${name} .*(\\n +→.*)?`, 'm').exec(stdout)?.[0] ?? stdout
}

test.before(async () => {
  sandbox = await startSandbox()
  monitor = await startMonitor()
  await seed(sandbox, { libraries: 300, photos: 10 })
  await sandbox.configure({ HEALTHCHECK_URL: monitor.url, CHECK_EVERY_DAYS: '0', KEEP_APP_CONFIG: 'no' })
  away = join(sandbox.dir, 'away')
  await sandbox.sql(
    'CREATE TABLE reviews AS SELECT repeat(md5(i::text), 10) AS text FROM generate_series(1, 5000) i; CREATE TABLE never_filled (id int);',
  )
  await good()
})
test.after(async () => {
  monitor.stop()
  await sandbox.stop()
})

const EMPTY =
  /the media folder is empty, book-corners-\S+ has 10 files, 200\.00 kB \(restore --media-only book-corners-\S+\)/
const TABLES =
  /2 tables of which book-corners-\S+ has rows are empty or gone: public\.libraries_photo, public\.reviews \(restore --db-only book-corners-\S+\)/
// Borg had the archive's comment before it had the dump.
const DUMP =
  /the dump shrank to less than half \(\S+ kB\), that of book-corners-\S+ has \S+ MB \(restore --db-only book-corners-\S+\)/

test('a disk that is not mounted, tables without their rows, half of a dump: red each night, and noted with the archive', async () => {
  assert.equal((await comment()).tables, [
    'public.django_migrations',
    'public.libraries_library',
    'public.libraries_photo',
    'public.reviews',
  ])
  await rename(sandbox.mediaDir, away)
  await mkdir(sandbox.mediaDir)
  await sandbox.sql('DELETE FROM libraries_photo; DROP TABLE reviews, never_filled;')
  // Not only the first night, when last night's archive still has it.
  for (let i = 0; i < 2; i++) {
    const stderr = await red(EMPTY)
    for (const says of [TABLES, DUMP]) assert.match(stderr, says)
  }
  const lacks = (await comment()).lacks.join()
  const line = await check()
  const preview = await sandbox.script('backup.ts', ['--dry-run'])
  assert.match(preview.stdout, /nothing of 3 archives while something is lacking/)
  const list = await sandbox.script('restore.ts', ['--list'])
  for (const says of [EMPTY, TABLES, DUMP]) {
    for (const text of [lacks, line('as before'), line('newest archive'), preview.stdout]) assert.match(text, says)
    assert.match(list.stdout, new RegExp(`^book-corners-\\S+ .*\\n +! INCOMPLETE: .*${says.source}`, 'm'))
  }
  assert.match(line('as before'), /^fail .*\n.*backup --accept/)
  assert.match(line('service'), /^pass .*book-corners-db is linked to book-corners/)
  assert.match(line('mount'), /^pass .*\/media is mounted into book-corners/)
  // A night more would be red, too: nothing else says to type it.
  for (const name of ['newest archive', 'last run']) {
    assert.match(line(name), /^warn /)
    assert.match(line(name), /→ See \*as before\*/)
    assert.not.match(line(name), /type: backup/)
  }

  // What is back is lacking no more.
  await rm(sandbox.mediaDir, { recursive: true })
  await rename(away, sandbox.mediaDir)
  assert.not.match(await red(TABLES), EMPTY)
})

test('--accept without Dokku accepts nothing, and says so', async () => {
  const before = await sandbox.archives()
  // Dokku goes while it is looked at what there is: no other dump of its is tried.
  const goes = join(sandbox.dir, 'goes/dokku')
  await mkdir(dirname(goes))
  await writeFile(
    goes,
    `#!/bin/sh\ncase "$*" in *postgres:connect*) rm -f "$0";; esac\nexec '${sandbox.dir}/bin/dokku' "$@"\n`,
    { mode: 0o755 },
  )
  for (const gone of [goes, '/nowhere/dokku']) {
    const { exitCode, stderr } = await night(['--accept', '--yes'], { DOKKU_COMMAND: gone })
    assert.is(exitCode, 1, stderr)
    assert.match(stderr, /Dokku is not installed here/)
    assert.not.match(stderr, /Falling back/)
    assert.is(lastLine(stderr), NOT_ACCEPTED)
  }
  assert.equal(await sandbox.archives(), before)
})

/** @param answer is given the environment that the run has */
function acceptAtTerminal(answer: (env: Record<string, string>) => string): ReturnType<typeof atTerminal> {
  const env = { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile }
  return atTerminal('backup.ts', ['--accept'], { env, prompt: /ype accept to go on: /, answer: () => answer(env) })
}

test('--accept says what it accepts, asks, keeps others out with a word of that, and leaves the wait out of its time', async () => {
  const before = await sandbox.archives()
  const silent = await sandbox.script('backup.ts', ['--accept'])
  assert.is(silent.exitCode, 2)
  assert.match(silent.stderr, /no terminal to ask at/)
  const alone = await sandbox.script('backup.ts', ['--yes'])
  assert.is(alone.exitCode, 2)
  assert.match(alone.stderr, /--yes goes with --accept/)

  const [node, ...script] = scriptCommand('backup.ts')
  let keptOut = ''
  const refused = await acceptAtTerminal((env) => {
    keptOut ||= spawnSync(node, script, { env, encoding: 'utf8' }).stderr
    return 'no\r'
  })
  assert.match(
    keptOut,
    /holds the lock: backup\.ts of .* It waits for an answer at its terminal, since .* \(just now\)\.\n/,
  )
  assert.match(keptOut, /Answer it there \(ps -fp (\d+)\), or end it: kill -INT \1\n/)
  assert.is(refused.status, 1)
  assert.match(refused.output, /the dump shrank to less than half/)
  assert.is(lastLine(refused.output), NOT_ACCEPTED)
  assert.equal(await sandbox.archives(), before)

  monitor.pings.length = 0
  const beganMs = performance.now()
  const agreed = await acceptAtTerminal(() => {
    execFileSync('sleep', ['6'])
    return 'accept\r'
  })
  assert.is(agreed.status, 0, agreed.output)
  const workedMs = performance.now() - beganMs - 6000
  const [, took = ''] = /took\s+(\d+ m?s)/.exec(agreed.output) ?? []
  const tookMs = Number.parseInt(took, 10) * (took.endsWith(' ms') ? 1 : 1000)
  // Rounded to a second.
  assert.ok(tookMs <= workedMs + 500, `took ${took}, without the question ${workedMs} ms`)
  assert.equal(
    monitor.pings.map(({ path }) => path.replace('/check-uuid', '')),
    ['/start', ''],
  )
})

test('later nights know what was accepted, and there is nothing to accept again', async () => {
  const { lacks, accepted } = await comment()
  assert.equal(lacks, [])
  assert.ok(accepted)
  await good()
  assert.equal((await comment()).accepted, accepted, 'later archives know of it, too')

  const again = await sandbox.script('backup.ts', ['--accept', '--yes'])
  assert.is(again.exitCode, 0)
  assert.match(
    again.stdout,
    /^There is nothing to accept: nothing is empty, gone or below half of what 2 archives held; /,
  )
  // Those of before it are as incomplete as they were, and nobody has to look at them any more.
  const list = await sandbox.script('restore.ts', ['--list'])
  assert.match(list.stdout, /! INCOMPLETE, accepted since: /)
  assert.not.match(list.stdout, /! INCOMPLETE: /)
})

test('what is lost after it is a loss again, and so are photos that cannot be read, until that is accepted', async () => {
  const names = ['a.jpg', 'b.jpg', 'c.jpg'].map((name) => join(sandbox.mediaDir, 'photos', name))
  // The last one first: Borg goes by inodes.
  for (const name of names.toReversed()) await writeFile(name, 'secret', { mode: 0 })
  // Root reads everything, unless it gives up the right to; then Borg alone can't read them.
  const limited =
    process.getuid?.() === 0
      ? 'exec setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search'
      : 'exec'
  const bin = join(sandbox.dir, 'shims')
  await mkdir(bin)
  await writeFile(join(bin, 'borg'), `#!/bin/sh\nPATH=${programs()}\n${limited} borg "$@"\n`, { mode: 0o755 })
  const env = { PATH: `${bin}:/usr/bin:/bin` }
  const hole = /without 3 media files that could not be read: photos\/a\.jpg, photos\/b\.jpg, photos\/c\.jpg/
  await sandbox.sql('DROP TABLE django_migrations;')
  const table = /1 table of which book-corners-\S+ has rows is empty or gone: public\.django_migrations/
  const said = await red(hole, env)
  for (const says of [table, /Not in the archive: .*a\.jpg/]) assert.match(said, says)
  const { unreadable, unreadablePaths } = await comment()
  assert.equal([unreadable, unreadablePaths], [3, ['photos/a.jpg', 'photos/b.jpg', 'photos/c.jpg']])
  const json = JSON.parse((await sandbox.script('restore.ts', ['--list', '--json'])).stdout)
  assert.equal([json[0].unreadable, json[1].unreadable, json[0].holes.length, json[1].holes], [3, 0, 2, []])
  assert.match(json[0].holes.join('\n'), hole)
  const accepting = await good(['--accept', '--yes'], env)
  assert.match(accepting.stderr, hole)
  assert.match(accepting.stderr, table)
  await good([], env)
  for (const name of names) await rm(name)
})

test('an archive that says nothing of itself is looked into, once, and what it held is compared all the same', async () => {
  const [first, ...others] = await sandbox.archives()
  await sandbox.borg(['delete', `::${first}`, ...others])
  await sandbox.borgShell(
    `printf PGDMP | borg create --stdin-name db.dump ::book-corners-2026-01-01T03:00:00 - ${sandbox.mediaDir}`,
  )
  await rename(sandbox.mediaDir, away)
  await mkdir(sandbox.mediaDir)
  await red(/the media folder is empty, book-corners-2026-01-01T03:00:00 has 10 files/)
  await rm(sandbox.mediaDir, { recursive: true })
  await rename(away, sandbox.mediaDir)
})

test('what may be wrong with the sources is a warning each night: none of it stops one', async () => {
  const link = join(sandbox.mediaDir, 'photos', 'old')
  await symlink('/mnt/second-disk/photos', link)
  await symlink('1.jpg', join(sandbox.mediaDir, 'photos', 'same.jpg'))
  const mounts = join(sandbox.dir, 'apps/book-corners/mounts')
  await writeFile(mounts, '/mnt/second-disk/media:/app/media\n')
  // As the manual restore in the documentation does it.
  await sandbox.dokku(['postgres:create', 'newer'])
  await sandbox.dokku(['postgres:unlink', sandbox.service, 'book-corners'])
  await sandbox.dokku(['postgres:link', 'newer', 'book-corners'])
  await sandbox.fault('postgres:connect', 'echo "psql: error: FATAL: sorry, too many clients already" >&2; exit 2')
  const { stdout } = await good()
  assert.is((await comment()).tables, undefined)
  await sandbox.fault('postgres:connect')
  const links = /link that leads out of the media folder.*photos\/old → \/mnt\/second-disk\/photos(?!.*same\.jpg)/
  for (const says of [
    /Which tables have rows is not known: .*too many clients/,
    /book-corners-db is not linked to book-corners/,
    /\/media is not mounted into book-corners/,
    links,
  ])
    assert.match(stdout, new RegExp(`WARNING: .*${says.source}`))
  assert.match((await sandbox.script('backup.ts', ['--dry-run'])).stdout, links)
  const line = await check()
  assert.match(line('service'), /^fail .*not linked.*\n.*postgres:app-links book-corners/)
  assert.match(line('mount'), /^warn .*not mounted/)
  assert.match(line('links'), /^warn .*photos\/old → \/mnt\/second-disk\/photos/)
  await rm(link)
  await writeFile(mounts, `${sandbox.mediaDir}:/app/media\n`)

  // A second link leaves DATABASE_URL as it is, until it is promoted.
  await sandbox.dokku(['postgres:link', sandbox.service, 'book-corners'])
  assert.match(
    (await check())('service'),
    /^fail .*DATABASE_URL of book-corners leads to newer, not to book-corners-db/,
  )
  await sandbox.dokku(['postgres:promote', sandbox.service, 'book-corners'])
  await truncate(mounts)
  await sandbox.fault('postgres:links', 'echo " !     no such command" >&2; exit 1')
  const unknown = await good()
  assert.not.match(unknown.stdout, /WARNING/)
  assert.match((await check())('service'), /^warn .*Dokku does not say/)
  await sandbox.fault('postgres:links')
})

test('an archive dated in the future is never the newest: a failure of --check, and the rename that it says leads out', async () => {
  const name = 'book-corners-2035-01-01T03:00:00'
  await sandbox.borg(['create', '--timestamp', '2035-01-01T03:00:00', `::${name}`, sandbox.mediaDir])
  const { stdout } = await good([], { PRUNE: 'yes' })
  assert.match(stdout, new RegExp(`pruned 0.*WARNING: Dated in the future.*${name}.*borg rename`))
  const [newest = ''] = (await sandbox.archives()).filter((other) => other !== name).slice(-1)
  const list = await sandbox.script('restore.ts', ['--list'])
  assert.match(list.stdout, new RegExp(`^${name} .*\\n +! DATED IN THE FUTURE`, 'm'))
  const latest = await sandbox.script('restore.ts', ['latest', '--media-only', '--dry-run'])
  assert.match(latest.stdout, new RegExp(`A restore of ${newest} `))
  const line = await check()
  assert.match(line('newest archive'), new RegExp(`^pass .*${newest}`))
  assert.match(line('clock'), new RegExp(`^fail .*${name}`))
  const advised = /\(set -a.*borg rename.*\)/.exec(line('clock'))?.[0] ?? ''
  const env = { BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' }
  const renamed = await sandbox.launch('sh', ['-c', advised], { env }).ended
  assert.is(renamed.exitCode, 0, renamed.stderr)
  assert.match((await check())('clock'), /^pass/)
})

test.run()
