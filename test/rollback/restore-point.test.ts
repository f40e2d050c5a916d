import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { migrationsAcross } from '../../lib/rollback/migrations.ts'
import { describeRestorePoint } from '../../lib/rollback/restore-point.ts'
import type { Entry } from '../../lib/server/ledger.ts'
import { createRepository } from '../support/repository.ts'

const test = suite('the restore point that a way back names')
const repository = await createRepository()
test.after(() => repository.remove())

const commits = new Map<string, string>()
for (const [name, files] of [
  ['A', { 'a/migrations/0001_a.py': '1' }],
  // Its second migration fails half-way, and is repaired by C.
  ['B', { 'a/migrations/0002_b.py': '1', 'a/migrations/0003_c.py': 'broken' }],
  ['C', { 'a/migrations/0003_c.py': '1' }],
  ['D', { 'a/migrations/0004_d.py': '1' }],
  ['E', { 'a/models.py': '1' }],
] as const)
  commits.set(name, await repository.commit(name, files))

function shaOf(name: string): string {
  return commits.get(name) ?? '0'.repeat(40)
}

function point(number: number): string {
  return `app-before-x-2026-02-0${number}T03:00:00`
}

/** `deploy A B` and, if it has them, an outcome and the number of its restore point: `deploy A B deployed 1`. */
function ledgerOf(...lines: string[]): Entry[] {
  return lines.map((line, i) => {
    const [kind = '', from = '', to = '', outcome = 'deployed', number] = line.split(' ')
    return {
      at: new Date(Date.now() - (lines.length - i) * 3_600_000).toISOString(),
      kind: kind as Entry['kind'],
      who: 'Engineer',
      from: from === '-' ? null : shaOf(from),
      to: shaOf(to),
      subject: to,
      outcome,
      seconds: 60,
      verified: null,
      ...(number === undefined ? {} : { restorePoint: point(Number(number)) }),
    }
  })
}

for (const [what, [current, target], entries, number] of [
  ['the deploy that brought it', 'CA', ['deploy - A', 'deploy A C deployed 1'], 1],
  ['the first of two', 'DA', ['deploy - A', 'deploy A C deployed 1', 'deploy C D deployed 2'], 1],
  ['the one that is crossed', 'DC', ['deploy A C deployed 1', 'deploy C D deployed 2'], 2],
  [
    'not a deploy without migrations',
    'EC',
    ['deploy A C deployed 1', 'deploy C D deployed 2', 'deploy D E deployed 3'],
    2,
  ],
  ['the last time, after there and back', 'CA', ['deploy A C deployed 1', 'rollback C A', 'deploy A C deployed 2'], 2],
  [
    'the first attempt, which left a migration behind',
    'CA',
    ['deploy A B predeploy-failed 1', 'deploy A C deployed 2'],
    1,
  ],
  ['not one whose build failed', 'CA', ['deploy A B build-failed 1', 'deploy A C deployed 2'], 2],
  ['one that was cut off, and that Dokku finished', 'CA', ['deploy A C interrupted 1'], 1],
  ['none, where that deploy took none', 'DA', ['deploy A C', 'deploy C D deployed 2'], undefined],
  ['none, without a ledger', 'CA', [], undefined],
  ['none of commits that are not here', 'CA', ['deploy X C deployed 1'], undefined],
] as const)
  test(`it is that of ${what}`, async () => {
    const { checkout } = repository
    const running = shaOf(current ?? '')
    const crossed = (await migrationsAcross(checkout, shaOf(target ?? ''), running)) ?? []
    assert.ok(crossed.length > 0)
    const known = { entries: ledgerOf(...entries), running, opsDir: '/home/deploy/ops' }
    const lines = await describeRestorePoint(checkout, known, crossed)
    if (what.startsWith('none, where'))
      assert.equal(lines, [
        'The deploy that brought them took no restore point. The archives that are there, on the server: /home/deploy/restore --list',
      ])
    else if (number === undefined) assert.equal(lines, [])
    else {
      const ago = entries.length - entries.findIndex((entry) => entry.endsWith(` ${number}`))
      assert.match(
        lines.join('\n'),
        new RegExp(`brought them: ${point(number)}, ${ago === 1 ? '1 hour' : `${ago} hours`} ago`),
      )
      assert.match(lines.join('\n'), new RegExp(`loses all that was written since, in ${ago} h 1 min`))
      assert.match(lines.join('\n'), `(if it is still there: /home/deploy/restore --list):`)
      assert.is(lines.at(-2), `  /home/deploy/restore --db-only ${point(number)}`)
      assert.is(
        lines.at(-1),
        `  Only if that was not done yet: it takes the database to 2026-02-0${number}T03:00:00 again.`,
      )
    }
  })

test('what was written since is told where the server says it of that very restore point', async () => {
  const { checkout } = repository
  const running = shaOf('C')
  const crossed = (await migrationsAcross(checkout, shaOf('A'), running)) ?? []
  for (const [number, says] of [
    [1, / \(rows, by PostgreSQL's counters: public\.a 2 new\)\. The data back/],
    [2, /in 1 h 1 min\. The data back/],
  ] as const) {
    const known = { entries: ledgerOf('deploy A C deployed 1'), running, opsDir: '/home/deploy/ops' }
    const newest = `${point(number)}, 1 hour ago; written since: public.a 2 new`
    assert.match((await describeRestorePoint(checkout, { ...known, newest }, crossed)).join('\n'), says)
  }
})

test('one that is not there any more is told so, and the newest of before it is named in its place', async () => {
  const { checkout } = repository
  const running = shaOf('C')
  const crossed = (await migrationsAcross(checkout, shaOf('A'), running)) ?? []
  for (const [archives, says] of [
    [
      ['app-2026-02-06T03:00:00', point(5), point(3)],
      /Restore point of[\s\S]*05T03:00:00, 1 hour ago[\s\S]*on the server:\n/,
    ],
    [
      ['app-2026-02-06T03:00:00', 'app-2026-02-04T03:00:00', point(3)],
      /05T03:00:00, which is not there any more\. The newest archive of before it: app-2026-02-04T03:00:00, [\s\S]*--db-only app-2026-02-04T03:00:00\n[\s\S]*to 2026-02-04T03:00:00 again/,
    ],
    [
      ['app-2026-02-06T03:00:00'],
      /which is not there any more\. The archives that are there, on the server: \S+ --list$/,
    ],
  ] as const) {
    const known = { entries: ledgerOf('deploy A C deployed 5'), running, opsDir: '/home/deploy/ops', archives }
    assert.match((await describeRestorePoint(checkout, known, crossed)).join('\n'), says)
  }
})

test.run()
