// The nightly backup, and what is asked about it: see the help below.

import { agree } from '../lib/backup/accept.ts'
import { runForAll } from '../lib/backup/all-apps.ts'
import { type Backup, prepareBackup } from '../lib/backup/backup.ts'
import { checkEverything } from '../lib/backup/check.ts'
import { showHistory } from '../lib/backup/history.ts'
import { init } from '../lib/backup/init.ts'
import { preview } from '../lib/backup/preview.ts'
import { takeRestorePoint } from '../lib/backup/restore-point.ts'
import { checkRepository, judge, preflight, prune, requireComplete } from '../lib/backup/steps.ts'
import { noteArchive, store } from '../lib/backup/store.ts'
import { report, repositoryBytes } from '../lib/backup/summary.ts'
import { lookAt, type Tonight } from '../lib/backup/tonight.ts'
import { isRestorePoint, waitForLock } from '../lib/backup/wait-for-lock.ts'
import type { Command } from '../lib/cli/arguments.ts'
import { SO } from '../lib/cli/closing.ts'
import { journaled, type Note } from '../lib/cli/journal.ts'
import { takeLock } from '../lib/cli/lock.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { createMonitor, watched } from '../lib/cli/monitor.ts'
import { checkSettings } from '../lib/cli/settings.ts'
import { EXIT } from '../lib/core/failure.ts'

const COMMAND: Command = {
  name: 'backup',
  switches: ['dry-run', 'check', 'init', 'accept', 'history', 'yes', 'json'],
  options: ['restore-point', 'env-dir'],
  exclusive: [
    ['dry-run', 'check', 'init', 'history', 'restore-point'],
    // A preview says what would be accepted.
    ['accept', 'check', 'init', 'history', 'restore-point'],
    ['init', 'json'],
    ['env-dir', 'env-file', 'init', 'accept', 'restore-point'],
  ],
  goesWith: { yes: ['accept'] },
  help: `
Usage: backup [--dry-run | --check | --init | --history | --accept [--yes]
              | --restore-point LABEL] [--json] [--env-file PATH | --env-dir DIR]

Stores the PostgreSQL dump and the media folder in one Borg archive, prunes old
archives, and tells the monitor. Without a flag: the nightly run, for cron.

  --dry-run        Say what would be stored and pruned; change nothing.
  --check          Check this machine, the settings, the repository, the crontab.
  --init           Create the Borg repository, and say how to keep its key safe.
  --history        The last 30 runs of this machine, how the archives grow, and when
                   the repository will be full.
  --accept         What the archives held and is lacking now (photos, tables, half of
                   the dump) is right: asks, then runs, and the nights end well again.
  --yes            Agree beforehand; with --accept.
  --restore-point LABEL
                   Store an archive before something risky, PREFIX-before-LABEL-TIME. It
                   is no night: no monitor is told, and only restore points are pruned.
                   Another run is waited for, up to fifteen minutes.
  --json           Print the result as one JSON object (bytes, seconds).
  --env-dir DIR    For each APP.env in DIR, one after the other; also with --check,
                   --dry-run and --history. The exit status is the worst one.
  --env-file PATH  Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Exit status: 0 done, 1 failed, 2 usage or configuration error (nothing was
touched), 75 another run holds the lock, 129/130/143 interrupted, cleaned up.

Examples:
  backup --check    before the first night, and whenever in doubt
  backup --accept   after a night that says that something is lacking, if that is right
  backup            what cron runs:
                    0 3 * * * /home/deploy/backup >> /var/log/book-corners-backup.log 2>&1
`,
}

/** What each flag does, in place of the nightly run. */
const MODES: Readonly<Record<string, (context: Context) => Promise<number>>> = {
  check: checkEverything,
  init,
  'dry-run': preview,
  accept,
  history: showHistory,
}

await main(COMMAND, (context) => {
  const folder = context.values['env-dir']
  if (folder !== undefined) return runForAll(context, folder)
  const label = context.values['restore-point']
  if (label !== undefined) return takeRestorePoint(context, label)
  const [, run = nightly] = Object.entries(MODES).find(([flag]) => context.flags.has(flag)) ?? []
  return run(context)
})

async function nightly(context: Context): Promise<number> {
  await tellMonitor(context, (begin) => {
    const backup = prepareBackup(context)
    return journaled(context, backup.journalPath, 'night', async (note) => {
      const unlock = await waitForLock(backup, 'backup.ts', isRestorePoint)
      begin()
      try {
        const production = await preflight(backup)
        return await night(backup, await backup.tries.run(() => lookAt(backup, production)), note)
      } finally {
        note({ tries: backup.tries.count })
        await unlock()
      }
    })
  })
  return EXIT.done
}

async function accept(context: Context): Promise<number> {
  const backup = prepareBackup(context)
  context.closing.so('archive', SO.notAccepted)
  const unlock = await takeLock(context, 'backup.ts', backup.settings)
  try {
    const tonight = await lookAt(backup, await preflight(backup))
    if (await agree(backup, tonight))
      await tellMonitor(context, (begin) => {
        begin()
        return journaled(context, backup.journalPath, 'accept', (note) => night(backup, tonight, note, true))
      })
  } finally {
    await unlock()
  }
  return EXIT.done
}

/** @returns the line for the monitor */
async function night(backup: Backup, tonight: Tonight, note: Note, accepts = false): Promise<string> {
  const { context, tries } = backup
  const { closing } = context
  for (const doubt of tonight.doubts) context.log.warn(doubt)
  closing.so('archive', accepts ? SO.notAccepted : SO.notStored)
  const stored = await tries.run(() => store(backup, tonight, { accepts }))
  noteArchive(note, stored)
  closing.so('archive', SO.stored(stored.name))
  const archive = await judge(backup, tonight, stored, accepts)
  if (backup.settings.PRUNE) closing.so('archive', SO.pruning(stored.name))
  const pruned = await prune(backup, tonight, archive)
  closing.so('archive', pruned?.names.length ? SO.pruned(stored.name) : SO.stored(stored.name))
  if (pruned) note({ pruned: pruned.names.length, repositoryBytes: repositoryBytes(archive, pruned) })
  const checked = await checkRepository(backup, archive)
  note({ checked })
  const summary = report(context, {
    app: backup.settings.DOKKU_APP,
    archive,
    pruned,
    checked,
    tries: tries.count,
    sha: tonight.sha,
    tookMs: performance.now() - tonight.beganMs - context.ask.waitedMs,
  })
  requireComplete(archive)
  return summary
}

/** The monitor is told of a broken configuration, too, if its own address can be read. */
function tellMonitor(context: Context, run: (begin: () => void) => Promise<string>): Promise<void> {
  const { settings } = checkSettings(['HEALTHCHECK_URL'], context.environment, context.envFile)
  return watched(createMonitor(settings.HEALTHCHECK_URL, context.log), context.shell.signal, run)
}
