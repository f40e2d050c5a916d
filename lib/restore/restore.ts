// What every step of a restore works with.

import { type Borg, openBorg } from '../borg/borg.ts'
import type { Archive } from '../borg/output.ts'
import { TRIES_SETTINGS } from '../borg/tries.ts'
import { journaled, journalPath, type Note } from '../cli/journal.ts'
import type { Context } from '../cli/main.ts'
import { readSettings, type Settings } from '../cli/settings.ts'
import { statePath } from '../cli/state.ts'
import { currentUser, type User } from '../cli/user.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { createDokku, type Dokku } from '../dokku/dokku.ts'

/** The settings that `restore.ts` uses. */
const RESTORE_SETTINGS = [
  'BORG_REPO',
  'BORG_PASSPHRASE',
  'BORG_PASSCOMMAND',
  'DOKKU_APP',
  'DB_SERVICE',
  'DATABASE_URL',
  'MEDIA_DIR',
  'MEDIA_OWNER',
  'ARCHIVE_PREFIX',
  'DOKKU_COMMAND',
  'DUMP_STALL_SECONDS',
  'VERIFY_SQL',
  ...TRIES_SETTINGS,
  'DRILL_HEALTHCHECK_URL',
  'SITE_URL',
] as const

/** What every step of a restore works with. */
export interface Restore {
  context: Context
  settings: Settings<(typeof RESTORE_SETTINGS)[number]>
  borg: Borg
  dokku: Dokku
  statePath: string
  /** Keeps for the journal what a restore did. */
  note: Note
  user: User
  /** The part that is restored. */
  database: boolean
  /** The media folder, where photos are restored; else null. */
  media: string | null
}

/** What archives are read with. */
export type Reading = Pick<Restore, 'context' | 'borg'> &
  Partial<Pick<Restore, 'statePath'>> & { settings: Settings<'ARCHIVE_PREFIX'> }

/** @throws Failure (exit status 2) with everything that is wrong with the settings */
export function prepareRestore(context: Context): Restore {
  const { environment, envFile, shell, flags } = context
  const settings = readSettings(RESTORE_SETTINGS, environment, envFile)
  const [aboutMedia] = ['media-only', 'overwrite'].filter((flag) => flags.has(flag))
  if (settings.MEDIA_DIR === null && aboutMedia)
    throw new Failure(
      `--${aboutMedia} is about photos, and MEDIA_DIR=none says that there are none.`,
      'For photos of an older archive, name their folder: MEDIA_DIR=/FOLDER restore --media-only ARCHIVE',
      EXIT.usage,
    )
  const [proof] = ['test', 'drill'].filter((flag) => flags.has(flag))
  // What only proves must not lean on production's server, and which image a service of Dokku's would need is not known here.
  if (settings.DATABASE_URL && proof)
    throw new Failure(
      `--${proof} needs a service of Dokku's: with DATABASE_URL there is none to make another one like.`,
      'Make a small one with the right image, and prove into that, with an env file of its own: docs/growing.md',
      EXIT.usage,
    )
  return {
    context,
    settings,
    borg: openBorg(context, settings.BORG_REPO),
    dokku: createDokku(context, settings.DOKKU_COMMAND, settings.DATABASE_URL),
    statePath: statePath(shell.env, settings.BORG_REPO, settings.DB_SERVICE),
    note: () => {},
    user: currentUser(),
    database: !flags.has('media-only'),
    media: flags.has('db-only') || flags.has('test') ? null : settings.MEDIA_DIR,
  }
}

/** What a restore of a part of production is called by. */
const PARTS = ['db-only', 'media-only', 'rows', 'undo'] as const

/** Does a restore that changes production, and notes in the journal what it did. */
export function noted(restore: Restore, run: (restore: Restore) => Promise<number>): Promise<number> {
  const { context, statePath } = restore
  const part = PARTS.find((flag) => context.flags.has(flag) || flag in context.values)
  const kind = part ? (`restore --${part}` as const) : 'restore'
  return journaled(context, journalPath(statePath), kind, (note) => run({ ...restore, note }))
}

/** An archive that was named is not listed: what only the list tells is asked for where it matters. */
export type ChosenArchive = Pick<Archive, 'name'> & Partial<Archive>
