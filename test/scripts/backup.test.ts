import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { chmod, mkdir, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { programs } from '../support/borg.ts'
import { activity } from '../support/damage.ts'
import type { Running } from '../support/launch.ts'
import { SCRIPTS_LOADER } from '../support/loader.ts'
import { startMonitor } from '../support/monitor.ts'
import { PASSPHRASE, type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { atTerminal, lastLine } from '../support/terminal.ts'
import { until } from '../support/until.ts'

const test = suite('backup')
const NAME = /^book-corners-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/
let sandbox: Sandbox
let monitor: Awaited<ReturnType<typeof startMonitor>>

const ENTER_AND_EXPORT = ['postgres:enter', 'postgres:export']

async function breakDump(snippet?: string): Promise<void> {
  for (const command of ENTER_AND_EXPORT) await sandbox.fault(command, snippet)
}

function mediaFile(name: string): string {
  return join(sandbox.mediaDir, name)
}

function paths(): string[] {
  return monitor.pings.map(({ path }) => path.replace('/check-uuid', ''))
}

/** The settings of a server. */
const USUAL = { PRUNE: 'yes', KEEP_APP_CONFIG: 'yes' }

/** A name one second per archive would clash without this. */
function nextSecond(): Promise<void> {
  return sleep(1000 - (Date.now() % 1000) + 20)
}

test.before(async () => {
  sandbox = await startSandbox()
  monitor = await startMonitor()
  await seed(sandbox, { libraries: 300, photos: 10 })
  // Where that is the point, a night prunes, and asks Dokku for the app's configuration.
  await sandbox.configure({ HEALTHCHECK_URL: monitor.url, PRUNE: 'no', KEEP_APP_CONFIG: 'no' })
})
test.after(async () => {
  monitor.stop()
  await sandbox.stop()
})
test.before.each(async () => {
  monitor.pings.length = 0
  await nextSecond()
})

test('one archive holds the dump and the media folder, its comment says what it is, and the repository is checked', async () => {
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', [], { env: USUAL })
  assert.is(exitCode, 0, stderr)
  const [name = '', ...more] = await sandbox.archives()
  assert.equal(more, [])
  assert.match(name, NAME)
  assert.match(
    stdout,
    new RegExp(
      `^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d[+-]\\d\\d:\\d\\d ${name}: .* original, .* new data, took .*, pruned 0, repository .*, repository checked$`,
      'm',
    ),
  )
  assert.match(stderr, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d Storing /)
  assert.not.match(stdout + stderr, /\u001b|\r/)

  const out = join(sandbox.dir, 'extracted')
  await mkdir(out)
  await sandbox.borg(['extract', `::${name}`], { cwd: out })
  const sha = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')
  for (const photo of readdirSync(mediaFile('photos')))
    assert.is(sha(join(out, sandbox.mediaDir, 'photos', photo)), sha(mediaFile(`photos/${photo}`)))
  const read = await sandbox.launch(join(sandbox.postgresBin, 'pg_restore'), ['-f', '-', join(out, 'db.dump')]).ended
  assert.is(read.exitCode, 0, read.stderr)
  const [, rows = ''] = /^COPY public\.libraries_library .*\n([\s\S]*?)^\\\.$/m.exec(read.stdout) ?? []
  assert.is(rows.split('\n').filter(Boolean).length, 300)

  const { stdout: list } = await sandbox.borg(['list', '--json', '--last', '1', '--format', '{comment}'])
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  assert.equal(JSON.parse(JSON.parse(list).archives[0].comment), {
    sha: '0123456789abcdef0123456789abcdef01234567',
    dumpMode: 'dedup',
    version,
    mediaFiles: 10,
    mediaBytes: 200_000,
    folders: ['photos'],
    unreadable: 0,
    unreadablePaths: [],
    tables: ['public.django_migrations', 'public.libraries_library', 'public.libraries_photo'],
    tableCount: 3,
    lacks: [],
  })
  assert.equal(paths(), ['/start', ''])
  assert.match(monitor.pings[1]?.body ?? '', name)
})

// Those that end before their first bytes are whole are in test/postgres/dump.test.ts: then Borg is not even started.
const BAD_DUMPS: [what: string, snippet: string, reason: RegExp][] = [
  ['exits non-zero at once', 'echo " !     no such luck" >&2; exit 1', /no such luck/],
  ['dies after many MB', 'printf PGDMP; head -c 10000000 /dev/urandom; echo cut >&2; exit 1', /cut/],
  ['is killed', 'printf PGDMP; head -c 1000000 /dev/urandom; kill -KILL $$', /SIGKILL/],
]
for (const [what, snippet, reason] of BAD_DUMPS) {
  test(`a dump that ${what} leaves no archive, and the monitor hears why`, async () => {
    const before = await sandbox.archives()
    await breakDump(snippet)
    const { exitCode, stderr } = await sandbox.script('backup.ts', [], { env: { TMPDIR: sandbox.home } })
    await breakDump()
    assert.is(exitCode, 1)
    assert.match(stderr, reason)
    assert.equal(await sandbox.archives(), before)
    assert.equal(sandbox.strays(), [])
    assert.equal(paths(), ['/start', '/fail'])
    assert.match(monitor.pings[1]?.body ?? '', reason)
    assert.equal(
      readdirSync(sandbox.home).filter((name) => !/^\.(env\.backup|cache|config|local)$/.test(name)),
      [],
    )
  })
}

test('a dump that hangs is ended after the stall timeout', async () => {
  const before = await sandbox.archives()
  await breakDump('printf PGDMP; head -c 1000000 /dev/urandom; sleep 60')
  const { exitCode, stderr } = await sandbox.script('backup.ts', [], { env: { DUMP_STALL_SECONDS: '1' } })
  await breakDump()
  assert.is(exitCode, 1)
  assert.match(stderr, /no data for 1 s/)
  assert.equal(await sandbox.archives(), before)
  assert.equal(sandbox.strays(), [])
})

test('a dump that waits for a lock is ended in the container as well', async () => {
  const before = await sandbox.archives()
  const lock = 'BEGIN; LOCK TABLE libraries_library IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60);\n'
  const holder = sandbox.launch(join(sandbox.dir, 'bin/dokku'), ['postgres:connect', sandbox.service], { input: lock })
  await activity(sandbox, holder, "wait_event = 'PgSleep'")

  const stalled = await sandbox.script('backup.ts', [], { env: { DUMP_STALL_SECONDS: '1' } })
  assert.is(stalled.exitCode, 1)
  assert.match(stalled.stderr, /no data for 1 s/)
  const dumps = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump';"
  assert.is(await sandbox.sql(dumps), '0')

  const run = sandbox.start('backup.ts')
  await activity(sandbox, run, "application_name = 'pg_dump' AND wait_event_type = 'Lock'")
  run.child.kill('SIGTERM')
  assert.is((await run.ended).exitCode, 143)
  const ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep';"
  assert.is(await sandbox.sql(`${dumps} ${ended}`), '0\nt')
  await holder.ended
  assert.equal(await sandbox.archives(), before)
  assert.equal(sandbox.strays(), [])
})

test('a service that is stopped is said to be, by the nightly run and by --check', async () => {
  await sandbox.dokku(['postgres:stop', sandbox.service])
  const night = await sandbox.script('backup.ts')
  const { exitCode, stdout } = await sandbox.script('backup.ts', ['--check'])
  const { stderr } = await sandbox.dokku(['postgres:start', sandbox.service])
  assert.is(night.exitCode, 1)
  assert.match(night.stderr, /book-corners-db is not running.*\n.*sudo dokku postgres:start book-corners-db/)
  assert.not.match(night.stderr, /Falling back/)
  assert.is(exitCode, 1)
  assert.match(stdout, /fail {2}Dokku .*book-corners-db is not running.*\n.*→ Start it: sudo dokku postgres:start/)
  assert.is(stderr, '')
})

test('without postgres:enter the dump is taken by postgres:export, and the run says so', async () => {
  await sandbox.fault('postgres:enter', 'echo " !     \\`postgres:enter\' is not a dokku command." >&2; exit 1')
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--json'])
  await sandbox.fault('postgres:enter')
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /not a dokku command.*postgres:export/)
  const { dumpMode, lacks, checked } = JSON.parse(stdout)
  // It is compressed, and no loss after one that is not; the repository was checked this week.
  assert.equal([dumpMode, lacks, checked], ['export', [], false])
  const { stdout: list } = await sandbox.borg(['list', '--json', '--last', '1', '--format', '{comment}'])
  assert.is(JSON.parse(JSON.parse(list).archives[0].comment).dumpMode, 'export')
})

/** Starts a run, and waits until it has taken some of a dump that does not end. */
async function startDumping(env: Record<string, string> = {}): Promise<Running> {
  const some = join(sandbox.dir, 'some-of-the-dump')
  await rm(some, { force: true })
  await breakDump(`printf PGDMP; head -c 3000000 /dev/urandom; touch '${some}'; sleep 60`)
  const run = sandbox.start('backup.ts', [], { env })
  await run.reaches(some)
  await breakDump()
  return run
}

/** Starts a run, and waits until Borg reads a photo that takes it a while. */
async function startStoring(): Promise<Running> {
  const huge = mediaFile('huge')
  await writeFile(huge, '')
  await truncate(huge, 8e9)
  const run = sandbox.start('backup.ts')
  await run.prints(/The dump is whole/)
  await until(() => descendantsOf(run.child.pid).some((pid) => openFiles(pid).includes(huge)))
  return run
}

function openFiles(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  } catch {
    // It has ended, or one of them was closed.
    return []
  }
}

for (const [signal, status] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const) {
  test(`${signal} while dumping, and while Borg reads media, leaves nothing and exits ${status}`, async () => {
    const before = await sandbox.archives()
    const dumping = await startDumping()
    dumping.child.kill(signal)
    const first = await dumping.ended
    assert.is(first.exitCode, status)
    assert.is(lastLine(first.stderr), 'No archive was stored, and nothing was pruned. Production was only read.')
    assert.equal(paths(), ['/start', '/fail'])

    const storing = await startStoring()
    storing.child.kill(signal)
    const second = await storing.ended
    await rm(mediaFile('huge'))
    assert.is(second.exitCode, status)
    assert.equal(await sandbox.archives(), before)
    assert.equal(sandbox.strays(), [])
  })
}

test('after a SIGKILL at any moment there is no archive cut short, and the next run works unattended, without even a PATH', async () => {
  const before = await sandbox.archives()
  const dumping = await startDumping()
  dumping.child.kill('SIGKILL')
  await dumping.ended
  const storing = await startStoring()
  storing.child.kill('SIGKILL')
  await storing.ended
  await rm(mediaFile('huge'))
  // Borg hears of it through the guard, and needs a moment to end.
  assert.equal(sandbox.strays(), [])
  assert.equal(await sandbox.archives(), before)

  const script = fileURLToPath(new URL('../../scripts/backup.ts', import.meta.url))
  const line = `${process.execPath} --import ${SCRIPTS_LOADER} -- ${script} --json --env-file ${sandbox.envFile}`
  const bare = ['-i', `HOME=${sandbox.home}`, '/bin/sh', '-c', line]
  const { exitCode, stdout, stderr } = await sandbox.launch('env', bare).ended
  assert.is(exitCode, 0, stderr)
  assert.match(JSON.parse(stdout).archive, NAME)
})

test('while one runs a second exits 75 and says who holds the lock, and no argument, log or ping has the passphrase: Borg alone', async () => {
  const first = await startDumping(USUAL)
  const { exitCode, stderr } = await sandbox.script('backup.ts')
  const holders = passphraseHolders(first)
  first.child.kill('SIGTERM')
  const ended = await first.ended
  assert.is(exitCode, 75)
  assert.match(
    stderr,
    new RegExp(`backup\\.ts of \\S+, process ${first.child.pid}, since \\w{3} \\d+ \\w{3} \\d\\d:\\d\\d`),
  )
  assert.equal(paths(), ['/start', '/fail'], 'only the first run tells the monitor')
  assert.ok(holders.length > 0)
  assert.ok(
    holders.every((args) => /borg$/.test(args)),
    holders.join('\n'),
  )
  assert.not.ok((ended.stdout + ended.stderr + JSON.stringify(monitor.pings)).includes(PASSPHRASE))
})

/** The programs of a run that have the passphrase in their environment; none may have it in an argument. */
function passphraseHolders(run: Running): string[] {
  const holders: string[] = []
  for (const pid of descendantsOf(run.child.pid)) {
    try {
      const [environment, args] = [
        readFileSync(`/proc/${pid}/environ`, 'utf8'),
        readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
      ]
      assert.not.ok(args.includes(PASSPHRASE), args)
      if (environment.includes(PASSPHRASE)) holders.push(args.split('\0').find((arg) => /borg/.test(arg)) ?? args)
    } catch (error) {
      if (error instanceof Error && error.name === 'Assertion') throw error
    }
  }
  return holders
}

test('pruning keeps to this prefix and to what is older than 48 hours, compacts, and takes what the preview said', async () => {
  const recent = await sandbox.archives()
  const old = ['01-01T03', '01-01T05', '02-02T03'].map((time) => `book-corners-2020-${time}:00:00`)
  const foreign = ['book-corners-staging-2020-01-01T03:00:00', 'notes', 'book-corners-2020-01-01T03:00:00-keep']
  for (const name of [...old, ...foreign]) {
    const time = /\d{4}-\d\d-\d\dT[\d:]{8}/.exec(name)?.[0] ?? '2020-01-01T00:00:00'
    await sandbox.borg(['create', '--timestamp', time, `::${name}`, sandbox.mediaDir])
  }
  const keep = { PRUNE: 'yes', KEEP_DAILY: '1', KEEP_WEEKLY: '0', KEEP_MONTHLY: '0' }
  const preview = await sandbox.script('backup.ts', ['--dry-run', '--json'], { env: keep })
  const terminal = await atTerminal('backup.ts', [], {
    env: { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile, ...keep },
    prompt: /No question is asked/,
    answer: () => undefined,
  })
  assert.is(terminal.status, 0, terminal.output)
  const left = await sandbox.archives()
  const pruned = old.slice(0, -1)
  assert.equal(JSON.parse(preview.stdout).prune.sort(), pruned)
  assert.equal([...recent, ...old, ...foreign].filter((name) => !left.includes(name)).sort(), pruned)
  assert.match(
    terminal.output,
    new RegExp(`Kept: ${recent.length + 2} archives; those of the last 48 hours always stay\\.`),
  )
  await sandbox.borg(['delete', `::${foreign[0]}`, ...foreign.slice(1)])
})

test('every way Borg can go wrong is told apart, with the next command to type', async () => {
  const cases: [settings: Record<string, string>, says: RegExp, next: RegExp][] = [
    [{ BORG_REPO: join(sandbox.dir, 'nope') }, /does not exist/, /--init/],
    [{ BORG_PASSPHRASE: 'another one' }, /passphrase .* is wrong/, /BORG_PASSPHRASE/],
    [{ BORG_REPO: 'ssh://nobody@127.0.0.1:9/./repo' }, /can't be reached/, /borg info/],
  ]
  for (const [env, says, next] of cases) {
    const { exitCode, stderr } = await sandbox.script('backup.ts', [], { env })
    assert.is(exitCode, 1, stderr)
    assert.match(stderr, says)
    assert.match(stderr, next)
    assert.match(monitor.pings.at(-1)?.body ?? '', says)
  }
})

test('a locked repository and a moved one are told apart', async () => {
  const locked = join(sandbox.repository, 'lock.exclusive')
  await mkdir(locked)
  // A lock of this machine's process 1, which lives.
  const host = execFileSync('python3', ['-c', 'import uuid,socket;print("%s@%s" % (socket.getfqdn(), uuid.getnode()))'])
    .toString()
    .trim()
  await writeFile(join(locked, `${host}.1-0`), '')
  const { exitCode, stderr } = await sandbox.script('backup.ts')
  await rm(locked, { recursive: true })
  assert.is(exitCode, 1, stderr)
  assert.match(stderr, /locked by another run/)
  assert.match(stderr, /borg break-lock/)

  await rename(sandbox.repository, `${sandbox.repository}-moved`)
  const moved = await sandbox.script('backup.ts', [], { env: { BORG_REPO: `${sandbox.repository}-moved` } })
  await rename(`${sandbox.repository}-moved`, sandbox.repository)
  assert.is(moved.exitCode, 1)
  assert.match(moved.stderr, /was moved/)
  assert.match(moved.stderr, /BORG_RELOCATED_REPO_ACCESS_IS_OK=yes/)
})

test('a missing media folder fails before anything starts', async () => {
  const before = await sandbox.archives()
  const { exitCode, stderr } = await sandbox.script('backup.ts', [], { env: { MEDIA_DIR: '/nowhere/media' } })
  assert.is(exitCode, 1)
  assert.match(stderr, /media folder \/nowhere\/media does not exist/)
  assert.not.match(stderr, /Storing/)
  assert.equal(await sandbox.archives(), before)
})

/** A process and all below it: other tests that run at the same time hold the same passphrase. */
function descendantsOf(root: number | undefined): string[] {
  const family = new Set([String(root)])
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [
          [
            pid,
            readFileSync(`/proc/${pid}/stat`, 'utf8')
              .replace(/^.*\) /s, '')
              .split(' ')[1] ?? '',
          ],
        ]
      } catch {
        return []
      }
    })
  for (let size = 0; size < family.size; ) {
    size = family.size
    for (const [pid = '', parent = ''] of parents) if (family.has(parent)) family.add(pid)
  }
  return [...family]
}

test('--dry-run says what would be stored and pruned, and changes nothing', async () => {
  const before = await sandbox.archives()
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--dry-run'], { env: USUAL })
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /store +book-corners-\d{4}/)
  assert.match(stdout, /database book_corners_db/)
  assert.match(stdout, /10 files, 200\.00 kB/)
  assert.match(stdout, new RegExp(`prune +nothing of ${before.length} archives$`, 'm'))
  assert.equal(await sandbox.archives(), before)
  assert.equal(paths(), [])
})

test('--init creates the repository once, and says how to keep its key', async () => {
  const env = { BORG_REPO: join(sandbox.dir, 'second') }
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--init'], { env })
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /borg key export --paper[\s\S]*BORG_PASS[\s\S]*Next: backup --check/)
  assert.match(readFileSync(join(sandbox.dir, 'second/config'), 'utf8'), /key = /)
  const again = await sandbox.script('backup.ts', ['--init'], { env })
  assert.is(again.exitCode, 1)
  assert.match(again.stderr, /already exists/)
})

test('--check names every problem with its fix, and passes a sound machine', async () => {
  const good = await sandbox.script('backup.ts', ['--check'], { env: USUAL })
  assert.is(good.exitCode, 0, good.stdout + good.stderr)
  for (const name of ['Node', 'Borg', 'env file', 'settings', 'repository', 'newest archive', 'Dokku', 'media'])
    assert.match(good.stdout, new RegExp(`^pass  ${name} `, 'm'))

  const bin = join(sandbox.dir, 'shims')
  await mkdir(bin, { recursive: true })
  await writeFile(join(bin, 'crontab'), '#!/bin/sh\necho "0 3 * * * /home/deploy/backup.sh >> /var/log/x 2>&1"\n', {
    mode: 0o755,
  })
  const bad = await sandbox.script('backup.ts', ['--check', '--json'], {
    env: {
      PATH: `${bin}:${programs()}`,
      DB_SERVICE: 'nope',
      MEDIA_DIR: '/nowhere',
      BORG_PASSPHRASE: 'another one, and wrong',
    },
  })
  assert.is(bad.exitCode, 1)
  const verdicts = JSON.parse(bad.stdout).checks.map(({ name, verdict }: { name: string; verdict: string }) => [
    name,
    verdict,
  ])
  assert.equal(
    verdicts.filter(([, verdict]: string[]) => verdict === 'fail').map(([name]: string[]) => name),
    ['repository', 'Dokku', 'media', 'crontab'],
  )
})

test('a usage or configuration error exits 2 and touches nothing', async () => {
  const before = await sandbox.archives()
  const unknown = await sandbox.script('backup.ts', ['--dryrun'])
  assert.is(unknown.exitCode, 2)
  assert.match(unknown.stderr, /Unknown flag --dryrun\. Did you mean --dry-run\?/)

  const several = await sandbox.script('backup.ts', [], { env: { KEEP_DAILY: 'seven', DUMP_MODE: 'fast' } })
  assert.is(several.exitCode, 2)
  assert.match(several.stderr, /KEEP_DAILY must be/)
  assert.match(several.stderr, /DUMP_MODE must be/)
  assert.equal(paths(), ['/fail'], 'the monitor hears of a broken configuration')

  await chmod(sandbox.envFile, 0o644)
  const readable = await sandbox.script('backup.ts')
  await chmod(sandbox.envFile, 0o600)
  assert.is(readable.exitCode, 2)
  assert.match(readable.stderr, /chmod 600/)

  const nowhere = await sandbox.script('backup.ts', ['--env-file', '/nowhere/.env'])
  assert.is(nowhere.exitCode, 2)
  assert.match(nowhere.stderr, /\/nowhere\/\.env does not exist/)
  assert.equal(await sandbox.archives(), before)
})

test('--help and --version need no configuration', async () => {
  const env = { OPS_ENV_FILE: '/nowhere' }
  const help = await sandbox.script('backup.ts', ['--help'], { env })
  assert.is(help.exitCode, 0)
  assert.match(help.stdout, /Examples:/)
  const version = await sandbox.script('backup.ts', ['--version'], { env })
  assert.is(version.exitCode, 0)
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
})

test('a monitor that cannot be reached is a warning', async () => {
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', ['--json'], {
    env: { HEALTHCHECK_URL: 'http://127.0.0.1:9/x', DUMP_MODE: 'export' },
  })
  assert.is(exitCode, 0)
  assert.match(stderr, /monitor could not be told/)
  assert.is(JSON.parse(stdout).dumpMode, 'export')
  assert.ok(existsSync(sandbox.envFile))
})

// The last one: what it stores would be lacking from then on.
test('a photo that changes while it is read is a warning', async () => {
  const changing = mediaFile('photos/changing.jpg')
  await writeFile(changing, '')
  await truncate(changing, 2e8)
  const run = sandbox.start('backup.ts')
  await run.prints(/The dump is whole/)
  for (let i = 0; run.child.exitCode === null; i++) {
    await truncate(changing, 2e8 + i)
    await sleep(20)
  }
  const changed = await run.ended
  assert.is(changed.exitCode, 0, changed.stderr)
  assert.match(changed.stdout, /WARNING: .*changing\.jpg: file changed while we backed it up/)
})

test.run()
