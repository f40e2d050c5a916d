// The nightly backup, and what is asked about it: see the help below.

import { prepareBackup } from '../lib/backup/backup.ts'
import { checkEverything } from '../lib/backup/check.ts'
import { init } from '../lib/backup/init.ts'
import { preview } from '../lib/backup/preview.ts'
import { checkRepository, compareWithLast, preflight, prune, requireComplete } from '../lib/backup/steps.ts'
import { store } from '../lib/backup/store.ts'
import { report } from '../lib/backup/summary.ts'
import type { Command } from '../lib/cli/arguments.ts'
import { takeLock } from '../lib/cli/lock.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { createMonitor, watched } from '../lib/cli/monitor.ts'
import { checkSettings } from '../lib/cli/settings.ts'
import { EXIT } from '../lib/core/failure.ts'

const COMMAND: Command = {
  name: 'backup',
  switches: ['dry-run', 'check', 'init', 'json'],
  exclusive: [
    ['dry-run', 'check', 'init'],
    ['init', 'json'],
  ],
  help: `
Usage: backup [--dry-run | --check | --init] [--json] [--env-file PATH]

Stores the PostgreSQL dump and the media folder in one Borg archive, prunes old
archives, and tells the monitor. Without a flag: the nightly run, for cron.

  --dry-run        Say what would be stored and pruned; change nothing.
  --check          Check this machine, the settings, the repository, the crontab.
  --init           Create the Borg repository, and say how to keep its key safe.
  --json           Print the result as one JSON object (bytes, seconds).
  --env-file PATH  Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Exit status: 0 done, 1 failed, 2 usage or configuration error (nothing was
touched), 75 another run holds the lock, 130/143 interrupted, cleaned up.

Examples:
  backup --check    before the first night, and whenever in doubt
  backup            what cron runs:
                    0 3 * * * /home/deploy/backup >> /var/log/book-corners-backup.log 2>&1
`,
}

/** What each flag does, in place of the nightly run. */
const MODES: Readonly<Record<string, (context: Context) => Promise<number>>> = {
  check: checkEverything,
  init,
  'dry-run': preview,
}

await main(COMMAND, (context) => {
  const [, run = nightly] = Object.entries(MODES).find(([flag]) => context.flags.has(flag)) ?? []
  return run(context)
})

async function nightly(context: Context): Promise<number> {
  // The monitor is told of a broken configuration, too, if its own address can be read.
  const { settings } = checkSettings(['HEALTHCHECK_URL'], context.environment, context.envFile)
  const startedMs = Date.now()
  await watched(createMonitor(settings.HEALTHCHECK_URL, context.log), context.shell.signal, async (begin) => {
    const backup = prepareBackup(context)
    const unlock = await takeLock(context.shell, 'backup.ts', backup.settings)
    begin()
    try {
      const production = await preflight(backup)
      const archive = await store(backup, production)
      await compareWithLast(backup, archive)
      const pruned = await prune(backup, archive)
      const checked = await checkRepository(backup, archive)
      const tookMs = Date.now() - startedMs
      const summary = report(context, { archive, pruned, checked, sha: production.sha, tookMs })
      requireComplete(archive)
      return summary
    } finally {
      await unlock()
    }
  })
  return EXIT.done
}
