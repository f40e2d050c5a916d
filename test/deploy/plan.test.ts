import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Deployment } from '../../lib/deploy/deployment.ts'
import { describePlan, makePlan } from '../../lib/deploy/plan.ts'
import { createRepository } from '../support/repository.ts'

const test = suite('what a deploy will change')
const deployment = { app: 'book-corners', branch: 'master' } as Deployment

test('the migrations that go live are counted, not those that come and go on the way; packages are named', async () => {
  const { checkout, commit, git, remove } = await createRepository()
  try {
    const running = await commit('Before', { 'requirements.txt': 'django-allauth==0.57.0\n' })
    await commit('Add', { 'a/migrations/0002_gone.py': '', 'a/db_migrations/0001_initial.py': '' })
    git('rm', '-q', 'a/migrations/0002_gone.py')
    await commit('Remove')
    const sha = await commit('Raise', { 'requirements.txt': 'django-allauth==65.0.0\n' })
    const plan = await makePlan(checkout, { deployed: running, running }, sha)
    const text = describePlan(deployment, plan)
    assert.match(text, /3 commits, 1 migration:/)
    assert.equal(text.match(/migration a\/\S+/g), ['migration a/db_migrations/0001_initial.py'])
    assert.equal(plan.packages, ['django-allauth 0.57.0 → 65.0.0 (requirements.txt)'])
    // What changes is told from what runs, whatever the deploy branch there has.
    const back = await makePlan(checkout, { deployed: running, running: sha }, running)
    assert.equal([back.commits?.length, back.dropped.length, back.left], [0, 3, ['a/db_migrations/0001_initial.py']])
    assert.match(describePlan(deployment, back), /nothing to push\. But \S+ runs\.$/)
    // A revert is a new commit that deletes the file.
    git('rm', '-q', 'a/db_migrations/0001_initial.py')
    const reverted = await makePlan(checkout, { deployed: sha, running: sha }, await commit('Revert'))
    assert.match(describePlan(deployment, reverted), /1 commit, takes back 1 migration:/)
    const same = await makePlan(checkout, { deployed: running, running: sha }, sha)
    assert.match(
      describePlan(deployment, same),
      /is what book-corners runs\. The deploy branch .* a push makes them agree/,
    )
  } finally {
    await remove()
  }
})

test.run()
