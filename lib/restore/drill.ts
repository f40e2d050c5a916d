// The drill: an unattended proof that the newest archive restores, told to the monitor.

import { explainFuture, isFuture, isStale, listArchives, newestOf } from '../borg/archives.ts'
import { lastAcceptance, parseComment } from '../borg/comment.ts'
import { findLosses, knownArchives, lackingWith, unreadableFacts } from '../borg/losses.ts'
import type { Archive } from '../borg/output.ts'
import { createTries } from '../borg/tries.ts'
import { journaled, journalPath } from '../cli/journal.ts'
import { createMonitor, watched } from '../cli/monitor.ts'
import { readState, remember } from '../cli/state.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { duration, firstOf, plural } from '../core/format.ts'
import { age } from '../core/times.ts'
import { compareSample } from '../media/sample.ts'
import type { RowCounts } from '../postgres/sql.ts'
import { readContents } from './choose.ts'
import { discardTest } from './leftovers.ts'
import { inTestService } from './prove.ts'
import type { Restore } from './restore.ts'

/**
 * The unattended test restore, for cron: the newest archive is young enough, imports cleanly, lacks nothing of what the
 * archives held, and a sample of its media is what the disk has. The test service is always removed.
 */
export async function drill(restore: Restore): Promise<number> {
  const { context, settings } = restore
  await watched(createMonitor(settings.DRILL_HEALTHCHECK_URL, context.log), context.shell.signal, (begin) => {
    begin()
    return journaled(context, journalPath(restore.statePath), 'drill', async (note) => {
      const startedMs = performance.now()
      const tries = createTries(settings, context.log, context.shell.signal)
      const drilled = await tries.run(() => proveNewest(restore)).finally(() => note({ tries: tries.count }))
      note({ archive: drilled.archive, dumpBytes: drilled.dumpBytes })
      const seconds = Math.round(performance.now() - startedMs) / 1000
      const summary = `${drilled.archive} restores: the dump imports cleanly, ${settings.MEDIA_DIR === null ? 'no media (MEDIA_DIR=none)' : `${plural(drilled.mediaCompared, 'media file')} compared`}, took ${duration(seconds * 1000)}${tries.count > 1 ? `, ${tries.count} tries` : ''}`
      if (context.flags.has('json')) context.printJson({ ...drilled, tries: tries.count, seconds })
      else context.print(summary)
      return summary
    })
  })
  return EXIT.done
}

/** What a drill did, as --json prints it. */
interface Drilled {
  archive: string
  dumpBytes: number
  /** Files whose bytes were compared with the disk's. */
  mediaCompared: number
  missing: number
  different: number
}

async function proveNewest(restore: Restore): Promise<Drilled> {
  const { context, settings, borg } = restore
  const { nights: archives } = await listArchives(borg, settings.ARCHIVE_PREFIX)
  const archive = newestOf(archives)
  const future = archives.filter((other) => isFuture(other))
  if (!archive)
    throw future.length > 0
      ? clockFailure(future, context.envFile.path)
      : new Failure('There is no archive to restore.', 'Make the first one: backup')
  if (isStale(archive))
    throw new Failure(
      `The newest archive, ${archive.name}, is from ${age(archive.start)}.`,
      'A nightly run was missed: look at its log, then type: backup',
    )
  const contents = await readContents(restore, archive.name)
  const { mediaDir = '', same, missing = [], different = [] } = contents.media ?? {}
  const drilled = await inTestService(restore, archive, contents, async ({ dump, test, rows, emptied }) => {
    await requireWhole(restore, archives, archive, {
      mediaFiles: contents.media && (same?.count ?? 0) + missing.length + different.length,
      damagedMedia: contents.media?.damaged ?? [],
      dumpBytes: dump.sizeBytes,
      rows,
      emptied,
    })
    const mediaCompared = await compareSample(borg, archive.name, mediaDir, same?.sample ?? [])
    await discardTest(restore, test)
    return {
      archive: archive.name,
      dumpBytes: dump.sizeBytes,
      mediaCompared,
      missing: missing.length,
      different: different.length,
    }
  })
  if (future.length > 0) throw clockFailure(future, context.envFile.path)
  return drilled
}

function clockFailure(future: readonly Archive[], envFile: string): Failure {
  const { message, hint } = explainFuture(future, envFile)
  return new Failure(message, hint)
}

/** What was found in an archive. */
interface Found {
  /** Undefined with `MEDIA_DIR=none`: what an older archive lacks of them is nothing to this. */
  mediaFiles: number | undefined
  /** With zeros in place of what was lost. */
  damagedMedia: readonly string[]
  dumpBytes: number
  /** Of its tables. */
  rows: RowCounts
  /** Those without rows that have some in production. */
  emptied: readonly string[]
}

/**
 * Compares what was found in an archive with what it says of itself, and with what the archives before it held. Production
 * is no measure where they tell: it may have lost the same, or may have got more since.
 * @throws Failure that names what is lacking
 */
async function requireWhole(
  restore: Restore,
  archives: readonly Archive[],
  archive: Archive,
  { mediaFiles, damagedMedia, dumpBytes, rows, emptied }: Found,
): Promise<void> {
  const { unreadable = 0, unreadablePaths = [], lacks = [], dumpMode } = parseComment(archive.comment)
  const known = await knownArchives(restore, archives)
  const losses = findLosses(
    {
      mediaFiles,
      mediaBytes: undefined,
      folders: undefined,
      tables: { filled: [...rows].flatMap(([table, count]) => (count > 0 ? [table] : [])), unread: [] },
      dump: dumpMode && { mode: dumpMode, bytes: dumpBytes },
    },
    known,
  )
  // Where no archive tells of its tables, as those of the bash scripts, production is all there is.
  if (emptied.length > 0 && known.every((other) => other.tables === undefined))
    losses.push(`these tables are empty, but not in production: ${emptied.join(', ')}`)
  const { damaged = {}, drilled } = await readState(restore.statePath)
  const lacking = lackingWith(
    losses.length > 0 ? losses : lacks,
    mediaFiles === undefined ? unreadableFacts([]) : { unreadable, unreadablePaths },
    lastAcceptance(archives),
  )
  const broken = [...new Set([...(damaged[archive.name] ?? []), ...damagedMedia])]
  if (broken.length > 0) lacking.push(`borg check found it damaged: ${firstOf(broken)}`)
  const fewer = drilled ? shrunken(rows, drilled.archive, drilled.rows) : []
  // It is told once: from now on this is what there was.
  const counted = { archive: archive.name, rows: Object.fromEntries(rows) }
  await remember(restore.statePath, { drilled: counted }, restore.context.log)
  if (lacking.length + fewer.length > 0)
    throw new Failure(
      `${archive.name} imports cleanly, but something is lacking in it: ${[...lacking, ...fewer].join('; ')}`,
      `What it lacks is in older ones: restore --list. If that is right: ${lacking.length > 0 ? 'backup --accept' : 'restore --drill'}`,
    )
}

/** Of a smaller table half is lost in a day's work. */
const LEAST_ROWS = 100

/** The app deletes them at will: they expire. */
const EXPIRING = /(^|\.)django_session$/

/**
 * Pure: the tables that lost more than half of their rows since a drill, a phrase each; those without any rows are told already.
 * The size of the dump does not tell of a small table beside large ones.
 * @param before what that drill counted in the archive `then`
 */
function shrunken(rows: RowCounts, then: string, before: Readonly<Record<string, number>>): string[] {
  return Object.entries(before).flatMap(([table, had]) => {
    const has = rows.get(table) ?? 0
    if (had < LEAST_ROWS || has === 0 || has >= had / 2 || EXPIRING.test(table)) return []
    return [`${table} has ${plural(has, 'row')}, ${then} has ${had.toLocaleString('en')}`]
  })
}
