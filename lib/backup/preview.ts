// `backup --dry-run`: what a run would store and prune now. It changes nothing.

import { listArchives } from '../borg/archives.ts'
import type { Archive } from '../borg/output.ts'
import { prunable, retentionOf } from '../borg/retention.ts'
import type { Context } from '../cli/main.ts'
import { EXIT } from '../core/failure.ts'
import { bytes, localTimestamp, plural, printable } from '../core/format.ts'
import { measureMedia } from '../media/folder.ts'
import { databaseBytes } from '../postgres/sql.ts'
import { prepareBackup } from './backup.ts'
import { preflight } from './steps.ts'

export async function preview(context: Context): Promise<number> {
  const backup = prepareBackup(context)
  const { settings, borg, dokku } = backup
  const { service, sha } = await preflight(backup)
  const [media, archives, onDisk] = await Promise.all([
    measureMedia(settings.MEDIA_DIR),
    listArchives(borg, settings.ARCHIVE_PREFIX),
    databaseBytes(dokku, service),
  ])
  const start = new Date()
  const tonight: Archive = { name: `${settings.ARCHIVE_PREFIX}-${localTimestamp(start)}`, start, comment: '' }
  // After an incomplete archive nothing is pruned.
  const prunes = settings.PRUNE && media.unreadable.length === 0
  const prune = prunes ? prunable([...archives, tonight], retentionOf(settings)).map(({ name }) => name) : []
  if (context.flags.has('json'))
    context.printJson({
      archive: tonight.name,
      database: service.database,
      databaseBytes: onDisk,
      mediaFiles: media.files,
      mediaBytes: media.bytes,
      unreadable: media.unreadable,
      sha: sha ?? null,
      prune,
    })
  else
    context.print(
      [
        'Nothing is changed. A run now would',
        `  store    ${tonight.name} in ${borg.repository}`,
        `           database ${service.database} of ${service.name}, ${bytes(onDisk)} on disk`,
        `           media ${settings.MEDIA_DIR}, ${plural(media.files, 'file')}, ${bytes(media.bytes)}`,
        ...media.unreadable.map((path) => `           which can't be read: ${printable(path)}`),
        `  prune    ${prune.length === 0 ? `nothing of ${plural(archives.length, 'archive')}${settings.PRUNE ? '' : ' (PRUNE=no)'}` : prune.join('\n           ')}`,
      ].join('\n'),
    )
  return EXIT.done
}
