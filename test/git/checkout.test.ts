import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Failure } from '../../lib/core/failure.ts'
import { createShell } from '../../lib/core/shell.ts'
import { appJsonProblems } from '../../lib/deploy/plan.ts'
import {
  type Checkout,
  commitsBetween,
  describeCommit,
  dirtyPaths,
  fileOf,
  hasCommit,
  isAncestor,
  isShallow,
  openCheckout,
  resolveCommit,
} from '../../lib/git/checkout.ts'
import { migrationsAcross } from '../../lib/rollback/migrations.ts'

const test = suite("the app's checkout")
let dir: string
let checkout: Checkout
const shell = createShell(
  { PATH: process.env.PATH ?? '', HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1' },
  new AbortController().signal,
)

function git(...args: string[]): string {
  return execFileSync('git', ['-C', dir, '-c', 'user.name=Engineer', '-c', 'user.email=a@b', ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
    .toString()
    .trim()
}

async function commit(subject: string, files: Record<string, string>): Promise<string> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true })
    await writeFile(join(dir, path), text)
  }
  git('add', '-A')
  git('commit', '-q', '--allow-empty', '-m', subject)
  return git('rev-parse', 'HEAD')
}

const shas: Record<string, string> = {}

test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bc-git-'))
  git('init', '-q', '-b', 'master')
  shas.first = await commit('First', { 'a/migrations/0001_initial.py': '1', 'app.txt': '1' })
  shas.changed = await commit('Only change a file', { 'app.txt': '2' })
  git('checkout', '-q', '-b', 'side')
  shas.side = await commit('Städte 🏙 "quoted"\u0007', {
    'a/migrations/0002_städte.py': '1',
    'a/migrations/__init__.py': '',
  })
  git('checkout', '-q', 'master')
  shas.empty = await commit('Empty', {})
  git('merge', '-q', '--no-ff', '-m', 'Merge side', 'side')
  shas.merge = git('rev-parse', 'HEAD')
  git('tag', '-a', '-m', 'x', 'v1')
  checkout = await openCheckout(shell, join(dir, 'a'))
})
test.after(() => rm(dir, { recursive: true, force: true }))

test('a folder inside it is enough, and any other is refused', async () => {
  assert.is(checkout.dir.endsWith(dir.slice(dir.lastIndexOf('/'))), true)
  await openCheckout(shell, '/').then(
    () => assert.unreachable(),
    (error: Failure) => assert.is(error.exitCode, 2),
  )
})

for (const name of ['HEAD', 'master', 'v1', 'HEAD^0'])
  test(`${name} is resolved`, async () => assert.is(await resolveCommit(checkout, name), shas.merge))
test('a short SHA is resolved', async () =>
  assert.is(await resolveCommit(checkout, shas.first?.slice(0, 8) ?? ''), shas.first))
for (const name of ['nowhere', '', '--all', 'HEAD:app.txt', '0'.repeat(40)])
  test(`${JSON.stringify(name)} is no commit`, () =>
    resolveCommit(checkout, name).then(
      () => assert.unreachable(),
      (error: Failure) => assert.is(error.exitCode, 2),
    ))

test('every commit is listed, also one that adds no file; a merge brings its migrations', async () => {
  const commits = await commitsBetween(checkout, shas.first, shas.merge ?? '')
  assert.equal(
    commits.map(({ subject, migrations }) => [subject, migrations]),
    [
      ['Merge side', ['a/migrations/0002_städte.py']],
      ['Empty', []],
      ['Only change a file', []],
    ],
  )
})
for (const name of ['first', 'changed', 'side', 'empty', 'merge'])
  test(`the commit ${name} is described as itself`, async () =>
    assert.is((await describeCommit(checkout, shas[name] ?? '')).sha, shas[name]))
test('the migrations that a way back crosses, and none on the way forward', async () => {
  const added = [{ path: 'a/migrations/0002_städte.py', how: 'added' }]
  assert.equal(await migrationsAcross(checkout, shas.first ?? '', shas.merge ?? ''), added)
  assert.equal(await migrationsAcross(checkout, shas.merge ?? '', shas.first ?? ''), [])
  assert.is(await migrationsAcross(checkout, '0'.repeat(40), shas.first ?? ''), undefined)
})
test('what is in a commit, and what is not', async () => {
  assert.is(await fileOf(checkout, shas.first ?? '', 'app.txt'), '1')
  assert.is(await fileOf(checkout, shas.first ?? '', 'none'), undefined)
  assert.is(await hasCommit(checkout, '0'.repeat(40)), false)
  assert.is(await isAncestor(checkout, shas.first ?? '', shas.merge ?? ''), true)
  assert.is(await isAncestor(checkout, shas.merge ?? '', shas.first ?? ''), false)
  assert.is(await isShallow(checkout), false)
  assert.equal(await dirtyPaths(checkout), [])
  await writeFile(join(dir, 'new.txt'), '')
  assert.is((await dirtyPaths(checkout)).length, 1)
})

const GOOD = {
  scripts: { dokku: { predeploy: 'python manage.py migrate --noinput' } },
  healthchecks: { web: [{ type: 'startup', path: '/health/' }] },
}
for (const [what, text, problems] of [
  ['a good one', JSON.stringify(GOOD), 0],
  ['no JSON', '{', 1],
  ['nothing', '{}', 2],
  ['null', 'null', 2],
  ['a list in the wrong place', '{"healthchecks":{"web":{}},"scripts":[]}', 2],
  ['no migration', JSON.stringify({ ...GOOD, scripts: { dokku: { predeploy: 'true' } } }), 1],
  ['another path', JSON.stringify({ ...GOOD, healthchecks: { web: [{ type: 'startup', path: '/' }] } }), 1],
  ['a liveness check', JSON.stringify({ ...GOOD, healthchecks: { web: [{ type: 'liveness', path: '/health/' }] } }), 1],
] as const)
  test(`app.json: ${what} has ${problems} problems`, () => assert.is(appJsonProblems(text).length, problems))

test.run()
