// `restore --rows`: brings back exactly the rows that an archive has and production lacks.

import { SO } from '../../cli/closing.ts'
import { EXIT } from '../../core/failure.ts'
import { duration, plural } from '../../core/format.ts'
import { wrap } from '../../core/layout.ts'
import { quote, quoteAll } from '../../core/quote.ts'
import { psqlLine } from '../../dokku/by-hand.ts'
import type { Service } from '../../dokku/dokku.ts'
import { neededBytes, requireRoom } from '../../postgres/ground.ts'
import { openRestoring } from '../../postgres/scratch.ts'
import { importDump } from '../archived-dump.ts'
import { BEFORE_THE_DAMAGE, choose } from '../choose.ts'
import { discardRestoring } from '../leftovers.ts'
import { begin } from '../prove.ts'
import type { ChosenArchive, Restore } from '../restore.ts'
import { type Compared, type Comparison, compareWith, prepareComparison, sendEarly } from './comparison.ts'
import { comingBack, describeRescue, type Rescue, requireAll, requireSupport, rescueJson } from './tell.ts'
import { bringBack } from './transaction.ts'
import type { Wish } from './wanted.ts'

/** Imports the archive beside production, compares, shows, asks, and inserts. The database beside production is removed in any case. */
export async function rescueRows(restore: Restore, wish: Wish): Promise<number> {
  const { context, dokku } = restore
  const archive = await choose(restore, [BEFORE_THE_DAMAGE])
  restore.note({ archive: archive.name })
  const { production, dump } = await begin({ ...restore, media: null }, archive, {})
  try {
    const comparison = await prepareComparison(restore, production, wish)
    requireRoom(production.ground, neededBytes(dump.sizeBytes, dump.isCompressed), context.log)
    context.log.info('The app goes on while the dump is imported next to production, perhaps a little slower')
    await importDump(restore, dump, {
      open: (stallMs) => {
        context.closing.so('beside', SO.besideBegun(comparison.restoring.database))
        return openRestoring(dokku, production, production.ground, { stallMs, log: context.log })
      },
      meanwhile: () => sendEarly(restore, comparison),
    })
    return await rescueFrom(restore, comparison, archive)
  } finally {
    await Promise.all([dump.source.stop(), discardRestoring(restore, production)])
  }
}

/** What follows the import. */
export async function rescueFrom(restore: Restore, comparison: Comparison, archive: ChosenArchive): Promise<number> {
  const { flags, print, printJson, log } = restore.context
  const isDry = flags.has('dry-run')
  return compareWith(restore, comparison, { archive, isAgreed: flags.has('yes') && !isDry }, async (compared) => {
    const { rescue } = compared
    if (!isDry) return agreeAndInsert(restore, comparison.production, compared)
    if (flags.has('json')) printJson(rescueJson(rescue))
    else {
      const again = total(rescue) > 0 ? `\nTo bring them back:\n  ${commandFor(restore, archive)}` : ''
      print(wrap(`Nothing is changed. ${describeRescue(rescue, log.resultColumns)}${again}`, log.resultColumns))
    }
    return EXIT.done
  })
}

/** The same that was typed, with the archive that was chosen, and without --dry-run. */
function commandFor({ context: { values } }: Restore, { name }: ChosenArchive): string {
  const narrow = values.where === undefined ? [] : ['--where', values.where]
  return quoteAll(['restore', name, '--rows', values.rows ?? '', ...narrow])
}

function total(rescue: Rescue): number {
  return rescue.members.reduce((sum, member) => sum + comingBack(rescue, member), 0)
}

/** What the log puts before a further line. */
const INDENT = 2

async function agreeAndInsert(
  restore: Restore,
  production: Service,
  { rescue, insertion, begun }: Compared,
): Promise<number> {
  const { context, settings } = restore
  const { flags, log, print, printJson, ask } = context
  log.info(describeRescue(rescue, log.columns && log.columns - INDENT))
  if (total(rescue) === 0) {
    restore.note({ rows: 0 })
    if (flags.has('json')) printJson(rescueJson(rescue, { inserted: [], file: undefined }))
    else print('Nothing comes back.')
    requireAll(rescue)
    return EXIT.done
  }
  await ask.confirm(
    `This inserts ${plural(total(rescue), 'row')} into ${production.database} of ${production.name}, in one transaction; no row that exists is changed.`,
    settings.DOKKU_APP,
  )
  const { archive, members } = rescue
  const done = await bringBack(restore, production, insertion, {
    archive: archive.name,
    requireSupport: (judged) => requireSupport(members, judged),
    begun,
  })
  restore.note({ rows: done.inserted.reduce((sum, { inserted }) => sum + inserted, 0) })
  const result = { ...rescue, away: done.away }
  if (flags.has('json')) printJson(rescueJson(result, done))
  else
    print(
      wrap(
        [
          `Brought back from ${archive.name}:`,
          ...done.inserted.map(
            ({ number, inserted }) =>
              `  ${plural(inserted, 'row')} of ${members.find((member) => member.number === number)?.name}`,
          ),
          ...(done.file === undefined
            ? []
            : [
                `Done in ${duration(restore.context.workedMs())}. Look at the site now.`,
                `To take them out again: ${psqlLine(production)} < ${quote(done.file)}`,
                ...(settings.MEDIA_DIR === null
                  ? []
                  : [`The photos of those rows: restore --media-only ${archive.name}`]),
              ]),
        ].join('\n'),
        log.resultColumns,
      ),
    )
  requireAll(result)
  return EXIT.done
}
