// A database away from Dokku: a PostgreSQL of its own that is reached over TCP with a password, by a role that is no superuser.
import { execFileSync } from 'node:child_process'
import { appendFileSync, chmodSync, chownSync, copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findPostgres } from './postgres.ts'
import type { Sandbox } from './sandbox.ts'

export interface Managed {
  /** DATABASE_URL. */
  url: string
  /** The same without the password, as it may be shown. */
  place: string
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

/** A certificate for that host, by itself. @returns the file that a client trusts */
function certify(data: string, host: string): string {
  const [key, certificate] = ['server.key', 'server.crt'].map((name) => join(data, name))
  const names = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=IP:${host}`]
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      `${key}`,
      '-out',
      `${certificate}`,
      ...names,
    ],
    { stdio: 'pipe' },
  )
  const { owner } = findPostgres()
  if (process.getuid?.() === 0) for (const file of [key, certificate]) chownSync(`${file}`, owner.uid, owner.gid)
  chmodSync(`${key}`, 0o600)
  // The server's own folder is closed to others.
  const trusted = join(data, '../authority.pem')
  copyFileSync(`${certificate}`, trusted)
  return trusted
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
  appendFileSync(join(dir, 'data/postgresql.conf'), `password_encryption = 'scram-sha-256'\nssl = on\n`)
  const authority = certify(join(dir, 'data'), host)
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
    url: `postgres://app:${encodeURIComponent(PASSWORD)}@${host}/${SERVICE}?sslmode=verify-full&sslrootcert=${authority}`,
    place: `postgres://app@${host}/${SERVICE}?sslmode=verify-full&sslrootcert=${authority}`,
    name: `${host}/${SERVICE}`,
    host,
    password: PASSWORD,
    service: SERVICE,
    database: SERVICE,
    role: 'app',
  }
}
