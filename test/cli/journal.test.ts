import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createClosing } from '../../lib/cli/closing.ts'
import { journaled, readJournal } from '../../lib/cli/journal.ts'
import { HeldLock } from '../../lib/cli/lock.ts'
import type { Context } from '../../lib/cli/main.ts'
import { Failure, Interrupted } from '../../lib/core/failure.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'

const test = suite('journal')
let folder: string
let path: string

function open() {
  const controller = new AbortController()
  const log = createLog(new Writable({ write: (_chunk, _encoding, done) => done() }) as NodeJS.WriteStream)
  const shell = createShell({ PATH: '/usr/bin:/bin' }, controller.signal)
  const ask = { declined: false, waitedMs: 0 } as Context['ask'] & { declined: boolean; waitedMs: number }
  return { log, shell, ask, closing: createClosing(), controller }
}

test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-journal-'))
  path = join(folder, 'state/runs.jsonl')
})
test.after.each(() => rm(folder, { recursive: true }))

test('each run is a line: what was known of it, how it ended, and why; its result and its error stay', async () => {
  const context = open()
  const result = await journaled(context, path, 'night', async (note) => {
    note({ archive: 'a-1', newBytes: 5 })
    note({ checked: true })
    context.log.warn('odd')
    return 'summary'
  })
  assert.is(result, 'summary')
  const failing = (error: Error, facts = {}) =>
    journaled(context, path, 'drill', async (note) => {
      note(facts)
      throw error
    }).then(assert.unreachable, (thrown) => assert.is(thrown, error))
  await failing(new Failure('The disk is full.'), { archive: 'a-2' })
  await failing(new HeldLock(undefined))
  context.closing.so('production', 'Half of it was replaced.')
  context.controller.abort(new Interrupted('SIGTERM'))
  await failing(new Failure('What the interruption led to'))

  const entries = await readJournal(path)
  assert.equal(
    entries.map(({ kind, outcome, archive, newBytes, checked, warnings, reason, state }) => [
      kind,
      outcome,
      archive,
      newBytes,
      checked,
      warnings,
      reason,
      state,
    ]),
    [
      ['night', 'done', 'a-1', 5, true, 1, undefined, undefined],
      ['drill', 'failed', 'a-2', undefined, undefined, 1, 'The disk is full.', 'Nothing was changed.'],
      [
        'drill',
        'locked',
        undefined,
        undefined,
        undefined,
        1,
        'Another run holds the lock and does not say who it is.',
        'Nothing was changed.',
      ],
      [
        'drill',
        'interrupted',
        undefined,
        undefined,
        undefined,
        1,
        'Interrupted by SIGTERM.',
        'Half of it was replaced.',
      ],
    ],
  )
  assert.match(entries[0]?.time ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/)
  assert.is((await stat(path)).mode & 0o777, 0o600)
})

test('a run that was not agreed to leaves no line: it has changed nothing', async () => {
  const context = open()
  await journaled(context, path, 'restore --db-only', async () => {
    context.ask.declined = true
    throw new Failure('The answer was not book-corners.')
  }).then(assert.unreachable, ({ message }) => assert.is(message, 'The answer was not book-corners.'))
  assert.equal(await readJournal(path), [])
})

test('the time in which a question waited, or one before the run, is none in which it worked', async () => {
  const context = open()
  context.ask.waitedMs = 60_000
  await journaled(context, path, 'restore', async () => {
    const askedMs = performance.now()
    await sleep(1500)
    context.ask.waitedMs += performance.now() - askedMs
  })
  const [{ seconds } = { seconds: -1 }] = await readJournal(path)
  assert.ok(seconds >= 0 && seconds < 1, String(seconds))
})

test('no secret is in it, no line grows without end, and neither does the file', async () => {
  const context = open()
  context.log.addSecrets(['correct-horse-7'])
  const night = (text: string) =>
    journaled(context, path, 'night', () => Promise.reject(new Failure(text))).catch(() => {})
  await night(`the key correct-horse-7 is wrong\n${'x'.repeat(100_000)}`)
  const text = await readFile(path, 'utf8')
  assert.not.match(text, /correct-horse/)
  assert.match(text, /the key \*\*\* is wrong/)
  assert.ok(text.length < 1000)
  await writeFile(path, text.repeat(5000))
  await night('the newest')
  const entries = await readJournal(path)
  assert.ok(entries.length < 1300)
  assert.is(entries.at(-1)?.reason, 'the newest')
})

test('lines that are broken, or of somebody else, are passed over, and one that was cut off swallows none', async () => {
  const context = open()
  await journaled(context, path, 'night', async () => '')
  for (const line of ['nonsense', '{"kind":"night"}', '[]', 'null', '{"kind":"party","outcome":"done","time":"2026"}'])
    await appendFile(path, `${line}\n`)
  await appendFile(path, '{"kind":"night","outc')
  await journaled(context, path, 'drill', async () => '')
  assert.equal(
    (await readJournal(path)).map(({ kind }) => kind),
    ['night', 'drill'],
  )
})

test('that it can not be written is a warning', async () => {
  const context = open()
  await writeFile(join(folder, 'state'), 'a file')
  assert.is(await journaled(context, path, 'night', async () => 'stored'), 'stored')
  assert.match(context.log.warnings.join(), /journal of the runs could not be written/)
  assert.equal(await readJournal(path), [])
})

test.run()
