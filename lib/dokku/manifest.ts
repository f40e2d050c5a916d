// What an archive says of the app and its server, beside the app's data: written by a backup, read by a restore on an empty machine.

import { isSha } from '../core/sha.ts'

/** The folder of it in an archive. */
export const KIT_FOLDER = 'dokku'
/** The app's configuration: one JSON object of texts. */
export const CONFIG_NAME = 'config.json'
export const MANIFEST_NAME = 'manifest.json'

/** A plugin that does not come with Dokku. */
export interface Plugin {
  name: string
  version: string
  /** Where it was installed from. */
  source?: string
  commit?: string
}

export interface Mount {
  /** A folder of the server, or a volume of Docker's. */
  host: string
  container: string
  options?: string
  /** Of the folder on the server: UID:GID. */
  owner?: string
}

/** What was not known is undefined. */
export interface Manifest {
  /** Of this file. */
  format: 1
  /** ISO. */
  madeAt: string
  app: string
  /** The Postgres service. */
  service: string
  /** The deployed commit. */
  sha?: string | undefined
  dokkuVersion?: string | undefined
  plugins?: Plugin[] | undefined
  /** Of the service, as `IMAGE:TAG`. */
  image?: string | undefined
  /** What the service was made with (`--config-options`). */
  serviceOptions?: string | undefined
  /** The apps that are linked to the service. */
  links?: string[] | undefined
  /** Other services of the app, as `redis cache`, by the variable that leads there: their data is in no archive. */
  otherServices?: Record<string, string> | undefined
  domains?: string[] | undefined
  ports?: string[] | undefined
  mounts?: Mount[] | undefined
  scale?: Record<string, number> | undefined
  checks?: { disabled: string[]; skipped: string[]; waitToRetire?: string | undefined } | undefined
  deployBranch?: string | undefined
  cron?: { schedule: string; command: string }[] | undefined
  letsencryptEmail?: string | undefined
  /** As Node names it: `arm64`, `x64`. */
  architecture: string
  /** `Ubuntu 24.04.1 LTS`. */
  system?: string | undefined
  /** The settings of these scripts that are no secrets, without the repository's. */
  settings: Record<string, string>
}

/**
 * Reads a manifest. Its values become a part of commands that somebody types as root, and whoever may write to the repository
 * may have written it: what is not of its usual form is left out.
 * @returns undefined when it is no manifest of this form
 */
export function parseManifest(text: string): Manifest | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  const { format, madeAt, app, service, architecture } = isObject(parsed) ? parsed : {}
  if (!isObject(parsed) || format !== 1 || !NAME(app) || !NAME(service)) return undefined
  const facts = Object.entries(IS_RIGHT).flatMap(([key, isRight]) => (isRight(parsed[key]) ? [[key, parsed[key]]] : []))
  return {
    ...Object.fromEntries(facts),
    format: 1,
    madeAt: typeof madeAt === 'string' ? madeAt : '',
    app,
    service,
    architecture: WORD(architecture) ? architecture : 'unknown',
    settings: textsOf(parsed.settings, LINE),
  } as Manifest
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function matching(pattern: RegExp) {
  return (value: unknown): value is string => typeof value === 'string' && pattern.test(value)
}

const NAME = matching(/^[A-Za-z0-9][\w.-]*$/)
const WORD = matching(/^[\w@%+=:,./*-]+$/)
/** No control characters: text on one line. */
const LINE = matching(/^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069`]+$/)

function arrayOf(isRight: (value: unknown) => boolean) {
  return (value: unknown): boolean => Array.isArray(value) && value.every(isRight)
}

function textsOf(value: unknown, isRight: (value: unknown) => value is string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(isObject(value) ? value : {}).flatMap(([key, text]) =>
      NAME(key) && isRight(text) ? [[key, text]] : [],
    ),
  )
}

function optional(isRight: (value: unknown) => boolean) {
  return (value: unknown): boolean => value === undefined || isRight(value)
}

const PROCESSES = arrayOf(matching(/^[\w-]+$/))

const IS_RIGHT: Partial<Record<keyof Manifest, (value: unknown) => boolean>> = {
  sha: isSha,
  dokkuVersion: matching(/^\d+(\.\d+)*[\w.-]*$/),
  plugins: arrayOf(
    (value) =>
      isObject(value) &&
      NAME(value.name) &&
      WORD(value.version) &&
      optional(matching(/^(https?|ssh|git|file):\/\/[\w@%+=:,./-]+$/))(value.source) &&
      optional(matching(/^[0-9a-f]{7,64}$/))(value.commit),
  ),
  image: matching(/^[\w./:-]+:[\w.-]+$/),
  serviceOptions: LINE,
  links: arrayOf(NAME),
  otherServices: (value) => isObject(value) && Object.values(value).every(LINE) && Object.keys(value).every(NAME),
  domains: arrayOf(matching(/^[\w.*-]+$/)),
  ports: arrayOf(matching(/^[a-z]+:\d+:\d+$/)),
  mounts: arrayOf(
    (value) =>
      isObject(value) &&
      LINE(value.host) &&
      LINE(value.container) &&
      optional(WORD)(value.options) &&
      optional(matching(/^\d+:\d+$/))(value.owner),
  ),
  scale: (value) =>
    isObject(value) &&
    Object.entries(value).every(
      ([process, count]) => NAME(process) && Number.isSafeInteger(count) && Number(count) >= 0,
    ),
  checks: (value) =>
    isObject(value) &&
    PROCESSES(value.disabled) &&
    PROCESSES(value.skipped) &&
    optional(matching(/^\d+$/))(value.waitToRetire),
  deployBranch: matching(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/),
  cron: arrayOf((value) => isObject(value) && LINE(value.schedule) && LINE(value.command)),
  letsencryptEmail: matching(/^[\w.+-]+@[\w.-]+$/),
  system: LINE,
}
