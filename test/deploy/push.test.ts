import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { pushArgs } from '../../lib/deploy/push.ts'

const test = suite('the push')

test('it is never forced: it holds a lease on what is deployed, or on nothing being there', () => {
  const sha = 'a'.repeat(40)
  const args = pushArgs('dokku@vps:app', sha, 'master', 'b'.repeat(40))
  assert.ok(args.includes(`--force-with-lease=refs/heads/master:${'b'.repeat(40)}`))
  assert.not(args.some((arg) => arg === '--force' || arg === '-f' || arg.startsWith('+')))
  assert.ok(pushArgs('u', sha, 'master', undefined).includes('--force-with-lease=refs/heads/master:'))
  assert.is(args.at(-1), `${sha}:refs/heads/master`)
})

test.run()
