// The files of a kit that other programs read: the app's configuration for Dokku, and the settings of these scripts.

import { bashisms } from '../../cli/env-file.ts'
import type { Kit } from './content.ts'

export const CONFIG_FILE = 'config.json'
/** The same as Dokku kept it before 0.37. */
export const CONFIG_FILE_OF_OLD = 'config.env'
/** What becomes `/home/deploy/.env.backup`. */
export const ENV_FILE = 'env.backup'

/** Whether a Dokku of this version has `config:import` (0.37); of an unknown one the newest is installed. */
export function takesImport(version: string | undefined): boolean {
  const [major = 0, minor = 0] = (version ?? '1').split('.').map(Number)
  return major > 0 || minor >= 37
}

/** Variables as Dokku's own file has them (godotenv 1.5): in double quotes, with backslashes. */
export function dotenvOf(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([key, value]) => {
      const escaped = value
        .replace(/[\\"!$`]/g, '\\$&')
        .replaceAll('\n', '\\n')
        .replaceAll('\r', '\\r')
      return `${key}="${escaped}"\n`
    })
    .join('')
}

/** The env file of the new server: what bash and these scripts read alike. */
export function envFileOf({ repository, passphrase = '', manifest }: Kit): string {
  const settings = { BORG_REPO: repository, BORG_PASSPHRASE: passphrase, ...manifest.settings }
  return Object.entries(settings)
    .filter(([key, value]) => value !== '' && fitsEnvFile(key, value))
    .map(([key, value]) => `${lineOf(key, value)}\n`)
    .join('')
}

/** The settings of the archive that can't stand in that file. */
export function unwritable({ manifest }: Kit): string[] {
  return Object.entries(manifest.settings ?? {}).flatMap(([key, value]) => (fitsEnvFile(key, value) ? [] : [key]))
}

/** Whether the repository's passphrase is in that file: else a person types it. */
export function hasPassphrase({ passphrase }: Kit): boolean {
  return passphrase !== undefined && fitsEnvFile('BORG_PASSPHRASE', passphrase)
}

function lineOf(key: string, value: string): string {
  return `${key}='${value}'`
}

function fitsEnvFile(key: string, value: string): boolean {
  return !value.includes('\n') && bashisms(lineOf(key, value)).length === 0
}
