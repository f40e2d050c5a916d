import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KEPT } from '../../lib/postgres/marks.ts'
import { keptName } from '../../lib/postgres/swap.ts'
import { programs } from '../support/borg.ts'
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

test('--check and --undo tell of the files that take rows out again: how many, the newest, what uses it and what removes them', async () => {
  for (const name of await wayBacks()) await rm(join(sandbox.home, STATE, name))
  // A restore of before that kept a database.
  const kept = keptName(sandbox.database, new Date(Date.now() - 3_600_000))
  await sandbox.sql(`CREATE DATABASE "${kept}"; COMMENT ON DATABASE "${kept}" IS '${KEPT}';`)
  const rows = await sandbox.script('restore.ts', [archive, '--rows', 'libraries_photo', '--yes'])
  assert.is(rows.exitCode, 0, rows.stderr)
  const [name = ''] = await wayBacks()
  const file = join(sandbox.home, STATE, name)
  const told = (await sandbox.script('backup.ts', ['--check'])).stdout
  assert.match(
    told,
    new RegExp(
      `^pass +brought-back rows +1 file of restore --rows, the newest ${name}, .*, from ${archive}: 10 rows`,
      'm',
    ),
  )
  assert.match(told, `sudo dokku postgres:connect ${sandbox.service} < ${file}\n`)
  assert.match(told, `When nobody will want that: rm ${file}\n`)
  // The last restore may have been one of rows.
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', ['--undo', '--dry-run'])
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /What restore --rows brought back is taken out by files of its own:[\s\S]*rows-brought-back-/)
  assert.match(
    stderr,
    new RegExp(
      `The newest change was restore --rows, .*: its rows leave production, too\\..* the file above takes them out: ${name}$`,
      'm',
    ),
  )
  assert.match(stdout, 'Nothing was changed.')
  const back = await sandbox.dokku(['postgres:connect', sandbox.service], await readFile(file))
  assert.is(back.stdout, '10 rows of public.libraries_photo taken out; production is otherwise unchanged.\n')
  const later = (await sandbox.script('backup.ts', ['--check'])).stdout
  assert.match(later, /brought-back rows .*; 1 with no row that is in production any more\n/)
  assert.match(later, `What has no row in production any more: rm ${file}\n`)
  assert.not.match(later, /To take the rows|When nobody will want that: rm \S*brought-back/)
  const undo = await sandbox.script('restore.ts', ['--undo', '--dry-run'])
  assert.match(undo.stderr, new RegExp(`None of them is in production any more:\\n\\S+ +rm ${file}\\n`), undo.stderr)
  assert.not.match(undo.stderr, /The newest change was restore --rows|type the command above/)
})

test('what makes no sense is refused before anything begins', async () => {
  for (const args of [
    ['--where', 'true', archive],
    ['--rows', TABLES, '--where', 'true', archive, '--yes'],
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

test('at a terminal an archive is picked, with what to think of, and the name of the app is typed', async () => {
  const run = (args: readonly string[], answer: string): ReturnType<typeof atTerminal> =>
    atTerminal('restore.ts', [...args, '--rows', TABLES], {
      env: { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
      prompt: /\(1-\d+\): |to go on: /,
      answer: (output) => (output.endsWith('): ') ? '1\r' : answer),
    })
  const wrong = await run([], 'yes\r')
  assert.is(wrong.status, 1, wrong.output)
  assert.match(wrong.output, /Take an archive of before the damage.*\r?\nWhich archive\?/)
  assert.match(wrong.output, /The answer was not book-corners[\s\S]*Production was not touched/)
  assert.is(await counts(sandbox), DAMAGED)
  const right = await run([archive], 'book-corners\r')
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

/** Production has all of it or none; what was begun is cleared at once, but after a SIGKILL by the next run. */
async function killed(
  run: Running,
  signal: NodeJS.Signals,
  { what, release }: { what: string; release?: () => unknown },
): Promise<void> {
  run.child.kill(signal)
  const { exitCode, stderr } = await run.ended
  await release?.()
  const now = await counts(sandbox)
  assert.ok([OLD, DAMAGED].includes(now), `${what}: ${stderr}`)
  if (signal !== 'SIGKILL') {
    assert.ok(exitCode !== 0 || now === OLD, `${what}: ${stderr}`)
    assert.equal(await databases(sandbox), [sandbox.database], `${what}: it clears up after itself`)
  }
  if (now === OLD) await damage(sandbox)
}

/** The next run clears what is left, and brings back what is lacking. */
async function succeeds(): Promise<void> {
  const { exitCode, stderr } = await sandbox.script('restore.ts', [archive, '--rows', TABLES, '--yes'])
  assert.is(exitCode, 0, stderr)
  assert.is(await counts(sandbox), OLD)
  assert.is(await today(), '120')
  assert.equal(await databases(sandbox), [sandbox.database])
}

/** Starts a run that stays for a while where a program of the container comes to. @returns takes the program away again */
async function heldBy(program: string, snippet: string): Promise<[run: Running, release: () => Promise<void>]> {
  await rm(held(sandbox), { force: true })
  await sandbox.containerProgram(program, snippet)
  const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
  await run.reaches(held(sandbox))
  return [run, () => sandbox.containerProgram(program)]
}

/** Beside the session's own psql one more runs for each table. */
function heldTransfer(argument: string): ReturnType<typeof heldBy> {
  return heldBy(
    'psql',
    `case "$*" in *"${argument}"*) touch "${held(sandbox)}"; sleep 1;; esac; exec ${sandbox.postgresBin}/psql "$@"`,
  )
}

async function heldInsertion(): ReturnType<typeof heldBy> {
  const { letGo } = await holdTable('SHARE')
  const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
  await activity(sandbox, run, "application_name = 'book-corners-ops insertion' AND wait_event_type = 'Lock'")
  return [run, async () => letGo()]
}

/** In the order in which a rescue comes to them. */
const STEPS: [what: string, reach: () => ReturnType<typeof heldBy>][] = [
  ['while it compares', () => heldTransfer('FROM STDIN')],
  [
    'in the middle of the import',
    () =>
      heldBy(
        'pg_restore',
        `{ head -c 30000; touch "${held(sandbox)}"; sleep 1; cat; } | PATH=\${PATH#*:} pg_restore "$@"`,
      ),
  ],
  ['while it fetches the rows', () => heldTransfer('TO STDOUT')],
  ['while it inserts', heldInsertion],
]

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const)
  test(`${signal} at one step after the other: production has all or nothing, and the next run succeeds`, async () => {
    for (const [what, reach] of STEPS) {
      const [run, release] = await reach()
      await killed(run, signal, { what, release })
    }
    await succeeds()
  })

test('killed anywhere after the import, again and again', async () => {
  for (const [i, ms] of [420, 660, 900, 300, 540, 780].entries()) {
    const run = sandbox.start('restore.ts', [archive, '--rows', TABLES, '--yes'])
    await run.prints(/Importing/)
    await sleep(ms)
    await killed(run, i < 3 ? 'SIGTERM' : 'SIGKILL', { what: `after ${ms} ms` })
  }
  await succeeds()
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
