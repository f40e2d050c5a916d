import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { rangeToRevert } from '../../lib/rollback/revert.ts'
import { ledgerOf } from '../support/ledger.ts'

const test = suite('what a revert takes back, by the ledger')

for (const [what, entries, running, range] of [
  ['the last deploy', ['deploy - A', 'deploy A B', 'deploy B C'], 'C', 'B..C'],
  ['the last that went live', ['deploy - A', 'deploy A B', 'deploy B C build-failed'], 'B', 'A..B'],
  ['not a rebuild', ['deploy A B', 'rebuild B B'], 'B', 'A..B'],
  ['what a rollback took back', ['deploy A B', 'rollback B A'], 'A', 'A..B'],
  ['what two rollbacks took back', ['deploy A B', 'deploy B C', 'rollback C B', 'rollback B A'], 'A', 'A..C'],
  ['the deploy, after there and back again', ['deploy A B', 'rollback B A', 'rollback A B'], 'B', 'A..B'],
  ['a rollback of what the ledger never saw come', ['rollback B A'], 'A', 'A..B'],
  ['a deploy that was cut off and went live', ['deploy A B', 'deploy B C lost'], 'C', 'B..C'],
  ['a deploy that was interrupted, made sure of', ['deploy B C interrupted', 'deploy C C unchanged'], 'C', 'B..C'],
  ['what ran before a deploy that was cut off for good', ['deploy A B', 'deploy B C lost'], 'B', 'A..B'],
  ['what a rollback took back, though it was cut off', ['deploy A B', 'rollback B A lost'], 'A', 'A..B'],
  ['what a rollback took back, of which the ledger has no word', ['deploy A B', 'rollback C B'], 'B', 'B..C'],
  [
    'what a rollback took back, though it was interrupted before',
    ['deploy - A', 'deploy A B', 'deploy B C interrupted B', 'rollback C B'],
    'B',
    'B..C',
  ],
  ['what a rebuild took back', ['deploy A B', 'deploy B C lost C', 'rebuild C B'], 'B', 'B..C'],
  ['a deploy that failed after it went live', ['deploy A B', 'deploy B C health-failed C'], 'C', 'B..C'],
  ['the deploy, after a push that was not started', ['deploy A B', 'deploy B C refused B'], 'B', 'A..B'],
  ['HEAD, without a ledger', [], 'B', 'HEAD'],
  ['HEAD, when something else runs than the ledger says', ['deploy A B'], 'X', 'HEAD'],
  ['HEAD, when nothing ran before', ['deploy - A'], 'A', 'HEAD'],
] as const)
  test(`--revert takes ${what}`, () => {
    const { from, to } = rangeToRevert(ledgerOf(...entries), running, 'HEAD')
    assert.is(from ? `${from}..${to}` : to, range)
  })

test.run()
