// `backup --dry-run`: what a run would store and prune now. It changes nothing.

import { archiveName } from '../borg/archives.ts'
import { checkpointArgs } from '../borg/commands.ts'
import type { Archive } from '../borg/output.ts'
import { prunable, retentionOf } from '../borg/retention.ts'
import type { Context } from '../cli/main.ts'
import { EXIT } from '../core/failure.ts'
import { bytes, plural, printable } from '../core/format.ts'
import { wrap } from '../core/layout.ts'
import { databaseBytes } from '../postgres/sql.ts'
import { type Backup, prepareBackup } from './backup.ts'
import { preflight, whyNotPruned } from './steps.ts'
import { lackingNow, lookAt } from './tonight.ts'

export async function preview(context: Context): Promise<number> {
  const backup = prepareBackup(context)
  const { settings, borg, dokku } = backup
  const production = await preflight(backup)
  const { service, sha } = production
  const [tonight, onDisk] = await Promise.all([lookAt(backup, production), databaseBytes(dokku, service)])
  const { media, archives, doubts } = tonight
  const lacks = lackingNow(tonight)
  const start = new Date()
  const next: Archive = { name: archiveName(settings.ARCHIVE_PREFIX, start), start, comment: '' }
  const why = settings.PRUNE ? whyNotPruned(lacks, tonight) : '(PRUNE=no)'
  const prune =
    why === undefined
      ? [
          ...prunable([...archives, next], retentionOf(settings)).map(({ name }) => name),
          ...(await checkpoints(backup)),
        ]
      : []
  if (context.flags.has('json'))
    context.printJson({
      archive: next.name,
      database: service.database,
      databaseBytes: onDisk,
      mediaFiles: media?.files ?? 0,
      mediaBytes: media?.bytes ?? 0,
      unreadable: media?.unreadable ?? [],
      lacks,
      warnings: doubts,
      sha: sha ?? null,
      prune,
    })
  else
    context.print(
      wrap(
        [
          'Nothing is changed. A run now would',
          `  store    ${next.name} in ${borg.repository}`,
          `           database ${service.database} of ${service.name}, ${bytes(onDisk)} on disk`,
          media
            ? `           media ${settings.MEDIA_DIR}, ${plural(media.files, 'file')}, ${bytes(media.bytes)}`
            : '           no media (MEDIA_DIR=none)',
          ...(media?.unreadable ?? []).map((path) => `           which can't be read: ${printable(path)}`),
          ...lacks.map((lack) => `  lacking  ${printable(lack)}`),
          ...doubts.map((doubt) => `  warning  ${printable(doubt)}`),
          `  prune    ${prune.length === 0 ? `nothing of ${plural(archives.length, 'archive')}${why ? ` ${why}` : ''}` : prune.join('\n           ')}`,
        ].join('\n'),
        context.log.resultColumns,
        11,
      ),
    )
  return EXIT.done
}

async function checkpoints({ borg, settings }: Backup): Promise<string[]> {
  return (await borg.call(checkpointArgs(settings.ARCHIVE_PREFIX))).stdout.split('\n').filter(Boolean)
}
