// What there is to store now, and what it lacks of what the archives hold.

import { explainFuture, isFuture, listArchives, newestOf } from '../borg/archives.ts'
import { type Acceptance, lastAcceptance, parseComment } from '../borg/comment.ts'
import {
  findLosses,
  type KnownArchive,
  knownArchives,
  lackingWith,
  type Present,
  unreadableFacts,
} from '../borg/losses.ts'
import type { Archive } from '../borg/output.ts'
import { Failure } from '../core/failure.ts'
import { bytes, firstOf, plural } from '../core/format.ts'
import { type MediaSize, measureMedia } from '../media/folder.ts'
import { surveyTables, type TableSurvey } from '../postgres/tables.ts'
import { type AppConfig, collectAppConfig } from './app-config.ts'
import type { Backup, Production } from './backup.ts'
import { askMount, askService } from './sources.ts'

export interface Tonight extends Production {
  /** When it was begun to look, as of `performance.now()`. */
  beganMs: number
  /** Null with `MEDIA_DIR=none`. */
  media: MediaSize | null
  /** Undefined when PostgreSQL did not say. */
  tables: TableSurvey | undefined
  /** The nights of this prefix, newest first. */
  archives: Archive[]
  /** Its restore points, newest first. */
  restorePoints: Archive[]
  /** Archives that pruning would take for nights of this prefix. */
  strangers: Archive[]
  /** Those that it is compared with, newest first. */
  compared: KnownArchive[]
  accepted: Acceptance | undefined
  /** What is known to be lacking before there is a dump, a phrase each. */
  losses: string[]
  /** Undefined with KEEP_APP_CONFIG=no. */
  appConfig: AppConfig | undefined
  /** Why the sources may be the wrong ones, or not all, a sentence each. */
  doubts: string[]
}

/** Looks at everything at the same time; nothing is changed. */
export async function lookAt(backup: Backup, production: Production): Promise<Tonight> {
  const { context, settings, borg, dokku } = backup
  const beganMs = performance.now()
  const [{ nights: archives, restorePoints, strangers }, media, tables, sources, appConfig] = await Promise.all([
    // Of Borg this is the first to be asked.
    listArchives({ call: borg.callChecked }, settings.ARCHIVE_PREFIX),
    settings.MEDIA_DIR === null ? null : measureMedia(settings.MEDIA_DIR),
    surveyTables(dokku, production.service).catch((error: unknown) => {
      if (error instanceof Failure) return error
      throw error
    }),
    Promise.all([askService(dokku, settings.DOKKU_APP, production.service), askMount(dokku, settings)]),
    settings.KEEP_APP_CONFIG ? collectAppConfig(backup, production.sha) : undefined,
  ])
  const survey = tables instanceof Failure ? undefined : tables
  const compared = await knownArchives(backup, archives)
  const accepted = lastAcceptance(archives)
  const future = archives.filter((archive) => isFuture(archive))
  const clock = explainFuture(future, context.envFile.path)
  return {
    ...production,
    beganMs,
    media,
    tables: survey,
    archives,
    restorePoints,
    strangers,
    compared,
    accepted,
    appConfig,
    losses: findLosses(presentOf(media, survey), compared),
    doubts: [
      ...sources.flatMap(({ doubt, fix }) => (doubt === undefined ? [] : [`${doubt} ${fix}`])),
      ...(media ? linkDoubts(media) : photosEnd(archives)),
      ...(appConfig?.doubts ?? []),
      ...(future.length > 0 ? [`${clock.message}. ${clock.hint}`] : []),
      ...(tables instanceof Failure ? [`Which tables have rows is not known: ${tables.message}`] : []),
      ...(survey?.unread.length ? [`These tables did not say whether they have rows: ${firstOf(survey.unread)}.`] : []),
    ],
  }
}

/** As a comparison takes it. @param dump as soon as there is one */
export function presentOf(media: MediaSize | null, tables: TableSurvey | undefined, dump?: Present['dump']): Present {
  return { mediaFiles: media?.files, mediaBytes: media?.bytes, folders: media?.folders, tables, dump }
}

/**
 * What somebody has to look at, a phrase each: losses, and media files that can't be read, beyond those that were accepted.
 * Before there is a dump, and Borg has read the files, the newest archive tells of both. Without a media folder nothing of it
 * is lacking, whatever the archives hold.
 */
export function lackingNow({
  media,
  tables,
  compared,
  accepted,
}: Pick<Tonight, 'media' | 'tables' | 'compared' | 'accepted'>): string[] {
  const [newest] = compared
  const { dumpMode, dumpBytes, unreadable = 0, unreadablePaths = [] } = newest ?? {}
  const dump = dumpMode && dumpBytes !== undefined ? { mode: dumpMode, bytes: dumpBytes } : undefined
  const losses = findLosses(presentOf(media, tables, dump), compared)
  const seen = media?.unreadable ?? []
  const isSeen = media === null || seen.length >= unreadable
  return lackingWith(losses, isSeen ? unreadableFacts(seen) : { unreadable, unreadablePaths }, accepted)
}

/** The first night after `MEDIA_DIR=none` says it, and where the photos are. @param archives newest first */
function photosEnd(archives: readonly Archive[]): string[] {
  const newest = newestOf(archives)
  const { noMedia, mediaFiles, mediaBytes = 0 } = parseComment(newest?.comment ?? '')
  if (!newest || noMedia || mediaFiles === 0) return []
  const held = mediaFiles === undefined ? '' : ` (${plural(mediaFiles, 'file')}, ${bytes(mediaBytes)})`
  return [
    `MEDIA_DIR=none: from this archive on none holds photos. The last with photos is ${newest.name}${held}, and in time it is pruned; borg rename keeps it.`,
  ]
}

function linkDoubts({ leadingOut }: MediaSize): string[] {
  return leadingOut.length === 0
    ? []
    : [
        `What is behind a link that leads out of the media folder is in no archive: ${firstOf(leadingOut.map(({ path, target }) => `${path} → ${target}`))}.`,
      ]
}
