import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { quote } from '../../lib/core/quote.ts'
import { createShell } from '../../lib/core/shell.ts'
import { connectRemote, type Remote } from '../../lib/server/ssh.ts'
import { explainSsh, SshFailure } from '../../lib/server/ssh-errors.ts'
import type { OpsCommand } from '../../lib/server/words.ts'
import { type Server, startServer } from '../support/server.ts'

const words = suite('the words of a remote command')

for (const word of ['', 'a b', "it's", '$HOME', '`id`', 'a\nb', '*', '"', '\\', '--x=y', 'ü', '!', '-n', '~', 'a;b'])
  words(`a shell gives back ${JSON.stringify(word)}`, async () => {
    const child = spawn('sh', ['-c', `printf %s ${quote(word)}`])
    let said = ''
    for await (const chunk of child.stdout) said += chunk
    assert.is(said, word)
  })

for (const [host, lines] of [
  ['vps', ['ssh dokku@vps ', 'ssh-keyscan vps >>', "ssh-keygen -R 'vps'"]],
  ['vps:2222', ['ssh -p 2222 dokku@vps ', 'ssh-keyscan -p 2222 vps >>', "ssh-keygen -R '[vps]:2222'"]],
] as const)
  words(`${host}: the commands that are told work`, () => {
    const said = ['x: Permission denied (publickey).', 'IDENTIFICATION HAS CHANGED']
      .map((stderr) => explainSsh(stderr, 'dokku', host)?.hint)
      .join('\n')
    assert.match(said.replace('ssh -v ', 'ssh '), lines[0].trim())
    for (const line of lines) assert.ok(said.replace('ssh -v ', 'ssh ').includes(line.trim()), line)
  })

for (const [stderr, trouble] of [
  ['Host key verification failed.', 'host-key'],
  [
    'No ED25519 host key is known for vps and you have requested strict checking.\nHost key verification failed.',
    'host-key',
  ],
  ['@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.', 'host-key'],
  ['dokku@vps: Permission denied (publickey).', 'login'],
  ['Load key "/k": invalid format\ndokku@vps: Permission denied (publickey).', 'key'],
  ["Permissions 0644 for '/k' are too open.\ndokku@vps: Permission denied (publickey).", 'key'],
  [
    'sign_and_send_pubkey: signing failed for ED25519 "/k": agent refused operation\ndokku@vps: Permission denied (publickey).',
    'key',
  ],
  ['/home/e/.ssh/config: line 3: Bad configuration option: hots', 'setup'],
  ['Bad owner or permissions on /home/e/.ssh/config', 'setup'],
  ['Unable to negotiate with 10.0.0.1 port 22: no matching host key type found.', 'unreachable'],
  ['ssh: Could not resolve hostname vps: Name or service not known', 'unreachable'],
  ['ssh: connect to host vps port 22: Connection refused', 'unreachable'],
  ['ssh: connect to host vps port 22: Connection timed out', 'unreachable'],
  ['Connection timed out during banner exchange', 'unreachable'],
  ['kex_exchange_identification: read: Connection reset by peer', 'unreachable'],
  ['client_loop: send disconnect: Broken pipe', 'lost'],
  ['Timeout, server vps not responding.', 'lost'],
  ['Connection to vps closed by remote host.', 'lost'],
  ['mux_client_request_session: read from master failed: Broken pipe', 'lost'],
  ['Shared connection to vps closed.', 'lost'],
  ['sh: 1: frobnicate: not found', undefined],
] as const)
  words(`"${stderr.split('\n')[0]}" means ${trouble ?? 'nothing to ssh'}`, () => {
    assert.is(explainSsh(stderr, 'dokku', 'vps')?.trouble, trouble)
  })

words.run()

const real = suite('one connection to a real sshd')
let server: Server
let remote: Remote

function connect(signal = new AbortController().signal): Promise<Remote> {
  return connectRemote(createShell(server.env, signal), { DOKKU_HOST: server.host, DEPLOY_USER: 'deploy' })
}

/** Any command: what is tried here is how it travels. */
function command(...words: string[]): OpsCommand {
  return words as unknown as OpsCommand
}

async function sockets(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => name.startsWith('bc-ssh-'))
}

real.before(async () => {
  server = await startServer()
  await server.gate('')
  process.env.TMPDIR = server.env.TMPDIR
  remote = await connect()
})
real.after(async () => {
  await remote?.close()
  await server?.stop()
})

real('arguments arrive as they are, whatever is in them', async () => {
  const odd = ["it's", 'a  b', '$HOME `id` \\ "', 'two\nlines', '', '-n', '--', 'ü*?']
  const output = await remote.shell(command('printf', '<%s>', ...odd))
  assert.is(output.stdout, odd.map((word) => `<${word}>`).join(''))
})

real("an exit status and the program's words come back", async () => {
  const output = await remote.shell(command('sh', '-c', 'echo out; echo err >&2; exit 7'))
  assert.equal([output.exitCode, output.stdout, output.stderr], [7, 'out\n', 'err\n'])
})

real('input is passed on', async () => {
  assert.is((await remote.shell(command('cat'), { input: 'line\n' })).stdout, 'line\n')
})

real("dokku's words come back, and its exit status", async () => {
  assert.is((await remote.dokku('apps:exists APP', 'book-corners')).exitCode, 0)
  assert.is((await remote.dokku('apps:exists APP', 'mistyped')).exitCode, 20)
})

real('many steps make one connection per user, and leave none', async () => {
  const before = server.connections()
  const other = await connect()
  for (let i = 0; i < 5; i++) {
    await other.shell(command('true'))
    await other.dokku('apps:exists APP', 'book-corners')
  }
  await writeFile(join(server.dir, 'file'), 'content')
  assert.is((await other.upload([join(server.dir, 'file')], server.home)).exitCode, 0)
  const env = { ...server.env, ...other.gitEnv() }
  const git = createShell(env, new AbortController().signal)
  assert.is((await git.run(['git', 'ls-remote', other.gitUrl('book-corners')])).exitCode, 0)
  await other.close()
  assert.is(server.connections() - before, 2)
  assert.is(
    server.processes().filter((line) => !line.includes(`${server.dir}/bin/login`)).length,
    2,
    'only those of `remote`',
  )
})

real('after an interruption nothing is left: no process, no socket', async () => {
  const before = await sockets()
  const stop = new AbortController()
  const other = await connect(stop.signal)
  await other.shell(command('true'))
  const running = other.shell(command('sleep', '8'))
  const startedMs = Date.now()
  stop.abort(new Error('interrupted'))
  await running.then(
    () => assert.unreachable(),
    (error) => assert.is(error.message, 'interrupted'),
  )
  assert.ok(Date.now() - startedMs < 5000, 'it waited for the server')
  await other.close()
  await other.close()
  assert.equal(await sockets(), before)
})

real('a command that the server does not end is given up after its time', async () => {
  const other = await connect()
  await other.shell(command('true'))
  const startedMs = Date.now()
  await other.shell(command('sleep', '8'), { timeoutMs: 500 }).then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, /ssh did not answer within 500 ms/),
  )
  assert.ok(Date.now() - startedMs < 5000)
  assert.is((await other.shell(command('echo', 'next'))).stdout, 'next\n')
  await other.close()
})

real('a connection that breaks is told from a program that fails, and the next step makes a new one', async () => {
  const other = await connect()
  await other.shell(command('true'))
  const running = other.shell(command('sleep', '8'))
  setTimeout(() => server.cut(), 300)
  try {
    await running
    assert.unreachable()
  } catch (error) {
    assert.instance(error, SshFailure)
    assert.is((error as SshFailure).trouble, 'lost')
  }
  assert.is((await other.shell(command('echo', 'back'))).stdout, 'back\n')
  await other.close()
})

async function refuses(known: string, trouble: string, message: RegExp): Promise<void> {
  const file = join(server.dir, 'known_hosts')
  const pinned = await readFile(file, 'utf8')
  await writeFile(file, known)
  const other = await connect()
  try {
    await other.dokku('apps:exists APP', 'book-corners')
    assert.unreachable()
  } catch (error) {
    assert.instance(error, SshFailure)
    assert.is((error as SshFailure).trouble, trouble)
    assert.match((error as SshFailure).message, message)
    assert.match((error as SshFailure).hint, /ssh-keyscan vps\.test/)
    assert.match((error as SshFailure).hint, /DOKKU_KNOWN_HOSTS/)
    assert.is(await readFile(file, 'utf8'), known, 'known_hosts was written to')
  } finally {
    await other.close()
    await writeFile(file, pinned)
  }
}

real('an unknown host key is refused, with the fix', () => refuses('', 'host-key', /is not known here/))
real('a changed host key is refused, with the fix', async () => {
  const [, type, key] = (await readFile(join(server.dir, 'key_dokku.pub'), 'utf8')).match(/^(\S+) (\S+)/) ?? []
  await refuses(`${server.host} ${type} ${key}\n`, 'host-key', /not the one that is pinned/)
})
real('a key that the server does not accept is named as such', async () => {
  const other = await connect()
  const keys = join(server.dir, 'authorized_keys')
  const before = await readFile(keys, 'utf8')
  await writeFile(keys, '')
  try {
    await other.shell(command('true'))
    assert.unreachable()
  } catch (error) {
    assert.is((error as SshFailure).trouble, 'login')
  } finally {
    await writeFile(keys, before)
    await other.close()
  }
})

const unusable: [what: string, spoil: (key: string, file: string) => void, says: RegExp][] = [
  [
    'with the line ends of Windows',
    (key, file) => writeFileSync(file, key.replaceAll('\n', '\r\n')),
    /can't be read: Load key/,
  ],
  ['on one line', (key, file) => writeFileSync(file, key.replaceAll('\n', ' ')), /can't be read: Load key/],
  ['that is cut', (key, file) => writeFileSync(file, key.slice(0, 200)), /can't be read: Load key/],
  ['that is empty', (_, file) => writeFileSync(file, ''), /can't be read: Load key/],
  ['that is the public one', (_, file) => writeFileSync(file, readFileSync(`${file}.pub`)), /can't be read: Load key/],
  ['that others may read', (_, file) => chmodSync(file, 0o644), /was not used: Permissions 0644/],
  [
    'with a passphrase',
    (_, file) => void execFileSync('ssh-keygen', ['-q', '-p', '-N', 'secret', '-f', file]),
    /has a passphrase, and no ssh-agent holds it/,
  ],
]
for (const [what, spoil, says] of unusable)
  real(`a private key ${what} is the cause that is told, and not that the server does not know it`, async () => {
    const file = join(server.dir, 'key_dokku')
    const key = await readFile(file, 'utf8')
    const other = await connect()
    spoil(key, file)
    try {
      await other.dokku('apps:exists APP', 'book-corners')
      assert.unreachable()
    } catch (error) {
      assert.is((error as SshFailure).trouble, 'key')
      assert.match((error as SshFailure).message, says)
      assert.not.match((error as SshFailure).message, /does not accept/)
    } finally {
      await writeFile(file, key)
      chmodSync(file, 0o600)
      await other.close()
    }
  })

real.run()
