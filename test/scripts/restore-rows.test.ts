import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { activity, backUpAndDamage, counts, DAMAGED, damage, databases, held, OLD, reset } from '../support/damage.ts'
import type { Running } from '../support/launch.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'
import { atTerminal, lastLine } from '../support/terminal.ts'

const test = suite('restore --rows')
let sandbox: Sandbox
let archive: string

const TABLES = 'libraries_library,libraries_photo'
const STATE = '.local/state/book-corners-ops'

test.before(async () => {
  sandbox = await startSandbox()
  archive = await backUpAndDamage(sandbox)
})
test.after(() => sandbox.stop())
test.before.each(() => reset(sandbox))

/** What came after the archive. */
function today(): Promise<string> {
  return sandbox.sql('SELECT count(*) FROM newer;')
}

async function wayBacks(): Promise<string[]> {
  const names = await readdir(join(sandbox.home, STATE)).catch(() => [])
  return names.filter((name) => name.startsWith('rows-brought-back-'))
}

test('lost rows come back out of an archive, and nothing of today is lost; the way back takes them out again', async () => {
  const dry = await sandbox.script('restore.ts', ['--rows', TABLES, '--dry-run', '--json'])
  assert.is(dry.exitCode, 0, dry.stderr)
  assert.equal(
    JSON.parse(dry.stdout).tables.map(({ table, lost }: { table: string; lost: number }) => [table, lost]),
    [
      ['public.libraries_library', 180],
      ['public.libraries_photo', 10],
    ],
  )
  assert.is(await counts(sandbox), DAMAGED)
  assert.equal(await databases(sandbox), [sandbox.database])

  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', [archive, '--rows', TABLES, '--yes'])
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(sandbox), OLD)
  assert.is(await today(), '120')
  assert.match(stdout, /180 rows of public\.libraries_library\n {2}10 rows of public\.libraries_photo\n/)
  assert.match(stdout, `restore --media-only ${archive}`)
  assert.equal(await databases(sandbox), [sandbox.database], 'what was imported is gone')
  assert.equal(sandbox.strays(), [])
  const [name = ''] = await wayBacks()
  assert.match(stdout, join(sandbox.home, STATE, name))
  assert.is((await stat(join(sandbox.home, STATE, name))).mode & 0o777, 0o600)
  // Nothing is kept: an archive would lose what was written since.
  const undo = await sandbox.script('restore.ts', ['--undo', '--yes'])
  assert.is(undo.exitCode, 1)
  assert.match(undo.stderr, new RegExp(`rows of .*To take them out again:\\n.*${name}`, 's'))
  assert.match(undo.stderr, /No database of an earlier restore is kept[\s\S]*type the command above/)
  assert.not.match(undo.stderr, /restore --list/)
  const back = await sandbox.dokku(
    ['postgres:connect', sandbox.service],
    await readFile(join(sandbox.home, STATE, name)),
  )
  assert.is(back.exitCode, 0, back.stderr)
  assert.is(await counts(sandbox), DAMAGED)
  const history = await sandbox.script('backup.ts', ['--history'])
  assert.match(history.stdout, `restore --rows  done`)
  assert.match(history.stdout, `from ${archive}, 190 rows`)
  assert.match(history.stdout, /restore --undo +FAILED .*is kept in \S+ Production was not touched\.$/m)
})

test('--undo names the files of rows beside a kept database: the last restore may have been one of rows', async () => {
  const whole = await sandbox.script('restore.ts', [archive, '--db-only', '--yes'])
  assert.is(whole.exitCode, 0, whole.stderr)
  await damage(sandbox)
  const rows = await sandbox.script('restore.ts', [archive, '--rows', TABLES, '--yes'])
  assert.is(rows.exitCode, 0, rows.stderr)
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', ['--undo', '--dry-run'])
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /What restore --rows brought back is taken out by files of its own:[\s\S]*rows-brought-back-/)
  const newest = (await wayBacks()).sort().at(-1)
  assert.match(
    stderr,
    new RegExp(
      `The newest change was restore --rows, .*: its rows leave production, too\\..* the file above takes them out: ${newest}$`,
      'm',
    ),
  )
  assert.match(stdout, 'Nothing was changed.')
})

test('--check tells of the files that take rows out again: how many, the newest, what uses it and what removes them', async () => {
  const check = async (): Promise<string> => (await sandbox.script('backup.ts', ['--check'])).stdout
  for (const name of await wayBacks()) await rm(join(sandbox.home, STATE, name))
  assert.not.match(await check(), /brought-back rows/)
  const rows = await sandbox.script('restore.ts', [archive, '--rows', 'libraries_photo', '--yes'])
  assert.is(rows.exitCode, 0, rows.stderr)
  const [name = ''] = await wayBacks()
  const file = join(sandbox.home, STATE, name)
  const told = await check()
  assert.match(
    told,
    new RegExp(
      `^pass +brought-back rows +1 file of restore --rows, the newest ${name}, .*, from ${archive}: 10 rows`,
      'm',
    ),
  )
  assert.match(told, `sudo dokku postgres:connect ${sandbox.service} < ${file}\n`)
  assert.match(told, `When nobody will want that: rm ${file}\n`)
  const back = await sandbox.dokku(['postgres:connect', sandbox.service], await readFile(file))
  assert.is(back.stdout, '10 rows of public.libraries_photo taken out; production is otherwise unchanged.\n')
  const later = await check()
  assert.match(later, /brought-back rows .*; 1 with no row that is in production any more\n/)
  assert.match(later, `What has no row in production any more: rm ${file}\n`)
  assert.not.match(later, /To take the rows|When nobody will want that: rm \S*brought-back/)
  const undo = await sandbox.script('restore.ts', ['--undo', '--dry-run'])
  assert.match(undo.stderr, new RegExp(`None of them is in production any more:\\n\\S+ +rm ${file}\\n`), undo.stderr)
  assert.not.match(undo.stderr, /The newest change was restore --rows|type the command above/)
})

test('what makes no sense is refused before anything begins', async () => {
  for (const args of [
    ['--rows', TABLES, '--yes'],
    ['--rows', TABLES, archive],
    ['--where', 'true', archive],
    ['--rows', TABLES, '--where', 'true', archive, '--yes'],
    ['--rows', 'libraries_library', '--where', 'true; DROP TABLE newer', archive, '--yes'],
    ['--rows', 'django_migrations', archive, '--yes'],
    ['--rows', TABLES, '--db-only', archive, '--yes'],
    ['--rows', TABLES, '--test', archive, '--yes'],
    ['--rows'],
  ]) {
    const { exitCode, stderr } = await sandbox.script('restore.ts', args)
    assert.is(exitCode, 2, `${args.join(' ')}: ${stderr}`)
  }
  const unknown = await sandbox.script('restore.ts', [archive, '--rows', 'librarys_library', '--yes'])
  assert.is(unknown.exitCode, 1)
  assert.match(unknown.stderr, /no table librarys_library[\s\S]*Did you mean libraries_library/)
  assert.not.match(unknown.stderr, /Importing|was removed/)
  assert.is(lastLine(unknown.stderr), 'Production was not touched.')
})

test('at a terminal an archive is picked, with what to think of', async () => {
  const { output } = await atTerminal('restore.ts', ['--rows', TABLES], {
    env: { PATH: '/usr/bin:/bin', HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
    prompt: /\(1-\d+\): /,
    answer: () => '\u0003',
  })
  assert.match(output, /Take an archive of before the damage.*\r?\nWhich archive\?/)
})

test('at a terminal the name of the app is typed', async () => {
  const run = (answer: string): ReturnType<typeof atTerminal> =>
    atTerminal('restore.ts', [archive, '--rows', TABLES], {
      env: { PATH: '/usr/bin:/bin', HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
      prompt: /to go on: /,
      answer: () => answer,
    })
  const wrong = await run('yes\r')
  assert.is(wrong.status, 1, wrong.output)
  assert.match(wrong.output, /The answer was not book-corners[\s\S]*Production was not touched/)
  assert.is(await counts(sandbox), DAMAGED)
  const right = await run('book-corners\r')
  assert.is(right.status, 0, right.output)
  assert.match(right.output, /This inserts 190 rows into book_corners_db of book-corners-db, in one transaction/)
  assert.is(await counts(sandbox), OLD)
})

/** Somebody who holds a lock on a table. */
async function holdTable(mode: string): Promise<{ letGo: () => void }> {
  const client = spawn(join(sandbox.dir, 'bin/dokku'), ['postgres:connect', sandbox.service])
  client.stdin.write(`\\set QUIET on\nBEGIN;\nLOCK TABLE libraries_library IN ${mode} MODE;\n\\echo held\n`)
  await once(client.stdout, 'data')
  return { letGo: () => client.stdin.end('ROLLBACK;\n') }
}

/** Production has all of it or none; the next run clears what is left, and brings back what is lacking. */
async function killed(run: Running, signal: NodeJS.Signals, release?: () => unknown): Promise<void> {
  run.child.kill(signal)
  const { exitCode, stderr } = await run.ended
  await release?.()
  const isAll = async (): Promise<boolean> => (await counts(sandbox)) === OLD
  assert.ok([OLD, DAMAGED].includes(await counts(sandbox)), stderr)
  if (signal !== 'SIGKILL') {
    assert.ok(exitCode !== 0 || (await isAll()), stderr)
    assert.equal(await databases(sandbox), [sandbox.database], 'it clears up after itself')
  }
  const next = await sandbox.script('restore.ts', [archive, '--rows', TABLES, '--yes'])
  assert.is(next.exitCode, 0, next.stderr)
  assert.is(await counts(sandbox), OLD)
  assert.is(await today(), '120')
  assert.equal(await databases(sandbox), [sandbox.database])
}

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const) {
  test(`${signal} in the middle of the import`, async () => {
    await rm(held(sandbox), { force: true })
    await sandbox.containerProgram(
      'pg_restore',
      `{ head -c 30000; touch "${held(sandbox)}"; sleep 1; cat; } | PATH=\${PATH#*:} pg_restore "$@"`,
    )
    const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
    await run.reaches(held(sandbox))
    await killed(run, signal, () => sandbox.containerProgram('pg_restore'))
  })

  // Beside the session's own psql one more runs for each table.
  for (const [step, argument] of [
    ['while it compares', 'FROM STDIN'],
    ['while it fetches the rows', 'TO STDOUT'],
  ] as const)
    test(`${signal} ${step}`, async () => {
      await rm(held(sandbox), { force: true })
      await sandbox.containerProgram(
        'psql',
        `case "$*" in *"${argument}"*) touch "${held(sandbox)}"; sleep 1;; esac; exec ${sandbox.postgresBin}/psql "$@"`,
      )
      const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
      await run.reaches(held(sandbox))
      await killed(run, signal, () => sandbox.containerProgram('psql'))
    })

  test(`${signal} while it inserts`, async () => {
    const { letGo } = await holdTable('SHARE')
    const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
    await activity(sandbox, run, "application_name = 'book-corners-ops insertion' AND wait_event_type = 'Lock'")
    await killed(run, signal, letGo)
  })
}

test('killed anywhere after the import, again and again', async () => {
  for (let i = 0; i < 6; i++) {
    const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
    await run.prints(/Importing/)
    await sleep(300 + i * 120)
    await killed(run, i % 2 ? 'SIGTERM' : 'SIGKILL')
    await reset(sandbox)
  }
})

test('a PostgreSQL that stops while rows are inserted leaves production as it was', async () => {
  const { letGo } = await holdTable('SHARE')
  const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
  await activity(sandbox, run, "application_name = 'book-corners-ops insertion' AND wait_event_type = 'Lock'")
  const files = await wayBacks()
  await sandbox.dokku(['postgres:stop', sandbox.service])
  await sandbox.dokku(['postgres:start', sandbox.service])
  letGo()
  const { exitCode, stderr } = await run.ended
  assert.is(exitCode, 1, stderr)
  assert.is(await counts(sandbox), DAMAGED)
  assert.equal(await wayBacks(), files)
})

test.run()
