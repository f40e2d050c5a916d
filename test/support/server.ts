import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { appendFile, chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { TOKEN } from './cloudflare.ts'
import { launchIn, type Output, type Running, type RunOptions } from './launch.ts'

/**
 * A Dokku host on loopback: a real sshd with the users `dokku` (Dokku's stand-in as forced command, and git) and `deploy` (a plain
 * shell in a home of its own), the app's checkout, and its origin. Both users are this account: the `ssh` and `scp` put first in
 * PATH turn them into two keys, of which each has a forced command.
 */
export interface Server {
  readonly dir: string
  /** What DOKKU_HOST is set to. */
  readonly host: string
  /** The deploy user's home there. */
  readonly home: string
  readonly opsDir: string
  /** The app's checkout, and its bare origin. */
  readonly app: string
  readonly origin: string
  /** Settings and PATH for a script. */
  readonly env: Record<string, string>
  script(name: string, args?: readonly string[], options?: RunOptions): Promise<Output>
  start(name: string, args?: readonly string[], options?: RunOptions): Running
  /** Starts any program in the scripts' environment. */
  launch(file: string, args: readonly string[], options?: RunOptions): Running
  /** Git in the app's checkout. */
  git(...args: string[]): string
  /** Commits files in the app's checkout; returns the SHA. */
  commit(subject: string, files?: Record<string, string>): Promise<string>
  push(): void
  /** What runs: the revision of the web container. */
  running(): string | undefined
  /** The deploy branch there. */
  deployed(branch?: string): string | undefined
  /** Makes a Dokku command misbehave, as in sandbox.ts; `git-hook` is the deployment. */
  fault(command: string, snippet?: string): Promise<void>
  /** Puts a program first in the PATH of the deploy user there, or takes it away. */
  farProgram(name: string, script?: string): Promise<void>
  /** Lets a deployment go on that waits. */
  go(): Promise<void>
  /** Takes the host's key out of the engineer's known_hosts. */
  forgetHostKey(): Promise<void>
  /** Undoes faults, `go`, `forgetHostKey`, and takes away a lock left behind. */
  reset(): Promise<void>
  /** SSH connections accepted so far, and commands run over them. */
  connections(): number
  calls(): string[]
  /** Cuts every open connection, as a network that goes away does; new ones work. */
  cut(): void
  /** Processes that a script left behind. */
  strays(): string[]
  stop(): Promise<void>
}

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
const TSX = import.meta.resolve('tsx')
const HOST = 'vps.test'

export const APP_FILES: Record<string, string> = {
  Dockerfile: 'FROM node:22-alpine AS css\nRUN npm ci\n',
  'package.json': '{"name":"book-corners"}\n',
  'package-lock.json': '{"name":"book-corners","lockfileVersion":3,"packages":{}}\n',
  'app.json': JSON.stringify({
    scripts: { dokku: { predeploy: 'python manage.py migrate --noinput' } },
    healthchecks: { web: [{ type: 'startup', name: 'web check', path: '/health/', attempts: 3, timeout: 5, wait: 5 }] },
  }),
  'libraries/migrations/__init__.py': '',
  'libraries/migrations/0001_initial.py': 'operations = []\n',
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
}

function executable(path: string, text: string): Promise<void> {
  return writeFile(path, text, { mode: 0o755 })
}

export async function startServer(): Promise<Server> {
  const dir = await mkdtemp(join(tmpdir(), 'bc-vps-'))
  await chmod(dir, 0o755)
  const at = (...parts: string[]): string => join(dir, ...parts)
  const [home, bin, far, near] = [at('home/deploy'), at('bin'), at('far-bin'), at('near')]
  const [app, origin, opsDir] = [at('checkout'), at('origin.git'), at('home/deploy/ops')]
  for (const folder of [home, bin, far, near, at('tmp'), at('engineer'), at('faults'), at('apps/book-corners')])
    await mkdir(folder, { recursive: true })
  // The sandbox has its own folder for sockets; compiled scripts are shared.
  const compiled = `tsx-${process.getuid?.()}`
  await symlink(join(tmpdir(), compiled), at('tmp', compiled))
  const running = new Set<ChildProcess>()

  // The two users.
  await symlink(fileURLToPath(new URL('dokku', import.meta.url)), at('bin/dokku'))
  const npmCache = execFileSync('npm', ['config', 'get', 'cache'], { stdio: ['ignore', 'pipe', 'ignore'] })
  await writeFile(join(home, '.npmrc'), `cache=${npmCache.toString().trim()}\n`)
  await executable(
    at('bin/login'),
    `#!/bin/sh
printf '%s\\n' "$1: $SSH_ORIGINAL_COMMAND" | head -n 1 >>'${at('calls')}'
cd '${home}' || exit 1
if [ "$1" = dokku ]; then export PATH=/usr/local/bin:/usr/bin:/bin; exec '${at('bin/dokku')}' $SSH_ORIGINAL_COMMAND; fi
command=$SSH_ORIGINAL_COMMAND
exec env -i HOME='${home}' USER=deploy PATH='${far}:/usr/local/bin:/usr/bin:/bin' /bin/sh -c "$command"
`,
  )
  const keygen = (name: string): void =>
    void execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', at(name)])
  for (const name of ['host_key', 'key_dokku', 'key_deploy']) keygen(name)
  const publicKey = (name: string): string => readFileSync(at(`${name}.pub`), 'utf8').trim()
  await writeFile(
    at('authorized_keys'),
    ['dokku', 'deploy'].map((user) => `command="${at('bin/login')} ${user}" ${publicKey(`key_${user}`)}\n`).join(''),
    { mode: 0o600 },
  )
  const pinned = `${HOST} ${publicKey('host_key').split(' ').slice(0, 2).join(' ')}\n`
  await writeFile(at('known_hosts'), pinned)

  // The sshd.
  const port = await freePort()
  const sftp = ['/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server']
  await writeFile(
    at('sshd_config'),
    [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${at('host_key')}`,
      `AuthorizedKeysFile ${at('authorized_keys')}`,
      `PidFile ${at('sshd.pid')}`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'PermitRootLogin yes',
      'LogLevel VERBOSE',
      `Subsystem sftp ${sftp.find(existsSync) ?? sftp[0]}`,
      '',
    ].join('\n'),
  )
  // An sshd of root's insists on its folder, which a machine without a running one does not have.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true })
  const sshd = spawn('/usr/sbin/sshd', ['-D', '-f', at('sshd_config'), '-E', at('sshd.log')], { stdio: 'ignore' })

  // The engineer's machine: their ssh_config, found by the wrappers.
  const alias = (user: string): string[] => [
    `Host ${user}.${HOST}`,
    `  HostName 127.0.0.1`,
    `  Port ${port}`,
    `  HostKeyAlias ${HOST}`,
    `  User ${userInfo().username}`,
    `  IdentityFile ${at(`key_${user}`)}`,
    '  IdentitiesOnly yes',
    `  UserKnownHostsFile ${at('known_hosts')}`,
    '  GlobalKnownHostsFile none',
  ]
  await writeFile(at('ssh_config'), [...alias('dokku'), ...alias('deploy'), ''].join('\n'))
  for (const program of ['ssh', 'scp'])
    await executable(
      join(near, program),
      `#!/bin/bash
args=()
for arg; do
  case $arg in (dokku@${HOST}*|deploy@${HOST}*) rest=\${arg#*@${HOST}}; arg=\${arg%%@*}.${HOST}$rest ;; esac
  args+=("$arg")
done
exec /usr/bin/${program} -F '${at('ssh_config')}' "\${args[@]}"
`,
    )
  const env = {
    HOME: at('engineer'),
    PATH: `${near}:${dirname(process.execPath)}:/usr/bin:/bin`,
    TMPDIR: at('tmp'),
    DOKKU_HOST: HOST,
    OPS_DIR: opsDir,
    OPS_ENV_FILE: at('engineer/.env'),
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_DATE: '2026-02-28T10:00:00Z',
    GIT_COMMITTER_DATE: '2026-02-28T10:00:00Z',
  }
  await writeFile(at('engineer/.env'), '', { mode: 0o600 })
  await writeFile(
    at('engineer/.gitconfig'),
    '[user]\n\tname = Engineer\n\temail = engineer@example.org\n[init]\n\tdefaultBranch = master\n',
  )

  const launch: Server['launch'] = (file, args, options = {}) =>
    launchIn(running, file, args, { ...options, cwd: options.cwd ?? app, env: { ...env, ...options.env } })
  const start: Server['start'] = (name, args = [], options = {}) =>
    launch(process.execPath, ['--import', TSX, join(PROJECT, 'scripts', name), ...args], options)
  const gitIn = (folder: string, args: readonly string[]): string =>
    execFileSync('git', ['-C', folder, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
      .toString()
      .trim()

  // A connection of another user than root has two processes: the second outlives the first.
  const sessions = (): number[] => {
    const processes = execFileSync('ps', ['-eo', 'pid=,ppid=,comm='])
      .toString()
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , program = '']) => program.startsWith('sshd'))
      .map(([pid, parent]) => ({ pid: Number(pid), parent: Number(parent) }))
    const childrenOf = (parents: readonly (number | undefined)[]): number[] =>
      processes.filter(({ parent }) => parents.includes(parent)).map(({ pid }) => pid)
    const first = childrenOf([sshd.pid])
    return [...first, ...childrenOf(first)]
  }
  const cut = (): void => {
    for (const pid of sessions())
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It went with the other one.
      }
  }
  const hooks = (): string[] =>
    execFileSync('ps', ['-eo', 'args=', '--cols', '300'])
      .toString()
      .split('\n')
      .filter((line) => line.includes(dir) && /git-hook|receive-pack/.test(line))
  const sweep = (): void => {
    for (const child of [...running, sshd]) child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  process.on('exit', sweep)

  execFileSync('git', ['init', '-q', '--bare', origin], { env })
  execFileSync('git', ['clone', '-q', origin, app], { env, stdio: 'ignore' })
  const commit: Server['commit'] = async (subject, files = { [`notes/${subject}.txt`]: subject }) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(app, path)), { recursive: true })
      await writeFile(join(app, path), text)
    }
    gitIn(app, ['add', '-A'])
    gitIn(app, ['commit', '-q', '--allow-empty', '-m', subject])
    return gitIn(app, ['rev-parse', 'HEAD'])
  }
  const push = (): void => void gitIn(app, ['push', '-q', 'origin', 'HEAD:master'])
  await commit('A map of little libraries', APP_FILES)
  push()

  for (let tries = 0; !existsSync(at('sshd.log')) || !/listening/.test(readFileSync(at('sshd.log'), 'utf8')); tries++) {
    if (tries > 100 || sshd.exitCode !== null) throw new Error('The sshd of the sandbox does not start.')
    await sleep(50)
  }
  const fileOr = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

  return {
    dir,
    host: HOST,
    home,
    opsDir,
    app,
    origin,
    env,
    launch,
    start,
    script: (name, args, options) => start(name, args, options).ended,
    git: (...args) => gitIn(app, args),
    commit,
    push,
    running: () => fileOr(at('apps/book-corners/running')).trim() || undefined,
    deployed: (branch = 'master') => {
      try {
        return gitIn(at('apps/book-corners/repo'), ['rev-parse', '--verify', '-q', `refs/heads/${branch}`])
      } catch {
        return
      }
    },
    fault: async (command, snippet) => {
      if (snippet === undefined) await rm(at('faults', command), { force: true })
      else await writeFile(at('faults', command), snippet)
    },
    farProgram: async (name, script) => {
      if (script === undefined) await rm(join(far, name), { force: true })
      else await executable(join(far, name), script)
    },
    go: () => appendFile(at('go'), ''),
    forgetHostKey: () => writeFile(at('known_hosts'), ''),
    reset: async () => {
      await rm(at('faults'), { recursive: true, force: true })
      await mkdir(at('faults'))
      await writeFile(at('known_hosts'), pinned)
      // A hook whose connection was cut ends when it is let go.
      for (let tries = 0; tries < 50 && hooks().length > 0; tries++) await sleep(100)
      await rm(at('go'), { force: true })
      await rm(at('apps/book-corners/.deploy.lock'), { force: true })
    },
    connections: () => fileOr(at('sshd.log')).match(/Accepted publickey/g)?.length ?? 0,
    calls: () => fileOr(at('calls')).split('\n').filter(Boolean),
    cut,
    strays: () =>
      execFileSync('ps', ['-eo', 'pid=,args=', '--cols', '300'])
        .toString()
        .split('\n')
        .filter((line) => line.includes(dir) && !line.includes('sshd')),
    stop: async () => {
      process.off('exit', sweep)
      cut()
      sweep()
    },
  }
}

export async function readJsonLines(path: string): Promise<Record<string, unknown>[]> {
  return (await readFile(path, 'utf8').catch(() => ''))
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

/** How a script ended, and that it left nothing behind: no stack trace or warning of Node's, and no process once the far side has noticed. */
export function endsWith(server: Server, output: Output, exitCode: number): void {
  const said = output.stderr + output.stdout
  assert.is(output.exitCode, exitCode, said)
  assert.not.match(said, TOKEN)
  assert.not.match(said, /A bug in|\n {4}at |\(node:\d+\)/)
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let tries = 0; tries < 50 && server.strays().length > 0; tries++) Atomics.wait(pause, 0, 0, 100)
  assert.equal(server.strays(), [])
}
