// What a restore would do now, as text or as JSON.

import { flawsOf } from '../borg/archives.ts'
import { parseComment } from '../borg/comment.ts'
import type { Item } from '../borg/output.ts'
import { EXIT, reason } from '../core/failure.ts'
import { bytes, printable } from '../core/format.ts'
import { table, wrap } from '../core/layout.ts'
import { isoLocal, moment, momentAgo } from '../core/times.ts'
import type { Service } from '../dokku/dokku.ts'
import { type MediaFile, type MediaPlan, totalBytes, wanted } from '../media/compare.ts'
import { whySudo } from '../media/place.ts'
import { mediaSpace, stagingOf } from '../media/staging.ts'
import { neededBytes, surveyGround } from '../postgres/ground.ts'
import { surveyRows } from '../postgres/sql.ts'
import { choose, complete, readContents } from './choose.ts'
import { describeUnread } from './comparison.ts'
import { describeMedia, releaseAdvice, withoutPhotos } from './messages.ts'
import type { ChosenArchive, Restore } from './restore.ts'

/** `restore --dry-run`: what a restore would do now; changes nothing. */
export async function preview(restore: Restore): Promise<number> {
  const { context, settings, dokku } = restore
  const archive = await choose(restore)
  const [contents, production] = await Promise.all([
    readContents(restore, archive.name),
    restore.database ? dokku.service(settings.DB_SERVICE) : undefined,
  ])
  const { dump } = contents
  const completed = await complete(restore, archive)
  const [database, media] = await Promise.all([
    production && dump && lookAtDatabase(restore, production, completed, dump),
    contents.media && lookAtMedia(restore, contents.media),
  ])
  const start = archive.start ?? new Date(dump?.mtimeMs ?? 0)
  const flaws = flawsOf({ start, comment: completed.comment ?? '', damaged: completed.damaged ?? [] })
  const without = withoutPhotos(settings, completed)
  const looked: Preview = {
    name: archive.name,
    start,
    flaws,
    without,
    ...(database && { database }),
    ...(media && { media }),
  }
  if (context.flags.has('json')) context.printJson(asJson(looked))
  else context.print(wrap(asText(looked), context.log.resultColumns))
  return EXIT.done
}

interface Space {
  needed: number
  /** Undefined where it can't be known. */
  free: number | undefined
}

interface DatabasePreview extends Space {
  production: Service
  dump: Item
  /** Rows of production's tables; of one that can't be read, why. Undefined when none can be. */
  rows: ReadonlyMap<string, number | string> | undefined
  advice: string | undefined
}

interface MediaPreview extends Space {
  plan: MediaPlan
  /** Why placing the files takes sudo. */
  needsSudo: string | undefined
}

interface Preview {
  /** Of the archive. */
  name: string
  start: Date
  /** What is known to be wrong with it. */
  flaws: string[]
  /** What is said of photos that are not restored. */
  without: string[]
  database?: DatabasePreview
  media?: MediaPreview
}

async function lookAtDatabase(
  restore: Restore,
  production: Service,
  archive: ChosenArchive,
  dump: Item,
): Promise<DatabasePreview> {
  const { context, dokku } = restore
  const look = async <T>(reading: Promise<T>): Promise<T | undefined> =>
    reading.catch((error: unknown) => {
      context.shell.signal.throwIfAborted()
      context.log.warn(`Production can't be read: ${reason(error)}`)
      return undefined
    })
  const [rows, ground, advice] = await Promise.all([
    look(surveyRows(dokku, production).then(({ counts }) => counts)),
    look(surveyGround(dokku, production)),
    releaseAdvice(restore, archive),
  ])
  const isCompressed = parseComment(archive.comment ?? '').dumpMode !== 'dedup'
  return { production, dump, rows, advice, needed: neededBytes(dump.sizeBytes, isCompressed), free: ground?.freeBytes }
}

async function lookAtMedia({ context, settings, user }: Restore, plan: MediaPreview['plan']): Promise<MediaPreview> {
  const { mediaDir } = plan
  const files = wanted(plan)
  const needsSudo = files.length > 0 ? whySudo(settings, user) : undefined
  return { plan, needsSudo, ...(await mediaSpace(mediaDir, stagingOf(context.shell.env, mediaDir), files)) }
}

function asJson({ name, start, flaws, database, media }: Preview): unknown {
  const brief = (files: readonly MediaFile[]): unknown => ({
    files: files.length,
    bytes: totalBytes(files),
    first: files.slice(0, 3).map(({ path }) => path),
  })
  return {
    archive: name,
    start: isoLocal(start),
    flaws,
    database: database
      ? {
          service: database.production.name,
          name: database.production.database,
          dumpBytes: database.dump.sizeBytes,
          dumpedAt: new Date(database.dump.mtimeMs).toISOString(),
          tables: database.rows
            ? Object.fromEntries(
                [...database.rows].map(([table, count]) => [table, typeof count === 'number' ? count : null]),
              )
            : null,
          neededBytes: database.needed,
          freeBytes: database.free ?? null,
        }
      : null,
    media: media
      ? {
          missing: brief(media.plan.missing),
          different: brief(media.plan.different),
          same: media.plan.same.count,
          onlyOnDisk: {
            files: media.plan.onDisk.count,
            bytes: media.plan.onDisk.bytes,
            first: media.plan.onDisk.first,
          },
          refused: media.plan.refused,
          unlisted: media.plan.unlisted,
          neededBytes: media.needed,
          freeBytes: media.free ?? null,
          needsSudo: media.needsSudo ?? null,
        }
      : null,
  }
}

function asText({ name, start, flaws, without, database, media }: Preview): string {
  const lines = [
    ...flaws.map((flaw) => `The archive is ${printable(flaw)}.`),
    `Nothing is changed. A restore of ${name} (${momentAgo(start)}) now would`,
  ]
  if (database)
    lines.push(
      `replace the database ${database.production.database} of ${database.production.name} by a dump of ${bytes(database.dump.sizeBytes)}, begun ${moment(new Date(database.dump.mtimeMs))}`,
      room(database, ' for a copy of the database beside production'),
      ...(database.rows ? ['  production has now', ...describeRows(database.rows)] : ["  production can't be read"]),
      ...(database.advice ? [`  ${database.advice}`] : []),
    )
  if (media)
    lines.push(
      `change ${media.plan.mediaDir}`,
      ...describeMedia(media.plan),
      room(media),
      media.needsSudo
        ? `  ${'rights'.padEnd(13)} takes sudo: ${media.needsSudo} At a terminal it may ask for your password`
        : `  ${'rights'.padEnd(13)} all there`,
    )
  lines.push(...without)
  if (database)
    lines.push(
      'Which rows come back, leave and change is known after an import. To see it, and change nothing:',
      '  of every table, with Ctrl-C at the question',
      `    restore --db-only ${name}`,
      '  of one table, what is gone',
      `    restore --rows TABLE --dry-run ${name}`,
    )
  return lines.join('\n')
}

function describeRows(rows: ReadonlyMap<string, number | string>): string[] {
  const cells = [...rows].map(([name, count]) => [
    `    ${name}`,
    typeof count === 'number' ? count.toLocaleString('en') : '?',
  ])
  return [...table(cells, [1]).split('\n'), ...describeUnread(rows)]
}

function room({ needed, free }: Space, forWhat = ''): string {
  return `  ${'needs'.padEnd(13)} ${bytes(needed)}${forWhat}, ${free === undefined ? 'free is unknown' : `${bytes(free)} are free`}${free !== undefined && free < needed ? ': NOT ENOUGH' : ''}`
}
