import { text } from 'node:stream/consumers'
import type { Borg } from '../borg/borg.ts'
import { type CreateOptions, createArgs } from '../borg/commands.ts'
import { type CreateWarnings, sortWarnings } from '../borg/errors.ts'
import { type Created, type Message, parseCreated } from '../borg/output.ts'
import { Failure } from '../core/failure.ts'
import { bytes } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { pump } from '../core/transfer.ts'
import type { Dump } from '../postgres/dump.ts'

/** A committed archive, in bytes. */
export interface StoredArchive extends Created, CreateWarnings {
  name: string
  dumpBytes: number
  mediaBytes: number
}

/**
 * Stores the dump and the media folder in one archive, and commits it only when the dump is known to be whole.
 *
 * Borg commits at the end of its input whatever became of the writer, so its input is ended only after the dump's
 * program has exited 0. On anything else Borg gets SIGTERM before that, and no archive exists (Borg 1.2: exit 143, no checkpoint).
 *
 * @throws Failure with the cause; then there is no archive of this name
 */
export async function storeArchive(
  borg: Borg,
  dump: Dump,
  options: CreateOptions,
  stallMs: number,
  log: Log,
): Promise<StoredArchive> {
  let dumpBytes = 0
  const target = borg.stream(createArgs(options), {
    // Our death must not be taken for the end of the dump.
    guarded: true,
    onProgress: (message) => showProgress(message, log),
  })
  const report = text(target.stdout)
  // Read when Borg has ended well; when it is stopped there is none.
  report.catch(() => {})
  try {
    const feed = async (): Promise<void> => {
      dumpBytes = await pump(dump.source, target, ['the dump', 'Borg'], stallMs)
      await dump.finish()
    }
    // When Borg ends before its input does, its reason is the one that counts, not the broken pipe it leaves to the dump.
    const borgGaveUp = target.result().then(() => {
      throw new Failure('Borg ended before it had read the dump.', 'Try: backup --check')
    })
    await Promise.race([feed(), borgGaveUp])
    log.info(`The dump is whole: ${bytes(dumpBytes)}. Storing ${options.mediaDir}`)
    target.stdin.end()
    const { messages } = await target.result()
    const created = parseCreated(await report)
    return {
      ...created,
      ...sortWarnings(messages),
      name: options.archive,
      dumpBytes,
      mediaBytes: created.originalBytes - dumpBytes,
    }
  } catch (error) {
    await Promise.all([target.stop(), dump.stop()])
    throw error
  }
}

function showProgress(message: Message, log: Log): void {
  if (message.type !== 'archive_progress') return
  const { original_size, deduplicated_size, path } = message as unknown as Record<string, number | string | undefined>
  if (original_size === undefined) return
  log.status(`${bytes(Number(original_size))} read, ${bytes(Number(deduplicated_size))} new · ${path ?? ''}`)
}
