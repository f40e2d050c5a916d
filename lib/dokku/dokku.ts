// Dokku with its Postgres plugin on this machine: what is called, and how its answers are read.

import { type Address, type DatabaseUrl, nameOf } from '../core/database-url.ts'
import { Failure } from '../core/failure.ts'
import { aText, mapOf, readJson } from '../core/outside.ts'
import { parseSha } from '../core/sha.ts'
import type { Child, Env, Output, RunOptions, Shell } from '../core/shell.ts'
import { type Away, openAway } from './away.ts'
import { explainAway, explainDokku } from './errors.ts'

/** A database: of a service of Dokku's, or away from Dokku. */
export interface Service {
  /** Of the service; of one away from Dokku `HOST/DATABASE`. */
  name: string
  /** The database's name: last part of the DSN, e.g. `book_corners_db`. */
  database: string
  /** Where it is, when that is no service of Dokku's. */
  away?: Address
}

/** Another database of the same server. */
export function neighbour({ name, away }: Service, database: string): Service {
  return { name, database, ...(away && { away }) }
}

/** The failure behind a command to a database. @param args as Dokku takes them */
export function explainCommand(output: Output, { away }: Service, args: readonly string[]): Failure {
  return away
    ? explainAway(output, args[0] === 'postgres:connect' ? 'psql' : 'pg_dump', away)
    : explainDokku(output, args.slice(0, 2).join(' '))
}

export function infoArgs(service: string, flag: '--dsn' | '--version'): string[] {
  return ['postgres:info', service, flag]
}

export function exportArgs(service: string): string[] {
  return ['postgres:export', service]
}

/** A custom-format dump like `postgres:export`'s but uncompressed, so that Borg finds what did not change. */
export function dumpArgs({ name, database }: Service): string[] {
  return [
    ...['postgres:enter', name, 'pg_dump', '-Fc', '-Z0'],
    ...['--no-acl', '--no-owner', '-U', 'postgres', '-d', database],
  ]
}

export function connectArgs(service: string): string[] {
  return ['postgres:connect', service]
}

/** @param image `IMAGE:TAG`, as `postgres:info --version` prints it: the default image has no PostGIS */
export function createServiceArgs(service: string, image: string): string[] {
  const colon = image.lastIndexOf(':')
  return ['postgres:create', service, '--image', image.slice(0, colon), '--image-version', image.slice(colon + 1)]
}

export function destroyServiceArgs(service: string): string[] {
  return ['postgres:destroy', service, '--force']
}

export function restartArgs(app: string): string[] {
  return ['ps:restart', app]
}

/** Of the app's configuration: written before a build, it survives a failed one, and is what a restart starts. */
export function configuredRevisionArgs(app: string): string[] {
  return ['config:get', app, 'GIT_REV']
}

/** Of the running web container: what it was made from. */
export function containerRevisionArgs(app: string): string[] {
  return ['enter', app, 'web', 'printenv', 'GIT_REV']
}

export function psReportArgs(app: string): string[] {
  return ['ps:report', app, '--format', 'json']
}

/** An app's processes. */
interface Processes {
  isDeployed: boolean
  /** Every process runs. */
  allRun: boolean
  /** By name, e.g. `web.1`: `running`, `exited` and the like. */
  statuses: ReadonlyMap<string, string>
}

const REPORT = mapOf(aText)

/**
 * Reads `ps:report --format json`: strings all of them (Dokku 0.30 and later).
 * @throws Failure when that is no report
 */
export function parseProcesses(stdout: string): Processes {
  const report = readJson(stdout, REPORT, 'Dokku (ps:report)', 'It must be 0.30 or later: dokku version')
  const statuses = Object.entries(report)
    .filter(([key]) => key.startsWith('status-'))
    // `running (CID: 0123456789a)`: the container's ID helps nobody here.
    .map(([key, status]) => [key.replace('status-', ''), status.replace(/(?<!\s)\s*\(CID:[^()]*\)/, '')] as const)
    .sort()
  return { isDeployed: report.deployed === 'true', allRun: report.running === 'true', statuses: new Map(statuses) }
}

function gitShaArgs(app: string): string[] {
  return ['git:report', app, '--git-sha']
}

/** The path of a DSN. The DSN holds the password: only this part may leave here, and nothing where there is no path. */
export function parseDatabase(dsn: string): string | undefined {
  const address = dsn.trim()
  const { pathname } = URL.canParse(address) ? new URL(address) : { pathname: '' }
  return /^\/([\w.-]+)$/.exec(pathname)?.[1]
}

/** Dokku on this machine, called the way `DOKKU_COMMAND` says. */
export interface Dokku {
  /** The same Dokku for what an interruption must not cut short: clearing up, and steps that would go on without us. */
  readonly lasting: Dokku
  /** Starts a command for streaming. */
  start(args: readonly string[]): Child
  run(args: readonly string[], options?: CallOptions): Promise<Output>
  /** Runs a command that must succeed. @throws Failure when it does not */
  must(args: readonly string[], options?: CallOptions): Promise<Output>
  /** Away from Dokku it is the one that is reached. @throws Failure when the service does not exist, or Dokku or it can't be called */
  service(name: string): Promise<Service>
  /** Whether a service of this name exists. @throws Failure when Dokku can't be called */
  exists(name: string): Promise<boolean>
  /** The deployed commit, or undefined when it can't be known. */
  gitSha(app: string): Promise<string | undefined>
}

type CallOptions = Pick<RunOptions, 'input' | 'timeoutMs' | 'onLine'>

/** A question that Dokku answers at once. */
const ANSWER_MS = 60_000

/**
 * @param shells one that an interruption ends, and one for what must be done all the same
 * @param url of the database, when it is no service of Dokku's: then that is reached by PostgreSQL's own programs
 */
export function createDokku(
  shells: { shell: Shell; cleanup: Shell },
  dokkuCommand: readonly string[],
  url?: DatabaseUrl,
): Dokku {
  const away = url && openAway(url)
  const open = (shell: Shell): Omit<Dokku, 'lasting'> => openDokku(shell, dokkuCommand, away)
  const lasting: Dokku = {
    ...open(shells.cleanup),
    get lasting() {
      return lasting
    },
  }
  return { ...open(shells.shell), lasting }
}

// Without --quiet postgres:enter prints a header on stdout, and the dump would begin with it; also without a terminal.
function openDokku(shell: Shell, dokkuCommand: readonly string[], away: Away | undefined): Omit<Dokku, 'lasting'> {
  // A sudo that would ask for a password must fail instead: at night nobody answers.
  const [program = 'dokku', ...rest] = dokkuCommand
  const prefix = program === 'sudo' && !rest.includes('-n') ? ['sudo', '-n', ...rest] : [program, ...rest]
  const call = (args: readonly string[]): { command: string[]; env?: Env } =>
    away && args[0]?.startsWith('postgres:')
      ? { command: away.command(args), env: away.env() }
      : { command: [...prefix, '--quiet', ...args] }
  const run: Dokku['run'] = (args, options = {}) => {
    const { command, ...more } = call(args)
    return shell.run(command, { ...options, ...more })
  }
  const must: Dokku['must'] = async (args, options) => {
    const output = await run(args, options)
    if (output.exitCode === 0) return output
    throw away && args[0]?.startsWith('postgres:')
      ? explainAway(output, away.command(args)[0] ?? '', away.address())
      : explainDokku(output, args.slice(0, 2).join(' '))
  }
  return {
    start: (args) => {
      const { command, ...more } = call(args)
      return shell.start(command, more)
    },
    run,
    must,
    service: async (name) => {
      if (away) {
        await away.require(shell)
        const address = away.address()
        return { name: nameOf(address), database: address.database, away: address }
      }
      const output = await must(infoArgs(name, '--dsn'), { timeoutMs: ANSWER_MS })
      const database = parseDatabase(output.stdout)
      if (!database)
        throw new Failure(`Dokku does not name the database of ${name}.`, `Look: sudo dokku postgres:info ${name}`)
      return { name, database }
    },
    exists: async (name) => {
      const output = await run(['postgres:exists', name])
      if (output.exitCode === 0) return true
      if (/does not exist/.test(output.stderr + output.stdout)) return false
      throw explainDokku(output, `postgres:exists ${name}`)
    },
    gitSha: async (app) => {
      const output = await run(gitShaArgs(app), { timeoutMs: ANSWER_MS })
      return output.exitCode === 0 ? parseSha(output.stdout) : undefined
    },
  }
}
