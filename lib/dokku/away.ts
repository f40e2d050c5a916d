// A database away from Dokku (DATABASE_URL): PostgreSQL's own programs of this machine stand for the commands of Dokku's Postgres plugin.

import { type Address, connectionEnv, type DatabaseUrl, nameOf, placeOf } from '../core/database-url.ts'
import { EXIT, Failure } from '../core/failure.ts'
import type { Env, Shell } from '../core/shell.ts'
import { explainAway, explainPooler } from './errors.ts'

/** How PostgreSQL's programs are run. */
export interface Away {
  /** Where it is, with all that the connection is told of encryption; of the programs here that is known when `require` has ended. */
  address(): Address
  /** What stands for a command of the plugin. */
  command(args: readonly string[]): string[]
  env(): Env
  /**
   * Looks at the programs and at the server.
   * @throws Failure when they do not fit together, or the server can't be reached
   */
  require(shell: Shell): Promise<void>
}

const PROGRAMS = ['psql', 'pg_dump', 'pg_restore']
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  'postgres:connect': ['psql', '-X', '-v', 'ON_ERROR_STOP=1'],
  'postgres:export': ['pg_dump', '-Fc', '--no-acl', '--no-owner'],
  'postgres:enter pg_dump': ['pg_dump', '-Fc', '-Z0', '--no-acl', '--no-owner'],
}

/**
 * A server takes any setting with a dot in its name. A pooler refuses it (PgBouncer), or is set up to drop it: with one that
 * changes the connection between two statements nothing here would work.
 */
const MARK = 'book_corners_ops.direct'

/** Where a server is reached it answers at once. */
const ANSWER_MS = 60_000

export function openAway(url: DatabaseUrl): Away {
  let major: number | undefined
  const command = (args: readonly string[]): string[] => {
    const [name = '', , program] = args
    const found = COMMANDS[program === undefined ? name : `${name} ${program}`]
    if (!found) throw new Error(`${name} is not for a database away from Dokku`)
    return [...found, '--no-password']
  }
  const { password, ...place } = url
  const address = (): Address => ({ ...place, parameters: { ...defaultTls(url, major), ...url.parameters } })
  const env = (): Env => ({
    ...connectionEnv({ ...address(), password }),
    PGCONNECT_TIMEOUT: '30',
    PGOPTIONS: `-c statement_timeout=0 -c ${MARK}=yes`,
  })
  return {
    address,
    command,
    env,
    require: async (shell) => {
      const versions = await Promise.all(PROGRAMS.map((program) => versionOf(shell, program)))
      major = versions[0]
      await requireServer(shell, { url, psql: command(['postgres:connect']), env: env() }, Math.min(...versions))
    },
  }
}

/** Who takes the server's own certificate, and only that: since libpq 16 by the system's authorities. Before, it is only encrypted. */
export function defaultTls({ parameters }: Pick<DatabaseUrl, 'parameters'>, major = 0): Record<string, string> {
  if (parameters.sslmode !== undefined) return {}
  if (parameters.sslrootcert !== undefined) return { sslmode: 'verify-full' }
  return major >= 16 ? { sslmode: 'verify-full', sslrootcert: 'system' } : { sslmode: 'require' }
}

/** `pg_dump (PostgreSQL) 17.5 (Debian …)`: the 17. */
async function versionOf(shell: Shell, program: string): Promise<number> {
  const { stdout } = await shell.run([program, '--version'], { timeoutMs: ANSWER_MS })
  const [, major] = /\(PostgreSQL\) (\d+)/.exec(stdout) ?? []
  if (major === undefined)
    throw new Failure(
      `${program} is not installed here, and a database away from Dokku is reached by it.`,
      'Install it, in the version of the server or a later one: sudo apt-get install postgresql-client',
      EXIT.usage,
    )
  return Number(major)
}

interface Door {
  url: DatabaseUrl
  psql: string[]
  env: Env
}

const LOOK = `\\set QUIET on
\\pset tuples_only on
\\pset format unaligned
SELECT current_setting('server_version_num');
SELECT current_setting('${MARK}', true);
`

/** @param client the oldest of the programs here */
async function requireServer(shell: Shell, { url, psql, env }: Door, client: number): Promise<void> {
  const output = await shell.run(psql, { env, input: LOOK, timeoutMs: ANSWER_MS })
  if (output.exitCode !== 0) throw explainAway(output, 'psql', url)
  const [version, mark] = output.stdout.trim().split('\n')
  if (mark !== 'yes') throw explainPooler(url)
  const server = Math.floor(Number(version) / 10_000)
  if (client < server)
    throw new Failure(
      `PostgreSQL's programs here are of version ${client}, and ${placeOf(url)} runs ${server}: an older pg_dump can't dump ${nameOf(url)}.`,
      `Install them in version ${server} (https://wiki.postgresql.org/wiki/Apt): sudo apt-get install postgresql-client-${server}`,
      EXIT.usage,
    )
}
