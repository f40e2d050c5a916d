// A PostgreSQL database that is not a service of Dokku's, as DATABASE_URL names it.

/** What libpq is told, by the URL's parameter. */
const PARAMETERS: Readonly<Record<string, string>> = {
  sslmode: 'PGSSLMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  channel_binding: 'PGCHANNELBINDING',
}
const SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']
const USUAL_PORT = '5432'

/** Where a database is, without the password: it may be shown. */
export interface Address {
  host: string
  port: string
  user: string
  database: string
  /** Of the URL, by name. */
  parameters: Readonly<Record<string, string>>
}

export interface DatabaseUrl extends Address {
  /** Undefined: libpq may find one in ~/.pgpass, or the server may ask for none. */
  password: string | undefined
}

/**
 * Reads `postgres://user:password@host:port/name?sslmode=…`.
 * @throws Error with the rest of a sentence that begins with where the URL was given; it shows nothing of the URL but names of parameters
 */
export function parseDatabaseUrl(text: string): DatabaseUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^postgres(ql)?:$/.test(url.protocol))
    throw new Error('must be an address like postgres://user:password@host:port/name')
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const database = /^\/([\w.-]+)$/.exec(url.pathname)?.[1]
  const user = decoded(url.username)
  const password = decoded(url.password)
  if (!/^[A-Za-z0-9:][A-Za-z0-9.:-]*$/.test(host)) throw new Error('must name one host')
  if (!user || !database) throw new Error('must name a user and a database: postgres://user:password@host:port/name')
  if (/[\0\n\r]/.test(user + password)) throw new Error('must not hold a line break')
  const [, service] = /^dokku-postgres-(.+)$/.exec(host) ?? []
  if (service)
    throw new Error(`leads to a service of Dokku's, which only its containers reach: set DB_SERVICE=${service} instead`)
  const parameters = Object.fromEntries(url.searchParams)
  const [unknown] = Object.keys(parameters).filter((name) => !(name in PARAMETERS))
  if (unknown !== undefined)
    throw new Error(`must have no other parameters than ${Object.keys(PARAMETERS).join(', ')}: remove ${unknown}`)
  const { sslmode } = parameters
  if (sslmode !== undefined && !SSL_MODES.includes(sslmode))
    throw new Error(`must have an sslmode that PostgreSQL knows: ${SSL_MODES.join(', ')}`)
  return { host, port: url.port || USUAL_PORT, user, password: password || undefined, database, parameters }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new Error('must have %25 where the user or the password has a percent sign')
  }
}

/** The passwords in a URL, as it was written and as it is sent; for what must never be shown. */
export function passwordsIn(text: string): string[] {
  const written = URL.canParse(text) ? new URL(text).password : ''
  try {
    return [written, decodeURIComponent(written)].filter(Boolean)
  } catch {
    return [written]
  }
}

/** `db.example.com/books`: as people know the database, and as its lock and its notes are named. */
export function nameOf({ host, port, database }: Address): string {
  return `${placeOf({ host, port })}/${database}`
}

/** `db.example.com`, with a port that is not the usual one. */
export function placeOf({ host, port }: Pick<Address, 'host' | 'port'>): string {
  const name = host.includes(':') ? `[${host}]` : host
  return port === USUAL_PORT ? name : `${name}:${port}`
}

/** The URL without its password: psql asks for that. */
export function shownUrl(address: Address): string {
  const parameters = new URLSearchParams(address.parameters).toString().replaceAll('%2F', '/')
  const user = encodeURIComponent(address.user)
  return `postgres://${user}@${placeOf(address)}/${address.database}${parameters ? `?${parameters}` : ''}`
}

/** The environment in which PostgreSQL's programs reach it. */
export function connectionEnv({
  host,
  port,
  user,
  password,
  database,
  parameters,
}: DatabaseUrl): Record<string, string> {
  return {
    PGHOST: host,
    PGPORT: port,
    PGUSER: user,
    PGDATABASE: database,
    ...(password === undefined ? {} : { PGPASSWORD: password }),
    ...Object.fromEntries(
      Object.entries(parameters).flatMap(([name, value]) => (PARAMETERS[name] ? [[PARAMETERS[name], value]] : [])),
    ),
  }
}
