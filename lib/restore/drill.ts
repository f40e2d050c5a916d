import { isStale, listArchives } from '../borg/archives.ts'
import { createMonitor } from '../cli/monitor.ts'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { age, duration, plural } from '../core/format.ts'
import { VERSION } from '../core/version.ts'
import { compareSample } from '../media/sample.ts'
import { requireDatabaseSpace } from '../postgres/space.ts'
import { prove } from './prove.ts'
import { clearLeftovers, discardTest, type Restore, survey } from './restore.ts'

/**
 * The unattended test restore, for cron: the newest archive is young enough, imports cleanly, has no table empty that
 * has rows in production, and a sample of its media is what the disk has. The test service is always removed.
 */
export async function drill(restore: Restore): Promise<number> {
  const { context, settings, borg, dokku } = restore
  const monitor = createMonitor(settings.DRILL_HEALTHCHECK_URL, `book-corners-ops/${VERSION}`, context.log)
  const startedMs = Date.now()
  const started = monitor.start()
  try {
    const [archive] = await listArchives(borg, settings.ARCHIVE_PREFIX)
    if (!archive) throw new Failure('There is no archive to restore.', 'Make the first one: backup')
    if (isStale(archive))
      throw new Failure(
        `The newest archive, ${archive.name}, is from ${age(archive.start)}.`,
        'A nightly run was missed: look at its log, then type: backup',
      )
    const production = await dokku.service(settings.DB_SERVICE)
    const { dump, media } = await survey(restore, archive.name)
    if (!dump || !media) throw new Failure(`The archive ${archive.name} is incomplete.`)
    let checkedFiles = 0
    const begun = await clearLeftovers(restore, production)
    try {
      await requireDatabaseSpace(restore, production, dump)
      const { emptied } = await prove(restore, archive, dump, production, begun)
      if (emptied.length > 0)
        throw new Failure(
          `In ${archive.name} these tables are empty, but not in production: ${emptied.join(', ')}`,
          'Look: restore --test',
        )
      checkedFiles = await compareSample(borg, archive.name, settings.MEDIA_DIR, media.same)
    } finally {
      await discardTest(restore)
    }
    const seconds = (Date.now() - startedMs) / 1000
    const summary = `${archive.name} restores: the dump imports cleanly, ${plural(checkedFiles, 'media file')} compared, took ${duration(seconds * 1000)}`
    if (context.flags.has('json'))
      context.print(
        JSON.stringify({
          archive: archive.name,
          dumpBytes: dump.sizeBytes,
          mediaCompared: checkedFiles,
          missing: media.missing.length,
          different: media.different.length,
          seconds,
        }),
      )
    else context.print(summary)
    await started
    await monitor.success(summary)
    return EXIT.done
  } catch (error) {
    await started
    await monitor.fail(reason(context.shell.signal.aborted ? context.shell.signal.reason : error))
    throw error
  }
}
