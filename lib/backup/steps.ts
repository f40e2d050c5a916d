// The steps of a night around the archive itself, in their order: see scripts/backup.ts.

import { isFuture } from '../borg/archives.ts'
import { amendArgs, checkArgs, compactArgs, deleteArgs, pruneArgs } from '../borg/commands.ts'
import type { ArchiveComment } from '../borg/comment.ts'
import { findLosses, lackingWith, unreadableFacts } from '../borg/losses.ts'
import { type Archive, parseDamage, parseDeletedBytes, parseKept, parsePruned } from '../borg/output.ts'
import { prunablePoints, retentionOf } from '../borg/retention.ts'
import { readState, remember } from '../cli/state.ts'
import { Failure } from '../core/failure.ts'
import { firstOf, plural } from '../core/format.ts'
import { quote } from '../core/quote.ts'
import { requireMediaDir } from '../media/folder.ts'
import type { Backup, Production } from './backup.ts'
import type { StoredArchive } from './store.ts'
import { presentOf, type Tonight } from './tonight.ts'

/** What can be known to be wrong before the repository is opened, all of it asked at the same time. */
export async function preflight({ settings, dokku }: Backup): Promise<Production> {
  const [service, sha] = await Promise.all([
    dokku.service(settings.DB_SERVICE),
    dokku.gitSha(settings.DOKKU_APP).catch(() => undefined),
    settings.MEDIA_DIR === null ? undefined : requireMediaDir(settings.MEDIA_DIR),
  ])
  return { service, sha }
}

/** A committed archive that was compared with those before it. */
export interface JudgedArchive extends StoredArchive {
  /** What is lacking until somebody accepts it, a phrase each. */
  lacks: string[]
}

/**
 * Compares what was stored with what the archives hold, and notes with the archive what only now is known of it: Borg takes
 * its comment before it has read anything.
 */
export async function judge(
  backup: Backup,
  tonight: Tonight,
  archive: StoredArchive,
  accepts: boolean,
): Promise<JudgedArchive> {
  const { context, settings, statePath } = backup
  const { comment, name, dumpBytes } = archive
  const { dumps = {} } = await readState(statePath)
  const isListed = new Set(tonight.archives.map((archive) => archive.name))
  const kept = Object.fromEntries(Object.entries(dumps).filter(([name]) => isListed.has(name)))
  await remember(statePath, { dumps: { ...kept, [name]: dumpBytes } }, context.log)

  const facts = unreadableFacts(archive.unreadable.map((warning) => pathIn(warning, settings.MEDIA_DIR)))
  const present = presentOf(tonight.media, tonight.tables, { mode: comment.dumpMode, bytes: dumpBytes })
  const losses = accepts ? [] : findLosses(present, tonight.compared)
  const accepted =
    accepts && comment.accepted ? { ...comment.accepted, unreadable: facts.unreadable } : comment.accepted
  if (losses.length !== comment.lacks.length || facts.unreadable !== comment.unreadable)
    await amend(backup, name, { ...comment, ...facts, lacks: losses, ...(accepted ? { accepted } : {}) })
  return { ...archive, lacks: lackingWith(losses, facts, accepted) }
}

/** The path in a warning of Borg's, `/MEDIA/a.jpg: open: [Errno 13] …`, relative to the media folder. */
function pathIn(warning: string, mediaDir: string | null): string {
  const path = warning.replace(/: \w+: \[Errno \d+\].*$/s, '')
  return mediaDir !== null && path.startsWith(`${mediaDir}/`) ? path.slice(mediaDir.length + 1) : path
}

/** That it can't be noted is a warning: what is lacking is told all the same, tonight. */
async function amend({ context, borg, tries }: Backup, archive: string, comment: ArchiveComment): Promise<void> {
  try {
    await tries.run(() => borg.call(amendArgs(archive, JSON.stringify(comment))))
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    context.log.warn(`What ${archive} lacks could not be noted with it: ${error.message}`)
  }
}

/** What pruning removed. */
export interface Pruned {
  /** Names of archives. */
  names: string[]
  /** What that took from the repository's deduplicated size. */
  deletedBytes: number
}

/**
 * Prunes this prefix's archives, and compacts the repository only if something was pruned.
 * @returns undefined with PRUNE=no: then another machine does it
 */
export async function prune(
  { context, settings, borg, tries }: Backup,
  tonight: Tonight,
  archive: JudgedArchive,
): Promise<Pruned | undefined> {
  if (!settings.PRUNE) return
  const why = whyNotPruned(archive.lacks, tonight)
  if (why) {
    context.log.info(`Nothing is pruned ${why}: all ${tonight.archives.length + 1} archives stay.`)
    return { names: [], deletedBytes: 0 }
  }
  return afterCommit(archive, 'pruning', async () => {
    const keep = retentionOf(settings)
    const { messages } = await tries.run(() => borg.call(pruneArgs(settings.ARCHIVE_PREFIX, keep)))
    const names = parsePruned(messages)
    if (names.length > 0) {
      context.log.info(`Pruned ${names.join(', ')}; compacting`)
      await tries.run(() => borg.call(compactArgs()))
    }
    // Whoever saves the present state by hand wants to know that last night's is still there.
    if (context.log.isTerminal)
      context.log.info(
        `Kept: ${plural(parseKept(messages), 'archive')}; those of the last ${keep.withinHours} hours always stay.`,
      )
    return { names, deletedBytes: parseDeletedBytes(messages) }
  })
}

/**
 * What is lacking may be in the archives that would go; a clock that went back would prune tonight's archive itself; and Borg
 * tells archives by their names alone.
 */
export function whyNotPruned(
  lacks: readonly string[],
  { archives, strangers }: Pick<Tonight, 'archives' | 'strangers'>,
): string | undefined {
  if (lacks.length > 0) return 'while something is lacking'
  if (archives.some((archive) => isFuture(archive))) return 'while archives are dated in the future'
  const [stranger] = strangers
  return stranger && `while a restore point of another ARCHIVE_PREFIX has a name like these nights: ${stranger.name}`
}

/**
 * Of the restore points the newest KEEP_RESTORE_POINTS stay, and no night is touched. The archive is there: that the others can't be
 * pruned is a warning.
 */
export async function pruneRestorePoints(
  { context, settings, borg }: Backup,
  { restorePoints }: Tonight,
  { name, lacks }: JudgedArchive,
): Promise<Pruned | undefined> {
  if (!settings.PRUNE) return
  const nothing: Pruned = { names: [], deletedBytes: 0 }
  if (whyNotPruned(lacks, { archives: restorePoints, strangers: [] })) return nothing
  const stored: Archive = { name, start: new Date(), comment: '' }
  const names = prunablePoints([stored, ...restorePoints], settings.KEEP_RESTORE_POINTS).map(({ name }) => name)
  if (names.length === 0) return nothing
  try {
    const { messages } = await borg.call(deleteArgs(names))
    context.log.info(`Pruned ${names.join(', ')}; compacting`)
    await borg.call(compactArgs())
    return { names, deletedBytes: parseDeletedBytes(messages) }
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    context.log.warn(`Older restore points could not be pruned: ${error.message}`)
    return nothing
  }
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Runs `borg check` when CHECK_EVERY_DAYS have passed since it last did. Returns whether it ran. */
export async function checkRepository(
  { context, settings, borg, tries, statePath }: Backup,
  archive: StoredArchive,
): Promise<boolean> {
  const everyMs = settings.CHECK_EVERY_DAYS * DAY_MS
  const { checkedAt } = await readState(statePath)
  // An hour more: a check that took a while must not move the next one by a night.
  const passedMs = Date.now() - new Date(checkedAt ?? 0).getTime() + HOUR_MS
  if (everyMs === 0 || (passedMs < everyMs && passedMs >= 0)) return false
  return afterCommit(archive, 'borg check', async () => {
    context.log.info('Checking the repository (borg check); this takes a while')
    let damaged: Record<string, string[]> | undefined
    try {
      await tries.run(() =>
        borg.call(checkArgs(), (messages) => {
          damaged = parseDamage(messages)
        }),
      )
    } catch (error) {
      const archives = Object.keys(damaged ?? {})
      if (!(error instanceof Failure) || archives.length === 0) throw error
      throw new Failure(
        `damaged are files in ${firstOf(archives)}: ${error.message}`,
        `See which archives are whole: restore --list. Then: (set -a; . ${quote(context.envFile.path)}; borg check --repair)`,
      )
    } finally {
      // It stays with the archives, until a check finds them whole: a check that was cut off has not seen them all.
      if (damaged && Object.keys(damaged).length > 0) await remember(statePath, { damaged }, context.log)
    }
    await remember(statePath, { checkedAt: new Date().toISOString(), damaged: damaged ?? {} }, context.log)
    return true
  })
}

/** What fails from now on is not the archive. */
async function afterCommit<T>(archive: StoredArchive, what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Failure(`The archive ${archive.name} is stored, but ${what} failed: ${error.message}`, error.hint)
  }
}

/** @throws Failure for an archive that lacks something */
export function requireComplete({ name, lacks }: JudgedArchive): void {
  if (lacks.length === 0) return
  throw new Failure(
    `The archive ${name} is stored, but something is lacking, and nothing is pruned: ${lacks.join('; ')}`,
    [
      'See what is wrong: backup --check',
      'Is a disk not mounted? Mount it. Else what stands behind each of it brings it back.',
      'If what is there now is right, say so, or each night ends like this: backup --accept',
    ].join('\n'),
  )
}
