import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Failure } from '../../lib/core/failure.ts'
import {
  type Checkout,
  changedFiles,
  commitsBetween,
  commitsHere,
  describeCommit,
  describeCommits,
  dirtyPaths,
  fileOf,
  hasCommit,
  isAncestor,
  openCheckout,
  resolveCommit,
} from '../../lib/git/checkout.ts'
import { createRepository, shell } from '../support/repository.ts'

const test = suite("the app's checkout")
let repository: Awaited<ReturnType<typeof createRepository>>
let dir: string
let checkout: Checkout

const shas: Record<string, string> = {}

test.before(async () => {
  repository = await createRepository()
  dir = repository.dir
  const { git, commit } = repository
  shas.first = await commit('First', { 'a/migrations/0001_initial.py': '1', 'app.txt': '1' })
  shas.changed = await commit('Only change a file', { 'app.txt': '2' })
  git('checkout', '-q', '-b', 'side')
  shas.side = await commit('Städte 🏙 "quoted"\u0007', {
    'a/migrations/0002_städte.py': '1',
    'a/migrations/__init__.py': '',
  })
  git('checkout', '-q', 'master')
  shas.empty = await commit('Empty')
  git('merge', '-q', '--no-ff', '-m', 'Merge side', 'side')
  shas.merge = git('rev-parse', 'HEAD')
  git('tag', '-a', '-m', 'x', 'v1')
  checkout = await openCheckout(shell, join(dir, 'a'))
})
test.after(() => repository.remove())

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
    commits.map(({ subject, added }) => [subject, added]),
    [
      ['Merge side', ['a/migrations/0002_städte.py', 'a/migrations/__init__.py']],
      ['Empty', []],
      ['Only change a file', []],
    ],
  )
})
for (const name of ['first', 'changed', 'side', 'empty', 'merge'])
  test(`the commit ${name} is described as itself`, async () =>
    assert.is((await describeCommit(checkout, shas[name] ?? '')).sha, shas[name]))
test('several commits are described at once, each as alone; those that are not here are left out', async () => {
  const all = Object.values(shas)
  const each = await Promise.all(all.map((sha) => describeCommit(checkout, sha)))
  assert.equal(await describeCommits(checkout, all), each)
  assert.equal(await commitsHere(checkout, ['0'.repeat(40), ...all]), each)
})
test('the way back has the same differences, told the other way round', async () => {
  const [one = '', other = ''] = [shas.side, shas.empty]
  const there = [
    ['A', 'a/migrations/0002_städte.py'],
    ['A', 'a/migrations/__init__.py'],
    ['M', 'app.txt'],
  ]
  const back = there.map(([how, path]) => [how === 'A' ? 'D' : how, path])
  assert.equal(
    await changedFiles(checkout, other, one),
    there.filter(([, path]) => path !== 'app.txt'),
  )
  assert.equal(await changedFiles(checkout, one, shas.first ?? ''), back)
  assert.equal(await changedFiles(checkout, shas.first ?? '', one), there)
})
test('a commit that is missing is found once it was fetched', async () => {
  const other = await createRepository()
  const sha = shas.first ?? ''
  assert.is(await hasCommit(other.checkout, sha), false)
  assert.is(await fileOf(other.checkout, sha, 'app.txt'), undefined)
  assert.is(await isAncestor(other.checkout, sha, sha), undefined)
  other.git('fetch', '-q', dir, 'master')
  assert.is(await hasCommit(other.checkout, sha), true)
  assert.is(await fileOf(other.checkout, sha, 'app.txt'), '1')
  assert.is(await isAncestor(other.checkout, sha, sha), true)
  await other.remove()
})
test('what is in a commit, and what is not', async () => {
  assert.is(await fileOf(checkout, shas.first ?? '', 'app.txt'), '1')
  assert.is(await fileOf(checkout, shas.first ?? '', 'none'), undefined)
  assert.is(await hasCommit(checkout, '0'.repeat(40)), false)
  assert.is(await isAncestor(checkout, shas.first ?? '', shas.merge ?? ''), true)
  assert.is(await isAncestor(checkout, shas.merge ?? '', shas.first ?? ''), false)
  assert.is(checkout.isShallow, false)
  assert.equal(await dirtyPaths(checkout), [])
  await writeFile(join(dir, 'new.txt'), '')
  assert.is((await dirtyPaths(checkout)).length, 1)
})

test.run()
