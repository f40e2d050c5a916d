import { Failure } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { parseSha } from '../core/sha.ts'
import type { Child, Output, Shell } from '../core/shell.ts'

/** How a service's database is reached and how a test service like it is made. */
export interface Service {
  name: string
  /** The database's name: last part of the DSN, e.g. `book_corners_db`. */
  database: string
}

export function infoArgs(service: string, flag: '--dsn' | '--version'): string[] {
  return ['postgres:info', service, flag]
}

export function exportArgs(service: string): string[] {
  return ['postgres:export', service]
}

function pgDumpArgs({ name, database }: Service, ...format: string[]): string[] {
  return [
    ...['postgres:enter', name, 'pg_dump', ...format],
    ...['--no-acl', '--no-owner', '-U', 'postgres', '-d', database],
  ]
}

/** A custom-format dump like `postgres:export`'s but uncompressed, so that Borg finds what did not change. */
export function dumpArgs(service: Service): string[] {
  return pgDumpArgs(service, '-Fc', '-Z0')
}

/** The database as plain SQL, for `psql` inside a transaction of ours. */
export function plainDumpArgs(service: Service): string[] {
  return pgDumpArgs(service, '-Fp')
}

export function importArgs(service: string): string[] {
  return ['postgres:import', service]
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

export function gitShaArgs(app: string): string[] {
  return ['git:report', app, '--git-sha']
}

/** The last part of a DSN, without what a `?` adds. The DSN holds the password: only this part may leave here. */
export function parseDatabase(dsn: string): string | undefined {
  return /\/([^/?\s]+)(\?\S*)?\s*$/.exec(dsn)?.[1]
}

/** Dokku on this machine, called the way `DOKKU_COMMAND` says. */
export interface Dokku {
  /** Starts a command for streaming. */
  start(args: readonly string[]): Child
  run(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<Output>
  /** @throws Failure when the service does not exist, or Dokku can't be called */
  service(name: string): Promise<Service>
  /** Whether a service of this name exists. @throws Failure when Dokku can't be called */
  exists(name: string): Promise<boolean>
  /** Runs a command that must succeed. @throws Failure when it does not */
  must(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<Output>
  /** The deployed commit, or undefined when it can't be known. */
  gitSha(app: string): Promise<string | undefined>
}

// Without --quiet postgres:enter prints a header on stdout, and the dump would begin with it; also without a terminal.
export function createDokku(shell: Shell, dokkuCommand: readonly string[]): Dokku {
  // A sudo that would ask for a password must fail instead: at night nobody answers.
  const [program = 'dokku', ...rest] = dokkuCommand
  const prefix = program === 'sudo' && !rest.includes('-n') ? ['sudo', '-n', ...rest] : [program, ...rest]
  const command = (args: readonly string[]): string[] => [...prefix, '--quiet', ...args]
  const run: Dokku['run'] = (args, options = {}) => shell.run(command(args), options)
  const must: Dokku['must'] = async (args, options) => {
    const output = await run(args, options)
    if (output.exitCode !== 0) throw explainDokku(output, args.slice(0, 2).join(' '))
    return output
  }
  return {
    must,
    exists: async (name) => {
      const output = await run(['postgres:exists', name])
      if (output.exitCode === 0) return true
      if (/does not exist/.test(output.stderr + output.stdout)) return false
      throw explainDokku(output, `postgres:exists ${name}`)
    },
    start: (args) => shell.start(command(args)),
    run,
    service: async (name) => {
      const output = await must(infoArgs(name, '--dsn'), { timeoutMs: 60_000 })
      const database = parseDatabase(output.stdout)
      if (!database)
        throw new Failure(`Dokku does not name the database of ${name}.`, `Look: sudo dokku postgres:info ${name}`)
      return { name, database }
    },
    gitSha: async (app) => {
      const output = await run(gitShaArgs(app), { timeoutMs: 60_000 })
      return output.exitCode === 0 ? parseSha(output.stdout) : undefined
    },
  }
}

/** The service exists, but its container is stopped or gone. */
export class NotRunning extends Failure {}

/** The failure behind a Dokku command that did not end well. */
export function explainDokku(output: Output, what: string): Failure {
  // ps:restart and postgres:create say even their errors on stdout.
  const speaksOnStdout = /^(ps:|postgres:(create|destroy))/.test(what)
  const said = lastLines(output.stderr) || (speaksOnStdout ? lastLines(output.stdout) : '')
  const how = output.signal ? `was ended by ${output.signal}` : `failed with exit status ${output.exitCode}`
  const next = `Try it by hand: sudo dokku ${what}`
  // Dokku calls sudo itself for some of its work: only a call that needs nothing more shows that it is ours.
  if (/^postgres:(info|exists)/.test(what) && /^sudo:|may not run sudo/m.test(output.stderr))
    return new Failure(
      `This user may not call Dokku: ${said}`,
      "Allow it: echo 'deploy ALL=(ALL) NOPASSWD: /usr/bin/dokku' | sudo tee /etc/sudoers.d/deploy-dokku",
    )
  if (/command not found|: not found|ENOENT/.test(output.stderr) && /dokku|sudo/.test(output.stderr))
    return new Failure(`Dokku can't be called: ${said}`, 'Check DOKKU_COMMAND; it runs on the Dokku host itself.')
  if (/Postgres service .* does not exist/.test(output.stderr))
    return new Failure(`Dokku: ${said}`, 'Check DB_SERVICE against: sudo dokku postgres:list')
  const [, service] = /^postgres:\S+ (\S+)/.exec(what) ?? []
  if (service && /container does not exist|No such container|container (\S+ )?is not running/i.test(output.stderr))
    return new NotRunning(
      `The Postgres service ${service} is not running: ${said}`,
      `Start it: sudo dokku postgres:start ${service}`,
    )
  const [, lost] = /FATAL: +database "([^"]+)" does not exist(?!\s+DETAIL)/.exec(output.stderr) ?? []
  if (lost)
    return new Failure(
      `Dokku: ${said}`,
      `If it was dropped, make an empty one, and restore into that: sudo dokku postgres:enter ${what.split(' ')[1]} createdb -U postgres -E utf8 ${lost}`,
    )
  return new Failure(`dokku ${what} ${how}${said ? `: ${said}` : ' and said nothing.'}`, next)
}
