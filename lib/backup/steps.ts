// The steps of a night around the archive itself, in their order: see scripts/backup.ts.

import { checkArgs, compactArgs, pruneArgs } from '../borg/commands.ts'
import { parseDeletedBytes, parsePruned } from '../borg/output.ts'
import { retentionOf } from '../borg/retention.ts'
import { readState, remember } from '../cli/state.ts'
import { Failure } from '../core/failure.ts'
import { bytes, plural } from '../core/format.ts'
import { requireMediaDir } from '../media/folder.ts'
import type { Backup, Production } from './backup.ts'
import type { StoredArchive } from './store.ts'

/** Everything that can be known to be wrong before anything starts, all of it asked at the same time. */
export async function preflight({ settings, borg, dokku }: Backup): Promise<Production> {
  const [service, sha] = await Promise.all([
    dokku.service(settings.DB_SERVICE),
    dokku.gitSha(settings.DOKKU_APP).catch(() => undefined),
    borg.version(),
    requireMediaDir(settings.MEDIA_DIR),
  ])
  return { service, sha }
}

/** Warns when the dump or the media is less than half of the last run's, and keeps today's sizes for the next. */
export async function compareWithLast({ context, statePath }: Backup, archive: StoredArchive): Promise<void> {
  const { dumpMode, dumpBytes, mediaBytes } = archive
  const { last } = await readState(statePath)
  for (const [what, now, before] of [
    ['dump', dumpBytes, last?.dumpMode === dumpMode ? last.dumpBytes : undefined],
    ['media', mediaBytes, last?.mediaBytes],
  ] as const) {
    if (before !== undefined && now < before / 2)
      context.log.warn(
        `The ${what} shrank to less than half: ${bytes(before)} last time, ${bytes(now)} now. Is something missing?`,
      )
  }
  await remember(statePath, { last: { dumpMode, dumpBytes, mediaBytes } }, context.log)
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
export async function prune({ context, settings, borg }: Backup, archive: StoredArchive): Promise<Pruned | undefined> {
  if (!settings.PRUNE) return
  if (archive.unreadable.length > 0) {
    context.log.info('Nothing is pruned after an incomplete archive.')
    return { names: [], deletedBytes: 0 }
  }
  return afterCommit(archive, 'pruning', async () => {
    const { messages } = await borg.call(pruneArgs(settings.ARCHIVE_PREFIX, retentionOf(settings)))
    const names = parsePruned(messages)
    if (names.length > 0) {
      context.log.info(`Pruned ${names.join(', ')}; compacting`)
      await borg.call(compactArgs())
    }
    return { names, deletedBytes: parseDeletedBytes(messages) }
  })
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Runs `borg check` when CHECK_EVERY_DAYS have passed since it last did. Returns whether it ran. */
export async function checkRepository(
  { context, settings, borg, statePath }: Backup,
  archive: StoredArchive,
): Promise<boolean> {
  const everyMs = settings.CHECK_EVERY_DAYS * DAY_MS
  const { checkedAt } = await readState(statePath)
  // An hour more: a check that took a while must not move the next one by a night.
  const passedMs = Date.now() - new Date(checkedAt ?? 0).getTime() + HOUR_MS
  if (everyMs === 0 || (passedMs < everyMs && passedMs >= 0)) return false
  return afterCommit(archive, 'borg check', async () => {
    context.log.info('Checking the repository (borg check); this takes a while')
    await borg.call(checkArgs())
    await remember(statePath, { checkedAt: new Date().toISOString() }, context.log)
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

/** @throws Failure for an archive whose media has holes */
export function requireComplete({ name, unreadable }: StoredArchive): void {
  if (unreadable.length === 0) return
  throw new Failure(
    `The archive ${name} is stored without ${plural(unreadable.length, 'media file')} that could not be read: ${unreadable.slice(0, 5).join('; ')}`,
    'Give this user the right to read them; backup --check shows how.',
  )
}
