// Every way out of a restore, at each question and step: the last line is what is so, and it is true. Those of a backup are in
// backup.test.ts.
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type JournalEntry, journalPath, readJournal } from '../../lib/cli/journal.ts'
import { statePath } from '../../lib/cli/state.ts'
import { programs } from '../support/borg.ts'
import { backUpAndDamage, counts, DAMAGED, databases, held, hold, OLD, reset, services } from '../support/damage.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'
import { atClosedWindow, atTerminal, CLOSE_WINDOW, lastLine, typedScript } from '../support/terminal.ts'

const test = suite('every way out')
let sandbox: Sandbox

const [CTRL_C, END] = ['\u0003', '\u0004']
/** A minute is waited for an app that is down: here a moment. */
const FAST = `--import=${fileURLToPath(new URL('../support/fast-clock.mjs', import.meta.url))}`
const UNTOUCHED = 'Production was not touched.'
const BESIDE_REMOVED = 'The database book_corners_db_restoring beside it was removed.'

test.before(async () => {
  sandbox = await startSandbox()
  await backUpAndDamage(sandbox)
  await writeFile(join(sandbox.mediaDir, 'photos/2.jpg'), 'newer')
})
test.after(() => sandbox.stop())
// What changes production resets it at its end.
test.before.each(() => rm(held(sandbox), { force: true }))

async function production(): Promise<string> {
  return `${await counts(sandbox)} ${(await databases(sandbox)).join(' ')}`
}

/** The newest line of the journal. */
async function lastRun(): Promise<JournalEntry | undefined> {
  const path = statePath({ HOME: sandbox.home }, sandbox.repository, sandbox.service)
  return (await readJournal(journalPath(path))).at(-1)
}

const AT_QUESTIONS: [where: string, args: string[], answers: string[], status: number, says: string][] = [
  ['which archive: Ctrl-C', ['--db-only'], [CTRL_C], 130, UNTOUCHED],
  ['which archive: the end of the input', ['--db-only'], ['9\r', END], 1, UNTOUCHED],
  ['before the database: Ctrl-C', ['latest', '--db-only'], [CTRL_C], 130, `${UNTOUCHED} ${BESIDE_REMOVED}`],
  ['before the database: twice wrong', ['latest', '--db-only'], ['y\r', 'yes\r'], 1, `${UNTOUCHED} ${BESIDE_REMOVED}`],
  ['before the photos: Ctrl-C', ['latest', '--media-only', '--overwrite'], [CTRL_C], 130, UNTOUCHED],
  ['before the photos: Enter', ['latest', '--media-only', '--overwrite'], ['\r'], 1, UNTOUCHED],
]
for (const [where, args, answers, status, says] of AT_QUESTIONS)
  test(`at the question ${where}`, async () => {
    const left = [...answers]
    const run = await lastRun()
    const ended = await atTerminal('restore.ts', args, {
      env: { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
      prompt: /to go on: |\(1-\d+\): /,
      answer: () => left.shift(),
    })
    assert.is(ended.status, status, ended.output)
    assert.is(lastLine(ended.output), says)
    assert.is(await production(), `${DAMAGED} book_corners_db`)
    assert.equal(await lastRun(), run, 'what nobody agreed to is no restore')
  })

for (const args of [
  ['--db-only'],
  ['latest', '--db-only'],
  ['latest', '--media-only'],
  ['latest', '--rows', 'libraries_library'],
])
  test(`when the window is closed at the question of restore ${args.join(' ')}, all is cleaned up`, async () => {
    await rm(join(sandbox.mediaDir, 'photos/1.jpg'), { force: true })
    const { status, output } = await closeWindow(args)
    assert.is(status, 129, output)
    assert.is(await production(), `${DAMAGED} book_corners_db`)
    assert.not.match(await services(sandbox), /-test/)
  })

function closeWindow(args: string[]): ReturnType<typeof atClosedWindow> {
  return atClosedWindow(typedScript('restore.ts', args), {
    env: { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
    prompt: /to go on: |\(1-\d+\): /,
    answer: () => CLOSE_WINDOW,
  })
}

test('at the question before --undo', async () => {
  await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  const before = await production()
  const ended = await atTerminal('restore.ts', ['--undo'], {
    env: { PATH: programs(), HOME: sandbox.home, OPS_ENV_FILE: sandbox.envFile },
    prompt: /to go on: /,
    answer: () => CTRL_C,
  })
  assert.is(lastLine(ended.output), UNTOUCHED)
  assert.match(ended.output, /production as it was before the restore of book-corners-\S+\.\s+Comes back: every row/)
  assert.match(ended.output, /Leaves production: what came by that restore, and everything written since\./)
  assert.is((await closeWindow(['--undo'])).status, 129)
  assert.is(await production(), before)
  await reset(sandbox)
})

const RESTORE = ['restore.ts', 'latest', '--db-only', '--yes']
const TEST = ['restore.ts', 'latest', '--test']
const AT_STEPS: [where: string, words: string[], dokku: string, says: RegExp, isSo: RegExp][] = [
  [
    'before the database is made',
    RESTORE,
    'postgres:enter',
    /^Production was not touched\./,
    /^120\|0 book_corners_db$/,
  ],
  [
    'after the import',
    RESTORE,
    'git:report',
    new RegExp(`^${UNTOUCHED} ${BESIDE_REMOVED.replaceAll('.', '\\.')}$`),
    /^120\|0 book_corners_db$/,
  ],
  [
    'while a test service is made',
    TEST,
    'postgres:create',
    /^Production was not touched\. The test service book-corners-db-test was removed\.$/,
    /^120\|0 book_corners_db$/,
  ],
]
for (const [where, [script = '', ...args], dokku, says, isSo] of AT_STEPS)
  test(`interrupted ${where}`, async () => {
    await sandbox.fault(dokku, hold(sandbox))
    const run = sandbox.start(script, args)
    await run.reaches(held(sandbox))
    run.child.kill('SIGINT')
    const { exitCode, stderr } = await run.ended
    await sandbox.fault(dokku)
    assert.is(exitCode, 130, stderr)
    assert.match(lastLine(stderr), says)
    if (args.includes('--yes')) {
      const { kind, outcome, state } = (await lastRun()) ?? {}
      assert.equal([kind, outcome, state], ['restore --db-only', 'interrupted', lastLine(stderr)])
    }
    assert.match(await production(), isSo)
    assert.not.match(await services(sandbox), /-test/)
  })

test('after the swap nothing is interrupted any more, and what failed then says that the data is new', async () => {
  await sandbox.fault('ps:report', hold(sandbox))
  const [script = '', ...args] = RESTORE
  const run = sandbox.start(script, args)
  await run.reaches(held(sandbox))
  run.child.kill('SIGINT')
  const { exitCode, stdout } = await run.ended
  assert.is(exitCode, 0)
  assert.match(stdout, /The database before is kept as book_corners_db_before_/)
  assert.is((await lastRun())?.outcome, 'done')
  await reset(sandbox)
  await sandbox.fault('ps:report', `echo '{"deployed":"true","running":"mixed","status-web.1":"exited"}'; exit 0`)
  const down = await sandbox.script(script, args, { env: { NODE_OPTIONS: FAST } })
  await sandbox.fault('ps:report')
  assert.is(down.exitCode, 1)
  const { outcome, state } = (await lastRun()) ?? {}
  assert.equal([outcome, state], ['failed', lastLine(down.stderr)])
  assert.match(
    lastLine(down.stderr),
    /^Production's database was replaced\. The one before is kept as book_corners_db_before_\w+; back to it: restore --undo$/,
  )
  assert.match(await production(), /^300\|10 book_corners_db book_corners_db_before_\w+$/)
  await reset(sandbox)
})

test('what can not begin has changed nothing', async () => {
  for (const words of [['restore.ts', '--lits'], ['restore.ts'], ['backup.ts', '--yes'], ['verify.ts', '--url', 'x']]) {
    const [script = '', ...args] = words
    const { exitCode, stderr } = await sandbox.script(script, args)
    assert.is(exitCode, 2, stderr)
    assert.is(lastLine(stderr), 'Nothing was changed.')
  }
  assert.is(OLD === (await counts(sandbox)), false)
})

test.run()
