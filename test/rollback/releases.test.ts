import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { pastReleases } from '../../lib/rollback/releases.ts'
import { ledgerOf } from '../support/ledger.ts'

const test = suite('the releases that the ledger saw running')

for (const [what, entries, ran] of [
  ['an empty ledger', [], ''],
  ['three deploys', ['deploy - A', 'deploy A B', 'deploy B C'], 'C B A'],
  ['what ran before the first entry', ['deploy A B'], 'B A'],
  ['a failed deploy is none', ['deploy - A', 'deploy A B build-failed'], 'A'],
  ['a deploy that lost its connection and went live', ['deploy - A', 'deploy A B lost', 'deploy B C'], 'C B A'],
  ['a deploy that failed after it went live', ['deploy - A', 'deploy A B health-failed B'], 'B A'],
  ['one that failed before', ['deploy - A', 'deploy A B health-failed A'], 'A'],
  ['one that was cut off after the switch', ['deploy - A', 'deploy A B lost B'], 'B A'],
  ['a push that was taken and not started', ['deploy - A', 'deploy A B refused A'], 'A'],
  ['a failed build, whatever a container is called', ['deploy - A', 'deploy A B build-failed B'], 'A'],
  ['a way back comes first, once', ['deploy - A', 'deploy A B', 'rollback B A'], 'A B'],
  ['a revert that CI is to deploy has not run', ['deploy - A', 'revert A R pushed'], 'A'],
  ['a rebuild is no other release', ['deploy - A', 'deploy A B', 'rebuild B B'], 'B A'],
  ['the same commit again', ['deploy - A', 'deploy A A unchanged'], 'A'],
] as const)
  test(`the list: ${what}`, () =>
    assert.is(
      pastReleases(ledgerOf(...entries))
        .map(({ sha }) => sha)
        .join(' '),
      ran,
    ))

test.run()
