// Stores the dump and the media folder in one archive, which exists only when the dump is known to be whole.

import { text } from 'node:stream/consumers'
import { archiveName } from '../borg/archives.ts'
import { type CreateOptions, createArgs, patternBelow } from '../borg/commands.ts'
import { type ArchiveComment, MOST_TABLES } from '../borg/comment.ts'
import { type CreateWarnings, sortWarnings } from '../borg/errors.ts'
import { unreadableFacts } from '../borg/losses.ts'
import { type Created, type Message, parseCreated } from '../borg/output.ts'
import type { Note } from '../cli/journal.ts'
import type { DumpMode } from '../cli/settings.ts'
import { Failure } from '../core/failure.ts'
import { bytes } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { transfer } from '../core/transfer.ts'
import { VERSION } from '../core/version.ts'
import { KIT_FOLDER } from '../dokku/manifest.ts'
import { INBOX } from '../media/folder.ts'
import { type Dump, openDump } from '../postgres/dump.ts'
import { clearAppConfig, type LaidOut, layOutAppConfig } from './app-config.ts'
import type { Backup } from './backup.ts'
import type { Tonight } from './tonight.ts'

/** An archive as it was committed, in bytes. Without Borg's figures where those could not be read. */
export interface StoredArchive extends Partial<Created>, CreateWarnings {
  name: string
  comment: ArchiveComment
  dumpBytes: number
  /** Undefined when Borg's figures could not be read. */
  mediaBytes?: number | undefined
}

/** What an archive is taken for, where it is not a plain night's. */
interface Occasion {
  /** What is lacking from now on is right. */
  accepts?: boolean
  /** Makes it a restore point: what it is taken before. */
  label?: string
}

/**
 * Dump and media, if there is a folder of it, into one archive.
 * @throws Failure; then there is no archive, and no older one was touched
 */
export async function store(backup: Backup, tonight: Tonight, occasion: Occasion = {}): Promise<StoredArchive> {
  try {
    return await storeWith(backup, tonight, await layOutAppConfig(backup, tonight.appConfig), occasion)
  } finally {
    await clearAppConfig(backup)
  }
}

async function storeWith(
  backup: Backup,
  tonight: Tonight,
  appConfig: LaidOut | undefined,
  occasion: Occasion,
): Promise<StoredArchive> {
  const { context, settings, dokku } = backup
  const { log } = context
  const { service } = tonight
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  const dump = await openDump(dokku, service, { mode: settings.DUMP_MODE, stallMs }, log)
  const begun = new Date()
  const comment = commentOn(tonight, dump.mode, begun, occasion)
  const options = {
    archive: archiveName(settings.ARCHIVE_PREFIX, begun, occasion.label),
    comment: JSON.stringify(comment),
    compression: settings.COMPRESSION,
    chunkerParams: settings.CHUNKER_PARAMS,
    mediaDir: settings.MEDIA_DIR,
    folder: appConfig && KIT_FOLDER,
    // What a restore that was killed has left there.
    without: settings.MEDIA_DIR === null ? [] : [patternBelow(settings.MEDIA_DIR, INBOX)],
    progress: log.isTerminal,
  }
  log.info(`Storing the database ${service.database} as ${options.archive}`)
  const archive = { ...(await commit(backup, dump, options, appConfig)), comment }
  const { mediaBytes, newBytes } = archive
  const media = settings.MEDIA_DIR === null ? 'no media' : `media ${bytes(mediaBytes ?? 0)}`
  log.info(
    newBytes === undefined
      ? `Committed: dump ${bytes(archive.dumpBytes)}`
      : `Committed: dump ${bytes(archive.dumpBytes)}, ${media}, new ${bytes(newBytes)}`,
  )
  for (const warning of archive.harmless) log.warn(warning)
  for (const file of archive.unreadable) log.error(`Not in the archive: ${file}`)
  return archive
}

export function noteArchive(note: Note, { name, originalBytes, dumpBytes, newBytes }: StoredArchive): void {
  note({ archive: name, originalBytes, dumpBytes, newBytes })
}

/** What is known of an archive before it is made. */
function commentOn(tonight: Tonight, dumpMode: DumpMode, begun: Date, { accepts, label }: Occasion): ArchiveComment {
  const { sha, media, tables, losses } = tonight
  // Borg tells the beginning of an archive to the second.
  const accepted = accepts
    ? { at: `${begun.toISOString().slice(0, 19)}Z`, unreadable: media?.unreadable.length ?? 0 }
    : tonight.accepted
  return {
    sha: sha ?? null,
    dumpMode,
    version: VERSION,
    ...mediaFacts(media),
    ...(tables ? { tables: tables.filled.slice(0, MOST_TABLES), tableCount: tables.filled.length } : {}),
    lacks: accepts ? [] : losses,
    ...(accepted ? { accepted } : {}),
    ...(label === undefined ? {} : { before: label }),
  }
}

function mediaFacts(media: Tonight['media']) {
  if (!media) return { mediaFiles: 0, mediaBytes: 0, noMedia: true, ...unreadableFacts([]) }
  return {
    mediaFiles: media.files,
    mediaBytes: media.bytes,
    folders: [...media.folders].flatMap(([folder, files]) => (files * 10 >= media.files ? [folder] : [])),
    ...unreadableFacts(media.unreadable),
  }
}

/**
 * Borg commits at the end of its input whatever became of the writer, so its input is ended only after the dump's
 * program has exited 0. On anything else Borg gets SIGTERM before that, and no archive exists (Borg 1.2: exit 143, no checkpoint).
 */
async function commit(
  { context: { log }, settings, borg }: Backup,
  dump: Dump,
  options: CreateOptions,
  appConfig: LaidOut | undefined,
): Promise<Omit<StoredArchive, 'comment'>> {
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  const target = borg.stream(createArgs(options), {
    ...(appConfig ? { cwd: appConfig.cwd } : {}),
    // Our death must not be taken for the end of the dump.
    guarded: true,
    onProgress: (message) => showProgress(message, log),
  })
  const report = text(target.stdout)
  // Read when Borg has ended well; when it is stopped there is none.
  report.catch(() => {})
  let wholeBytes: number | undefined
  const { messages, dumpBytes } = await transfer(dump, target, {
    names: ['the dump', 'Borg'],
    stallMs,
    whole: async (count) => {
      await dump.finish()
      wholeBytes = count
      log.info(`The dump is whole: ${bytes(count)}.${options.mediaDir === null ? '' : ` Storing ${options.mediaDir}`}`)
    },
    result: async () => {
      const { messages } = await target.result()
      if (wholeBytes === undefined) throw new Failure('Borg ended before it had read the dump.', 'Try: backup --check')
      return { messages, dumpBytes: wholeBytes }
    },
  })
  const figures = readFigures(await report, options.archive, log)
  return {
    ...figures,
    ...sortWarnings(messages),
    name: options.archive,
    dumpBytes,
    mediaBytes:
      options.mediaDir === null
        ? 0
        : figures.originalBytes && figures.originalBytes - dumpBytes - (appConfig?.bytes ?? 0),
  }
}

/** The archive is there, whatever Borg says of it: figures that can't be read are a warning. */
function readFigures(report: string, archive: string, log: Log): Partial<Created> {
  try {
    return parseCreated(report)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    log.warn(`The archive ${archive} is stored, but how large it is is not known: ${error.message}`)
    return {}
  }
}

function showProgress({ type, original_size, deduplicated_size, path }: Message, log: Log): void {
  if (type !== 'archive_progress' || original_size === undefined) return
  log.status(`${bytes(original_size)} read, ${bytes(deduplicated_size ?? 0)} new · ${path ?? ''}`)
}
