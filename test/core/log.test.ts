import { Writable } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createLog, type Log } from '../../lib/core/log.ts'

const test = suite('log')

interface Written {
  log: Log
  /** What went to stderr. */
  written(): string
  /** What went to stdout. */
  printed(): string
}

/** A log into a file or, with `isTTY`, at a terminal; with `actions`, before GitHub's runner. */
function logTo({ actions = false, ...more }: { isTTY?: boolean; columns?: number; actions?: boolean }): Written {
  let written = ''
  let printed = ''
  const write = (chunk: Buffer, _: string, done: () => void): void => {
    written += chunk
    done()
  }
  const stdout = {
    write: (text: string) => {
      printed += text
    },
  }
  const stream = Object.assign(new Writable({ write }), more) as NodeJS.WriteStream
  return { log: createLog(stream, { stdout, actions }), written: () => written, printed: () => printed }
}

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d`
/** A name that would clear the screen, turn the direction of writing, and add a line to the log. */
const EVIL = 'a\u001b[2Jb\u009bc\u202ed\rx\n2026-02-28T03:00:00+01:00 OK: all is well\u0007'

test('in a log every line has its time, further lines of a message are indented, and there is no live line', () => {
  const { log, written } = logTo({})
  log.status('42 %')
  log.info('one\ntwo')
  assert.match(written(), new RegExp(`^${TIME} one\\n${TIME}   two\\n$`))
})

test('further lines keep their columns: none is moved where all are indented, else all are', () => {
  const { log, written } = logTo({})
  log.info('Two problems:\n  - one\n  - two')
  log.info('Rows:\ntable  rows\n    one     1')
  log.info(`Names:\n  ${EVIL}`)
  const lines = written()
    .split('\n')
    .map((line) => line.slice(line.indexOf(' ') + 1))
  assert.equal(lines.slice(0, 6), ['Two problems:', '  - one', '  - two', 'Rows:', '  table  rows', '      one     1'])
  assert.is(lines[8], '  2026-02-28T03:00:00+01:00 OK: all is well?')
})

test('at a terminal the live line is as wide as the terminal, and gone before the next line', () => {
  const { log, written } = logTo({ isTTY: true, columns: 10 })
  log.status('0123456789abc')
  log.info('done')
  const plain = written().replaceAll('\u001b[2m', '').replaceAll('\u001b[22m', '')
  assert.is(plain, '\r\u001b[K012345678\r\u001b[Kdone\n')
})

test('warnings are kept for the summary', () => {
  const { log } = logTo({})
  log.addSecrets(['correct-horse-7'])
  log.warn('a file vanished')
  log.warn('correct-horse-7 is weak')
  assert.equal(log.warnings, ['a file vanished', '*** is weak'])
})

for (const isTTY of [false, true])
  test(`no control character leaves by any door, and no name makes a line of its own (${isTTY ? 'terminal' : 'log'})`, () => {
    const { log, written, printed } = logTo({ isTTY, columns: 200 })
    for (const door of [log.info, log.warn, log.error, log.raw, log.status, log.print, log.command, log.printJson])
      door(EVIL)
    const own = isTTY ? /\r?\u001b\[[\d;]*[mK]|\r/g : /$^/
    const text = (written() + printed()).replace(own, '')
    assert.not.match(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/)
    assert.not.match(written(), /^2026-02-28T03:00:00\+01:00 OK/m)
    assert.match(written(), /^.* {2}2026-02-28T03:00:00\+01:00 OK: all is well\?$/m)
  })

test('a question has no secret and no control character; what comes before its answer begins on a line of its own', () => {
  const { log, written } = logTo({ isTTY: true, columns: 200 })
  log.addSecrets(['correct-horse-7'])
  log.question('Go\u001b[2J on with correct-horse-7? ')
  log.answered()
  log.print('agreed')
  log.question('And now? ')
  log.info('interrupted')
  assert.is(written(), 'Go?[2J on with ***? And now? \ninterrupted\n')
})

test('a line of the log that is too long to be shown is cut, and says so; a result is not', () => {
  const { log, written, printed } = logTo({})
  log.info(`${'x'.repeat(1e6)}\nend`)
  log.print('y'.repeat(10_000))
  assert.is(printed(), `${'y'.repeat(10_000)}\n`)
  assert.match(written(), /^\S+ x{4000}… \(1000000 characters\)\n\S+ {3}end\n$/)
})

test('JSON is exact, but shows no control character and no secret', () => {
  const { log, printed } = logTo({})
  log.addSecrets(['cor"rect\\horse-7'])
  const value = { name: EVIL, list: ['\u007f\u2066', 1, null], line: '0 3 * * * PASS=cor"rect\\horse-7 backup' }
  log.printJson(value)
  assert.not.match(printed().trimEnd(), /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/)
  assert.equal(JSON.parse(printed()), { ...value, line: '0 3 * * * PASS=*** backup' })
})

test('no secret and no password of an address is written; a plain word stays readable', () => {
  const { log, written } = logTo({})
  log.addSecrets(['correct-horse-7', 'backup', 'backupbackup'])
  log.error('the key correct-horse-7 of postgres://app:hunter2@db:5432/books')
  log.raw('correct-horse-7, a backupbackup of backup')
  assert.match(written(), 'the key *** of postgres://app:***@db:5432/books\n  ***, a backupbackup of backup')
})

test("GitHub's runner takes no command from what a build prints, whatever it prints", () => {
  const { log, written, printed } = logTo({ actions: true })
  log.raw('::add-mask::a')
  log.raw('  ::stop-commands::mine')
  log.raw('text ##[error]b')
  log.info('##[add-mask]c\n::set-output name=x::y')
  log.print('::error::d\nrow ##[group]')
  log.printJson({ seen: '##[error]e' })
  const [, word = ''] = /^::stop-commands::(\S{36})\n/.exec(written()) ?? []
  const [raw = '', after = ''] = written().split(`::${word}::\n`)
  assert.is(raw.split('\n').length, 5)
  // Where commands are stopped, and where they are not: none begins a line, none is in one.
  for (const text of [raw.replace(/^.*\n/, ''), after, printed()]) assert.not.match(text, /^\s*::|##\[/m)
  assert.equal(JSON.parse(printed().trimEnd().split('\n').at(-1) ?? ''), { seen: '##[error]e' })
  log.raw('again')
  log.command('::error title=x::the site: ##[error]')
  const [, other] = /::stop-commands::(\S{36})\n {2}again\n/.exec(written()) ?? []
  assert.is.not(other, word)
  assert.ok(written().endsWith(`::${other}::\n`))
  assert.match(printed(), /^::error title=x::the site: ## \[error\]$/m)
})

test('elsewhere the same is shown as it is', () => {
  const { log, written } = logTo({})
  log.raw('::add-mask::a ##[error]')
  assert.is(written(), '  ::add-mask::a ##[error]\n')
})

test('on a server commands are named as they can be typed there', () => {
  for (const [said, shown] of [
    ['To see them: restore --list', 'To see them: ~/restore --list'],
    ['Make the first one: backup', 'Make the first one: ~/backup'],
    ['Name it: restore latest --yes. Look: backup --check', 'Name it: ~/restore latest --yes. Look: ~/backup --check'],
    ['For a script: restore 2026-02-28 --rows a --yes', 'For a script: ~/restore 2026-02-28 --rows a --yes'],
    ['script -c restore FILE', 'script -c ~/restore FILE'],
    ["script -c 'restore app-2026' FILE", "script -c '~/restore app-2026' FILE"],
    ['On the server: /home/deploy/restore --list, or ~/restore --list', undefined],
    ['The next restore will do it; the backup that failed', undefined],
    ['on the laptop: rollback --to 01234567', undefined],
  ]) {
    const stream = { write: (text: string) => written.push(text), isTTY: true } as unknown as NodeJS.WriteStream
    const written: string[] = []
    createLog(stream, { launchers: '~' }).info(said ?? '')
    assert.is(written.join(''), `${shown ?? said}\n`)
  }
})

test.run()
