// What an archive says of the app and its server, beside the app's data: written by a backup, read by a restore on an empty machine.

import { aCount, atBest, type Found, listOf, mapOf, matching, optional, record, tryJson } from '../core/outside.ts'

/** The folder of it in an archive. */
export const KIT_FOLDER = 'dokku'
/** The app's configuration: one JSON object of texts. */
export const CONFIG_NAME = 'config.json'
export const MANIFEST_NAME = 'manifest.json'

// A manifest's values become a part of commands that somebody types as root, and whoever may write to the repository may have
// written it: what is not of its usual form is left out.

const NAME = matching(/^[A-Za-z0-9][\w.-]*$/, 'a name')
const WORD = matching(/^[\w@%+=:,./*-]+$/, 'a word')
/** Neither control characters nor a backtick: a line of a page. */
const LINE = matching(/^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069`]+$/, 'a line')
const PROCESSES = listOf(matching(/^[\w-]+$/, 'a process'))

/** A plugin that does not come with Dokku. */
const PLUGIN = {
  name: NAME,
  version: WORD,
  /** Where it was installed from; without a password. */
  source: optional(atBest(matching(/^(https?:\/\/[\w%+=:,./-]+|(ssh|git|file):\/\/[\w@%+=:,./-]+)$/, 'an address'))),
  commit: optional(atBest(matching(/^[0-9a-f]{7,64}$/, 'a commit'))),
}

const MOUNT = {
  /** A folder of the server, or a volume of Docker's. */
  host: LINE,
  container: LINE,
  options: optional(atBest(WORD)),
  /** Of the folder on the server: UID:GID. */
  owner: optional(atBest(matching(/^\d+:\d+$/, 'UID:GID'))),
}

/** What was not known is missing. */
const MANIFEST = {
  /** Of this file. */
  format: matching(/^1$/, 'format 1'),
  /** ISO. */
  madeAt: atBest(LINE),
  app: NAME,
  /** The Postgres service; missing when the database is away from Dokku. */
  service: optional(NAME),
  /** Where it is then: `postgres://USER@HOST/NAME`. */
  database: atBest(matching(/^postgres:\/\/[\w%.~-]+@[\w.:[\]-]+\/[\w.-]+(\?[\w%+=&./-]*)?$/, 'an address')),
  /** The deployed commit. */
  sha: atBest(matching(/^[0-9a-f]{40}$/, 'a commit')),
  dokkuVersion: atBest(matching(/^\d+(\.\d+)*[\w.-]*$/, 'a version')),
  plugins: atBest(listOf(record(PLUGIN))),
  /** Of the service. */
  image: atBest(matching(/^[\w./:-]+:[\w.-]+$/, 'IMAGE:TAG')),
  /** What the service was made with (`--config-options`). */
  serviceOptions: atBest(LINE),
  /** The apps that are linked to the service. */
  links: atBest(listOf(NAME)),
  /** Other services of the app, as `redis cache`, by the variable that leads there: their data is in no archive. */
  otherServices: atBest(mapOf(LINE)),
  domains: atBest(listOf(matching(/^[\w.*-]+$/, 'a domain'))),
  ports: atBest(listOf(matching(/^[a-z]+:\d+:\d+$/, 'a port mapping'))),
  mounts: atBest(listOf(record(MOUNT))),
  /** How many of each process. */
  scale: atBest(mapOf(aCount)),
  checks: atBest(
    record({ disabled: PROCESSES, skipped: PROCESSES, waitToRetire: optional(matching(/^\d+$/, 'seconds')) }),
  ),
  deployBranch: atBest(matching(/^[A-Za-z0-9][A-Za-z0-9._/-]*$/, 'a branch')),
  cron: atBest(listOf(record({ schedule: LINE, command: LINE }))),
  letsencryptEmail: atBest(matching(/^[\w.+-]+@[\w.-]+$/, 'an address')),
  /** As Node names it: `arm64`, `x64`. */
  architecture: atBest(WORD),
  /** `Ubuntu 24.04.1 LTS`. */
  system: atBest(LINE),
  /** The settings of these scripts that are no secrets, without the repository's. */
  settings: atBest(mapOf(LINE)),
}

export type Plugin = Found<typeof PLUGIN>
export type Mount = Found<typeof MOUNT>
export type Manifest = Found<typeof MANIFEST>

/** @returns undefined when it is no manifest of this form */
export function parseManifest(text: string): Manifest | undefined {
  return tryJson(text, record(MANIFEST))
}
