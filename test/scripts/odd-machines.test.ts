import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { journalPath, readJournal } from '../../lib/cli/journal.ts'
import { statePath } from '../../lib/cli/state.ts'
import { programs } from '../support/borg.ts'
import { withFullDisk } from '../support/full-disk.ts'
import { asUser, DEPLOY, hasOtherUsers } from '../support/other-users.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { scriptCommand } from '../support/scripts.ts'

const test = suite('odd machines')
const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
/** A night of which it does not matter what the app's configuration is, and what is pruned. */
const PLAIN = { KEEP_APP_CONFIG: 'no', PRUNE: 'no' }
let sandbox: Sandbox
test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox, { libraries: 10, photos: 3 })
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
})
test.after(() => sandbox.stop())
// Archives of one second would have one name.
test.before.each(() => sleep(1000 - (Date.now() % 1000) + 20))

/** Runs a script by a line of a shell, in which `"$@"` is the script. */
function inShell(line: string, script: string, args: readonly string[], env: Record<string, string> = {}) {
  const words = [...scriptCommand(script), ...args]
  return sandbox.launch('sh', ['-c', line, 'sh', ...words], { env: { OPS_ENV_FILE: sandbox.envFile, ...env } }).ended
}

test('a checkout in a folder with #, % and blanks in its path runs; one with ? says that it can not', () => {
  for (const [name, runs] of [
    ['ops #1 50%25 a%', true],
    ['ops?', false],
  ] as const) {
    const folder = join(sandbox.dir, name)
    mkdirSync(folder)
    for (const part of ['bin', 'scripts', 'lib', 'package.json', 'tsconfig.json'])
      cpSync(join(PROJECT, part), join(folder, part), { recursive: true, verbatimSymlinks: true })
    symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
    // As the pages say: by its name, by a link to it, and in a workflow.
    symlinkSync(join(folder, 'bin/backup'), join(folder, 'backup'))
    for (const words of [
      [join(folder, 'bin/backup')],
      [join(folder, 'backup')],
      [process.execPath, '--import', './scripts/loader.mjs', 'scripts/backup.ts'],
    ]) {
      const [program = '', ...args] = words
      const { status, stdout, stderr } = spawnSync(program, [...args, '--version'], { cwd: folder, encoding: 'utf8' })
      if (runs) assert.equal([status, stdout, stderr], [0, '1.0.0\n', ''])
      else assert.match(stderr, /^These scripts can't be in a folder with \? in its path: .*\n$/)
    }
  }
})

test('a night with 64 open files at most, an unknown zone and language, and no HOME', async () => {
  const { exitCode, stderr } = await inShell('ulimit -n 64; unset HOME; exec "$@"', 'backup.ts', [], {
    TZ: 'Nowhere/Land',
    LANG: 'xx_YY.UTF-8',
    LC_ALL: '',
  })
  assert.is(exitCode, 0, stderr)
})

test('with a HOME in which nothing can be made it is said what can not be written', async () => {
  for (const [script, args] of [
    ['backup.ts', ['--check']],
    ['restore.ts', ['--list']],
  ] as const) {
    const { exitCode, stdout, stderr } = await inShell('exec timeout 60 "$@"', script, args, { HOME: '/proc' })
    assert.is(exitCode, 1, stderr)
    assert.not.match(stderr, /A bug in/)
    assert.match(stdout + stderr, /can't be used|may not use|[Pp]ermission|No such file|ENOENT|not permitted/)
  }
})

test('a user without a name is told what is wrong, and no more', async () => {
  if (!hasOtherUsers()) return
  for (const [script, args] of [
    ['backup.ts', ['--check']],
    ['restore.ts', ['--list']],
  ] as const) {
    const line = `exec ${asUser(DEPLOY).join(' ')} "$@"`
    const { exitCode, stderr } = await inShell(line, script, args, {
      HOME: '',
      OPS_ENV_FILE: '',
      BORG_REPO: '/nowhere',
      BORG_PASSPHRASE: 'x',
    })
    assert.is(exitCode, 1, stderr)
    assert.not.match(stderr, /A bug in/)
  }
})

test('a result that can not be written, since the disk is full, is a failure; a closed output is not', async () => {
  const full = await inShell('exec "$@" >/dev/full', 'backup.ts', ['--help'])
  assert.equal([full.exitCode, /The result could not be written: ENOSPC/.test(full.stderr)], [1, true], full.stderr)
  for (const closed of ['>&-', '2>&-', '<&- >&- 2>&-'])
    assert.is((await inShell(`exec "$@" ${closed}`, 'backup.ts', ['--help'])).exitCode, 0, closed)
})

test('a Borg that has stored the archive and tells no figures: the night is good, with a warning', async () => {
  const bin = join(sandbox.dir, 'odd-borg')
  mkdirSync(bin)
  const borg = `env PATH=${programs()} borg`
  const says = `case "$*" in *create*) ${borg} "$@" >/dev/null || exit; echo '{"archive": null}' ;; *) exec ${borg} "$@" ;; esac`
  writeFileSync(join(bin, 'borg'), `#!/bin/sh\n${says}\n`, { mode: 0o755 })
  const before = await sandbox.archives()
  const { exitCode, stdout, stderr } = await sandbox.script('backup.ts', [], {
    env: { ...PLAIN, PATH: `${bin}:/usr/bin:/bin` },
  })
  assert.is(exitCode, 0, stderr)
  assert.is((await sandbox.archives()).length, before.length + 1)
  assert.match(
    stdout,
    /WARNING: The archive book-corners-\S+ is stored, but how large it is is not known: Borg \(borg create/,
  )
})

for (const [what, variables, status] of [
  ['the notes, the lock and temporary files is named, and does no harm', ['XDG_STATE_HOME', 'TMPDIR'], 0],
  ["Borg's cache is named", ['XDG_CACHE_HOME'], 1],
] as const)
  test(`a full disk under ${what}`, async () => {
    const folder = join(sandbox.dir, variables[0])
    await withFullDisk(folder, async () => {
      const env = Object.fromEntries(variables.map((name) => [name, folder]))
      const { exitCode, stdout, stderr } = await inShell('exec "$@"', 'backup.ts', [], env)
      assert.is(exitCode, status, stderr)
      assert.not.match(stderr, /A bug in/)
      assert.match(stdout + stderr, /No space left on device|ENOSPC/)
    })
  })

test('a full disk under the photos: what could not come back is named, and the next restore brings it', async () => {
  const restore = () => inShell('exec "$@"', 'restore.ts', ['latest', '--media-only', '--yes'])
  const isDone = await withFullDisk(sandbox.mediaDir, async () => {
    const { exitCode, stderr } = await restore()
    assert.is(exitCode, 1, stderr)
    assert.not.match(stderr, /A bug in/)
    assert.match(stderr, /space|room|free/)
    assert.equal(readdirSync(sandbox.mediaDir), ['filler'])
  })
  if (!isDone) return
  rmSync(join(sandbox.mediaDir, 'photos/1.jpg'))
  assert.match((await restore()).stdout, /Restored 1 media file /)
})

for (const [what, jumpMs] of [
  ['forwards', 90_000_000],
  ['backwards', -90_000_000],
] as const)
  test(`a clock that is set ${what} during a night makes it no longer and no shorter`, async () => {
    const clock = fileURLToPath(new URL('../support/jumping-clock.mjs', import.meta.url))
    const env = { ...PLAIN, NODE_OPTIONS: `--import=${clock}`, CLOCK_JUMP_MS: String(jumpMs) }
    const { exitCode, stdout, stderr } = await inShell('exec "$@"', 'backup.ts', ['--json'], env)
    assert.is(exitCode, 0, stderr)
    const state = statePath({ HOME: sandbox.home }, sandbox.repository, sandbox.service)
    const noted = (await readJournal(journalPath(state))).at(-1)?.seconds ?? 0
    for (const seconds of [JSON.parse(stdout).seconds, noted]) assert.ok(seconds > 0 && seconds < 3600, `${seconds} s`)
  })

test('a night that is stopped for longer than the dump may stall goes on', async () => {
  await sandbox.configure({ CHECK_EVERY_DAYS: '0', DUMP_STALL_SECONDS: '1', ...PLAIN })
  const run = sandbox.start('backup.ts')
  await run.prints(/Storing the database/)
  run.child.kill('SIGSTOP')
  await sleep(4000)
  run.child.kill('SIGCONT')
  const { exitCode, stderr } = await run.ended
  assert.is(exitCode, 0, stderr)
})

test.run()
