// The drill: an unattended proof that the newest archive restores, told to the monitor.

import { isStale, listArchives } from '../borg/archives.ts'
import { createMonitor, watched } from '../cli/monitor.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { age, duration, plural } from '../core/format.ts'
import { compareSample } from '../media/sample.ts'
import { readContents } from './choose.ts'
import { discardTest } from './leftovers.ts'
import { inTestService } from './prove.ts'
import type { Restore } from './restore.ts'

/**
 * The unattended test restore, for cron: the newest archive is young enough, imports cleanly, has no table empty that
 * has rows in production, and a sample of its media is what the disk has. The test service is always removed.
 */
export async function drill(restore: Restore): Promise<number> {
  const { context, settings } = restore
  await watched(createMonitor(settings.DRILL_HEALTHCHECK_URL, context.log), context.shell.signal, async (begin) => {
    begin()
    const startedMs = Date.now()
    const drilled = await proveNewest(restore)
    const seconds = (Date.now() - startedMs) / 1000
    const summary = `${drilled.archive} restores: the dump imports cleanly, ${plural(drilled.mediaCompared, 'media file')} compared, took ${duration(seconds * 1000)}`
    if (context.flags.has('json')) context.printJson({ ...drilled, seconds })
    else context.print(summary)
    return summary
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
  const { settings, borg } = restore
  const [archive] = await listArchives(borg, settings.ARCHIVE_PREFIX)
  if (!archive) throw new Failure('There is no archive to restore.', 'Make the first one: backup')
  if (isStale(archive))
    throw new Failure(
      `The newest archive, ${archive.name}, is from ${age(archive.start)}.`,
      'A nightly run was missed: look at its log, then type: backup',
    )
  const contents = await readContents(restore, archive.name)
  const { same, missing = [], different = [] } = contents.media ?? {}
  return inTestService(restore, archive, contents, async ({ dump, test, emptied }) => {
    if (emptied.length > 0)
      throw new Failure(
        `In ${archive.name} these tables are empty, but not in production: ${emptied.join(', ')}`,
        'Look: restore --test',
      )
    const mediaCompared = await compareSample(borg, archive.name, settings.MEDIA_DIR, same?.sample ?? [])
    await discardTest(restore, test)
    return {
      archive: archive.name,
      dumpBytes: dump.sizeBytes,
      mediaCompared,
      missing: missing.length,
      different: different.length,
    }
  })
}
