// Types the commands of the pages, as somebody does who has nothing but the page: on the sandbox, with its paths and names.
import { mkdir, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { programs } from '../support/borg.ts'
import { startCloudflare, TOKEN } from '../support/cloudflare.ts'
import { blocksOf, commandsUnder } from '../support/docs.ts'
import type { Output } from '../support/launch.ts'
import { OWNER, type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { startServer } from '../support/server.ts'
import { startSite } from '../support/site.ts'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const BY_HAND = 'docs/without-these-scripts.md'

const test = suite("the pages' commands")
let sandbox: Sandbox
let archive: string

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox)
  // Everybody may do here what takes sudo there; who is not root is the app's user.
  await writeFile(join(sandbox.dir, 'bin/sudo'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 })
  const setpriv = '#!/bin/sh\nwhile case $1 in --*) true ;; *) false ;; esac; do shift; done\nexec "$@"\n'
  if (process.getuid?.() !== 0) await writeFile(join(sandbox.dir, 'bin/setpriv'), setpriv, { mode: 0o755 })
  // The stand-in knows no links: what is asked of Dokku is kept.
  for (const command of ['postgres:link', 'postgres:unlink'])
    await sandbox.fault(command, `echo "$command $*" >>"$root/links"; exit 0`)
  // Everything here is about this archive.
  const { exitCode, stderr } = await typed(commandsUnder(BY_HAND, 'A backup'))
  assert.is(exitCode, 0, stderr)
  archive = (await sandbox.archives())[0] ?? ''
})
test.after(() => sandbox.stop())

/** As they stand on the page, but for the names that differ here; an error does not stop what follows, as at a prompt. */
function typed(commands: string): Promise<Output> {
  const names: [there: string | RegExp, here: string][] = [
    ['/home/deploy/.env.backup', sandbox.envFile],
    ['/home/deploy', sandbox.home],
    ['/var/lib/dokku/data/storage/book-corners/media', sandbox.mediaDir],
    [/\bARCHIVE\b/g, archive],
    [/(--re[ug]id)=32767/g, `$1=${OWNER.split(':')[0]}`],
    ['sleep 10', 'sleep 0'],
  ]
  const here = names.reduce((text, [from, to]) => text.replaceAll(from, to), commands)
  const env = { PATH: `${join(sandbox.dir, 'bin')}:${programs()}`, BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' }
  return sandbox.launch('bash', ['-o', 'pipefail', '-c', here], { env, cwd: sandbox.home }).ended
}

test('every section with commands is typed here', () => {
  const headings = new Set(blocksOf(BY_HAND).map(({ heading }) => heading))
  const all = [
    'The archives',
    'The database',
    // In test/scripts/away-database.test.ts.
    'A database away from Dokku',
    'Only some rows',
    'The photos',
    'A backup',
    'A deploy, and a rollback',
    'The cache',
  ]
  assert.equal([...headings], [...all, 'Does the site work?'])
})

test('by hand: the database comes back in a service of its own, and the photos that are missing', async () => {
  await sandbox.sql('DELETE FROM libraries_photo; DELETE FROM libraries_library WHERE id > 50;')
  await rm(join(sandbox.mediaDir, 'photos/1.jpg'))
  await rm(join(sandbox.mediaDir, 'photos/2.jpg'))
  await writeFile(join(sandbox.mediaDir, 'photos/3.jpg'), 'newer')
  const sections = ['The archives', 'The database', 'The photos'].map((heading) => commandsUnder(BY_HAND, heading))
  const { exitCode, stdout, stderr } = await typed(sections.join(''))
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, archive)
  assert.is(stderr, '')
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_library;', 'book-corners-db-new'), '200')
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_photo;', 'book-corners-db-new'), '20')
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_library;'), '50')
  const links = await sandbox.launch('cat', [join(sandbox.dir, 'links')]).ended
  assert.is(
    links.stdout,
    'postgres:unlink book-corners-db book-corners --no-restart\npostgres:link book-corners-db-new book-corners\n',
  )
  const photos = await sandbox.launch('sh', ['-c', 'cd photos && stat -c %s 1.jpg 2.jpg 3.jpg && ls | wc -l'], {
    cwd: sandbox.mediaDir,
  }).ended
  assert.is(photos.stdout, '20000\n20000\n5\n20\n')
  const left = await sandbox.launch('ls', [sandbox.home]).ended
  assert.not.match(left.stdout, 'from-borg')
})

test('by hand: a backup is one that restore finds and imports; of it only the rows that production lacks come back, those that it has stay', async () => {
  await sandbox.sql("UPDATE libraries_library SET name = 'Renamed since' WHERE id = 7;")
  const proved = await sandbox.script('restore.ts', ['--test', archive])
  assert.is(proved.exitCode, 0, proved.stderr)
  assert.match(proved.stdout, `${archive} imports cleanly`)
  const commands = commandsUnder(BY_HAND, 'Only some rows').replaceAll('book-corners-db-new', 'book-corners-db-test')
  const some = commands
    .replace('table=libraries_review', 'table=libraries_library')
    .replace(/^rows=.*$/m, 'rows="SELECT * FROM $table WHERE id <= 90"')
  const { exitCode, stdout, stderr } = await typed(some)
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /INSERT 0 40\nCOMMIT/)
  assert.is(
    await sandbox.sql("SELECT count(*), count(*) FILTER (WHERE name = 'Renamed since') FROM libraries_library;"),
    '90|1',
  )
  assert.is((await sandbox.dokku(['postgres:exists', 'book-corners-db-test'])).exitCode, 1)
})

test('what is kept elsewhere: the key of the repository is exported, and imported again', async () => {
  const key = join(sandbox.home, 'key')
  await typed(`set -a; . /home/deploy/.env.backup; set +a; borg key export :: > ${key}`)
  const { exitCode, stderr } = await typed(
    `set -a; . /home/deploy/.env.backup; set +a; grep -q '^BORG_KEY' ${key} && borg key import :: ${key} && borg list`,
  )
  assert.is(exitCode, 0, stderr)
})

test('by hand: a deploy, and a rollback by the same commands', async () => {
  const server = await startServer()
  // What is typed by hand is an engineer's.
  await server.gate('')
  try {
    const commands = (sha: string): string =>
      commandsUnder(BY_HAND, 'A deploy, and a rollback')
        .replace(/\bHOST\b/g, server.host)
        .replace(/\bSHA\b/g, sha)
    const type = (sha: string): Promise<Output> =>
      server.launch('bash', ['-e', '-o', 'pipefail', '-c', commands(sha)]).ended
    const first = server.git('rev-parse', 'HEAD')
    const second = await server.commit('Another')
    // The first deployment is made by the script: by hand there would be nothing to have a lease on.
    assert.is((await server.script('deploy.ts', ['HEAD~1', '--no-verify'])).exitCode, 0)
    for (const sha of [second, first]) {
      const { exitCode, stdout, stderr } = await type(sha)
      assert.is(exitCode, 0, stderr)
      assert.is(server.running(), sha)
      assert.match(stdout, `\n${sha}\n`)
    }
  } finally {
    await server.stop()
  }
})

test('by hand: the cache is purged, with the token on no command line', async () => {
  const cloudflare = await startCloudflare()
  try {
    const commands = commandsUnder(BY_HAND, 'The cache')
      .replace('ZONE', 'zone1')
      .replace('https://api.cloudflare.com/client/v4', cloudflare.url)
    const options = { input: `${TOKEN}\n` }
    const { exitCode, stderr } = await sandbox.launch('bash', ['-e', '-c', commands], options).ended
    assert.is(exitCode, 0, stderr)
    assert.is(cloudflare.requests.length, 1)
    const [{ method, path, authorization, body } = { method: '', path: '', authorization: '', body: '' }] =
      cloudflare.requests
    assert.equal(
      [method, path, authorization, body],
      ['POST', '/client/v4/zones/zone1/purge_cache', `Bearer ${TOKEN}`, '{"purge_everything":true}'],
    )
  } finally {
    await cloudflare.stop()
  }
})

test('by hand: the site is looked at', async () => {
  const site = await startSite()
  try {
    const commands = commandsUnder(BY_HAND, 'Does the site work?').replaceAll('https://bookcorners.org', site.url)
    const { exitCode, stdout, stderr } = await sandbox.launch('bash', ['-e', '-c', commands]).ended
    assert.is(exitCode, 0, stderr)
    assert.is(stdout.match(/^200 {2}\//gm)?.length, 5, stdout)
    assert.match(stdout, /"ok"/)
  } finally {
    await site.stop()
  }
})

test('an older release of the scripts becomes the current one again', async () => {
  const releases = join(sandbox.home, 'ops/releases')
  for (const name of ['older', 'newer']) await mkdir(join(releases, name), { recursive: true })
  await symlink('releases/newer', join(sandbox.home, 'ops/current'))
  const commands = commandsUnder('docs/deploy.md', 'The scripts on the server').replace('RELEASE', 'older')
  const { exitCode, stderr } = await typed(commands)
  assert.is(exitCode, 0, stderr)
  assert.is(await readlink(join(sandbox.home, 'ops/current')), 'releases/older')
})

test('setup: the commands of the laptop work from every directory', async () => {
  const [, lines = ''] = blocksOf('docs/setup.md')
    .filter(({ heading }) => heading === 'The laptop')
    .map(({ text }) => text)
  const commands = `${lines.replace('~/book-corners-ops', PROJECT)}\nfor command in backup restore deploy rollback verify; do $command --version; done`
  const { exitCode, stdout, stderr } = await sandbox.launch('bash', ['-c', commands], {
    env: { PATH: `${join(process.execPath, '..')}:/usr/bin:/bin` },
  }).ended
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, /^(\d+\.\d+\.\d+\n){5}$/)
})

test.run()
