import { join } from 'node:path'
import type { ArchiveComment } from '../borg/archives.ts'
import { type Borg, openBorg } from '../borg/borg.ts'
import { checkArgs, compactArgs, pruneArgs } from '../borg/commands.ts'
import { parseDeletedBytes, parsePruned } from '../borg/output.ts'
import type { Retention } from '../borg/retention.ts'
import type { Context } from '../cli/main.ts'
import { readSettings, type Settings } from '../cli/settings.ts'
import { readState, type State, statePath, writeState } from '../cli/state.ts'
import { Failure, reason } from '../core/failure.ts'
import { bytes, localTimestamp, plural } from '../core/format.ts'
import { VERSION } from '../core/version.ts'
import { createDokku, type Dokku, type Service } from '../dokku/dokku.ts'
import { INBOX, requireMediaDir } from '../media/folder.ts'
import { type DumpMode, openDump } from '../postgres/dump.ts'
import { type StoredArchive, storeArchive } from './store.ts'

/** The settings that `backup.ts` uses. */
export const BACKUP_SETTINGS = [
  'BORG_REPO',
  'BORG_PASSPHRASE',
  'BORG_PASSCOMMAND',
  'DOKKU_APP',
  'DB_SERVICE',
  'MEDIA_DIR',
  'ARCHIVE_PREFIX',
  'KEEP_DAILY',
  'KEEP_WEEKLY',
  'KEEP_MONTHLY',
  'DUMP_MODE',
  'DUMP_STALL_SECONDS',
  'COMPRESSION',
  'CHUNKER_PARAMS',
  'DOKKU_COMMAND',
  'HEALTHCHECK_URL',
  'CHECK_EVERY_DAYS',
] as const

/** What every step of a backup works with. */
export interface Backup {
  context: Context
  settings: Settings<(typeof BACKUP_SETTINGS)[number]>
  borg: Borg
  dokku: Dokku
  keep: Retention
  statePath: string
}

/** @throws Failure (exit status 2) with everything that is wrong with the settings */
export function prepareBackup(context: Context): Backup {
  const { environment, envFile, shell } = context
  const settings = readSettings(BACKUP_SETTINGS, environment, envFile)
  return {
    context,
    settings,
    borg: openBorg(context, settings.BORG_REPO),
    dokku: createDokku(context, settings.DOKKU_COMMAND),
    keep: { daily: settings.KEEP_DAILY, weekly: settings.KEEP_WEEKLY, monthly: settings.KEEP_MONTHLY },
    statePath: statePath(shell.env, settings.BORG_REPO, settings.DB_SERVICE),
  }
}

/** What a backup begins with. */
export interface Ready {
  service: Service
  /** The deployed commit; undefined when Dokku does not say. */
  sha: string | undefined
}

/** Everything that can be known to be wrong before anything starts; all of it looked at at the same time. */
export async function preflight({ settings, borg, dokku }: Backup): Promise<Ready> {
  const [service, sha] = await Promise.all([
    dokku.service(settings.DB_SERVICE),
    dokku.gitSha(settings.DOKKU_APP).catch(() => undefined),
    borg.version(),
    requireMediaDir(settings.MEDIA_DIR),
  ])
  return { service, sha }
}

/**
 * Dump and media into one archive.
 * @throws Failure; then there is no archive, and no older one was touched
 */
export async function create(
  { context, settings, borg, dokku }: Backup,
  { service, sha }: Ready,
): Promise<StoredArchive & { dumpMode: DumpMode }> {
  const { log } = context
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  const dump = await openDump(dokku, service, { mode: settings.DUMP_MODE, stallMs }, log)
  const comment: ArchiveComment = { sha: sha ?? null, dumpMode: dump.mode, version: VERSION }
  const options = {
    archive: `${settings.ARCHIVE_PREFIX}-${localTimestamp(new Date())}`,
    comment: JSON.stringify(comment),
    compression: settings.COMPRESSION,
    chunkerParams: settings.CHUNKER_PARAMS,
    mediaDir: settings.MEDIA_DIR,
    // What a restore that was killed has left there.
    without: [join(settings.MEDIA_DIR, INBOX)],
    progress: log.isTerminal,
  }
  log.info(`Storing the database ${service.database} as ${options.archive}`)
  const archive = await storeArchive(borg, dump, options, stallMs, log)
  log.info(
    `Committed: dump ${bytes(archive.dumpBytes)}, media ${bytes(archive.mediaBytes)}, new ${bytes(archive.newBytes)}`,
  )
  for (const warning of archive.harmless) log.warn(warning)
  for (const file of archive.unreadable) log.error(`Not in the archive: ${file}`)
  return { ...archive, dumpMode: dump.mode }
}

/** Warns when the dump or the media is less than half of the last run's, and keeps today's sizes for the next. */
export async function compareWithLast(
  { context, statePath }: Backup,
  { dumpMode, dumpBytes, mediaBytes }: StoredArchive & { dumpMode: DumpMode },
): Promise<State> {
  const state = await readState(statePath)
  for (const [what, now, before] of [
    ['dump', dumpBytes, state.last?.dumpMode === dumpMode ? state.last.dumpBytes : undefined],
    ['media', mediaBytes, state.last?.mediaBytes],
  ] as const) {
    if (before !== undefined && now < before / 2)
      context.log.warn(
        `The ${what} shrank to less than half: ${bytes(before)} last time, ${bytes(now)} now. Is something missing?`,
      )
  }
  return remember(context, statePath, { ...state, last: { dumpMode, dumpBytes, mediaBytes } })
}

export interface Pruned {
  names: string[]
  /** What that took from the repository's deduplicated size. */
  deletedBytes: number
}

/** Prunes this prefix's archives, and compacts the repository only if something was pruned. */
export async function prune({ context, settings, borg, keep }: Backup, archive: StoredArchive): Promise<Pruned> {
  if (archive.unreadable.length > 0) {
    context.log.info('Nothing is pruned after an incomplete archive.')
    return { names: [], deletedBytes: 0 }
  }
  return afterCommit(archive, 'pruning', async () => {
    const { messages } = await borg.call(pruneArgs(settings.ARCHIVE_PREFIX, keep))
    const names = parsePruned(messages)
    if (names.length > 0) {
      context.log.info(`Pruned ${names.join(', ')}; compacting`)
      await borg.call(compactArgs())
    }
    return { names, deletedBytes: parseDeletedBytes(messages) }
  })
}

/** Runs `borg check` when CHECK_EVERY_DAYS have passed since it last did. Returns whether it ran. */
export async function checkRepository(
  { context, settings, borg, statePath }: Backup,
  archive: StoredArchive,
  state: State,
): Promise<boolean> {
  const dueMs = settings.CHECK_EVERY_DAYS * 86_400_000
  // An hour's grace: a check that took a while must not move the next one by a night.
  const sinceMs = Date.now() - new Date(state.checkedAt ?? 0).getTime() + 3_600_000
  if (dueMs === 0 || (sinceMs < dueMs && sinceMs >= 0)) return false
  return afterCommit(archive, 'borg check', async () => {
    context.log.info('Checking the repository (borg check); this takes a while')
    await borg.call(checkArgs())
    await remember(context, statePath, { ...state, checkedAt: new Date().toISOString() })
    return true
  })
}

async function afterCommit<T>(archive: StoredArchive, what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Failure(`The archive ${archive.name} is stored, but ${what} failed: ${error.message}`, error.hint)
  }
}

async function remember({ log }: Context, path: string, state: State): Promise<State> {
  try {
    await writeState(path, state)
  } catch (error) {
    log.warn(`What the next run should know could not be kept: ${reason(error)}`)
  }
  return state
}

/** The one line about an archive whose media has holes. */
export function incomplete({ name, unreadable }: StoredArchive): Failure {
  return new Failure(
    `The archive ${name} is stored without ${plural(unreadable.length, 'media file')} that could not be read: ${unreadable.slice(0, 5).join('; ')}`,
    'Give this user the right to read them; backup --check shows how.',
  )
}
