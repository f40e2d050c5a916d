// What only looks at the archives: another run may be at work meanwhile.
import { archiveJson, archiveListing, listAll, newestOf } from '../borg/archives.ts'
import { Unavailable } from '../borg/errors.ts'
import type { Archive } from '../borg/output.ts'
import { describeProof } from '../borg/proof.ts'
import { journalPath, readJournal } from '../cli/journal.ts'
import { lockHolder } from '../cli/lock.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { listing, wrap } from '../core/layout.ts'
import type { Restore } from './restore.ts'

/** Another run of ours keeps the repository from being read: that is said at once, and no lock is offered to be broken. */
export async function lookBeside(restore: Restore, run: (restore: Restore) => Promise<number>): Promise<number> {
  const { context, settings } = restore
  const other = await lockHolder(context.shell, settings)
  if (other) context.log.info(`${other.message} Borg may let nobody else in until it ends.`)
  try {
    return await run(restore)
  } catch (error) {
    if (other && error instanceof Unavailable)
      throw new Failure('The repository is locked until that run ends.', other.hint, EXIT.locked)
    throw error
  }
}

/** The archives, newest first. */
export async function list(restore: Restore): Promise<number> {
  const { context, settings, borg, statePath } = restore
  const archives = await listAll(borg, settings.ARCHIVE_PREFIX, statePath)
  if (context.flags.has('json')) context.printJson(archives.map(archiveJson))
  else if (archives.length > 0) {
    context.print(listing(archiveListing(archives, 'name'), context.log.resultColumns))
    await tellProof(restore, archives)
  } else context.log.info('There is no archive yet. Make the first one: backup')
  return EXIT.done
}

/** Of the newest night, which is what a drill proves. */
async function tellProof({ context, settings, statePath }: Restore, archives: readonly Archive[]): Promise<void> {
  const newest = newestOf(archives.filter(({ label }) => label === undefined))
  if (!newest) return
  const { text, isProved } = describeProof(newest, await readJournal(journalPath(statePath)))
  // There is no drill into a database away from Dokku.
  const drill = isProved || settings.DATABASE_URL ? '' : '. To prove it: restore --drill'
  context.print(wrap(`The newest night, ${newest.name}: ${text}${drill}`, context.log.resultColumns))
}
