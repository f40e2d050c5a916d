// restore: brings the database, the media folder or both back from an archive, or proves that it could.

import type { Command } from '../lib/cli/arguments.ts'
import { SO } from '../lib/cli/closing.ts'
import { takeLock } from '../lib/cli/lock.ts'
import { type Context, main } from '../lib/cli/main.ts'
import { requireAgreement } from '../lib/restore/agreement.ts'
import { bringBack } from '../lib/restore/bring-back.ts'
import { drill } from '../lib/restore/drill.ts'
import { writeKit } from '../lib/restore/kit/kit.ts'
import { list, lookBeside } from '../lib/restore/look.ts'
import { beforehand } from '../lib/restore/messages.ts'
import { preview } from '../lib/restore/preview.ts'
import { proveOnly } from '../lib/restore/prove.ts'
import { undo } from '../lib/restore/replace-database.ts'
import { noted, prepareRestore, type Restore } from '../lib/restore/restore.ts'
import { rescueRows } from '../lib/restore/rows/rescue.ts'
import { readWish } from '../lib/restore/rows/wanted.ts'

const COMMAND: Command = {
  name: 'restore',
  switches: ['list', 'dry-run', 'db-only', 'media-only', 'overwrite', 'test', 'drill', 'undo', 'yes', 'json'],
  options: ['kit', 'rows', 'where'],
  exclusive: [
    ['list', 'dry-run', 'test', 'drill', 'kit'],
    ['list', 'test', 'drill', 'undo', 'kit'],
    ...['list', 'test', 'drill', 'undo', 'kit', 'db-only', 'media-only', 'overwrite'].map((other) => ['rows', other]),
    ['db-only', 'media-only'],
    ...['list', 'test', 'drill', 'undo', 'kit', 'db-only'].map((other) => ['overwrite', other]),
    ['media-only', 'test', 'undo'],
    ['db-only', 'media-only', 'drill', 'kit'],
  ],
  goesWith: { where: ['rows'], json: ['list', 'dry-run', 'drill', 'kit', 'rows'] },
  argument: 'ARCHIVE',
  withoutArgument: ['list', 'drill'],
  help: `
Usage: restore [ARCHIVE] [--db-only | --media-only] [--dry-run] [--yes]
       restore [ARCHIVE] --rows TABLE[,TABLE…] [--where SQL] [--dry-run] [--yes]
       restore --list | --test | --drill | --undo
       restore --kit DIR [ARCHIVE]

ARCHIVE is a name that --list shows, an unambiguous beginning of one, a date
(2026-02-28, 2026-02-28T03), or latest. Without it you pick one from the list.

Brings back the database and the media folder from a Borg archive. The dump is imported
next to production while the app goes on; production is changed only after you type the
app's name, by renaming databases in one transaction, and the old database is kept.

  --list           The archives, newest first.
  --dry-run        What a restore would do now; changes nothing.
  --db-only        Only the database.      --media-only  Only the media folder.
  --overwrite      Also the photos that differ from the archive's; the present ones are
                   put aside as NAME.before-TIME. Else only what is missing comes back.
  --rows TABLES    Only what was lost: the rows of these tables that the archive has and
                   production lacks, and what a deletion took with them. Rows that
                   exist are not changed. With --dry-run it imports and compares, too.
  --where SQL      With one table: only rows that meet this condition on its columns.
  --test           Into a test service of its own, and leave it there to look around.
  --drill          Unattended --test for cron: imports the newest archive, compares a
                   sample of media, removes the test service, tells the monitor.
  --kit DIR        For an empty server: a new folder with the app's configuration, and
                   every command in order. Needs Borg and the repository alone.
  --undo           Swap a kept database back (undoable, too). ARCHIVE may name it;
                   --dry-run shows what it holds beside production.
  --yes            Agree beforehand to every question. Where production would change,
                   ARCHIVE must be named: the newest may be the one after the damage.
                   --undo needs no name where only one database is kept.
  --json           With --list, --dry-run, --drill, --kit, --rows: one JSON value.
  --env-file PATH  Settings; else $OPS_ENV_FILE, else /home/deploy/.env.backup.
  --version, --help

Exit status: 0 done, 1 failed, 2 usage or configuration error (nothing was touched),
75 another run holds the lock, 129/130/143 interrupted, cleaned up.

Examples:
  restore --list
  restore --dry-run 2026-02-28
  restore --media-only       bring back lost photos; those that are there stay
  restore                    pick an archive, see its rows, then decide
  restore --rows libraries_library --where "city = 'Lyon'"
                             bring back what somebody deleted, and lose nothing since
`,
}

interface Mode {
  run(restore: Restore): Promise<number>
  /** It only looks: another run may be at work. */
  looks?: true
  /** It asks before it changes production. */
  asks?: boolean
}

/** By flag. */
const MODES: Record<string, Mode> = {
  // Before --dry-run, which it takes.
  undo: { run: undo, asks: true },
  list: { run: list, looks: true },
  'dry-run': { run: preview, looks: true },
  test: { run: proveOnly },
  drill: { run: drill },
}
const RESTORE: Mode = { run: bringBack, asks: true }

await main(COMMAND, async (context) => {
  const { kit } = context.values
  if (kit !== undefined) return writeKit(context, kit)
  const [flag, mode] = modeOf(context)
  const restore = prepareRestore(context)
  const changes = mode.asks && !context.flags.has('dry-run')
  if (changes) {
    requireAgreement(context, flag, process.argv.slice(2))
    if (!context.flags.has('yes')) context.log.info(beforehand(restore))
  }
  if (mode.looks) return lookBeside(restore, mode.run)
  context.closing.so('production', SO.untouched)
  const unlock = await takeLock(context, 'restore.ts', restore.settings)
  try {
    return await (changes ? noted(restore, mode.run) : mode.run(restore))
  } finally {
    await unlock()
  }
})

function modeOf({ flags, values }: Context): [flag: string, mode: Mode] {
  if (values.rows === undefined) return Object.entries(MODES).find(([name]) => flags.has(name)) ?? ['', RESTORE]
  const wish = readWish(values)
  return ['rows', { run: (restore) => rescueRows(restore, wish), asks: !flags.has('dry-run') }]
}
