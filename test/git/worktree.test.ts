import { existsSync } from 'node:fs'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createShell } from '../../lib/core/shell.ts'
import { inOwnTree } from '../../lib/git/worktree.ts'
import { createRepository, shell } from '../support/repository.ts'

const test = suite('a second working tree')
let repository: Awaited<ReturnType<typeof createRepository>>
let first: string

test.before(async () => {
  repository = await createRepository()
  first = await repository.commit('First', { 'map.css': 'red' })
  await repository.commit('Second', { 'map.css': 'blue' })
})
test.after(() => repository.remove())

function trees(): string[] {
  return repository.git('worktree', 'list').split('\n')
}

test('holds the commit, is on no branch, and what is done there is not seen in the checkout', async () => {
  const { checkout, dir } = repository
  const text = await inOwnTree(checkout, { shell, cleanup: shell }, first, async (tree) => {
    assert.is.not(tree.dir, checkout.dir)
    assert.is((await tree.git(['symbolic-ref', '-q', 'HEAD'])).exitCode, 1)
    const content = await readFile(join(tree.dir, 'map.css'), 'utf8')
    await writeFile(join(tree.dir, 'map.css'), 'green')
    return content
  })
  assert.is(text, 'red')
  assert.is(await readFile(join(dir, 'map.css'), 'utf8'), 'blue')
  assert.is(trees().length, 1)
})

test('is removed when the work fails or is interrupted', async () => {
  const interruption = new AbortController()
  const interrupted = createShell(shell.env, interruption.signal)
  let dir = ''
  await inOwnTree(repository.checkout, { shell: interrupted, cleanup: shell }, first, async (tree) => {
    dir = tree.dir
    interruption.abort(new Error('interrupted'))
    await tree.ask(['status'])
  }).then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, 'interrupted'),
  )
  assert.is(existsSync(dir), false)
  assert.is(trees().length, 1)
})

test('of a process that is gone is removed by the next; that of a living one is not', async () => {
  const made: string[] = []
  for (const pid of [process.pid, 2 ** 22 + 1]) {
    const dir = await mkdtemp(join(tmpdir(), `bc-revert-${pid}-`))
    repository.git('worktree', 'add', '-q', '--detach', dir, first)
    made.push(dir)
  }
  await inOwnTree(repository.checkout, { shell, cleanup: shell }, first, async () => {})
  assert.equal(
    made.map((dir) => existsSync(dir)),
    [true, false],
  )
  repository.git('worktree', 'remove', '--force', made[0] ?? '')
})

test.run()
