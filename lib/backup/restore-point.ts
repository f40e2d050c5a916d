// `backup --restore-point LABEL`: an archive like a night's, taken before something that may need a way back.

import { isLabel } from '../borg/comment.ts'
import { SO } from '../cli/closing.ts'
import { journaled, type Note } from '../cli/journal.ts'
import { RESTORE_POINT_RUN } from '../cli/lock.ts'
import type { Context } from '../cli/main.ts'
import { readState, remember, type WriteCounts } from '../cli/state.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { firstOf } from '../core/format.ts'
import { readWrites } from '../postgres/writes.ts'
import { type Backup, prepareBackup } from './backup.ts'
import { judge, preflight, pruneRestorePoints } from './steps.ts'
import { noteArchive, store } from './store.ts'
import { report } from './summary.ts'
import { lookAt, type Tonight } from './tonight.ts'
import { waitForLock } from './wait-for-lock.ts'

/** No monitor is told: it would take this for the night. */
export async function takeRestorePoint(context: Context, label: string): Promise<number> {
  if (!isLabel(label))
    throw new Failure(
      'The label of a restore point is of letters, digits, dot, - and _, 100 at most; not . or .. alone.',
      'See: backup --help',
      EXIT.usage,
    )
  requireSetUp(context)
  const backup = prepareBackup(context)
  requireApp(backup)
  const unlock = await waitForLock(backup, RESTORE_POINT_RUN, () => true)
  return journaled(context, backup.journalPath, 'restore point', (note) => take(backup, label, note)).finally(unlock)
}

async function take(backup: Backup, label: string, note: Note): Promise<number> {
  const { context } = backup
  const { closing } = context
  const tonight = await lookAt(backup, await preflight(backup))
  for (const doubt of tonight.doubts) context.log.warn(doubt)
  const writes = await readWrites(backup.dokku, tonight.service).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error
    return undefined
  })
  closing.so('archive', SO.notStored)
  const stored = await store(backup, tonight, { label })
  noteArchive(note, stored)
  closing.so('archive', SO.stored(stored.name))
  const archive = await judge(backup, tonight, stored, false)
  if (writes) await noteWrites(backup, tonight, archive.name, writes)
  // What is lacking was lacking before: a way back to how things are is all that this must be.
  if (archive.lacks.length > 0)
    context.log.warn(`${archive.name} lacks what earlier archives hold: ${firstOf(archive.lacks)}`)
  const pruned = await pruneRestorePoints(backup, tonight, archive)
  report(context, {
    app: backup.settings.DOKKU_APP,
    archive,
    pruned,
    checked: false,
    tries: backup.tries.count,
    sha: tonight.sha,
    tookMs: performance.now() - tonight.beganMs,
  })
  return EXIT.done
}

/** So that what was written since can be told, later. Of those that are pruned nothing is kept. */
async function noteWrites(
  { statePath, context }: Backup,
  { restorePoints }: Tonight,
  name: string,
  counts: WriteCounts,
): Promise<void> {
  const { writes = {} } = await readState(statePath)
  const known = restorePoints.flatMap(({ name }) => (writes[name] ? [[name, writes[name]] as const] : []))
  await remember(statePath, { writes: { ...Object.fromEntries(known), [name]: counts } }, context.log)
}

/** For a deploy, a server without any backup is another thing than a backup that fails: with --json it is told so. */
function requireSetUp({ envFile, environment, flags, printJson }: Context): void {
  if (envFile.exists || envFile.problems.length > 0 || environment.BORG_REPO) return
  if (flags.has('json')) printJson({ archive: null, setUp: false })
  throw new Failure(
    `No backup is set up on this machine: there is no ${envFile.path}.`,
    'Set it up: docs/setup.md',
    EXIT.usage,
  )
}

/** A deploy says whose way back it wants: an archive of another app is none. With --json it is told whose backup this is. */
function requireApp({ settings: { DOKKU_APP: app }, context }: Backup): void {
  const { environment, envFile, flags, printJson } = context
  const { OPS_APP: wanted } = environment
  if (!wanted || wanted === app) return
  if (flags.has('json')) printJson({ app, archive: null })
  throw new Failure(
    `A restore point of ${wanted} is asked for, and by ${envFile.path} this is the backup of ${app}.`,
    `Give ${wanted} an env file of its own: docs/settings.md`,
    EXIT.usage,
  )
}
