// A database away from Dokku: a PostgreSQL of its own that is reached over TCP with a password, by a role that is no superuser.
import { execFileSync } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findPostgres } from './postgres.ts'
import type { Sandbox } from './sandbox.ts'

export interface Managed {
  /** DATABASE_URL. */
  url: string
  /** Its host and database, as messages name it. */
  name: string
  host: string
  password: string
  /** The name under which `sandbox.sql` asks it as its superuser, past the password. */
  service: string
  database: string
  role: string
}

const SERVICE = 'managed'
const PASSWORD = 'pa$$ w%rd/@&x'

/** Each test file has a loopback address of its own: the port is the usual one. */
function ownAddress(): string {
  return `127.${100 + (process.pid % 100)}.${Math.floor(process.pid / 100) % 250}.${1 + (Date.now() % 250)}`
}

/** Starts it as a service that Dokku's stand-in knows nothing more of. @param rights of the role */
export async function startManaged(sandbox: Sandbox, rights = 'CREATEDB'): Promise<Managed> {
  const { bin, owner } = findPostgres(sandbox.postgresBin)
  const host = ownAddress()
  await sandbox.dokku(['postgres:create', SERVICE])
  await sandbox.sql(
    `CREATE ROLE app LOGIN ${rights} PASSWORD '${PASSWORD}'; ALTER DATABASE ${SERVICE} OWNER TO app; ALTER SCHEMA public OWNER TO app;`,
    SERVICE,
  )
  const dir = join(sandbox.dir, 'services', SERVICE)
  appendFileSync(join(dir, 'data/postgresql.conf'), `password_encryption = 'scram-sha-256'\n`)
  writeFileSync(join(dir, 'data/pg_hba.conf'), 'local all all trust\nhost all all all scram-sha-256\n')
  const options = `-c listen_addresses=${host} -c unix_socket_directories=${dir}`
  execFileSync(
    join(bin, 'pg_ctl'),
    ['-D', join(dir, 'data'), '-s', '-w', '-m', 'fast', '-o', options, '-l', join(dir, 'log'), 'restart'],
    {
      cwd: '/',
      stdio: 'ignore',
      ...(process.getuid?.() === 0 ? { uid: owner.uid, gid: owner.gid } : {}),
    },
  )
  return {
    url: `postgres://app:${encodeURIComponent(PASSWORD)}@${host}/${SERVICE}?sslmode=disable`,
    name: `${host}/${SERVICE}`,
    host,
    password: PASSWORD,
    service: SERVICE,
    database: SERVICE,
    role: 'app',
  }
}
