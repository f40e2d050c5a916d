// A whole production in one folder: Dokku's stand-in with real PostgreSQL servers, a Borg repository, a media folder.
import { type ChildProcess, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { programs } from './borg.ts'
import { whenEnding } from './ending.ts'
import { launchIn, type Output, type Running, type RunOptions } from './launch.ts'
import { findPostgres, type Postgres } from './postgres.ts'
import { containerProcesses, endIfThere, processesThatStay, processesWith } from './processes.ts'
import { madeOnce } from './run-folder.ts'
import { scriptCommand } from './scripts.ts'

/** Where everything of a sandbox is. */
interface Places {
  readonly dir: string
  readonly mediaDir: string
  readonly repository: string
  readonly envFile: string
  readonly home: string
}

/** What a test does in it. */
interface Tools {
  /** Gives everything in the media folder to the app's user, as whose files they would be there. */
  ownMedia(): void
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
  /** Asks a service's database as its superuser, past Dokku: no fault is in the way. Rows come without headers, columns with | between. */
  sql(sql: string, service?: string): Promise<string>
  /** Makes a Dokku command misbehave: a bash snippet that runs before it (`$1` is its first argument); undefined takes it away. */
  fault(command: string, snippet?: string): Promise<void>
  /** Puts a program into the production service's container, before PostgreSQL's own: a shell snippet, or undefined to remove it. */
  containerProgram(name: string, snippet?: string): Promise<void>
  /** Processes that belong to the sandbox and stay, beside its servers: what a finished script must not leave. */
  strays(): string[]
}

export interface Sandbox extends Places, Tools {
  /** The production service, and its database. */
  readonly service: string
  readonly database: string
  /** The folder of PostgreSQL's programs. */
  readonly postgresBin: string
  /** Ends whatever still runs, and removes everything. */
  stop(): Promise<void>
}

const STAND_IN = fileURLToPath(new URL('dokku', import.meta.url))
const SERVICE = 'book-corners-db'
/** UID:GID of the app's user. Root's tests have one beside root, as a server has; others are the app's user themselves. */
export const OWNER = process.getuid?.() === 0 ? '32767:32767' : `${process.getuid?.()}:${process.getgid?.()}`
export const PASSPHRASE = 'a long passphrase #with $igns'

/** @param postgresBin the folder of the programs of PostgreSQL, where it is not the run's own */
export async function startSandbox(postgresBin?: string): Promise<Sandbox> {
  const postgres = findPostgres(postgresBin)
  const places = await layOut(postgres)
  const running = new Set<ChildProcess>()
  const clear = (): void => clearAway(places.dir, running)
  const forget = whenEnding(clear)

  const tools = toolsFor(places, postgres, running)
  tools.ownMedia()
  await tools.configure({})
  const image = ['--image', 'postgis/postgis', '--image-version', '17-3.5']
  const { exitCode, stderr } = await tools.dokku(['postgres:create', SERVICE, ...image])
  if (exitCode !== 0) throw new Error(`The sandbox could not be set up: ${stderr}`)
  await tools.dokku(['postgres:link', SERVICE, 'book-corners'])
  return {
    ...places,
    ...tools,
    service: SERVICE,
    database: 'book_corners_db',
    postgresBin: postgres.bin,
    stop: async () => {
      // Scripts that still run end their own children.
      const last = [...running].map((child) => new Promise((resolve) => child.once('close', resolve)))
      for (const child of running) child.kill('SIGTERM')
      await Promise.race([Promise.all(last), sleep(10_000, undefined, { ref: false })])
      forget()
      clear()
    },
  }
}

async function layOut({ bin, owner, template }: Postgres): Promise<Places> {
  const dir = await mkdtemp(join(tmpdir(), 'bc-'))
  await chmod(dir, 0o755)
  const [home, mediaDir, repository] = [join(dir, 'home'), join(dir, 'media'), join(dir, 'repo')]
  for (const folder of ['home', 'media', 'bin', 'faults', 'services', 'apps/book-corners'])
    await mkdir(join(dir, folder), { recursive: true })
  await symlink(STAND_IN, join(dir, 'bin/dokku'))
  await writeFile(
    join(dir, 'postgres.env'),
    `PG_BIN=${bin}\nOWNER_UID=${owner.uid}\nOWNER_GID=${owner.gid}\nTEMPLATE=${template}\n`,
  )
  for (const file of ['sha', 'GIT_REV', 'running'])
    await writeFile(join(dir, 'apps/book-corners', file), '0123456789abcdef0123456789abcdef01234567\n')
  await writeFile(join(dir, 'plugins.json'), JSON.stringify(PLUGINS))
  await writeFile(join(dir, 'apps/book-corners/mounts'), `${mediaDir}:/app/media\n`)
  if (process.getuid?.() === 0)
    for (const folder of [dir, join(dir, 'services')]) await chown(folder, owner.uid, owner.gid)
  execFileSync('cp', ['-a', madeOnce('repository', initRepository), repository])
  return { dir, home, mediaDir, repository, envFile: join(home, '.env.backup') }
}

/** As `plugin:list --format json` prints them, without what nobody reads. */
export const PLUGINS = [
  { name: '00_dokku-standard', version: '0.38.27', core: true, description: 'dokku core standard plugin' },
  {
    name: 'postgres',
    version: '1.48.0',
    core: false,
    description: 'dokku postgres service plugin',
    source_url: 'https://github.com/dokku/dokku-postgres.git',
    committish: 'a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0',
  },
]

function initRepository(folder: string): void {
  // What Borg remembers of it is not copied: each sandbox has a home of its own.
  const HOME = `${folder}.home`
  execFileSync('borg', ['init', '--encryption', 'repokey-blake2'], {
    env: { ...borgEnvironment(folder), HOME },
    stdio: 'pipe',
  })
  rmSync(HOME, { recursive: true })
}

function borgEnvironment(repository: string): Record<string, string> {
  return {
    PATH: programs(),
    BORG_REPO: repository,
    BORG_PASSPHRASE: PASSPHRASE,
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
    // The scripts' own calls test it often enough.
    BORG_SELFTEST: 'disabled',
  }
}

function toolsFor(places: Places, postgres: Postgres, running: Set<ChildProcess>): Tools {
  const { dir, home, repository, envFile } = places
  const launch: Tools['launch'] = (file, args, { cwd = '/', env, ...rest } = {}) =>
    launchIn(running, file, args, { ...rest, cwd, env: { HOME: home, PATH: programs(), ...env } })
  const start: Tools['start'] = (name, args = [], { env, ...rest } = {}) => {
    const [file, ...words] = scriptCommand(name)
    return launch(file, [...words, ...args], { ...rest, env: { OPS_ENV_FILE: envFile, ...env } })
  }
  const borg: Tools['borg'] = (args, { env, ...rest } = {}) =>
    launch('borg', args, { ...rest, env: { ...borgEnvironment(repository), ...env } }).ended
  return {
    launch,
    start,
    borg,
    script: (name, args, options) => start(name, args, options).ended,
    dokku: (args, input) => launch(join(dir, 'bin/dokku'), args, input === undefined ? {} : { input }).ended,
    borgShell: (script) => launch('bash', ['-o', 'pipefail', '-c', script], { env: borgEnvironment(repository) }).ended,
    archives: archivesOf(repository, borg),
    ownMedia: () => void execFileSync('chown', ['-R', '-h', OWNER, places.mediaDir]),
    configure: (settings) => writeSettings(places, settings),
    sql: (sql, service = SERVICE) => ask(launch, join(postgres.bin, 'psql'), join(dir, 'services', service), sql),
    fault: async (command, snippet) => {
      const path = join(dir, 'faults', command)
      if (snippet === undefined) await rm(path, { force: true })
      else await writeFile(path, snippet)
    },
    containerProgram: async (name, snippet) => {
      const path = join(dir, 'services', SERVICE, 'bin', name)
      await mkdir(dirname(path), { recursive: true })
      if (snippet === undefined) await rm(path, { force: true })
      else await writeFile(path, `#!/bin/sh\n${snippet}\n`, { mode: 0o755 })
    },
    strays: () =>
      processesThatStay(() => processesWith(dir).filter((line) => !/postgres(:| -D)|\/postgres /.test(line))),
  }
}

/** Borg is asked only if a transaction has been committed since: each writes index.N anew, a checkpoint's, too. */
function archivesOf(repository: string, borg: Tools['borg']): Tools['archives'] {
  let known: { committed: string; names: string[] } | undefined
  return async () => {
    const committed = readdirSync(repository)
      .filter((name) => name.startsWith('index.'))
      .map((name) => `${name} ${statSync(join(repository, name)).mtimeMs}`)
      .join()
    if (known?.committed !== committed) {
      const { stdout } = await borg(['list', '--short', '--consider-checkpoints'])
      known = { committed, names: stdout.split('\n').filter(Boolean) }
    }
    return [...known.names]
  }
}

async function writeSettings(places: Places, settings: Record<string, string | undefined>): Promise<void> {
  const all = {
    BORG_REPO: places.repository,
    BORG_PASSPHRASE: PASSPHRASE,
    MEDIA_DIR: places.mediaDir,
    MEDIA_OWNER: OWNER,
    DOKKU_COMMAND: join(places.dir, 'bin/dokku'),
    // What fails is told at once, but for the tests of that.
    RETRIES: '0',
    ...settings,
  }
  const lines = Object.entries(all).flatMap(([key, value]) => (value === undefined ? [] : [`${key}='${value}'\n`]))
  await writeFile(places.envFile, lines.join(''), { mode: 0o600 })
}

/** @param service the folder with the server's socket, named as the service is */
export async function ask(launch: Tools['launch'], psql: string, service: string, sql: string): Promise<string> {
  const database = basename(service).replace(/[.-]/g, '_')
  const args = ['-qAtX', '-v', 'ON_ERROR_STOP=1', '-h', service, '-U', 'postgres', database]
  for (;;) {
    const { exitCode, stdout, stderr } = await launch(psql, args, { input: `${sql}\n` }).ended
    if (exitCode === 0) return stdout.trim()
    // The moment of a swap: nothing was asked yet.
    if (!/It seems to have just been dropped or renamed/.test(stderr)) throw new Error(stderr)
  }
}

/** Whatever still runs, and everything that is left, at once. */
function clearAway(dir: string, running: ReadonlySet<ChildProcess>): void {
  for (const child of running) child.kill('SIGKILL')
  chmodSync(dir, 0o755)
  endServices(dir)
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

/** Ends the PostgreSQL servers of a stand-in for Dokku, and what runs in its containers. */
export function endServices(dir: string): void {
  for (const service of readdirSync(join(dir, 'services'))) {
    const file = join(dir, 'services', service, 'data/postmaster.pid')
    const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0
    if (pid > 0) endIfThere(pid, 'SIGQUIT')
  }
  for (const { pid } of containerProcesses(dir)) endIfThere(pid, 'SIGKILL')
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
  sandbox.ownMedia()
}
