import { appendFile, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { executable } from '../support/engineer.ts'
import type { Output } from '../support/launch.ts'
import { withReleases } from '../support/releases.ts'
import { type Server, startServer } from '../support/server.ts'
import { type Site, startSite } from '../support/site.ts'
import { atTerminal, lastLine, runAtTerminal, typedScript } from '../support/terminal.ts'

const test = suite('rollback')
let server: Server
let site: Site
let at: ReturnType<typeof withReleases>

function rollback(...args: string[]): Promise<Output> {
  return server.script('rollback.ts', args, { env: { SITE_URL: site.url } })
}

function short(sha: string): string {
  return sha.slice(0, 8)
}

function pushes(): number {
  return server.calls().filter((call) => call.includes('git-receive-pack')).length
}

/** A release of these commits, each with a note of its own. */
async function release(...subjects: string[]): Promise<string> {
  for (const subject of subjects) await server.commit(subject)
  return at.bringLive()
}

test.before(async () => {
  ;[server, site] = await Promise.all([startServer(), startSite()])
  at = withReleases(server)
  await at.deploy()
})
test.before.each(() => server.reset())
test.after(async () => {
  await server?.stop()
  await site?.stop()
})

for (const [what, args, says] of [
  ['no mode and no terminal', [], /no terminal to ask at.*[\s\S]*--to SHA, --revert or --rebuild; .*--list/],
  ['no mode and --yes', ['--yes'], /which release/],
  ['--now without --revert', ['--now'], /--now goes with --revert\./],
  ['--now with --to', ['--to', 'HEAD', '--now', '--yes'], /--now goes with --revert\./],
  ['two modes', ['--list', '--revert'], /--list and --revert can't be used together/],
  ['a target and a rebuild', ['--to', 'HEAD', '--rebuild'], /can't be used together/],
  ['--to without a commit', ['--to'], /--to needs a value/],
  ['an unknown flag', ['--revret'], /Unknown flag --revret\. Did you mean --revert\?/],
  ['an argument', ['HEAD'], /Unexpected argument: HEAD/],
  ['an unknown commit', ['--to', 'deadbeef', '--yes'], /one commit deadbeef/],
  ['a commit that looks like a flag of git', ['--to=--all', '--yes'], /one commit --all/],
  ['a folder that is no checkout', ['--list', '--repo', '/'], /is not a git checkout/],
] as const)
  test(`${what} exits 2, and the server is not called`, async () => {
    const before = server.calls().length
    const output = await rollback(...args)
    at.ends(output, 2)
    assert.match(output.stderr, says)
    assert.is(server.calls().length, before)
  })

test('a release is not picked where the list would not be seen: it is said how to keep a log', async () => {
  const { output } = await runAtTerminal(`${typedScript('rollback.ts', [])} 2>&1 | cat`, {
    env: server.env,
    cwd: server.app,
    prompt: /: $/,
    answer: () => undefined,
  })
  assert.match(output, /A release is to be picked, and the output is redirected[\s\S]*script -c rollback FILE/)
})

test('--list shows what runs and what ran before, with the migrations on the way', async () => {
  const first = server.git('rev-parse', 'HEAD')
  await server.commit('Add a city to libraries', { 'libraries/migrations/0002_city.py': 'operations = []\n' })
  const second = await at.deploy()
  const third = await release('Style the map')
  const { stdout, ...output } = await rollback('--list')
  at.ends({ stdout, ...output }, 0)
  const [source = '', head = '', now = '', before = '', oldest = '', ...more] = stdout.trim().split('\n')
  assert.match(head, /^release +went live +site +on the way +author +subject$/)
  assert.match(source, /From the ledger/)
  assert.equal(more, [])
  assert.match(now, new RegExp(`^${short(third)} +just now +not checked +runs now +Engineer +Style the map$`))
  assert.match(before, new RegExp(`^${short(second)} .*no migration +Engineer +Add a city to libraries$`))
  assert.match(oldest, new RegExp(`^${short(first)} .*1 MIGRATION +Engineer +A map of little libraries$`))
})

test('without a ledger the list is from the history of the deploy branch, and says so', async () => {
  const file = join(server.opsDir, 'deploys.jsonl')
  await rename(file, `${file}.away`)
  const output = await rollback('--list')
  await rename(`${file}.away`, file)
  at.ends(output, 0)
  assert.match(output.stdout, /Without a ledger of deploys on the server: from git's history of master/)
  assert.match(output.stdout, /^[0-9a-f]{8} +committed \S+.*Style the map\n[0-9a-f]{8} +committed \S+.*Add a city/m)
})

test('a long ledger is listed in full, up to twenty releases', async () => {
  const file = join(server.opsDir, 'deploys.jsonl')
  const [before, head] = [await readFile(file, 'utf8'), server.git('rev-parse', 'HEAD')]
  for (let i = 0; i < 24; i++) {
    const to = server.git('commit-tree', '-p', head, '-m', `Try ${i}`, `${head}^{tree}`)
    const entry = { at: new Date().toISOString(), kind: 'deploy', from: null, to, outcome: 'deployed', verified: true }
    await appendFile(file, `${JSON.stringify(entry)}\n`)
  }
  const output = await rollback('--list')
  await writeFile(file, before)
  at.ends(output, 0)
  const [, , now = '', newest = '', ...more] = output.stdout.trim().split('\n')
  assert.match(now, /runs now/)
  assert.match(newest, /verified +no migration +Engineer +Try 23$/)
  assert.is(more.length, 18)
})

test('--to: a dry run shows the push, then it goes live, is verified and recorded, and origin is warned of', async () => {
  const good = server.git('rev-parse', 'HEAD')
  const bad = await release('Break the map', 'Break it more')
  const before = pushes()
  const dry = await rollback('--to', short(good), '--dry-run')
  at.ends(dry, 0)
  assert.match(dry.stdout, /takes back 2 commits, no migration:\n {2}- [0-9a-f]{8} Break it more/)
  assert.match(
    dry.stdout,
    `Push: git push --no-verify --no-follow-tags --force-with-lease=refs/heads/master:${bad} dokku@vps.test:book-corners ${good}:refs/heads/master`,
  )
  assert.match(dry.stdout, /Nothing was pushed\./)
  const left = 'origin/master still holds 2 newer commits: the next CI deploy brings them back.'
  assert.match(dry.stdout, `\nAfterwards ${left} So then, before anybody pushes: rollback --revert\n`)
  assert.is(pushes(), before)

  const unasked = await rollback('--to', good)
  at.ends(unasked, 2)
  assert.match(unasked.stderr, /--yes/)
  assert.is(pushes(), before)

  const output = await rollback('--to', short(good), '--yes')
  at.ends(output, 0)
  assert.is(server.running(), good)
  assert.is(server.deployed(), good)
  assert.match(
    output.stdout,
    /is live \(book-corners, .*s\); cache purge skipped.*verified \(\d+ passed, \d+ skipped\)/,
  )
  assert.is(lastLine(output.stdout), `${left} Now, before anybody pushes: rollback --revert`)
  const status = await at.status()
  assert.match(status.stdout, /^ {2}origin +2 commits ahead of what runs/m)
  const elsewhere = await at.status({ cwd: '/' })
  assert.not.match(elsewhere.stdout, /^ {2}origin /m)
  // The way forward leaves nothing behind.
  const forward = await rollback('--to', bad, '--dry-run')
  at.ends(forward, 0)
  assert.not.match(forward.stdout, /Afterwards/)
  assert.equal(await at.lastEntry(), {
    kind: 'rollback',
    who: 'Engineer',
    from: bad,
    to: good,
    subject: 'Style the map',
    outcome: 'deployed',
    runs: good,
    verified: true,
  })

  const again = await rollback('--to', good, '--yes')
  at.ends(again, 1)
  assert.match(again.stderr, /is live already: nothing was pushed/)
})

test('after --to, --revert takes back what origin still holds, and the tree is what runs', async () => {
  const [running, origin] = [server.running() ?? '', at.onOrigin()]
  const output = await rollback('--revert', '--yes')
  at.ends(output, 0)
  assert.match(output.stderr, /What the rollback took back, and origin still holds/)
  assert.is(at.tree(at.onOrigin()), at.tree(running))
  assert.is(server.git('rev-list', '--count', `${origin}..${at.onOrigin()}`), '2')
  assert.is(server.running(), running)
  await at.bringLive()
})

test('--revert of several commits and a merge goes to origin and not to Dokku; the branch follows', async () => {
  const good = server.git('rev-parse', 'HEAD')
  server.git('switch', '-q', '-c', 'feature')
  await server.commit('A feature')
  await server.commit('Mend the feature')
  server.git('switch', '-q', 'master')
  await server.commit('Something else')
  server.git('merge', '-q', '--no-ff', '-m', 'Merge the feature', 'feature')
  const bad = await at.bringLive()
  const [before, checkout] = [pushes(), at.checkout()]

  // As from a git hook or alias: what these name is left alone.
  const dry = await server.script('rollback.ts', ['--revert', '--dry-run'], {
    env: { GIT_DIR: join(server.app, '.git'), GIT_WORK_TREE: server.app },
  })
  at.ends(dry, 0)
  assert.match(dry.stdout, /What the last deploy brought.*\n.*Merge the feature.*\n.*Something else/)
  assert.match(dry.stdout, /Push: git push .*--force-with-lease=refs\/heads\/master:[0-9a-f]{40} origin /)
  assert.is(at.checkout(), checkout)
  assert.is(at.onOrigin(), bad)

  const output = await rollback('--revert', '--yes')
  at.ends(output, 0)
  assert.is(at.tree(at.onOrigin()), at.tree(good))
  assert.is(server.git('rev-parse', 'HEAD'), at.onOrigin())
  assert.is(server.git('log', '-1', '--format=%s', 'HEAD~1'), 'Revert "Merge the feature"')
  assert.is(pushes(), before)
  assert.match(
    output.stdout,
    /is on origin\/master: CI tests and deploys it \(.*s\); [0-9a-f]{8} runs until then: verified/,
  )
  const entry = await at.lastEntry()
  assert.equal([entry.kind, entry.from, entry.to, entry.outcome], ['revert', bad, at.onOrigin(), 'pushed'])

  const again = await rollback('--revert', '--yes')
  at.ends(again, 1)
  assert.match(again.stderr, /has that reverted already.*[\s\S]*rollback --revert --now/)

  // And the one who can't wait for CI.
  const now = await rollback('--revert', '--now', '--yes')
  at.ends(now, 0)
  assert.is(server.running(), at.onOrigin())
  const flip = await rollback('--revert', '--now', '--yes')
  at.ends(flip, 1)
  assert.match(flip.stderr, /a revert itself/)

  // The list does not offer what was reverted as if nothing were.
  const list = await rollback('--list')
  at.ends(list, 0)
  assert.match(list.stdout, new RegExp(`^${short(bad)} .* reverted (just now|\\d+ minutes? ago) +no migration`, 'm'))
  assert.match(list.stdout, new RegExp(`^${short(good)} .* not checked +no migration`, 'm'))
  const { releases } = JSON.parse((await rollback('--list', '--json')).stdout)
  const revertedAt = (sha: string) => releases.find((release: { sha: string }) => release.sha === sha).revertedAt
  assert.equal([typeof revertedAt(bad), revertedAt(good), revertedAt(at.onOrigin())], ['string', null, null])
})

test('--revert of a merge that git pull made takes back what is new in it, not what ran before', async () => {
  const base = server.git('rev-parse', 'HEAD')
  const good = await release('Work of a colleague')
  server.git('reset', '-q', '--hard', base)
  await server.commit('A bug')
  server.git('pull', '-q', '--no-rebase', '--no-edit')
  await at.bringLive()
  const output = await rollback('--revert', '--yes')
  at.ends(output, 0)
  assert.is(at.tree(at.onOrigin()), at.tree(good))
  assert.not.match(output.stdout, /WARNING/)
  await at.bringLive()
})

test('--revert does not bring a bug back whose revert came by a merged pull request', async () => {
  const bug = await release('A bug for a revert')
  server.git('switch', '-q', '-c', 'revert-1-bug')
  server.git('revert', '--no-edit', bug)
  server.git('switch', '-q', 'master')
  server.git('merge', '-q', '--no-ff', '-m', 'Merge pull request #2 from x/mend-it', 'revert-1-bug')
  const good = await at.bringLive()
  const output = await rollback('--revert', '--yes')
  at.ends(output, 1)
  assert.match(output.stderr, /a revert itself \(.*Revert "A bug for a revert"\)/)
  assert.is(at.onOrigin(), good)
})

test('--revert --now: origin and Dokku get the same commit; another branch that is checked out stays', async () => {
  const good = server.git('rev-parse', 'HEAD')
  const bad = await release('Break it')
  server.git('switch', '-q', 'feature')
  const dry = await rollback('--revert', '--now', '--dry-run')
  at.ends(dry, 0)
  assert.match(dry.stdout, /Push: git push .* origin [\s\S]*Push: git push .* dokku@vps\.test:book-corners /)
  const checkout = at.checkout()
  const output = await rollback('--revert', '--now', '--yes')
  at.ends(output, 0)
  assert.is(at.checkout(), checkout)
  server.git('switch', '-q', 'master')
  server.git('pull', '-q')
  assert.match(output.stderr, /git switch master && git pull/)
  assert.is(server.running(), at.onOrigin())
  assert.is(at.tree(at.onOrigin()), at.tree(good))
  const entry = await at.lastEntry()
  assert.equal([entry.kind, entry.from, entry.outcome, entry.verified], ['revert', bad, 'deployed', true])
})

test('after a --to that takes a revert back, what lets origin have what runs is named, and does that', async () => {
  const chosen = await release('Look again')
  at.ends(await rollback('--revert', '--now', '--yes'), 0)
  const newest = await release('Later')
  const output = await rollback('--to', chosen, '--yes')
  at.ends(output, 0)
  const [, command = ''] = /Now, before anybody pushes: (.*)/.exec(output.stdout) ?? []
  assert.match(command, /^git switch master && git pull && git revert --no-edit \S+ \S+ && git push origin master$/)
  // What the revert took away runs again: only a human can know whether that is meant.
  const refused = await rollback('--revert', '--yes')
  at.ends(refused, 1)
  assert.match(refused.stderr, /holds a revert itself/)
  assert.match(refused.stderr, `To have on origin what runs, by hand: ${command}\n`)
  assert.match(refused.stderr, `rollback --to ${short(newest)}`)
  const { exitCode, stderr } = await server.launch('sh', ['-c', command], { cwd: server.app, env: server.env }).ended
  assert.is(exitCode, 0, stderr)
  assert.is(at.tree(at.onOrigin()), at.tree(chosen))
  await at.bringLive()
})

test('migrations in the way stop it, even with --yes: they are listed with the commands that undo them', async () => {
  const good = server.git('rev-parse', 'HEAD')
  await server.commit('Migrate', {
    'libraries/migrations/0003_photo.py': 'operations = []\n',
    'events/migrations/__init__.py': '',
    'events/migrations/0001_initial.py': 'operations = []\n',
  })
  const bad = await at.bringLive()
  await executable(
    join(server.home, 'backup'),
    `#!/bin/sh\necho '{"checks":[{"name":"newest archive","verdict":"pass","detail":"book-corners-2026-02-28T03:00:00, 7 hours ago"}]}'\n`,
  )
  for (const mode of [
    ['--to', good, '--yes'],
    ['--revert', '--yes'],
    ['--to', good, '--dry-run'],
  ]) {
    const output = await rollback(...mode)
    at.ends(output, 1)
    assert.match(output.stderr, /crosses 2 migrations/)
    assert.match(output.stderr, 'libraries/migrations/0003_photo.py (added)')
    assert.match(output.stderr, 'sudo dokku enter book-corners web python manage.py migrate libraries 0002_city\n')
    assert.match(output.stderr, 'sudo dokku enter book-corners web python manage.py migrate events zero\n')
    assert.match(output.stderr, 'Newest backup: book-corners-2026-02-28T03:00:00, 7 hours ago')
    assert.match(output.stderr, /--allow-migrations/)
    assert.is(server.running(), bad)
    assert.is(at.onOrigin(), bad)
  }
  const output = await rollback('--to', good, '--yes', '--allow-migrations')
  at.ends(output, 0)
  assert.is(server.running(), good)
  // The way forward crosses none.
  at.ends(await rollback('--to', bad, '--yes'), 0)
  await rm(join(server.home, 'backup'))
})

test('a package of another version may bring migrations of its own: deploy, list and way back name it', async () => {
  const good = server.git('rev-parse', 'HEAD')
  await server.commit('Raise allauth', { 'requirements.txt': 'django-allauth==65.0.0\n' })
  const says = /1 package of another version, which may bring migrations of their own: django-allauth/
  const dry = await server.script('deploy.ts', ['--dry-run'])
  at.ends(dry, 0)
  assert.match(dry.stderr, says)
  await at.bringLive()
  const [list, back] = [await rollback('--list'), await rollback('--to', good, '--dry-run')]
  at.ends(list, 0)
  assert.match(list.stdout, new RegExp(`^${short(good)} .*no migration, 1 PACKAGE `, 'm'))
  at.ends(back, 0)
  assert.match(back.stderr, says)
  assert.match(back.stderr, /django-allauth 65\.0\.0 → removed \(requirements\.txt\)\. Dokku does not undo them either/)
})

test('a conflict pushes nothing and leaves the checkout as it was', async () => {
  await server.commit('Colour the map', { 'map.css': 'red\n' })
  const bad = await at.bringLive()
  await server.commit('Another colour', { 'map.css': 'blue\n' })
  server.push()
  const [checkout, origin] = [at.checkout(), at.onOrigin()]
  for (const args of [
    ['--revert', '--now', '--yes'],
    ['--revert', '--dry-run'],
  ]) {
    const output = await rollback(...args)
    at.ends(output, 1)
    assert.match(
      output.stderr,
      /Reverting [0-9a-f]{8} \(Colour the map\) conflicts in map\.css\..*[\s\S]*nothing was pushed/,
    )
    assert.match(output.stderr, /rollback --to SHA/)
    assert.is(at.checkout(), checkout)
    assert.is(at.onOrigin(), origin)
    assert.is(server.running(), bad)
  }
  await at.bringLive()
})

test('a dirty checkout is refused, but for what does not push it', async () => {
  const before = server.running()
  await writeFile(join(server.app, 'map.css'), 'green\n')
  for (const mode of [['--revert'], ['--to', 'HEAD~1']]) {
    const output = await rollback(...mode, '--yes')
    at.ends(output, 1)
    assert.match(output.stderr, /working tree has changes: .*map\.css[\s\S]*git stash[\s\S]*nothing was pushed/)
  }
  const list = await rollback('--list')
  server.git('checkout', '-q', '--', '.')
  at.ends(list, 0)
  assert.is(server.running(), before)
})

test('a file that git does not know is in the way of --revert alone', async () => {
  const file = join(server.app, 'scratch.txt')
  await writeFile(file, 'mine\n')
  const revert = await rollback('--revert', '--dry-run')
  const to = await rollback('--to', 'HEAD~1', '--dry-run', '--allow-migrations')
  await rm(file)
  at.ends(revert, 1)
  assert.match(revert.stderr, /scratch\.txt/)
  at.ends(to, 0)
})

test('a checkout without origin is refused by --revert', async () => {
  server.git('remote', 'rename', 'origin', 'upstream')
  const output = await rollback('--revert', '--yes')
  server.git('remote', 'rename', 'upstream', 'origin')
  at.ends(output, 2)
  assert.match(output.stderr, /has no remote origin/)
})

test('a tag resolves, and what only origin has is fetched; what runs is fetched from the server', async () => {
  server.git('tag', 'v1', 'HEAD~1')
  const tagged = await rollback('--to', 'v1', '--dry-run', '--allow-migrations')
  at.ends(tagged, 0)
  assert.match(tagged.stdout, `${server.git('rev-parse', 'v1')}:refs/heads/master`)
  const running = server.running() ?? ''
  const clone = join(server.dir, 'clone')
  server.git('clone', '-q', '--single-branch', server.origin, clone)
  server.git('-C', clone, 'update-ref', 'refs/heads/master', 'HEAD~2')
  server.git('-C', clone, 'update-ref', '-d', 'refs/remotes/origin/master')
  server.git('-C', clone, 'reset', '-q', '--hard')
  server.git('-C', clone, 'reflog', 'expire', '--expire=now', '--all')
  server.git('-C', clone, 'gc', '-q', '--prune=now')
  const target = server.git('rev-parse', `${running}~1`)
  const output = await rollback('--to', target, '--dry-run', '--repo', clone)
  at.ends(output, 0)
  assert.match(output.stderr, /fetching from origin/)
  assert.match(output.stdout, `${target}:refs/heads/master`)
})

test('--rebuild builds and starts what is deployed once more, under its own name, where Dokku kept that of a failed deploy', async () => {
  const before = server.running()
  const dry = await rollback('--rebuild', '--dry-run')
  at.ends(dry, 0)
  assert.match(dry.stdout, /dokku ps:rebuild book-corners/)
  await writeFile(join(server.dir, 'apps/book-corners/GIT_REV'), `${'b'.repeat(40)}\n`)
  const output = await rollback('--rebuild', '--yes')
  at.ends(output, 0)
  assert.match(output.stderr, /-----> Building book-corners from Dockerfile/)
  assert.match(output.stdout, /is rebuilt .*verified/)
  assert.is(server.running(), before)
  const entry = await at.lastEntry()
  assert.equal([entry.kind, entry.from, entry.to, entry.outcome], ['rebuild', before, before, 'deployed'])
  assert.match(output.stderr, /GIT_REV is bbbbbbbb, of a deploy that failed or was cut off: it is set to \S+ first/)
  for (const name of ['running', 'code', 'latest', 'GIT_REV']) assert.is(server.property(name), server.deployed())
  assert.not.ok(server.calls().some((call) => /config:(show|export)/.test(call)))
})

test('at a terminal a release is picked from the list, and pushed when agreed to', async () => {
  await release('Break it again')
  const { status, output } = await atTerminal('rollback.ts', [], {
    env: { ...server.env, SITE_URL: site.url },
    cwd: server.app,
    prompt: /to go on: |release\? \(1-\d+\): /,
    answer: (shown) => (/to go on: /.test(shown) ? 'yes\r' : '1\r'),
  })
  assert.is(status, 0, output)
  assert.is(server.running(), server.git('rev-parse', 'HEAD~1'))
  assert.match(output, /1 +[0-9a-f]{8} .*Another colour/)
})

test.run()
