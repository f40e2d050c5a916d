import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseCrossed, undoCommands } from '../../lib/rollback/migrations.ts'
import { sightings } from '../../lib/rollback/releases.ts'
import { rangeToRevert } from '../../lib/rollback/revert-range.ts'
import { type Entry, parseLedger } from '../../lib/server/ledger.ts'

const test = suite('what the ledger and the migrations say about the way back')

/** `deploy A B`, or `deploy A B build-failed`. */
function ledger(...lines: string[]): Entry[] {
  return lines.map((line, i) => {
    const [kind = '', from = '', to = '', outcome = 'deployed'] = line.split(' ')
    return {
      at: new Date(Date.UTC(2026, 1, i + 1)).toISOString(),
      kind: kind as Entry['kind'],
      who: 'Engineer',
      from: from === '-' ? null : from,
      to,
      subject: `Subject of ${to}`,
      outcome,
      seconds: 60,
      verified: null,
    }
  })
}

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

for (const [what, entries, ran] of [
  ['an empty ledger', [], ''],
  ['three deploys', ['deploy - A', 'deploy A B', 'deploy B C'], 'C B A'],
  ['what ran before the first entry', ['deploy A B'], 'B A'],
  ['a failed deploy is none', ['deploy - A', 'deploy A B build-failed'], 'A'],
  ['a deploy that lost its connection and went live', ['deploy - A', 'deploy A B lost', 'deploy B C'], 'C B A'],
  ['a way back comes first, once', ['deploy - A', 'deploy A B', 'rollback B A'], 'A B'],
  ['a revert that CI is to deploy has not run', ['deploy - A', 'revert A R pushed'], 'A'],
  ['a rebuild is no other release', ['deploy - A', 'deploy A B', 'rebuild B B'], 'B A'],
  ['the same commit again', ['deploy - A', 'deploy A A unchanged'], 'A'],
] as const)
  test(`the list: ${what}`, () =>
    assert.is(
      sightings(ledger(...entries))
        .map(({ sha }) => sha)
        .join(' '),
      ran,
    ))

for (const [what, entries, deployed, range] of [
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
  ['HEAD, without a ledger', [], 'B', 'HEAD'],
  ['HEAD, when something else runs than the ledger says', ['deploy A B'], 'X', 'HEAD'],
  ['HEAD, when nothing ran before', ['deploy - A'], 'A', 'HEAD'],
] as const)
  test(`--revert takes ${what}`, () => {
    const { from, to } = rangeToRevert(ledger(...entries), deployed, 'HEAD')
    assert.is(from ? `${from}..${to}` : to, range)
  })

test('migrations are told from other files, with what became of them', () => {
  const crossed = parseCrossed(
    'A\0a/migrations/0002_x.py\0M\0a/migrations/0001_initial.py\0D\0b/migrations/0003_y.py\0A\0a/migrations/__init__.py\0A\0a/models.py\0A\0migrations.py\0',
  )
  assert.equal(
    crossed.map(({ path, how }) => `${how} ${path}`),
    ['added a/migrations/0002_x.py', 'changed a/migrations/0001_initial.py', 'deleted b/migrations/0003_y.py'],
  )
})

const UNDO = 'sudo dokku run app python manage.py migrate'

function undo(crossed: readonly string[], left: readonly string[], known = left): string[] {
  return undoCommands('app', parseCrossed(crossed.join('\0').replaceAll(' ', '\0')), left, new Set(known))
}

for (const [what, crossed, left, commands] of [
  ['one', ['A a/migrations/0002_x.py'], ['a/migrations/0001_initial.py'], [`${UNDO} a 0001_initial`]],
  [
    'several of one app',
    ['A a/migrations/0002_x.py', 'A a/migrations/0003_y.py'],
    ['a/migrations/0001_i.py'],
    [`${UNDO} a 0001_i`],
  ],
  [
    'the last one there by number',
    ['A a/migrations/0011_x.py'],
    ['a/migrations/0002_b.py', 'a/migrations/0010_c.py'],
    [`${UNDO} a 0010_c`],
  ],
  ['all of an app', ['A src/b/migrations/0001_initial.py'], ['a/migrations/0001_i.py'], [`${UNDO} b zero`]],
  [
    'two apps',
    ['A b/migrations/0001_i.py', 'A a/migrations/0002_x.py'],
    ['a/migrations/0001_i.py'],
    [`${UNDO} a 0001_i`, `${UNDO} b zero`],
  ],
] as const)
  test(`undoing ${what}`, () => assert.equal(undo(crossed, left), commands))

for (const [what, crossed, left, says] of [
  [
    'squashed',
    ['A a/migrations/0001_squashed.py', 'D a/migrations/0001_initial.py'],
    ['0001_initial'],
    /: 0001_initial changed, or unknown to what runs,/,
  ],
  [
    'changed',
    ['M a/migrations/0001_initial.py', 'A a/migrations/0002_b.py'],
    ['0001_initial'],
    /: 0001_initial changed/,
  ],
  // The way to a revert on top of a migration that was never deployed.
  [
    'unknown to what runs',
    ['A a/migrations/0002_b.py'],
    ['0001_i', '0003_new'],
    /: 0003_new changed, or unknown to what runs,/,
  ],
  [
    'beside one that stays',
    ['A a/migrations/0002_b.py', 'A a/migrations/0003_merge.py'],
    ['0001_i', '0002_a'],
    /: 0002_b beside 0002_a,/,
  ],
] as const)
  test(`migrations that are ${what} have no one command, least of all one that drops the tables`, () => {
    const known = left.filter((name) => !/new/.test(name) && what !== 'squashed')
    const paths = (names: readonly string[]): string[] => names.map((name) => `a/migrations/${name}.py`)
    const [command = '', ...more] = undo(crossed, paths(left), paths(known))
    assert.equal(more, [])
    assert.match(command, /^# a: .*, so no one command undoes it; see: .* showmigrations a$/)
    assert.match(command, says)
  })

test('an app that has a label of its own is named by it', () => {
  const label = new Map([['a/migrations', 'book_a']])
  const crossed = parseCrossed('A\0a/migrations/0001_i.py')
  assert.equal(undoCommands('app', crossed, [], new Set(), label), [`${UNDO} book_a zero`])
})

test.run()
