// Every setting there is: its default, how it is read, and what is wrong with it.
import { type DatabaseUrl, nameOf, parseDatabaseUrl, passwordsIn } from '../core/database-url.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import { isHost } from '../core/host.ts'
import type { Env } from '../core/shell.ts'
import type { EnvFile } from './env-file.ts'

/** `dedup`: uncompressed through `postgres:enter`; `export`: compressed, `postgres:export`. */
export type DumpMode = 'dedup' | 'export'

interface Setting<T> {
  /** Used when neither the environment nor the env file has the key; without one the setting is optional or required. */
  default?: string
  required?: true
  secret?: true
  /** What stands in .env.backup.example, to be replaced: it is refused. */
  example?: string
  /** @throws Error with the rest of a sentence that begins with the key */
  parse(text: string): T
}

function text(text: string): string {
  return text
}

function matching(pattern: RegExp, wanted: string) {
  return (text: string): string => {
    if (!pattern.test(text)) throw new Error(`must be ${wanted}`)
    return text
  }
}

function wholeNumber(least: number) {
  return (text: string): number => {
    if (!/^\d{1,9}$/.test(text) || Number(text) < least) throw new Error(`must be a whole number, ${least} or more`)
    return Number(text)
  }
}

const HOURS = { H: 1, d: 24, w: 24 * 7, m: 24 * 31, y: 24 * 365 }

/** `2d`, `36H`: an interval as `borg prune --keep-within` takes it, in hours. A month is 31 days there, a year 365. */
function interval(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,4})([Hdwmy])$/.exec(text) ?? []
  if (count === undefined) throw new Error('must be a number and one of H, d, w, m, y, e.g. 2d')
  return Number(count) * HOURS[unit as keyof typeof HOURS]
}

function webAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol))
    throw new Error('must be an address that starts with https:// or http://')
  // What fetches it refuses it, and says it whole.
  if (url.username || url.password) throw new Error('must not hold a user or password')
  return text.replace(/(?<!\/)\/+$/, '')
}

/**
 * The site's address as `https://host`, without a path.
 * @throws Error with the rest of a sentence that begins with where the address was given
 */
export function siteAddress(text: string): string {
  const url = new URL(webAddress(text))
  if (url.pathname !== '/' || url.search || url.hash)
    throw new Error("must be the site's address alone, without a path")
  return url.origin
}

/** A token goes into an HTTP header. What a copy from a web page or a mail adds to it can't be seen. */
function token(text: string): string {
  const value = text.trim()
  const [odd] = /[^\u0021-\u007e]/u.exec(value) ?? []
  if (odd === undefined) return value
  const code = odd.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')
  throw new Error(
    `must be the token alone: it holds ${/\s/.test(odd) ? 'a blank or a line break' : 'a character'} (U+${code})`,
  )
}

function hostName(text: string): string {
  if (!isHost(text)) throw new Error('must be a host name, or HOST:PORT')
  return text
}

function oneOf<T extends string>(...values: T[]) {
  return (text: string): T => {
    if (!values.includes(text as T)) throw new Error(`must be ${values.join(' or ')}`)
    return text as T
  }
}

function yesOrNo(text: string): boolean {
  return oneOf('yes', 'no')(text) === 'yes'
}

const name = matching(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'a name of letters, digits, dot, - and _')

function absolutePath(text: string): string {
  if (!text.startsWith('/') || text.length < 2) throw new Error('must be an absolute path')
  if (text.split('/').some((part) => part === '..' || part === '.')) throw new Error('must be a path without . and ..')
  return text.replace(/\/+/g, '/').replace(/\/$/, '')
}

/** @returns null for an app without uploads */
function mediaFolder(text: string): string | null {
  if (text === 'none') return null
  if (!text.startsWith('/')) throw new Error('must be an absolute path, or none')
  return absolutePath(text)
}

/** Node takes the path of what it is to load for an address. */
function scriptsFolder(text: string): string {
  if (/[#?%]/.test(text)) throw new Error('must be a path without #, ? and %')
  return absolutePath(text)
}

/** Every setting there is, in the order of .env.backup.example. */
export const SETTINGS = {
  BORG_REPO: {
    required: true,
    example: 'ssh://x1@x1.repo.borgbase.com/./repo',
    parse: matching(/^(?!.*::).+$/s, 'a repository, without ::ARCHIVE'),
  },
  BORG_PASSPHRASE: { secret: true, example: 'choose a long one, and keep it elsewhere too', parse: text },
  BORG_PASSCOMMAND: { parse: text },
  DOKKU_APP: { default: 'book-corners', parse: name },
  DB_SERVICE: { default: 'book-corners-db', parse: name },
  DATABASE_URL: { secret: true, parse: parseDatabaseUrl },
  MEDIA_DIR: { default: '/var/lib/dokku/data/storage/book-corners/media', parse: mediaFolder },
  MEDIA_OWNER: { default: '32767:32767', parse: matching(/^\d+:\d+$/, 'UID:GID in numbers') },
  ARCHIVE_PREFIX: { default: 'book-corners', parse: name },
  KEEP_WITHIN: { parse: interval },
  KEEP_HOURLY: { default: '0', parse: wholeNumber(0) },
  KEEP_DAILY: { default: '7', parse: wholeNumber(0) },
  KEEP_WEEKLY: { default: '4', parse: wholeNumber(0) },
  KEEP_MONTHLY: { default: '6', parse: wholeNumber(0) },
  KEEP_YEARLY: { default: '0', parse: wholeNumber(0) },
  KEEP_RESTORE_POINTS: { default: '10', parse: wholeNumber(1) },
  PRUNE: { default: 'yes', parse: yesOrNo },
  RETRIES: { default: '3', parse: wholeNumber(0) },
  RETRY_WAIT_SECONDS: { default: '300', parse: wholeNumber(0) },
  KEEP_APP_CONFIG: { default: 'yes', parse: yesOrNo },
  DUMP_MODE: { default: 'dedup', parse: oneOf<DumpMode>('dedup', 'export') },
  DUMP_STALL_SECONDS: { default: '900', parse: wholeNumber(1) },
  COMPRESSION: {
    default: 'zstd,3',
    parse: matching(
      /^(auto,|obfuscate,\d+,)*(none|lz4|(zstd|zlib|lzma)(,\d+)?)$/,
      'a compression Borg knows, e.g. zstd,3',
    ),
  },
  CHUNKER_PARAMS: {
    default: 'buzhash,10,23,16,4095',
    parse: matching(/^(default|fixed,\d+(,\d+)?|(buzhash,)?\d+,\d+,\d+,\d+)$/, 'chunker parameters Borg knows'),
  },
  DOKKU_COMMAND: { default: 'sudo dokku', parse: (text: string) => text.trim().split(/\s+/) },
  HEALTHCHECK_URL: { secret: true, parse: webAddress },
  CHECK_EVERY_DAYS: { default: '7', parse: wholeNumber(0) },
  VERIFY_SQL: { default: 'SELECT count(*) FROM libraries_library', parse: text },
  DRILL_HEALTHCHECK_URL: { secret: true, parse: webAddress },
  SITE_URL: { default: 'https://bookcorners.org', parse: siteAddress },
  DOKKU_HOST: { required: true, parse: hostName },
  DEPLOY_USER: { default: 'deploy', parse: matching(/^[a-z_][a-z0-9_-]*$/, 'a user name') },
  OPS_DIR: { default: '/home/deploy/ops', parse: scriptsFolder },
  RESTORE_POINT: { default: 'migrations', parse: oneOf('migrations', 'always', 'never') },
  DEPLOY_BRANCH: { default: 'master', parse: matching(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/, 'a branch') },
  CLOUDFLARE_ZONE_ID: { parse: matching(/^[A-Za-z0-9_-]+$/, 'the ID of the zone') },
  CLOUDFLARE_API_TOKEN: { secret: true, parse: token },
  CLOUDFLARE_API_URL: { default: 'https://api.cloudflare.com/client/v4', parse: webAddress },
} satisfies Record<string, Setting<unknown>>

export type SettingName = keyof typeof SETTINGS
type Value<K extends SettingName> =
  | ReturnType<(typeof SETTINGS)[K]['parse']>
  | ((typeof SETTINGS)[K] extends { default: string } | { required: true } ? never : undefined)
/** The settings a script asked for, by their own names, parsed. */
export type Settings<K extends SettingName> = { [P in K]: Value<P> }

/** Secrets, and Borg's own settings: only the program that needs them gets them. */
const PRIVATE = /^(BORG_|CLOUDFLARE_)|HEALTHCHECK_URL$|^DATABASE_URL$/
/** Git sets these for a hook or an alias. With them it works on the caller's repository, whichever folder it is run in. */
const CALLERS_REPOSITORY = /^GIT_(DIR|WORK_TREE|COMMON_DIR|INDEX_FILE|OBJECT_DIRECTORY|NAMESPACE|PREFIX)$/

/** Where PostgreSQL's programs of this machine would go without being told. */
const CALLERS_DATABASE = /^PG[A-Z]+$/

/** Dokku takes it for what it is asked, whatever its arguments are; sudo need not drop it. */
const CALLERS_COMMAND = 'SSH_ORIGINAL_COMMAND'

const KEPT = ['KEEP_HOURLY', 'KEEP_DAILY', 'KEEP_WEEKLY', 'KEEP_MONTHLY', 'KEEP_YEARLY'] as const

/**
 * Reads and checks the named settings: the environment first, then the env file, then the default; an empty value counts as unset.
 * Pure. All problems are reported at once, none of them with a value.
 *
 * @throws Failure (exit status 2) that lists every problem
 */
export function readSettings<K extends SettingName>(names: readonly K[], environment: Env, file: EnvFile): Settings<K> {
  const { settings, problems } = checkSettings(names, environment, file)
  if (problems.length > 0)
    throw new Failure(
      `The configuration has ${plural(problems.length, 'problem')}:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
      fixHint(file),
      EXIT.usage,
    )
  return settings
}

function fixHint({ path, exists, denied }: EnvFile): string {
  if (denied) return `${path} can't be read by this user: run this as its owner.`
  return exists
    ? `Fix them in ${path}.`
    : `No env file was read: set it in the environment, or copy .env.backup.example to ${path}, mode 600.`
}

/** The same, with the problems as a list: what is wrong has no value in `settings`. */
export function checkSettings<K extends SettingName>(
  names: readonly K[],
  environment: Env,
  file: EnvFile,
): { settings: Settings<K>; problems: string[] } {
  const settings: Record<string, unknown> = {}
  const problems = [...file.problems]
  const raw = (key: string): string | undefined => environment[key] || file.values[key] || undefined
  for (const key of names) {
    const setting: Setting<unknown> = SETTINGS[key]
    const value = raw(key) ?? setting.default
    if (value === undefined) {
      if (setting.required) problems.push(`${key} is not set.`)
      continue
    }
    try {
      if (value === setting.example) throw new Error('is still the example of .env.backup.example: replace it')
      settings[key] = setting.parse(value)
    } catch (error) {
      // The environment comes before the file: to change it in the file alone would have no effect.
      const inEnvironment = environment[key] && environment[key] !== file.values[key]
      problems.push(`${key} ${(error as Error).message}${inEnvironment ? ' (it is set in the environment)' : ''}.`)
    }
  }
  const asked = (key: SettingName): boolean => (names as readonly string[]).includes(key)
  if (asked('BORG_PASSPHRASE') && !raw('BORG_PASSPHRASE') && !raw('BORG_PASSCOMMAND'))
    problems.push('Neither BORG_PASSPHRASE nor BORG_PASSCOMMAND is set: one is needed.')
  for (const [one, other] of [
    ['CLOUDFLARE_ZONE_ID', 'CLOUDFLARE_API_TOKEN'],
    ['CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_ZONE_ID'],
  ] as const)
    if (asked(one) && raw(one) && !raw(other))
      problems.push(`${one} is set without ${other}: set both, or neither to skip the purge.`)
  if (asked('DATABASE_URL') && raw('DATABASE_URL') && raw('DB_SERVICE'))
    problems.push('DB_SERVICE and DATABASE_URL are both set: the database is one of the two. Remove the other one.')
  // Locks, notes and messages name the database by it.
  if (asked('DATABASE_URL') && raw('DATABASE_URL')) {
    delete settings.DB_SERVICE
    if (settings.DATABASE_URL) settings.DB_SERVICE = nameOf(settings.DATABASE_URL as DatabaseUrl)
  }
  const counted = KEPT.filter(asked)
  if (
    counted.length > 0 &&
    settings.PRUNE !== false &&
    !settings.KEEP_WITHIN &&
    counted.every((key) => settings[key] === 0)
  )
    problems.push(`${counted.slice(0, -1).join(', ')} and ${counted.at(-1)} are all 0: every archive would be pruned.`)
  return { settings: settings as Settings<K>, problems }
}

/**
 * Options of every ssh that a script starts, ours and Borg's. Nothing asks. The host key must be known already, and the
 * server adds none. It gets no agent, no display and no port; what the user's configuration may add for work by hand (a
 * terminal, a command) would break what is said over the connection.
 */
export const UNATTENDED_SSH: readonly string[] = [
  'BatchMode=yes',
  'StrictHostKeyChecking=yes',
  'UpdateHostKeys=no',
  'ForwardAgent=no',
  'ForwardX11=no',
  'ClearAllForwardings=yes',
  'PermitLocalCommand=no',
  'RemoteCommand=none',
  'RequestTTY=no',
]

/**
 * Borg's environment: every BORG_ variable of the environment and of the env file. Borg's questions are answered "no"
 * where these do not answer them, so that nothing hangs. Its exit statuses are the classic ones: 1 warning, 2 error.
 */
export function borgEnv(environment: Env, file: EnvFile): Env {
  return {
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'no',
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'no',
    // A host that drops what it is sent is given up after a quarter of a minute, a dead connection within five minutes.
    BORG_RSH: ['ssh', ...UNATTENDED_SSH, 'ConnectTimeout=15', 'ServerAliveInterval=30', 'ServerAliveCountMax=10'].join(
      ' -o ',
    ),
    ...Object.fromEntries(
      Object.entries({ ...file.values, ...withoutEmpty(environment) }).filter(([key]) => key.startsWith('BORG_')),
    ),
    BORG_EXIT_CODES: 'legacy',
  }
}

function withoutEmpty(environment: Env): Env {
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
}

/**
 * The environment of every program that is started: ours without Borg's variables, tokens, the monitors' addresses, a git
 * hook's variables, PostgreSQL's, and what ssh was asked. Cron gives little: the usual folders are added to PATH, and HOME is set, because Borg and ssh look there.
 */
export function childEnv(environment: Env, home: string): Env {
  const kept = Object.fromEntries(
    Object.entries(environment).filter(
      ([key]) =>
        !PRIVATE.test(key) && !CALLERS_REPOSITORY.test(key) && !CALLERS_DATABASE.test(key) && key !== CALLERS_COMMAND,
    ),
  )
  const path = new Set([...(environment.PATH ?? '').split(':').filter(Boolean), ...STANDARD_PATH])
  return { ...kept, HOME: environment.HOME || home, PATH: [...path].join(':') }
}

const STANDARD_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** The settings that were made, and are neither secret nor Borg's, as they were written. */
export function plainSettings(environment: Env, file: EnvFile): Record<string, string> {
  const known: Record<string, Setting<unknown>> = SETTINGS
  return Object.fromEntries(
    Object.entries(known).flatMap(([key, { secret }]) => {
      const value = environment[key] || file.values[key]
      return secret || !value || key.startsWith('BORG_') ? [] : [[key, value]]
    }),
  )
}

/** Values that must never be shown, for the logger. */
export function secretValues(environment: Env, file: EnvFile): string[] {
  const keys = [
    ...Object.keys(SETTINGS).filter((key) => (SETTINGS as Record<string, Setting<unknown>>)[key]?.secret),
    'BORG_NEW_PASSPHRASE',
  ]
  return keys
    .flatMap((key) => [environment[key], file.values[key]])
    .concat([environment.DATABASE_URL, file.values.DATABASE_URL].flatMap((url) => passwordsIn(url ?? '')))
    .flatMap((value) => [value, value?.trim()])
    .filter((value): value is string => Boolean(value))
}
