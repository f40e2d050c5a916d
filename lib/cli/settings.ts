// Every setting there is: its default, how it is read, and what is wrong with it.
import { type DatabaseUrl, nameOf, parseDatabaseUrl, passwordsIn } from '../core/database-url.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import type { Env } from '../core/shell.ts'
import type { EnvFile } from './env-file.ts'
import {
  hostName,
  interval,
  matching,
  mediaFolder,
  name,
  oneOf,
  scriptsFolder,
  siteAddress,
  text,
  token,
  webAddress,
  wholeNumber,
  yesOrNo,
} from './setting-values.ts'

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
      fixHint(names, file),
      EXIT.usage,
    )
  return settings
}

/** What only an engineer's machine is asked for is no setting of the server's env file. */
function fixHint(names: readonly SettingName[], { path, exists, denied }: EnvFile): string {
  if (denied) return `${path} can't be read by this user: run this as its owner.`
  if (!exists && names.includes('DOKKU_HOST'))
    return 'Set it in the environment, such as: export DOKKU_HOST=HOST (in ~/.bashrc, to keep it). Or in a file that OPS_ENV_FILE names.'
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
