import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { judgeAppJson } from '../../lib/deploy/preflight.ts'

const test = suite('whether a commit can be deployed')

const GOOD = {
  scripts: { dokku: { predeploy: 'python manage.py migrate --noinput && python manage.py createcachetable' } },
  healthchecks: { web: [{ type: 'startup', path: '/health/' }] },
}
function predeploy(command: string): string {
  return JSON.stringify({ ...GOOD, scripts: { dokku: { predeploy: command } } })
}

for (const [what, text, problems] of [
  ['a good one', JSON.stringify(GOOD), 0],
  ['no JSON', '{', 1],
  ['nothing', '{}', 2],
  ['null', 'null', 1],
  ['null for a check', '{"healthchecks":{"web":[null]}}', 2],
  ['a list in the wrong place', '{"healthchecks":{"web":{}},"scripts":[]}', 2],
  ['a predeploy that does nothing', predeploy('true'), 1],
  ['one that only says something', predeploy('echo migrated'), 1],
  ['another path', JSON.stringify({ ...GOOD, healthchecks: { web: [{ type: 'startup', path: '/' }] } }), 1],
  ['a liveness check', JSON.stringify({ ...GOOD, healthchecks: { web: [{ type: 'liveness', path: '/health/' }] } }), 1],
] as const)
  test(`app.json: ${what} has ${problems} problems`, () => {
    const judged = judgeAppJson(text)
    assert.is(judged.problems.length, problems)
    assert.equal(judged.doubts, [])
  })

for (const [what, text, procfile, doubt] of [
  [
    'a wrapper script',
    predeploy('./bin/predeploy.sh'),
    undefined,
    /whether \.\/bin\/predeploy\.sh migrates .* can't be told/,
  ],
  [
    'a release of the Procfile',
    predeploy(''),
    'web: gunicorn\nrelease: python manage.py migrate\n',
    /migrated by the release task of its Procfile/,
  ],
  [
    'no predeploy, and a release',
    JSON.stringify({ healthchecks: GOOD.healthchecks }),
    'release: python manage.py migrate',
    /release task/,
  ],
  ['a release that is a wrapper script', predeploy(''), 'release: ./release.sh', /whether \.\/release\.sh migrates/],
] as const)
  test(`what migrates, or may, is a doubt and no problem: ${what}`, () => {
    const { problems, doubts } = judgeAppJson(text, procfile)
    assert.equal(problems, [])
    assert.is(doubts.length, 1)
    assert.match(doubts[0] ?? '', doubt)
  })

test.run()
