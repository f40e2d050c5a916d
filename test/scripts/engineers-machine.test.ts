import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { BARE_HOST, executable } from '../support/engineer.ts'
import type { Output } from '../support/launch.ts'
import { withReleases } from '../support/releases.ts'
import { type Server, startServer } from '../support/server.ts'
import { startSite } from '../support/site.ts'

const test = suite("the engineer's own git and SSH")
let server: Server
let at: ReturnType<typeof withReleases>

function deploy(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Output> {
  return server.script('deploy.ts', ['--no-verify', ...args], { env })
}

test.before(async () => {
  server = await startServer({ isSynced: false })
  at = withReleases(server)
})
test.after(() => server?.stop())

test('HOST:PORT is enough: pushes, questions and uploads go there without an ssh configuration', async () => {
  const output = await deploy([], { DOKKU_HOST: `${BARE_HOST}:${server.port}` })
  at.ends(output, 0)
  assert.is(server.running(), server.git('rev-parse', 'HEAD'))
  assert.match(output.stdout, /ops scripts synced/)
  const dry = await server.script('rollback.ts', ['--rebuild', '--dry-run'], {
    env: { DOKKU_HOST: `${BARE_HOST}:${server.port}` },
  })
  at.ends(dry, 0)
})

test('of a host key that is not known, every command that is told has the port', async () => {
  await server.forgetHostKey()
  const output = await deploy([], { DOKKU_HOST: `${BARE_HOST}:${server.port}` })
  await server.reset()
  at.ends(output, 1)
  assert.match(output.stderr, `ssh-keyscan -p ${server.port} ${BARE_HOST} >> ~/.ssh/known_hosts`)
  assert.not.match(output.stderr, new RegExp(`${BARE_HOST}:\\d+ (>>|\\|)`))
})

// Each of these stops a push, or makes it another one.
const GIT = `
[push]
  pushOption = ci.skip
  followTags = true
  gpgSign = true
  recurseSubmodules = only
[protocol "ssh"]
  allow = never
[url "/nowhere/"]
  insteadOf = dokku@vps.test:
  pushInsteadOf = dokku@
[core]
  sshCommand = false
[remote "origin"]
  mirror = true
`
const SSH = `
Host *
  RequestTTY force
  RemoteCommand echo hello
  ExitOnForwardFailure yes
  LocalForward PORT localhost:1
  LogLevel QUIET
`

/** The engineer has the settings above while `work` runs. */
async function withSettings(work: () => Promise<void>): Promise<void> {
  const files = [join(server.env.HOME ?? '', '.gitconfig'), join(server.dir, 'ssh_config')] as const
  const before = await Promise.all(files.map((file) => readFile(file, 'utf8')))
  await appendFile(files[0], GIT)
  await appendFile(files[1], SSH.replace('PORT', String(server.port)))
  try {
    await work()
  } finally {
    await Promise.all(files.map((file, i) => writeFile(file, before[i] ?? '')))
  }
}

test('neither hooks of the checkout nor settings of git and ssh change a push to Dokku, or stop it', async () => {
  const bad = await server.commit('Break the map')
  server.push()
  server.git('tag', '-a', '-m', 'Broken', 'v9')
  await executable(join(server.app, '.git/hooks/pre-push'), '#!/bin/sh\necho "husky - pre-push failed" >&2\nexit 1\n')
  await withSettings(async () => {
    const output = await deploy()
    at.ends(output, 0)
    assert.match(output.stderr, /The hook \S+\/\.git\/hooks\/pre-push is not run/)
  })
  assert.is(server.running(), bad)
  assert.is(server.git('ls-remote', '--tags', join(server.dir, 'apps/book-corners/repo')), '')
})

test('a revert that git pushed elsewhere (pushurl) is not said to be on origin', async () => {
  const fork = join(server.dir, 'fork.git')
  server.git('clone', '-q', '--bare', server.origin, fork)
  server.git('config', 'remote.origin.pushurl', fork)
  const before = at.onOrigin()
  const output = await server.script('rollback.ts', ['--revert', '--yes'])
  server.git('config', '--unset', 'remote.origin.pushurl')
  at.ends(output, 1)
  assert.match(output.stderr, /The revert went to \S+fork\.git, not to origin/)
  assert.is(at.onOrigin(), before)
})

test('the same settings, and a push to origin and Dokku', async () => {
  const site = await startSite()
  await withSettings(async () => {
    const output = await server.script('rollback.ts', ['--revert', '--now', '--yes'], { env: { SITE_URL: site.url } })
    at.ends(output, 0)
  })
  await site.stop()
  assert.is(at.onOrigin(), server.running())
})

test.run()
