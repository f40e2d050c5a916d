// The server is gone. Only the repository, its key and its passphrase are left: the runbook out of an archive makes a new one.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, readFileSync, statSync } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Content, compareContents, contentOf } from '../demo/content.ts'
import { programs } from '../support/borg.ts'
import { type EmptyServer, startEmptyServer } from '../support/empty-server.ts'
import { executable } from '../support/engineer.ts'
import type { Output } from '../support/launch.ts'
import { runningProcesses } from '../support/processes.ts'
import { LEFT_OUT, runbookBlocks } from '../support/runbook.ts'
import { PASSPHRASE, PLUGINS, type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { type Site, startSite } from '../support/site.ts'

const test = suite('a new server')

/** Each value holds it, and nothing else may; another run of the tests has its own. */
const MARK = `wqzx${randomBytes(4).toString('hex')}Marked`
const VARIABLES: Record<string, string> = {
  DJANGO_SECRET_KEY: `${MARK}'"$HOME \`id\` \\n 😀 %s`,
  PEM: `-----BEGIN ${MARK}-----\nline two\r\n\n-----END-----\n`,
  LARGE: `${MARK}${'x'.repeat(64 * 1024)}`,
  EMPTY: '',
}
let far: EmptyServer
let site: Site
let before: Content
let mediaDir: string
/** Where the repository is now. */
let repository: string
let sha: string
let kit: string
/** Everything that was printed. */
const said: string[] = []
/** Command lines with the mark in them. */
const seen = new Set<string>()

function keep(output: Output): Output {
  said.push(output.stdout, output.stderr)
  return output
}

const watch = setInterval(() => {
  for (const { command } of runningProcesses()) if (command.includes(MARK)) seen.add(command.slice(0, 200))
}, 50)

test.before(async () => {
  site = await startSite()
  far = await startEmptyServer()
  sha = far.server.git('rev-parse', 'HEAD')
  const old = await startSandbox()
  try {
    await takeNight(old)
    before = await contentOf(old, old.service, old.mediaDir)
    ;({ mediaDir } = old)
    repository = join(far.server.dir, 'repository')
    cpSync(old.repository, repository, { recursive: true })
    assert.equal(filesWith(old.dir), [join(old.dir, 'apps/book-corners/config')], 'the old server')
  } finally {
    await old.stop()
  }
})
test.after(async () => {
  clearInterval(watch)
  await far.stop()
  await site.stop()
  await rm(join(mediaDir, '..'), { recursive: true, force: true })
})

/** The old server, as it was in its last night. */
async function takeNight(old: Sandbox): Promise<void> {
  await seed(old)
  const app = join(old.dir, 'apps/book-corners')
  const letsencrypt = {
    ...PLUGINS[1],
    name: 'letsencrypt',
    source_url: 'https://github.com/dokku/dokku-letsencrypt.git',
  }
  await writeFile(join(old.dir, 'plugins.json'), JSON.stringify([...PLUGINS, letsencrypt]))
  await mkdir(join(app, 'config'))
  for (const [name, value] of Object.entries(VARIABLES)) await writeFile(join(app, 'config', name), value)
  const files: Record<string, string> = {
    domains: 'bookcorners.org www.bookcorners.org\n',
    ports: 'http:80:8000 https:443:8000\n',
    scale: 'web=1\nworker=2\n',
    'checks-disabled': 'worker\n',
    'wait-to-retire': '120\n',
    'letsencrypt-email': 'ops@bookcorners.org\n',
    sha: `${sha}\n`,
    GIT_REV: `${sha}\n`,
    running: `${sha}\n`,
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(app, name), text)
  await old.configure({ DOKKU_COMMAND: undefined })
  await executable(join(old.dir, 'bin/sudo'), '#!/bin/sh\nshift\nexec "$@"\n')
  const { exitCode, stderr } = keep(
    await old.script('backup.ts', [], { env: { PATH: `${join(old.dir, 'bin')}:${programs()}` } }),
  )
  assert.is(exitCode, 0, stderr)
  assert.not.match(stderr, /warning/i)
}

/** Folders that hold a file with the mark. */
function filesWith(folder: string): string[] {
  try {
    const list = execFileSync('grep', ['-rlaF', MARK, folder], { encoding: 'utf8' })
    return [
      ...new Set(
        list
          .split('\n')
          .filter(Boolean)
          .map((path) => path.replace(/\/[^/]*$/, '')),
      ),
    ].sort()
  } catch {
    return []
  }
}

/** On a machine with Borg, and nothing else. */
async function restore(args: readonly string[], env: Record<string, string> = {}): Promise<Output> {
  const home = join(far.server.dir, 'other')
  const all = {
    HOME: home,
    PATH: programs(),
    BORG_REPO: repository,
    BORG_PASSPHRASE: PASSPHRASE,
    OPS_ENV_FILE: '',
    ...env,
  }
  return keep(await far.server.script('restore.ts', args, { env: all, cwd: home }))
}

test('--kit writes a new folder, on any machine, and shows no secret', async () => {
  kit = join(far.server.dir, 'other', 'the kit')
  const { exitCode, stdout, stderr } = await restore(['--kit', kit, '--json'])
  assert.is(exitCode, 0, stderr)
  const { variables, dump, media, missing, files, sha: release } = JSON.parse(stdout)
  assert.equal(variables, Object.keys(VARIABLES).sort())
  assert.is(dump.path, 'db.dump')
  assert.equal([media.folder, media.files, release], [mediaDir, 20, sha])
  assert.equal(missing, [])
  assert.is(statSync(kit).mode & 0o777, 0o700)
  assert.equal((await readdir(kit)).sort(), [...files].sort())
  for (const name of files) assert.is(statSync(join(kit, name)).mode & 0o777, 0o600)
  const page = readFileSync(join(kit, 'RUNBOOK.md'), 'utf8')
  assert.not.match(page, MARK)
  assert.not.match(page, PASSPHRASE)

  const again = await restore(['--kit', kit])
  assert.is(again.exitCode, 2)
  assert.match(again.stderr, /exists: the kit holds secrets/)
})

test("the runbook's commands, as they are printed, make the server anew", async () => {
  const blocks = runbookBlocks(readFileSync(join(kit, 'RUNBOOK.md'), 'utf8'))
  assert.ok(LEFT_OUT.every((name) => blocks.some(({ title }) => title === name)))
  for (const { title, where, commands } of blocks) {
    if (LEFT_OUT.includes(title)) continue
    const here = commands.replaceAll('https://bookcorners.org', site.url)
    const { exitCode, stdout, stderr } = keep(await far.type(where, here))
    assert.is(exitCode, 0, `${title}, ${where}:\n${commands}\n${stdout}${stderr}`)
    if (title === 'The data') {
      assert.match(stderr, /\blibraries_library +no table +200\b/, stderr)
      assert.match(stderr, /book-corners is not deployed: its site is not asked, and nothing is restarted/)
      assert.match(stderr, new RegExp(`deploy that release next, on the laptop: deploy ${sha.slice(0, 8)}`))
      assert.not.match(stdout + stderr, /ps:restart/)
    }
  }
  const after = await contentOf(far, 'book-corners-db', mediaDir)
  const { differences, lines } = compareContents({ name: 'then', ...before }, { name: 'now', ...after })
  assert.equal(differences, [], lines.join('\n'))
})

test('the app stands as it stood: configuration, domains, ports, processes, mounts, release', async () => {
  const { dir } = far.server
  const dokku = (...args: string[]): string =>
    execFileSync(join(dir, 'bin/dokku'), ['--quiet', ...args], { encoding: 'utf8' })
  const { DATABASE_URL, GIT_REV, ...config } = JSON.parse(dokku('config:export', '--format', 'json', 'book-corners'))
  assert.equal(config, VARIABLES)
  assert.match(DATABASE_URL, /@dokku-postgres-book-corners-db:/)
  assert.is(GIT_REV, sha)
  assert.is(far.server.running(), sha)
  const property = (name: string): string => readFileSync(join(dir, 'apps/book-corners', name), 'utf8').trim()
  assert.is(property('domains'), 'bookcorners.org www.bookcorners.org')
  assert.is(property('ports'), 'http:80:8000 https:443:8000')
  assert.is(property('scale'), 'web=1\nworker=2')
  assert.is(property('checks-disabled'), 'worker')
  assert.is(property('wait-to-retire'), '120')
  assert.is(property('letsencrypt-email'), 'ops@bookcorners.org')
  assert.is(property('mounts'), `${mediaDir}:/app/media`)
  assert.ok(existsSync(join(dir, 'apps/book-corners/certificate')))
  assert.is(dokku('postgres:info', 'book-corners-db', '--version').trim(), 'postgis/postgis:17-3.5')
  assert.match(readFileSync(join(dir, 'logrotate/book-corners-backup'), 'utf8'), /backup\.log \{\n {4}monthly\n/)
  assert.match(readFileSync(join(far.server.home, 'crontab'), 'utf8'), /^0 3 \* \* \* \/.*backup >>/m)
})

test('no secret was shown, was an argument, or lies where it does not belong', () => {
  assert.not.match(said.join('\n'), MARK)
  assert.not.match(said.join('\n'), PASSPHRASE)
  assert.equal([...seen], [])
  const calls = readFileSync(far.calls, 'utf8')
  assert.match(calls, /config:import/)
  assert.not.match(calls, MARK)
  const { dir } = far.server
  assert.equal(filesWith(dir), [kit, join(dir, 'root/kit'), join(dir, 'apps/book-corners/config')].sort())
})

test.run()
