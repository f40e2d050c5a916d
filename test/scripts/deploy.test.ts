import { appendFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseLedger } from '../../lib/server/ledger.ts'
import { PROJECT } from '../../lib/server/sync.ts'
import { type Cloudflare, startCloudflare, TOKEN } from '../support/cloudflare.ts'
import type { Output } from '../support/launch.ts'
import { LOADER } from '../support/loader.ts'
import { endsWith, readJsonLines, type Server, startServer } from '../support/server.ts'
import { type Site, startSite } from '../support/site.ts'

const test = suite('deploy')
let server: Server
let site: Site
let cloudflare: Cloudflare

function deploy(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Output> {
  return server.script('deploy.ts', args, {
    env: {
      SITE_URL: site.url,
      CLOUDFLARE_ZONE_ID: 'zone1',
      CLOUDFLARE_API_TOKEN: TOKEN,
      CLOUDFLARE_API_URL: cloudflare.url,
      ...env,
    },
  })
}

/** Most promises are about the push: these leave out what follows it. */
function push(...args: string[]): Promise<Output> {
  return deploy(['--no-verify', ...args])
}

function ledger() {
  return readJsonLines(join(server.opsDir, 'deploys.jsonl'))
}

function ends(output: Output, exitCode: number): void {
  endsWith(server, output, exitCode)
}

test.before(async () => {
  ;[server, site, cloudflare] = await Promise.all([startServer({ isSynced: false }), startSite(), startCloudflare()])
})
test.before.each(() => {
  site.reset()
  cloudflare.requests.length = 0
  cloudflare.answers.length = 0
})
test.after(async () => {
  await server?.stop()
  await site?.stop()
  await cloudflare?.stop()
})

test('--dry-run shows what would go live, and changes nothing', async () => {
  const output = await deploy(['--dry-run'])
  ends(output, 0)
  assert.match(output.stdout, /nothing deployed yet → [0-9a-f]{8} A map of little libraries/)
  assert.is(server.deployed(), undefined)
  assert.is(cloudflare.requests.length, 0)
  assert.equal(await ledger(), [])
})

test('a deploy pushes, syncs, purges, verifies and is recorded, over one connection per user', async () => {
  const sha = server.git('rev-parse', 'HEAD')
  const before = server.connections()
  const output = await deploy()
  ends(output, 0)
  assert.is(server.running(), sha)
  assert.is(server.deployed(), sha)
  assert.match(output.stderr, /-----> Building book-corners from Dockerfile/)
  assert.not.match(output.stderr, /remote:|\u001b/)
  assert.match(output.stdout, /is deployed.*ops scripts synced.*cache purged.*verified/s)
  assert.is(cloudflare.requests.length, 1)
  assert.is(server.connections() - before, 2)
  const [entry] = await ledger()
  assert.is(typeof entry?.seconds, 'number')
  assert.match(String(entry?.at), /^\d{4}-\d\d-\d\dT.*Z$/)
  const { at: _, seconds: __, ...rest } = entry ?? {}
  assert.equal(rest, {
    kind: 'deploy',
    who: 'Engineer',
    from: null,
    to: sha,
    subject: 'A map of little libraries',
    outcome: 'deployed',
    runs: sha,
    verified: true,
  })
})

test('the same commit again pushes nothing, and goes on to sync, purge and verify', async () => {
  const pushes = (): number => server.calls().filter((call) => call.includes('git-receive-pack')).length
  const before = pushes()
  const output = await deploy()
  ends(output, 0)
  assert.is(pushes(), before)
  assert.match(output.stdout, /runs already.*ops scripts unchanged.*cache purged.*verified/s)
})

test('commits that go live are listed, with their migrations; a dirty tree and a commit not on origin are said', async () => {
  await server.commit('Add a city to libraries', { 'libraries/migrations/0002_city.py': 'operations = []\n' })
  await server.commit('Style the map')
  await writeFile(join(server.app, 'scratch.txt'), 'x')
  // It is no contradiction to the flags of the run that it previews.
  const output = await deploy(['HEAD', '--dry-run', '--no-verify', '--yes'])
  server.git('clean', '-fdq')
  ends(output, 0)
  assert.match(
    output.stdout,
    /2 commits, 1 migration:\n {2}\+ [0-9a-f]{8} Style the map.*\n.*Add a city.*\n.*0002_city\.py/,
  )
  assert.match(output.stderr, /working tree has 1 change/)
  assert.match(output.stderr, /is not on origin\/master/)
})

test('a REF goes live, whatever is checked out', async () => {
  const sha = server.git('rev-parse', 'HEAD~1')
  ends(await push('HEAD~1'), 0)
  assert.is(server.running(), sha)
})

test('a commit that only changes or removes files is the one that goes live', async () => {
  const before = server.git('rev-parse', 'HEAD')
  for (const files of [{ 'package.json': '{"name":"book-corners","private":true}\n' }, {}]) {
    if (Object.keys(files).length === 0) server.git('rm', '-q', 'libraries/migrations/__init__.py')
    const sha = await server.commit('Change', files)
    ends(await push(), 0)
    assert.is(server.running(), sha)
  }
  server.git('reset', '-q', '--hard', before)
})

test('another deploy branch there is refused before the push, and an empty one means master', async () => {
  await writeFile(join(server.dir, 'apps/book-corners/deploy-branch'), 'main\n')
  const output = await push()
  await writeFile(join(server.dir, 'apps/book-corners/deploy-branch'), '')
  ends(output, 2)
  assert.match(output.stderr, /Dokku deploys pushes to main, but DEPLOY_BRANCH is master/)
  assert.is(server.deployed('main'), undefined)
})

test('a mistyped app is refused by the gate, which is that of an app', async () => {
  const output = await deploy(['--dry-run'], { DOKKU_APP: 'book-corner' })
  ends(output, 1)
  assert.match(output.stderr, /The gate of book-corners does not let this key say that\./)
  assert.match(output.stderr, /Check DOKKU_APP/)
})

test('a mistyped app is refused, and not created by asking', async () => {
  await server.gate('')
  const output = await deploy(['--dry-run'], { DOKKU_APP: 'book-corner' })
  await server.gate('sync')
  ends(output, 2)
  assert.match(output.stderr, /Dokku has no app book-corner\./)
  assert.match(output.stderr, `ssh dokku@${server.host} apps:list`)
  assert.not(server.calls().some((call) => call.includes("git-upload-pack 'book-corner'")))
})

for (const missing of [['Dockerfile'], ['package-lock.json', 'app.json']])
  test(`a commit without ${missing.join(' and ')} is not pushed`, async () => {
    const before = server.deployed()
    server.git('rm', '-q', ...missing)
    server.git('commit', '-q', '-m', 'Remove')
    const output = await push()
    server.git('reset', '-q', '--hard', 'HEAD~1')
    ends(output, 1)
    for (const file of ['Dockerfile', 'package-lock.json', 'app.json'])
      assert.is(output.stderr.includes(`it has no ${file}`), missing.includes(file), output.stderr)
    assert.is(server.deployed(), before)
  })

test('an app.json without a migration or a startup check of /health/ is not pushed', async () => {
  await server.commit('Weaken', {
    'app.json': '{"scripts":{"dokku":{"predeploy":"true"}},"healthchecks":{"web":[{"type":"startup","path":"/"}]}}',
  })
  const output = await push()
  server.git('reset', '-q', '--hard', 'HEAD~1')
  ends(output, 1)
  assert.match(output.stderr, /no predeploy script that migrates[\s\S]*no startup check of \/health\//)
})

test('a shallow clone is refused, with the fix', async () => {
  const shallow = join(server.dir, 'shallow')
  server.git('clone', '-q', '--depth', '1', `file://${server.origin}`, shallow)
  const output = await deploy(['--dry-run', '--repo', shallow])
  ends(output, 2)
  assert.match(output.stderr, /shallow clone[\s\S]*fetch-depth: 0/)
})

for (const [what, args, says] of [
  ['an unknown REF', ['nowhere'], /has no commit nowhere/],
  ['a REF that looks like a flag of git', ['--', '--all'], /has no commit --all/],
  ['a folder that is no checkout', ['--repo', '/'], /\/ is not a git checkout/],
  ['an unknown flag', ['--forse'], /Unknown flag --forse/],
  ['two modes', ['--status', '--logs'], /can't be used together/],
  ['a commit for --status', ['HEAD', '--status'], /--status takes no REF/],
] as const)
  test(`${what} exits 2, and the server is not called`, async () => {
    const before = server.calls().length
    const output = await deploy(args)
    ends(output, 2)
    assert.match(output.stderr, says)
    assert.is(server.calls().length, before)
  })

test('all that is wrong with the settings is said at once', async () => {
  const output = await deploy([], { DOKKU_HOST: '', OPS_DIR: 'relative', CLOUDFLARE_API_TOKEN: '' })
  ends(output, 2)
  assert.match(
    output.stderr,
    /DOKKU_HOST is not set[\s\S]*OPS_DIR must be an absolute path[\s\S]*CLOUDFLARE_ZONE_ID is set without/,
  )
})

test('a failed purge is shown with its reason, the site is verified all the same, and the exit status is 1', async () => {
  const sha = await server.commit('Deployed, not purged')
  cloudflare.answers.push({ status: 403, errors: [{ code: 10000, message: 'Authentication error' }] })
  const output = await deploy()
  ends(output, 1)
  assert.match(output.stderr, /10000: Authentication error/)
  assert.match(output.stderr, /is deployed .* but this did not purge the cache/)
  assert.is(server.running(), sha)
  assert.is((await ledger()).at(-1)?.verified, true)
})

test('a sync that fails and a ledger that cannot be written are warnings with their reasons; the deploy is done', async () => {
  const file = join(server.opsDir, 'deploys.jsonl')
  await rename(file, `${file}.away`)
  await mkdir(file)
  await server.farProgram('timeout', '#!/bin/sh\necho "timeout: out of order" >&2\nexit 1\n')
  const output = await push()
  await rm(file, { recursive: true })
  await rename(`${file}.away`, file)
  const alone = await deploy(['--sync-only'])
  await server.farProgram('timeout')
  ends(output, 0)
  assert.match(output.stdout, /WARNING: The server keeps the ops scripts it had: timeout: out of order/)
  assert.match(output.stdout, /WARNING: This deploy is not in the ledger: .*deploys\.jsonl on the server: .*directory/)
  ends(alone, 1)
  ends(await deploy(['--sync-only']), 0)
})

test('a ledger line that a full disk cut takes no other with it', async () => {
  const before = (await ledger()).length
  await appendFile(join(server.opsDir, 'deploys.jsonl'), '{"at":"2026-02-28T1')
  ends(await push(), 0)
  const text = await readFile(join(server.opsDir, 'deploys.jsonl'), 'utf8')
  assert.is(parseLedger(text).length, before + 1)
  await writeFile(join(server.opsDir, 'deploys.jsonl'), text.replace('{"at":"2026-02-28T1\n', ''))
})

test('--purge-only needs no server and no checkout', async () => {
  const before = server.calls().length
  ends(await deploy(['--purge-only'], { DOKKU_HOST: '' }), 0)
  assert.is(cloudflare.requests.length, 1)
  assert.is(server.calls().length, before)
})

test('--status tells what runs, since when, whose, and the last deploys', async () => {
  await writeFile(join(server.dir, 'apps/book-corners/ssl-expires-at'), `${new Date(Date.now() + 40.5 * 86_400_000)}\n`)
  const output = await deploy(['--status'])
  ends(output, 0)
  assert.match(output.stdout, `runs         ${server.running()?.slice(0, 8)} Deployed, not purged`)
  assert.match(output.stdout, /since .*ago\)|since .*just now\), by Engineer/)
  assert.match(output.stdout, /processes +web\.1 running/)
  assert.match(output.stdout, /certificate +40 days left/)
  assert.match(output.stdout, `. On the server: ${join(server.home, 'backup')} --check\n`)
  assert.match(output.stdout, /last deploys\n(.*\n){4}/)
})

test('--logs follows the log until it is interrupted', async () => {
  const running = server.start('deploy.ts', ['--logs'])
  await running.prints(/GET \/map\/ 200[\s\S]*GET \/map\/ 200/)
  running.child.kill('SIGINT')
  const output = await running.ended
  ends(output, 130)
})

test('--logs ends when nobody reads on', async () => {
  const script = join(PROJECT, 'scripts/deploy.ts')
  const command = `"$0" --import '${LOADER}' '${script}' --logs | head -n 2`
  ends(await server.launch('bash', ['-o', 'pipefail', '-c', command, process.execPath]).ended, 0)
})

test('--logs says what is wrong with the connection', async () => {
  await server.forgetHostKey()
  const output = await deploy(['--logs'])
  await server.reset()
  ends(output, 1)
  assert.match(output.stderr, /host key of vps\.test is not known here/)
})

test.run()
