import { Writable } from 'node:stream'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createLog, type Log } from '../../lib/core/log.ts'

const test = suite('log')

/** A log into a file or, with `isTTY`, at a terminal; and what it wrote. */
function logTo(more: { isTTY?: boolean; columns?: number }): { log: Log; written: () => string } {
  let written = ''
  const write = (chunk: Buffer, _: string, done: () => void): void => {
    written += chunk
    done()
  }
  return { log: createLog(Object.assign(new Writable({ write }), more) as NodeJS.WriteStream), written: () => written }
}

test('in a log every line has its time, and there is no live line', () => {
  const { log, written } = logTo({})
  log.status('42 %')
  log.info('one\ntwo')
  assert.match(written(), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d one\n\S+ two\n$/)
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

test('no secret and no password of an address is written; a plain word stays readable', () => {
  const { log, written } = logTo({})
  log.addSecrets(['correct-horse-7', 'backup', 'backupbackup'])
  log.error('the key correct-horse-7 of postgres://app:hunter2@db:5432/books')
  log.raw('correct-horse-7, a backupbackup of backup')
  assert.match(written(), 'the key *** of postgres://app:***@db:5432/books\n***, a backupbackup of backup')
})

test.run()
