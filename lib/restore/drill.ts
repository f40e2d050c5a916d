import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { isStale, listArchives } from '../borg/archives.ts'
import { extractToStdoutArgs } from '../borg/commands.ts'
import type { Archive } from '../borg/output.ts'
import { createMonitor } from '../cli/monitor.ts'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { age, duration, plural, printable } from '../core/format.ts'
import { VERSION } from '../core/version.ts'
import { isSame, type MediaFile } from '../media/compare.ts'
import { requireDatabaseSpace } from '../postgres/space.ts'
import { prove } from './prove.ts'
import { clearLeftovers, discardTest, type Restore, survey } from './restore.ts'

/** Files read out of the archive and compared byte by byte. */
const SAMPLE = 20

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
      checkedFiles = await compareSample(restore, archive, media.same)
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

/**
 * Reads some of the files that are the same by size and time out of the archive, and compares their bytes with the disk's.
 * @returns how many were compared
 * @throws Failure that names the first that differs
 */
async function compareSample(
  { settings, borg }: Restore,
  archive: Archive,
  same: readonly MediaFile[],
): Promise<number> {
  const candidates = same.filter(({ type, sizeBytes }) => type === '-' && sizeBytes > 0)
  const chosen = new Set<number>()
  while (chosen.size < Math.min(SAMPLE, candidates.length)) chosen.add(Math.floor(Math.random() * candidates.length))
  // Borg prints them one after the other in the archive's order, which is that of the candidates.
  const sample = candidates.filter((_, i) => chosen.has(i))
  if (sample.length === 0) return 0
  const prefix = settings.MEDIA_DIR.replace(/^\//, '')
  const source = borg.stream(
    extractToStdoutArgs(
      archive.name,
      sample.map(({ path }) => `${prefix}/${path}`),
    ),
  )
  source.stdin.end()
  let compared = 0
  try {
    const take = createTaker(source.stdout)
    for (const file of sample) {
      const stored = createHash('sha256')
      await take(file.sizeBytes, (chunk) => stored.update(chunk))
      const path = join(settings.MEDIA_DIR, file.path)
      const disk = await hashOf(path)
      // Replaced or deleted since it was listed: nothing to compare.
      const now = await lstat(path).catch(() => undefined)
      if (!now || !isSame(file, now)) continue
      if (disk !== stored.digest('hex'))
        throw new Failure(
          `${printable(file.path)} is not on the disk as ${archive.name} has it, although size and time are the same.`,
          'One of the two is damaged. Look: borg check --verify-data, and the disk: dmesg',
        )
      compared++
    }
    await source.result()
  } catch (error) {
    await source.stop()
    throw error
  }
  return compared
}

/** Takes so many bytes off a stream, or what is left of it. */
function createTaker(stream: Readable): (length: number, onChunk: (chunk: Buffer) => void) => Promise<void> {
  const chunks: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  return async (length, onChunk) => {
    for (let left = length; left > 0; ) {
      if (rest.length === 0) {
        const { done, value } = await chunks.next()
        if (done) return
        rest = value
      }
      const chunk = rest.subarray(0, left)
      onChunk(chunk)
      left -= chunk.length
      rest = rest.subarray(chunk.length)
    }
  }
}

/** SHA-256 of a file; undefined when it can't be read. */
async function hashOf(path: string): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk)
  } catch {
    return
  }
  return hash.digest('hex')
}
