import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { entryLine, parseLedger } from '../../lib/server/ledger.ts'
import { ENTRY } from '../support/ledger.ts'

const test = suite('the ledger')

test('a ledger line is one line, and is read back', () => {
  assert.not.match(entryLine(ENTRY), '\n')
  assert.equal(parseLedger(`${entryLine(ENTRY)}\n{"at":"cut of\n\nnull\n42\n${entryLine(ENTRY)}\n`), [ENTRY, ENTRY])
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
