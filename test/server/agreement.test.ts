import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { findDisagreement } from '../../lib/server/agreement.ts'
import { ledgerOf } from '../support/ledger.ts'

const test = suite('whether what runs and what is written down agree')

const [X, Y, Z] = ['a', 'b', 'c'].map((digit) => digit.repeat(40)) as [string, string, string]

interface Server {
  /** What the web processes say; `-` says nothing. */
  web: string
  branch?: string
  configured?: string
  head?: string
  ledger?: string[]
}

function disagreement({ web, branch, configured = branch, head = branch, ledger = [] }: Server) {
  const said = web
    .split(' ')
    .filter(Boolean)
    .map((sha) => (sha === '-' ? undefined : sha))
  return findDisagreement({
    revision: new Set(said).size === 1 ? said[0] : undefined,
    revisions: new Map(said.map((sha, i) => [`web.${i + 1}`, sha])),
    processes: '',
    running: true,
    serves: said.length > 0,
    branch,
    configured: configured || undefined,
    head,
    app: 'book-corners',
    branchName: 'main',
    entries: ledgerOf(...ledger),
  })
}

for (const [what, server] of [
  ['all are one commit', { web: X, branch: X }],
  ['two web processes of it', { web: `${X} ${X}`, branch: X }],
  ['nothing was ever deployed', { web: '' }],
  ['the containers are not told their commit', { web: '-', branch: X, configured: '' }],
] as const)
  test(`they agree: ${what}`, () => assert.is(disagreement(server), undefined))

for (const [what, server, says, fix] of [
  [
    'a deploy failed (build, migration, health check)',
    { web: X, branch: X, configured: Y },
    /GIT_REV is bbbbbbbb, which a restart would start/,
    /^rollback --rebuild \(builds and starts aaaaaaaa\)$/,
  ],
  [
    'a deploy was cut off after the switch',
    { web: Y, branch: X, configured: Y },
    /web\.1 runs bbbbbbbb; the deploy branch there is at aaaaaaaa/,
    /^rollback --to bbbbbbbb \(keeps what runs\), or rollback --rebuild/,
  ],
  [
    'a push under skip-deploy',
    { web: X, branch: Y, configured: Y },
    /the deploy branch there is at bbbbbbbb; GIT_REV is bbbbbbbb/,
    /^rollback --to aaaaaaaa \(keeps what runs\)$/,
  ],
  [
    'a failed deploy after such a push',
    { web: X, branch: Y, configured: Z },
    /GIT_REV is cccccccc/,
    /^rollback --to aaaaaaaa \(keeps what runs\)$/,
  ],
  [
    'two web processes of two releases',
    { web: `${X} ${Y}`, branch: X },
    /web\.1 runs aaaaaaaa, web\.2 runs bbbbbbbb/,
    /^rollback --rebuild/,
  ],
  [
    'a restart after a failed build',
    { web: Y, branch: X, configured: Y, ledger: [`deploy ${X} ${Y} build-failed`] },
    /the build of bbbbbbbb failed: another release was restarted under its name/,
    /^rollback --rebuild/,
  ],
  ['a stopped app', { web: '', branch: X }, /no web process runs/, /^rollback --rebuild/],
  [
    'containers that say nothing, after a failed deploy',
    { web: '-', branch: X, configured: Y },
    /web\.1 does not say; GIT_REV is bbbbbbbb/,
    /^rollback --rebuild/,
  ],
  [
    'HEAD, which Dokku does not move to another deploy branch',
    { web: X, branch: X, head: Y },
    /HEAD there is bbbbbbbb/,
    /symbolic-ref HEAD refs\/heads\/main$/,
  ],
] as const)
  test(`they do not: ${what}`, () => {
    const found = disagreement({ ...server, ledger: [...('ledger' in server ? server.ledger : [])] })
    assert.match(found?.what ?? '', says)
    assert.match(found?.fix ?? '', fix)
  })

test.run()
