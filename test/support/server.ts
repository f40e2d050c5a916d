// A Dokku host on loopback, the engineer's machine beside it, and the app's checkout: where deploy and rollback run.
import { type ChildProcess, execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { appendFile, chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { gateScript } from '../../lib/deploy/gate.ts'
import { CONTENT, PROJECT, releaseId } from '../../lib/server/sync.ts'
import { syncWords } from '../../lib/server/sync-script.ts'
import { type AppCheckout, gitIn, makeCheckout } from './app-checkout.ts'
import { programs } from './borg.ts'
import { TOKEN } from './cloudflare.ts'
import { whenEnding } from './ending.ts'
import { type Engineer, executable, HOST, settleEngineer } from './engineer.ts'
import { launchIn, type Output, type Running, type RunOptions } from './launch.ts'
import { processesThatStay, processesWith } from './processes.ts'
import { madeOnce } from './run-folder.ts'
import { scriptCommand } from './scripts.ts'
import { type Sshd, startSshd } from './sshd.ts'
import { until } from './until.ts'

/** See `deploy --gate`. */
type GateMode = 'ledger' | 'sync'

/**
 * The host, as a test sees it from inside. It has the users `dokku` (Dokku's stand-in, and git) and `deploy`, whose keys the gate
 * restricts to what these scripts say.
 */
interface DokkuHost {
  /** What runs: the revision of the web container. */
  running(): string | undefined
  /** What Dokku keeps of the app: `GIT_REV`, `latest`, `code` and the others that its stand-in names. */
  property(name: string): string | undefined
  /** The deploy branch there. */
  deployed(branch?: string): string | undefined
  /** Makes a Dokku command misbehave, as in sandbox.ts; `git-hook` is the deployment. */
  fault(command: string, snippet?: string): Promise<void>
  /** What the gate lets deploy's key say, at first `sync`; without one both keys say what they like, as an engineer's do. */
  gate(mode: GateMode | ''): Promise<void>
  /** Puts a program first in the PATH of the deploy user there, or takes it away. */
  farProgram(name: string, script?: string): Promise<void>
  /** Lets a deployment go on that waits. */
  go(): Promise<void>
  /** Commands that were run over SSH, each with its user. */
  calls(): string[]
  /** Processes of the host and of the scripts that run now, beside sshd. */
  processes(): string[]
}

/** What the engineer starts, in the scripts' environment. */
interface Programs {
  script(name: string, args?: readonly string[], options?: RunOptions): Promise<Output>
  start(name: string, args?: readonly string[], options?: RunOptions): Running
  launch(file: string, args: readonly string[], options?: RunOptions): Running
}

export interface Server
  extends DokkuHost,
    Programs,
    AppCheckout,
    Pick<Engineer, 'env' | 'forgetHostKey'>,
    Pick<Sshd, 'connections' | 'cut' | 'port'> {
  readonly dir: string
  /** What DOKKU_HOST is set to. */
  readonly host: string
  /** The deploy user's home there. */
  readonly home: string
  readonly opsDir: string
  /** Undoes faults, `go`, `forgetHostKey`, and takes away a lock left behind. */
  reset(): Promise<void>
  stop(): Promise<void>
}

const STAND_IN = fileURLToPath(new URL('dokku', import.meta.url))

/** @param isSynced whether the release of these ops scripts is there already, as on any day but the first */
export async function startServer({ isSynced = true } = {}): Promise<Server> {
  const dir = await mkdtemp(join(tmpdir(), 'bc-vps-'))
  await chmod(dir, 0o755)
  const home = join(dir, 'home/deploy')
  const sshd = await startSshd(dir, home, await layOut(dir, home))
  const running = new Set<ChildProcess>()
  const clear = (): void => {
    for (const child of running) child.kill('SIGKILL')
    sshd.kill()
    rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  const forget = whenEnding(clear)

  const engineer = await settleEngineer(dir, sshd)
  const opsDir = join(home, 'ops')
  const env = { ...engineer.env, OPS_DIR: opsDir }
  if (isSynced) await placeRelease(home, opsDir)
  const checkout = await makeCheckout(dir, env)
  const { connections, cut, port } = sshd
  return {
    dir,
    host: HOST,
    home,
    opsDir,
    env,
    connections,
    cut,
    port,
    ...checkout,
    ...hostIn(dir, env),
    ...programsFor(running, checkout.app, env),
    forgetHostKey: engineer.forgetHostKey,
    reset: async () => {
      await engineer.pinHostKey()
      await resetHost(dir)
    },
    stop: async () => {
      forget()
      cut()
      clear()
    },
  }
}

/** Makes the host's folders; returns the program that runs for each command over SSH. */
async function layOut(dir: string, home: string): Promise<string> {
  const [bin, far] = [join(dir, 'bin'), join(dir, 'far-bin')]
  for (const folder of [home, bin, far, join(dir, 'faults'), join(dir, 'apps/book-corners')])
    await mkdir(folder, { recursive: true })
  await symlink(STAND_IN, join(bin, 'dokku'))
  await writeFile(join(home, '.npmrc'), `cache=${npmCache()}\n`)
  const gate = join(bin, 'gate')
  await executable(gate, gateScript({ DOKKU_APP: 'book-corners', DEPLOY_USER: 'deploy', OPS_DIR: join(home, 'ops') }))
  await writeFile(join(dir, 'gate-mode'), 'sync')
  const login = join(bin, 'login')
  await executable(
    login,
    `#!/bin/sh
asked=$SSH_ORIGINAL_COMMAND
printf '%s\\n' "$1: \${asked%%
*}" >>'${join(dir, 'calls')}'
cd '${home}' || exit 1
mode=
read -r mode <'${join(dir, 'gate-mode')}'
if [ "$1" = dokku ]; then
  export PATH='${bin}:/usr/local/bin:${programs()}'
  if [ -n "$mode" ]; then exec '${gate}' dokku; else exec dokku $asked; fi
fi
if [ -n "$mode" ]; then set -- '${gate}' "$mode"; else set -- /bin/sh -c "$asked"; fi
exec env -i HOME='${home}' USER=deploy PATH='${far}:/usr/local/bin:${programs()}' SSH_ORIGINAL_COMMAND="$asked" "$@"
`,
  )
  return login
}

/** What a sync leaves behind. */
async function placeRelease(home: string, opsDir: string): Promise<void> {
  const id = await releaseId(PROJECT)
  await mkdir(join(opsDir, 'releases'), { recursive: true })
  await cp(madeOnce('release', makeRelease), join(opsDir, 'releases', id), { recursive: true, verbatimSymlinks: true })
  await chmod(join(opsDir, 'releases', id), 0o755)
  await symlink(`releases/${id}`, join(opsDir, 'current'))
  const [backup, restore] = syncWords(opsDir).slice(-2)
  await executable(join(home, 'backup'), `${backup}\n`)
  await executable(join(home, 'restore'), `${restore}\n`)
}

function makeRelease(folder: string): void {
  for (const name of CONTENT) execFileSync('cp', ['-r', join(PROJECT, name), folder])
  const omit = ['--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  execFileSync('npm', ['ci', ...omit], { cwd: folder, stdio: 'pipe' })
  symlinkSync(process.execPath, join(folder, '.node'))
}

/** Where npm keeps what it has downloaded: the deploy user there installs from it, and needs no network. */
function npmCache(): string {
  // npm says it to what it runs, such as `npm test`.
  const known = process.env.npm_config_cache
  if (known) return known
  const made = madeOnce('npm', (folder) => {
    const cache = execFileSync('npm', ['config', 'get', 'cache'], { stdio: ['ignore', 'pipe', 'ignore'] })
    writeFileSync(join(folder, 'cache'), cache)
  })
  return readFileSync(join(made, 'cache'), 'utf8').trim()
}

function hostIn(dir: string, env: Record<string, string>): DokkuHost {
  const at = (...parts: string[]): string => join(dir, ...parts)
  const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')
  const property = (name: string): string | undefined => textOf(at('apps/book-corners', name)).trim() || undefined
  return {
    running: () => property('running'),
    property,
    deployed: (branch = 'master') => {
      try {
        return gitIn(at('apps/book-corners/repo'), ['rev-parse', '--verify', '-q', `refs/heads/${branch}`], env)
      } catch {
        return
      }
    },
    fault: async (command, snippet) => {
      if (snippet === undefined) await rm(at('faults', command), { force: true })
      else await writeFile(at('faults', command), snippet)
    },
    gate: (mode) => writeFile(at('gate-mode'), mode),
    farProgram: async (name, script) => {
      if (script === undefined) await rm(at('far-bin', name), { force: true })
      else await executable(at('far-bin', name), script)
    },
    go: () => appendFile(at('go'), ''),
    calls: () => textOf(at('calls')).split('\n').filter(Boolean),
    processes: () => processesWith(dir).filter((line) => !line.includes('sshd')),
  }
}

async function resetHost(dir: string): Promise<void> {
  await rm(join(dir, 'faults'), { recursive: true, force: true })
  await mkdir(join(dir, 'faults'))
  // A hook whose connection was cut ends when it is let go.
  await until(() => !processesWith(dir).some((line) => /git-hook|receive-pack/.test(line)))
  await rm(join(dir, 'go'), { force: true })
  await rm(join(dir, 'apps/book-corners/.deploy.lock'), { force: true })
}

function programsFor(running: Set<ChildProcess>, app: string, env: Record<string, string>): Programs {
  const launch: Programs['launch'] = (file, args, options = {}) =>
    launchIn(running, file, args, { ...options, cwd: options.cwd ?? app, env: { ...env, ...options.env } })
  const start: Programs['start'] = (name, args = [], options = {}) => {
    const [file, ...words] = scriptCommand(name)
    return launch(file, [...words, ...args], options)
  }
  return { launch, start, script: (name, args, options) => start(name, args, options).ended }
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
  assert.equal(processesThatStay(server.processes), [])
}
