import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  changedMigrations,
  isMigration,
  migrationModules,
  migrationsAmong,
  parseMigrationModules,
} from '../../lib/git/migrations.ts'
import { createRepository } from '../support/repository.ts'

const test = suite('which files are migrations')

for (const [path, is] of [
  ['a/migrations/0001_initial.py', true],
  ['a/migrations/squashed.py', true],
  ['migrations/0001_initial.py', true],
  ['a/migrations/__init__.py', false],
  ['a/migrations/README.md', false],
  ['a/models.py', false],
  ['migrations.py', false],
  ['libraries/db_migrations/0001_initial.py', true],
  ['libraries/db_migrations/helpers.py', false],
  ['libraries/migrations_helpers/0001_initial.py', false],
  ['src/schema/libraries/0002_city.py', true],
  ['schema/libraries/city.py', true],
  ['schema/libraries/__init__.py', false],
  ['schema/other/0001_initial.py', false],
] as const)
  test(`${path} is ${is ? 'one' : 'none'}`, () =>
    assert.is(isMigration(path, new Map([['schema/libraries', 'libraries']])), is))

test('they are told from other files, with what became of them', () => {
  const changed = migrationsAmong([
    ['A', 'a/migrations/0002_x.py'],
    ['M', 'a/migrations/0001_initial.py'],
    ['D', 'b/migrations/0003_y.py'],
    ['A', 'a/migrations/__init__.py'],
    ['A', 'a/models.py'],
    ['A', 'migrations.py'],
  ])
  assert.equal(
    changed.map(({ path, how }) => `${how} ${path}`),
    ['added a/migrations/0002_x.py', 'changed a/migrations/0001_initial.py', 'deleted b/migrations/0003_y.py'],
  )
})

for (const [what, text, modules] of [
  [
    'a literal',
    "MIGRATION_MODULES = {\n  'users': 'users.db',  # apart\n  \"libraries\": \"schema.libraries\",\n  'sites': None,\n}\n",
    ['users/db users', 'schema/libraries libraries'],
  ],
  ['with a type', "MIGRATION_MODULES: dict[str, str] = {'users': 'users.db'}", ['users/db users']],
  ['one at a time', "MIGRATION_MODULES['users'] = 'users.db'", ['users/db users']],
  ['another setting', "OTHER = {'users': 'users.db'}", []],
] as const)
  test(`the settings' MIGRATION_MODULES: ${what}`, () =>
    assert.equal(
      [...parseMigrationModules(text)].map((pair) => pair.join(' ')),
      modules,
    ))

test('of two commits: what one adds and a later one removes is no difference', async () => {
  const { checkout, commit, git, remove } = await createRepository()
  try {
    const settings = { 'config/settings.py': "MIGRATION_MODULES = {'users': 'users.db'}\n" }
    const first = await commit('First', { ...settings, 'a/migrations/0001_initial.py': '' })
    await commit('Second', { 'a/migrations/0002_gone.py': '', 'users/db/0001_initial.py': '' })
    git('rm', '-q', 'a/migrations/0002_gone.py')
    const last = await commit('Third')
    assert.equal(await changedMigrations(checkout, first, last), [{ path: 'users/db/0001_initial.py', how: 'added' }])
    assert.equal([...(await migrationModules(checkout, first))], [['users/db', 'users']])
  } finally {
    await remove()
  }
})

test.run()
