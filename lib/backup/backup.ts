// What every step of a backup works with: its settings, Borg, and Dokku.

import { type Borg, openBorg } from '../borg/borg.ts'
import { NoRepository } from '../borg/errors.ts'
import { RETENTION_SETTINGS } from '../borg/retention.ts'
import { createTries, TRIES_SETTINGS, type Tries } from '../borg/tries.ts'
import { journalPath } from '../cli/journal.ts'
import type { Context } from '../cli/main.ts'
import { readSettings, type Settings } from '../cli/settings.ts'
import { statePath } from '../cli/state.ts'
import { Failure } from '../core/failure.ts'
import { createDokku, type Dokku, type Service } from '../dokku/dokku.ts'

/** The settings that `backup.ts` uses. */
export const BACKUP_SETTINGS = [
  'BORG_REPO',
  'BORG_PASSPHRASE',
  'BORG_PASSCOMMAND',
  'DOKKU_APP',
  'DB_SERVICE',
  'DATABASE_URL',
  'MEDIA_DIR',
  'ARCHIVE_PREFIX',
  ...RETENTION_SETTINGS,
  'PRUNE',
  'KEEP_RESTORE_POINTS',
  ...TRIES_SETTINGS,
  'KEEP_APP_CONFIG',
  'DUMP_MODE',
  'DUMP_STALL_SECONDS',
  'COMPRESSION',
  'CHUNKER_PARAMS',
  'DOKKU_COMMAND',
  'HEALTHCHECK_URL',
  'CHECK_EVERY_DAYS',
] as const

export interface Backup {
  context: Context
  settings: Settings<(typeof BACKUP_SETTINGS)[number]>
  borg: Borg
  dokku: Dokku
  tries: Tries
  /** The file where a run finds what the last one left for it. */
  statePath: string
  journalPath: string
}

/** What is backed up, as it runs now. */
export interface Production {
  service: Service
  /** The deployed commit; undefined when Dokku does not say. */
  sha: string | undefined
}

/** Only a backup may be there before its repository: to whoever wants to restore, an empty new one is no help. */
export function openRepository(context: Context, repository: string): Borg {
  const borg = openBorg(context, repository)
  const withInit = (error: unknown): never => {
    if (!(error instanceof NoRepository)) throw error
    const init = 'Only on the first day, when there never was one: backup --init'
    throw new Failure(error.message, `${error.hint} ${init}`)
  }
  return {
    ...borg,
    call: (...args) => borg.call(...args).catch(withInit),
    callChecked: (args) => borg.callChecked(args).catch(withInit),
  }
}

/** @throws Failure (exit status 2) with everything that is wrong with the settings */
export function prepareBackup(context: Context): Backup {
  const { environment, envFile, shell } = context
  const settings = readSettings(BACKUP_SETTINGS, environment, envFile)
  const state = statePath(shell.env, settings.BORG_REPO, settings.DB_SERVICE)
  return {
    context,
    settings,
    borg: openRepository(context, settings.BORG_REPO),
    dokku: createDokku(context, settings.DOKKU_COMMAND, settings.DATABASE_URL),
    tries: createTries(settings, context.log, shell.signal),
    statePath: state,
    journalPath: journalPath(state),
  }
}
