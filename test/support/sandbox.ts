import { type ChildProcess, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { launchIn, type Output, type Running, type RunOptions } from './launch.ts'

/** A whole production in one folder: Dokku's stand-in with real PostgreSQL servers, a Borg repository, a media folder. */
export interface Sandbox {
  readonly dir: string
  readonly mediaDir: string
  readonly repository: string
  readonly envFile: string
  readonly home: string
  /** The production service, and its database. */
  readonly service: string
  readonly database: string
  /** Rewrites the env file: these settings, and those that the sandbox itself needs; undefined removes one. */
  configure(settings: Record<string, string | undefined>): Promise<void>
  /** Runs a script as cron does: no terminal, another directory, next to no environment. */
  script(name: string, args?: readonly string[], options?: RunOptions): Promise<Output>
  /** The same, without waiting for its end. */
  start(name: string, args?: readonly string[], options?: RunOptions): Running
  /** Starts any program with the same next to nothing of an environment. */
  launch(file: string, args: readonly string[], options?: RunOptions): Running
  dokku(args: readonly string[], input?: string | Buffer): Promise<Output>
  borg(args: readonly string[], options?: RunOptions): Promise<Output>
  /** A shell pipeline with Borg's environment. */
  borgShell(script: string): Promise<Output>
  /** The archives' names, oldest first, checkpoints included. */
  archives(): Promise<string[]>
  sql(sql: string, service?: string): Promise<string>
  /** Makes a Dokku command misbehave: a bash snippet that runs before it (`$1` is its first argument), or undefined to mend it. */
  fault(command: string, snippet?: string): Promise<void>
  /** Processes that belong to the sandbox, beside its servers: what a finished script must not leave. */
  strays(): string[]
  /** Ends whatever still runs, and removes everything. */
  stop(): Promise<void>
}

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
const TSX = import.meta.resolve('tsx')
const STAND_IN = fileURLToPath(new URL('dokku', import.meta.url))
export const PASSPHRASE = 'a long passphrase #with $igns'

export async function startSandbox(): Promise<Sandbox> {
  const dir = await mkdtemp(join(tmpdir(), 'bc-'))
  await chmod(dir, 0o755)
  const [home, mediaDir, repository] = [join(dir, 'home'), join(dir, 'media'), join(dir, 'repo')]
  const envFile = join(home, '.env.backup')
  const service = 'book-corners-db'
  const pgBin = findPostgres()
  // PostgreSQL refuses to run as root: then its own user owns the data, as in the container.
  const owner = process.getuid?.() === 0 ? 'postgres' : execFileSync('id', ['-un']).toString().trim()
  const running = new Set<ChildProcess>()

  for (const folder of [home, mediaDir, 'bin', 'faults', 'services', 'apps/book-corners'])
    await mkdir(join(folder.startsWith('/') ? '' : dir, folder), { recursive: true })
  await symlink(STAND_IN, join(dir, 'bin/dokku'))
  await writeFile(join(dir, 'postgres.env'), `PG_BIN=${pgBin}\nOWNER=${owner}\n`)
  await writeFile(join(dir, 'apps/book-corners/sha'), '0123456789abcdef0123456789abcdef01234567\n')
  if (owner === 'postgres') {
    const [uid = 0, gid = 0] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, owner])))
    for (const folder of [dir, join(dir, 'services')]) await chown(folder, uid, gid)
  }

  const environment = (extra: Record<string, string> = {}): Record<string, string> => ({
    HOME: home,
    PATH: '/usr/bin:/bin',
    ...extra,
  })
  const launch = (file: string, args: readonly string[], options: RunOptions = {}): Running =>
    launchIn(running, file, args, { ...options, cwd: options.cwd ?? '/', env: environment(options.env) })

  const start: Sandbox['start'] = (name, args = [], options = {}) =>
    // `--`: Node 20 takes an --env-file anywhere on its command line for its own.
    launch(process.execPath, ['--import', TSX, '--', join(PROJECT, 'scripts', name), ...args], {
      ...options,
      env: { OPS_ENV_FILE: envFile, ...options.env },
    })
  const dokku: Sandbox['dokku'] = (args, input) =>
    launch(join(dir, 'bin/dokku'), args, input === undefined ? {} : { input }).ended
  const borgEnv = {
    BORG_REPO: repository,
    BORG_PASSPHRASE: PASSPHRASE,
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
  }
  const borg: Sandbox['borg'] = (args, options = {}) =>
    launch('borg', args, { ...options, env: { ...borgEnv, ...options.env } }).ended
  const borgShell: Sandbox['borgShell'] = (script) =>
    launch('bash', ['-o', 'pipefail', '-c', script], { env: borgEnv }).ended
  const configure: Sandbox['configure'] = async (settings) => {
    const all = {
      BORG_REPO: repository,
      BORG_PASSPHRASE: PASSPHRASE,
      MEDIA_DIR: mediaDir,
      MEDIA_OWNER: `${process.getuid?.()}:${process.getgid?.()}`,
      DOKKU_COMMAND: join(dir, 'bin/dokku'),
      ...settings,
    }
    const lines = Object.entries(all).flatMap(([key, value]) => (value === undefined ? [] : [`${key}='${value}'\n`]))
    await writeFile(envFile, lines.join(''), { mode: 0o600 })
  }

  const servers = (): string[] =>
    readdirSync(join(dir, 'services')).flatMap((name) => {
      const file = join(dir, 'services', name, 'data/postmaster.pid')
      return existsSync(file) ? [readFileSync(file, 'utf8').split('\n')[0] ?? ''] : []
    })
  const sweep = (): void => {
    for (const child of running) child.kill('SIGKILL')
    try {
      for (const pid of servers()) process.kill(Number(pid), 'SIGQUIT')
    } catch {
      // It has ended already.
    }
    rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  process.on('exit', sweep)

  await configure({})
  const initdb = [join(pgBin, 'initdb'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync']
  const as = process.getuid?.() === 0 ? ['setpriv', `--reuid=${owner}`, `--regid=${owner}`, '--clear-groups'] : []
  const [file = '', ...args] = [...as, ...initdb, '-D', join(dir, 'template')]
  execFileSync(file, args, { cwd: '/', stdio: 'ignore' })
  // The data is thrown away: waiting for the disk would only make the tests slow.
  execFileSync('sh', [
    '-c',
    'printf "fsync = off\\nsynchronous_commit = off\\nfull_page_writes = off\\nmax_connections = 20\\n" >> "$1"',
    'sh',
    join(dir, 'template/postgresql.conf'),
  ])
  const image = ['--image', 'postgis/postgis', '--image-version', '17-3.5']
  const [created, initialised] = await Promise.all([
    dokku(['postgres:create', service, ...image]),
    borg(['init', '--encryption', 'repokey-blake2']),
  ])
  for (const { exitCode, stderr } of [created, initialised])
    if (exitCode !== 0) throw new Error(`The sandbox could not be set up: ${stderr}`)

  return {
    dir,
    home,
    mediaDir,
    repository,
    envFile,
    service,
    database: 'book_corners_db',
    configure,
    start,
    launch,
    script: (name, args, options) => start(name, args, options).ended,
    dokku,
    borg,
    borgShell,
    archives: async () => {
      const { stdout } = await borg(['list', '--short', '--consider-checkpoints'])
      return stdout.split('\n').filter(Boolean)
    },
    sql: async (sql, name = service) => {
      const input = `\\set QUIET on\n\\pset format unaligned\n\\pset tuples_only on\n${sql}\n`
      for (;;) {
        const { exitCode, stdout, stderr } = await dokku(['postgres:connect', name], input)
        if (exitCode === 0) return stdout.trim()
        // The moment of a swap: nothing was asked yet.
        if (!/It seems to have just been dropped or renamed/.test(stderr)) throw new Error(stderr)
      }
    },
    fault: async (command, snippet) => {
      const path = join(dir, 'faults', command)
      if (snippet === undefined) await rm(path, { force: true })
      else await writeFile(path, snippet)
    },
    strays: () => {
      const all = execFileSync('ps', ['-eo', 'pid=,ppid=,args=', '-ww']).toString().split('\n')
      return all.filter((line) => line.includes(dir) && !/postgres(:| -D)|\/postgres /.test(line))
    },
    stop: async () => {
      // Scripts that still run end their own children.
      const last = [...running].map((child) => new Promise((resolve) => child.once('close', resolve)))
      for (const child of running) child.kill('SIGTERM')
      await Promise.race([Promise.all(last), sleep(10_000, undefined, { ref: false })])
      process.off('exit', sweep)
      chmodSync(dir, 0o755)
      sweep()
    },
  }
}

/** The newest PostgreSQL server of this machine. */
function findPostgres(): string {
  const base = '/usr/lib/postgresql'
  const [newest] = (existsSync(base) ? readdirSync(base) : [])
    .filter((version) => existsSync(join(base, version, 'bin/initdb')))
    .sort((a, b) => Number(b) - Number(a))
  if (!newest) throw new Error('PostgreSQL is not installed. Type: sudo apt-get install postgresql')
  return join(base, newest, 'bin')
}

/** A small Book Corners: libraries, photos that reference them, reviews. */
export async function seed(
  sandbox: Sandbox,
  { libraries = 200, photos = 20, photoBytes = 20_000 } = {},
): Promise<void> {
  await sandbox.sql(`
    CREATE TABLE libraries_library (id serial PRIMARY KEY, name text NOT NULL, description text);
    CREATE TABLE libraries_photo (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library, path text NOT NULL);
    CREATE TABLE django_migrations (id serial PRIMARY KEY, app text, name text);
    INSERT INTO libraries_library (name, description)
      SELECT 'Library ' || i, repeat(md5(i::text), 8) FROM generate_series(1, ${libraries}) i;
    INSERT INTO libraries_photo (library_id, path) SELECT 1 + i % ${libraries}, 'photos/' || i || '.jpg' FROM generate_series(1, ${photos}) i;
    INSERT INTO django_migrations (app, name) VALUES ('libraries', '0001_initial');`)
  await mkdir(join(sandbox.mediaDir, 'photos'), { recursive: true })
  for (let i = 1; i <= photos; i++)
    await writeFile(join(sandbox.mediaDir, 'photos', `${i}.jpg`), randomBytes(photoBytes))
}
