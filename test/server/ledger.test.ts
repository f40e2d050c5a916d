import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Entry, entryLine, parseLedger } from '../../lib/server/ledger.ts'

const test = suite('the ledger')
const [OLD, NEW] = ['a'.repeat(40), 'b'.repeat(40)] as const
const entry: Entry = {
  at: '2026-02-28T10:00:00.000Z',
  kind: 'deploy',
  who: 'Engineer',
  from: OLD,
  to: NEW,
  subject: 'Two\nlines "quoted"',
  outcome: 'deployed',
  seconds: 12,
  verified: true,
}

test('a ledger line is one line, and is read back', () => {
  assert.not.match(entryLine(entry), '\n')
  assert.equal(parseLedger(`${entryLine(entry)}\n{"at":"cut of\n\nnull\n42\n${entryLine(entry)}\n`), [entry, entry])
})

test('a line of the ledger that is no entry is passed over, and what an entry leaves out is filled in', () => {
  const [at, to] = ['2026-02-28T03:00:00Z', 'a'.repeat(40)]
  const whole = { at, kind: 'deploy', who: 'CI', from: null, to, subject: 's', outcome: 'deployed', verified: true }
  const spoilt = [
    { to: 'HEAD' },
    { to: 5 },
    { from: {} },
    { from: '--all' },
    { at: 'noon' },
    { outcome: null },
    { who: 1 },
  ]
  const lines = [
    ...['', 'null', '[]', '"text"', '{"at":"2026-02-28T03'],
    ...spoilt.map((part) => JSON.stringify({ ...whole, ...part })),
    JSON.stringify(whole),
    JSON.stringify({ at, kind: 'rollback', to, outcome: 'lost' }),
  ]
  assert.equal(parseLedger(lines.join('\n')), [
    { ...whole, seconds: 0 },
    { at, kind: 'rollback', who: 'unknown', from: null, to, subject: '', outcome: 'lost', seconds: 0, verified: null },
  ])
})

test.run()
