// The PostgreSQL of this machine, whose servers stand in for the containers of Dokku's Postgres plugin.
import { execFileSync } from 'node:child_process'
import { appendFileSync, chownSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { madeOnce } from './run-folder.ts'

export interface Postgres {
  /** The folder of its programs. */
  bin: string
  /** The account that its servers run as. */
  owner: { name: string; uid: number; gid: number }
  /** The data folder of a new server, to be copied. */
  template: string
}

// The data is thrown away: waiting for the disk would only make the tests slow.
const SETTINGS = ['fsync = off', 'synchronous_commit = off', 'full_page_writes = off']
// Small, since it is copied for each service: the segments of the log are 1 MB, but as much may be kept of them as usual.
const SMALL = ['max_connections = 20', 'max_wal_size = 1GB']

/** The folder of another PostgreSQL's programs than the newest that is installed. */
const VARIABLE = 'TEST_POSTGRES_BIN'

export function findPostgres(bin = process.env[VARIABLE] || installedBin()): Postgres {
  const owner = dataOwner()
  const name = `cluster${bin.replaceAll('/', '-')}`
  return { bin, owner, template: madeOnce(name, (folder) => initialise(folder, bin, owner)) }
}

/** The newest version that is installed. */
export function installedBin(): string {
  const base = '/usr/lib/postgresql'
  const [newest] = (existsSync(base) ? readdirSync(base) : [])
    .filter((version) => existsSync(join(base, version, 'bin/initdb')))
    .sort((a, b) => Number(b) - Number(a))
  if (!newest) throw new Error('PostgreSQL is not installed. Type: sudo apt-get install postgresql')
  return join(base, newest, 'bin')
}

/** PostgreSQL refuses to run as root: then its own user owns the data, as in the container. */
function dataOwner(): Postgres['owner'] {
  const id = (...args: string[]): string => execFileSync('id', args).toString().trim()
  const name = process.getuid?.() === 0 ? 'postgres' : id('-un')
  return { name, uid: Number(id('-u', name)), gid: Number(id('-g', name)) }
}

function initialise(folder: string, bin: string, { uid, gid }: Postgres['owner']): void {
  chownSync(folder, uid, gid)
  const small = ['--no-sync', '--wal-segsize=1']
  const args = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', ...small, '-D', folder]
  execFileSync(join(bin, 'initdb'), args, {
    cwd: '/',
    stdio: 'ignore',
    ...(process.getuid?.() === 0 ? { uid, gid } : {}),
  })
  appendFileSync(join(folder, 'postgresql.conf'), `${[...SETTINGS, ...SMALL].join('\n')}\n`)
}
