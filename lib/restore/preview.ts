import { EXIT } from '../core/failure.ts'
import { bytes, isoLocal, table } from '../core/format.ts'
import { wanted } from '../media/compare.ts'
import { mediaSpace, whyRoot } from '../media/place.ts'
import { databaseSpace } from '../postgres/space.ts'
import { countRows } from '../postgres/sql.ts'
import { describeMedia, releaseAdvice } from './messages.ts'
import { chooseAndSurvey, type Restore } from './restore.ts'

/** `restore --dry-run`: what a restore would do now; changes nothing. */
export async function preview(restore: Restore): Promise<number> {
  const { context, settings, dokku } = restore
  const [{ archive, dump, media }, production] = await Promise.all([
    chooseAndSurvey(restore, true),
    restore.database ? dokku.service(settings.DB_SERVICE) : undefined,
  ])
  const [tables, space, advice, needsRoot] = await Promise.all([
    production ? countRows(dokku, production.name) : undefined,
    production && dump ? databaseSpace(restore, production, dump) : undefined,
    production ? releaseAdvice(restore, archive) : undefined,
    media && wanted(media).length > 0
      ? whyRoot(settings.MEDIA_DIR, settings.MEDIA_OWNER, wanted(media), restore.user)
      : undefined,
  ])
  const mediaRoom = media && (await mediaSpace(settings.MEDIA_DIR, wanted(media), needsRoot !== undefined))
  if (context.flags.has('json')) {
    const brief = (files: readonly { path: string; sizeBytes: number }[]) => ({
      files: files.length,
      bytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      first: files.slice(0, 3).map(({ path }) => path),
    })
    context.print(
      JSON.stringify({
        archive: archive.name,
        start: isoLocal(archive.start),
        database:
          production && dump
            ? {
                service: production.name,
                name: production.database,
                dumpBytes: dump.sizeBytes,
                dumpedAt: new Date(dump.mtimeMs).toISOString(),
                tables: Object.fromEntries(tables ?? []),
                neededBytes: space?.needed ?? null,
                freeBytes: space?.free ?? null,
              }
            : null,
        media: media
          ? {
              missing: brief(media.missing),
              different: brief(media.different),
              same: media.same.length,
              onlyOnDisk: { files: media.onDisk.count, bytes: media.onDisk.bytes, first: media.onDisk.first },
              refused: media.refused,
              neededBytes: mediaRoom?.needed ?? null,
              freeBytes: mediaRoom?.free ?? null,
              needsRoot: needsRoot ?? null,
            }
          : null,
      }),
    )
    return EXIT.done
  }
  const lines = [`Nothing is changed. A restore of ${archive.name} (${isoLocal(archive.start)}) now would`]
  if (production && dump && space) {
    lines.push(
      `replace the database ${production.database} of ${production.name} by a dump of ${bytes(dump.sizeBytes)} of ${isoLocal(new Date(dump.mtimeMs))}`,
      room(space, ' for two copies'),
      '  production has now',
      ...table(
        [...(tables ?? [])].map(([name, count]) => [`    ${name}`, count.toLocaleString('en')]),
        [1],
      ).split('\n'),
      ...(advice ? [`  ${advice}`] : []),
    )
  }
  if (media && mediaRoom)
    lines.push(
      `change ${settings.MEDIA_DIR}`,
      ...describeMedia(media),
      room(mediaRoom),
      needsRoot
        ? `  rights: takes root: ${needsRoot} At a terminal sudo asks for your password`
        : '  rights: all there',
    )
  context.print(lines.join('\n'))
  return EXIT.done
}

function room({ needed, free }: { needed: number; free: number | undefined }, forWhat = ''): string {
  return `  needs ${bytes(needed)}${forWhat}, ${free === undefined ? 'free is unknown' : `${bytes(free)} are free`}${free !== undefined && free < needed ? ': NOT ENOUGH' : ''}`
}
