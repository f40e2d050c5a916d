import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { appJsonProblems } from '../../lib/deploy/preflight.ts'

const test = suite('whether a commit can be deployed')

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
