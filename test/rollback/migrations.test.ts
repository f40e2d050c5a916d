import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Deployment } from '../../lib/deploy/deployment.ts'
import { migrationsAmong } from '../../lib/git/migrations.ts'
import { describeCrossing, migrationsAcross, undoCommands } from '../../lib/rollback/migrations.ts'
import { createRepository } from '../support/repository.ts'

const test = suite('migrations on the way to another release')

test('the migrations that a way back crosses, and none on the way forward', async () => {
  const repository = await createRepository()
  try {
    const { checkout, commit } = repository
    const before = await commit('Before', { 'a/migrations/0001_initial.py': '1' })
    const after = await commit('After', { 'a/migrations/0002_städte.py': '1', 'a/models.py': '1' })
    const added = [{ path: 'a/migrations/0002_städte.py', how: 'added' }]
    assert.equal(await migrationsAcross(checkout, before, after), added)
    assert.equal(await migrationsAcross(checkout, after, before), [])
    assert.is(await migrationsAcross(checkout, '0'.repeat(40), before), undefined)
    const moved = await commit('Move', {
      'a/settings.py': "MIGRATION_MODULES = {'libraries': 'schema.libraries'}\n",
      'schema/libraries/0001_initial.py': '1',
      'b/db_migrations/0001_initial.py': '1',
    })
    const crossing = await describeCrossing({ checkout, app: 'app' } as Deployment, after, moved, async () => [])
    const commands = crossing.filter((line) => line.includes('manage.py'))
    assert.equal(commands, [`  ${UNDO} b zero`, `  ${UNDO} libraries zero`])
  } finally {
    await repository.remove()
  }
})

const UNDO = 'sudo dokku enter app web python manage.py migrate'

function undo(crossed: readonly string[], left: readonly string[], known = left): string[] {
  const files = migrationsAmong(crossed.map((line) => [line.slice(0, 1), line.slice(2)]))
  return undoCommands('app', { crossed: files, left, known: new Set(known), labels: new Map() })
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
  const labels = new Map([['a/migrations', 'book_a']])
  const crossed = migrationsAmong([['A', 'a/migrations/0001_i.py']])
  assert.equal(undoCommands('app', { crossed, left: [], known: new Set(), labels }), [`${UNDO} book_a zero`])
})

test.run()
