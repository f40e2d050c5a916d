// A migration that destroys data, and the way back from it by what the commands say.
import { copyFile, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { programs } from '../support/borg.ts'
import type { Output } from '../support/launch.ts'
import { withReleases } from '../support/releases.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { type Server, startServer } from '../support/server.ts'
import { type Site, startSite } from '../support/site.ts'

const test = suite('the way back from a migration')
let server: Server
let sandbox: Sandbox
let site: Site

/** One machine: the server's app, the sandbox's database, photos and repository, and the settings of the deploy user there. */
test.before(async () => {
  ;[server, sandbox, site] = await Promise.all([startServer(), startSandbox(), startSite()])
  await seed(sandbox, { libraries: 40, photos: 3 })
  await rm(join(sandbox.dir, 'apps'), { recursive: true })
  await symlink(join(server.dir, 'apps'), join(sandbox.dir, 'apps'))
  await sandbox.configure({ SITE_URL: site.url, CHECK_EVERY_DAYS: '0' })
  await copyFile(sandbox.envFile, join(server.home, '.env.backup'))
  // CI's key: what it says goes through the gate.
  await server.gate('sync')
})
test.after(async () => {
  await server?.stop()
  await sandbox?.stop()
  await site?.stop()
})

function onLaptop(script: string, ...args: string[]): Promise<Output> {
  return server.script(script, args, { env: { SITE_URL: site.url } })
}

/** A command line as it is told, on the server, as deploy. */
function onServer(line: string): Promise<Output> {
  const env = { HOME: server.home, PATH: programs(), OPS_ENV_FILE: join(server.home, '.env.backup') }
  return server.launch('env', ['-i', ...Object.entries(env).map((pair) => pair.join('=')), 'sh', '-c', line], {
    cwd: server.home,
  }).ended
}

function described(): Promise<string> {
  return sandbox.sql('SELECT count(description) FROM libraries_library;')
}

test('deploy, what it destroyed, rollback, and what rollback says to type', async () => {
  const at = withReleases(server)
  const good = server.git('rev-parse', 'HEAD')
  const first = await onLaptop('deploy.ts')
  at.ends(first, 0)
  assert.not.match(first.stdout, /restore point/)

  // The predeploy task of this one drops a column.
  const bad = await server.commit('Forget descriptions', { 'libraries/migrations/0002_drop.py': 'operations = []\n' })
  server.push()
  const migrate = `echo 'ALTER TABLE libraries_library DROP COLUMN description;' | '${sandbox.dir}/bin/dokku' postgres:connect ${sandbox.service}`
  await server.fault('git-hook', `[[ "$(property "$1" running)" == ${bad} ]] || ${migrate} >/dev/null`)
  const deployed = await onLaptop('deploy.ts')
  await server.fault('git-hook')
  at.ends(deployed, 0)
  assert.match(
    deployed.stderr,
    /Taking a restore point[\s\S]*Storing the database book_corners_db[\s\S]*-----> Building/,
  )
  const [, point = ''] = /; restore point (\S+);/.exec(deployed.stdout) ?? []
  assert.match(point, new RegExp(`^book-corners-before-${bad.slice(0, 8)}-\\d{4}-`))
  assert.equal(await sandbox.archives(), [point])
  assert.is((await at.lastEntry()).restorePoint, point)
  assert.match(await described().catch(String), /column "description" does not exist/)
  await sandbox.sql("INSERT INTO libraries_library (name) VALUES ('Written since');")

  const back = ['--to', good.slice(0, 8), '--yes']
  const stopped = await onLaptop('rollback.ts', ...back)
  at.ends(stopped, 1)
  assert.match(stopped.stderr, `Restore point of the deploy that brought them: ${point}, just now.`)
  assert.match(
    stopped.stderr,
    /A restore to it loses all that was written since, in \d+ s \(rows, by PostgreSQL's counters: public\.libraries_library 1 new\)\. The data back, on the server:/,
  )
  assert.match(
    stopped.stderr,
    `  Only if that was not done yet: it takes the database to ${point.slice(-'2026-02-28T09:15:37'.length)} again.`,
  )
  assert.match(stopped.stderr, /the data is restored.*type the same with --allow-migrations/)
  assert.is(server.running(), bad)

  const [restore = ''] = /\S+\/restore --db-only \S+$/m.exec(stopped.stderr) ?? []
  assert.is(restore, `${join(dirname(server.opsDir), 'restore')} --db-only ${point}`)
  const preview = await onServer(`${restore} --dry-run`)
  assert.is(preview.exitCode, 0, preview.stderr)
  assert.match(preview.stdout, `before release ${bad.slice(0, 8)}`)
  const restored = await onServer(`${restore} --yes`)
  assert.is(restored.exitCode, 0, restored.stderr)
  assert.match(restored.stderr, new RegExp(`taken at release ${good.slice(0, 8)}, before release ${bad.slice(0, 8)}`))
  assert.match(restored.stderr, `on the laptop: rollback --to ${good.slice(0, 8)} --allow-migrations`)
  assert.is(await described(), '40')
  assert.is(await sandbox.sql('SELECT count(*) FROM libraries_library;'), '40')

  const returned = await onLaptop('rollback.ts', ...back, '--allow-migrations')
  at.ends(returned, 0)
  assert.match(returned.stdout, new RegExp(`^${good.slice(0, 8)} is live .*verified`))
  assert.is(server.running(), good)
  assert.is(await described(), '40')
})

test.run()
