// A server that is set up as `deploy --gate` says: every command goes through, and the keys open nothing else.
import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DOKKU_WORDS, GIT_WORDS, withApp } from '../../lib/server/words.ts'
import { commandsUnder } from '../support/docs.ts'
import { executable } from '../support/engineer.ts'
import type { Output, RunOptions } from '../support/launch.ts'
import { endsWith, type Server, startServer } from '../support/server.ts'
import { startSite } from '../support/site.ts'

const test = suite('behind the gate')
let server: Server
let site: Awaited<ReturnType<typeof startSite>>
/** The script that `deploy --gate` prints. */
let printed: string

function run(name: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
  return server.script(name, args, { ...options, env: { SITE_URL: site.url, ...options.env } })
}

async function goesWell(name: string, args: readonly string[]): Promise<string> {
  const output = await run(name, args)
  endsWith(server, output, 0)
  assert.not.match(output.stderr, /gate/)
  return output.stdout
}

/** The lines that write authorized_keys, as the page has them. */
const LINES =
  commandsUnder('docs/pipeline.md', '1. A key for CI, and its gate').match(/^printf [\s\S]*?authorized_keys$/gm) ?? []

/** Types them; MODE is what the key of deploy may say. */
async function install(mode: 'ledger' | 'sync'): Promise<void> {
  const gate = join(server.dir, 'book-corners-gate')
  const keys = join(server.dir, 'authorized_keys')
  await writeFile(join(server.dir, 'the-gate'), printed)
  // What differs here is where Dokku is, and that one account has two homes.
  await executable(
    gate,
    `#!/bin/sh
case $1 in dokku) ;; *) cd '${server.home}' && HOME='${server.home}' && export HOME ;; esac
printf '%s\\n' "$1: $SSH_ORIGINAL_COMMAND" | head -n 1 >>'${server.dir}/calls'
PATH='${server.dir}/bin':"$PATH" exec /bin/sh '${server.dir}/the-gate' "$@"
`,
  )
  await writeFile(keys, '')
  for (const [i, user] of ['dokku', 'deploy'].entries()) {
    const here = (LINES[i] ?? '')
      .replaceAll('/usr/local/bin/book-corners-gate', gate)
      .replaceAll('ci_key.pub', `key_${user}.pub`)
      .replace(' ledger"', ` ${mode}"`)
      .replace(`~${user}/.ssh/authorized_keys`, keys)
    execFileSync('sh', ['-e', '-c', here], { cwd: server.dir })
  }
}

function ssh(...args: string[]): Promise<Output> {
  return server.launch('ssh', ['-o', 'BatchMode=yes', ...args]).ended
}

test.before(async () => {
  server = await startServer({ isSynced: false })
  site = await startSite()
  const output = await server.script('deploy.ts', ['--gate'])
  endsWith(server, output, 0)
  printed = output.stdout
  await install('sync')
})
test.after(async () => {
  await site.stop()
  await server.stop()
})

test('--gate is printed without a question to the server, and takes no REF', async () => {
  assert.is(server.connections(), 0)
  endsWith(server, await run('deploy.ts', ['--gate', 'HEAD']), 2)
  endsWith(server, await run('deploy.ts', ['--gate', '--status']), 2)
})

test('how to install it stands in it as on the page', () => {
  assert.is(LINES.length, 2)
  for (const line of LINES.join('\n').split('\n')) assert.ok(printed.includes(`#   ${line}\n`), line)
})

test('its lines in authorized_keys are those of Dokku: it is told the name and the fingerprint of the key', async () => {
  const keys = await readFile(join(server.dir, 'authorized_keys'), 'utf8')
  assert.match(
    keys,
    /^command="FINGERPRINT=SHA256:\S+ NAME=\\"ci\\" `echo \S+` dokku",restrict ssh-ed25519 \S+ key_dokku\n/,
  )
  assert.match(keys, /\nrestrict,command="\S+ sync" ssh-ed25519 \S+ key_deploy\n$/)
  await server.fault('apps:locked', 'echo "$NAME $FINGERPRINT"')
  const { stdout } = await ssh(`dokku@${server.host}`, 'apps:locked book-corners')
  await server.fault('apps:locked')
  assert.match(stdout, /^ci SHA256:\S+\n/)
})

test('deploy, rollback and verify with all that they do', async () => {
  const first = await server.commit('First')
  server.push()
  assert.match(await goesWell('deploy.ts', ['--yes']), /is deployed .*ops scripts synced.*verified/)
  const second = await server.commit("It's the second")
  server.push()
  assert.match(await goesWell('deploy.ts', ['--yes']), /ops scripts unchanged/)
  assert.match(await goesWell('deploy.ts', ['--status']), /It's the second[\s\S]*ops scripts +[0-9a-f]{16}/)
  assert.match(await goesWell('deploy.ts', ['--sync-only']), /ops scripts unchanged/)
  assert.match(await goesWell('verify.ts', ['--url', site.url, '--expect-sha', second]), second.slice(0, 8))
  // Dokku 0.30 does not report the branch that counts, but an empty one.
  await server.fault('git:report', '[[ "$2" != *-computed-* ]] || log_fail "Invalid flag passed"')
  assert.match(await goesWell('rollback.ts', ['--list']), new RegExp(`${first.slice(0, 8)}.*First`))
  await server.fault('git:report')
  await goesWell('rollback.ts', ['--rebuild', '--yes'])
  await goesWell('rollback.ts', ['--to', first, '--yes'])
  assert.is(server.running(), first)
  await goesWell('deploy.ts', ['--yes'])
  await goesWell('rollback.ts', ['--revert', '--now', '--yes'])
  assert.match(await readFile(join(server.opsDir, 'deploys.jsonl'), 'utf8'), /"kind":"revert"/)
  const logs = server.start('deploy.ts', ['--logs'])
  await logs.prints(/GET \/map\//)
  logs.child.kill('SIGINT')
  assert.is((await logs.ended).exitCode, 130)
  await server.fault('git-hook', 'deploy_fails=health')
  await server.commit('Broken')
  assert.is((await run('deploy.ts', ['--yes'])).exitCode, 1)
  await server.fault('git-hook')
  server.git('reset', '-q', '--hard', 'HEAD~1')
})

test('nothing stands in its list that no command says', () => {
  const said = server.calls().flatMap((call) => (call.startsWith('dokku: ') ? [call.slice('dokku: '.length)] : []))
  // With a path as the app's name git says it where DOKKU_HOST has a port: this one has none.
  const git = GIT_WORDS.filter((words) => !words.includes("'/"))
  const list = [...DOKKU_WORDS, ...git].map((words) => withApp(words, 'book-corners'))
  assert.equal(
    list.filter((words) => !said.includes(words)),
    [],
  )
})

test('a key for the ledger alone: a deploy goes well, says that the scripts are unchanged, and can bring no others', async () => {
  await install('ledger')
  await server.commit('Third')
  assert.match(await goesWell('deploy.ts', ['--yes']), /ops scripts unchanged/)
  const ops = join(server.opsDir, 'current')
  const other = 'releases/0000000000000000'
  execFileSync('ln', ['-sfn', other, ops])
  const { exitCode, stderr } = await run('deploy.ts', ['--sync-only'])
  await install('sync')
  assert.is(exitCode, 1)
  assert.match(
    stderr,
    /The gate of book-corners does not let this key sync the ops scripts\. From a laptop: deploy --sync-only/,
  )
  assert.is(execFileSync('readlink', [ops], { encoding: 'utf8' }).trim(), other)
})

for (const user of ['dokku', 'deploy'])
  test(`no shell, no terminal, no file transfer and no tunnel with the key of ${user}`, async () => {
    const host = `${user}@${server.host}`
    const asked = [
      [],
      ['sh'],
      ['config:show book-corners'],
      ["git-receive-pack 'other'"],
      ['sudo dokku run book-corners sh'],
    ]
    for (const args of asked) {
      const { exitCode, stdout, stderr } = await ssh(host, ...args)
      assert.is(exitCode, 77, `${args}: ${stdout}${stderr}`)
      assert.match(stderr, /The gate of book-corners does not let this key say that/)
    }
    assert.match((await ssh('-tt', host)).stderr, /PTY allocation request failed/)
    const subsystem = await ssh('-s', host, 'sftp')
    assert.is(subsystem.exitCode, 77, subsystem.stderr)
    const target = join(server.home, '.ssh')
    for (const flags of [[], ['-O']]) {
      const { exitCode } = await server.launch('scp', [...flags, join(server.dir, 'known_hosts'), `${host}:${target}`])
        .ended
      assert.is.not(exitCode, 0)
    }
    const tunnel = await ssh('-W', '127.0.0.1:22', host)
    assert.match(tunnel.stderr, /administratively prohibited/)
    const back = await ssh('-o', 'ExitOnForwardFailure=yes', '-N', '-R', '0:127.0.0.1:22', host)
    assert.match(back.stderr, /remote port forwarding failed/)
  })

test.run()
