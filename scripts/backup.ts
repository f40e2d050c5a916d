import * as check from '../lib/backup/check.ts'
import {
  BACKUP_SETTINGS,
  checkRepository,
  compareWithLast,
  create,
  incomplete,
  type Pruned,
  preflight,
  prepareBackup,
  prune,
} from '../lib/backup/steps.ts'
import type { StoredArchive } from '../lib/backup/store.ts'
import { openBorg } from '../lib/borg/borg.ts'
import { initArgs, listArgs } from '../lib/borg/commands.ts'
import { parseList } from '../lib/borg/output.ts'
import { prunable } from '../lib/borg/retention.ts'
import { takeLock } from '../lib/cli/lock.ts'
import { type Command, type Context, main } from '../lib/cli/main.ts'
import { createMonitor } from '../lib/cli/monitor.ts'
import { checkSettings } from '../lib/cli/settings.ts'
import { EXIT, Failure, reason } from '../lib/core/failure.ts'
import { bytes, duration, isoLocal, localTimestamp, plural } from '../lib/core/format.ts'
import { VERSION } from '../lib/core/version.ts'
import { createDokku } from '../lib/dokku/dokku.ts'
import { measureMedia } from '../lib/media/folder.ts'
import { databaseBytes } from '../lib/postgres/sql.ts'

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

await main(COMMAND, async (context) => {
  if (context.flags.has('check')) return checkEverything(context)
  if (context.flags.has('init')) return init(context)
  if (context.flags.has('dry-run')) return dryRun(context)
  return nightly(context)
})

async function nightly(context: Context): Promise<number> {
  // The monitor is told of a broken configuration, too, if its own address can be read.
  const { settings } = checkSettings(['HEALTHCHECK_URL'], context.environment, context.envFile)
  const monitor = createMonitor(settings.HEALTHCHECK_URL, `book-corners-ops/${VERSION}`, context.log)
  const startedMs = Date.now()
  let started = Promise.resolve()
  try {
    const backup = prepareBackup(context)
    const unlock = await takeLock('backup.ts', backup.settings.DB_SERVICE, backup.settings.MEDIA_DIR)
    started = monitor.start()
    try {
      const ready = await preflight(backup)
      const archive = await create(backup, ready)
      const state = await compareWithLast(backup, archive)
      const pruned = await prune(backup, archive)
      const checked = await checkRepository(backup, archive, state)
      const summary = report(context, { archive, pruned, checked, sha: ready.sha, startedMs })
      if (archive.unreadable.length > 0) throw incomplete(archive)
      await started
      await monitor.success(summary)
      return EXIT.done
    } finally {
      unlock()
    }
  } catch (error) {
    await started
    const cause = context.shell.signal.aborted ? context.shell.signal.reason : error
    // Whoever holds the lock tells the monitor how that run ends.
    if (!(cause instanceof Failure && cause.exitCode === EXIT.locked)) await monitor.fail(reason(cause))
    throw error
  }
}

interface Night {
  archive: StoredArchive & { dumpMode: string }
  pruned: Pruned
  checked: boolean
  sha: string | undefined
  startedMs: number
}

/** Prints the summary and returns it for the monitor. */
function report({ flags, log, print }: Context, { archive, pruned, checked, sha, startedMs }: Night): string {
  const tookMs = Date.now() - startedMs
  const repositoryBytes = archive.repositoryBytes - pruned.deletedBytes
  const summary = [
    `${archive.name}: ${bytes(archive.originalBytes)} original`,
    `${bytes(archive.newBytes)} new data`,
    `took ${duration(tookMs)}`,
    `pruned ${pruned.names.length}`,
    `repository ${bytes(repositoryBytes)}`,
    ...(checked ? ['repository checked'] : []),
    ...log.warnings.map((warning) => `WARNING: ${warning}`),
  ].join(', ')
  const json = {
    archive: archive.name,
    originalBytes: archive.originalBytes,
    newBytes: archive.newBytes,
    dumpBytes: archive.dumpBytes,
    mediaBytes: archive.mediaBytes,
    repositoryBytes,
    durationSeconds: tookMs / 1000,
    pruned: pruned.names,
    checked,
    dumpMode: archive.dumpMode,
    sha: sha ?? null,
    unreadable: archive.unreadable,
    warnings: log.warnings,
  }
  if (flags.has('json')) print(JSON.stringify(json))
  else print(log.isTerminal ? summary : `${isoLocal(new Date())} ${summary}`)
  return summary
}

async function dryRun(context: Context): Promise<number> {
  const backup = prepareBackup(context)
  const { settings, borg, dokku } = backup
  const { service, sha } = await preflight(backup)
  const [media, archives, onDisk] = await Promise.all([
    measureMedia(settings.MEDIA_DIR),
    borg.call(listArgs(settings.ARCHIVE_PREFIX)).then(({ stdout }) => parseList(stdout)),
    databaseBytes(dokku, service),
  ])
  const start = new Date()
  const tonight = { name: `${settings.ARCHIVE_PREFIX}-${localTimestamp(start)}`, start, comment: '' }
  // As after an incomplete archive.
  const hasHoles = media.unreadable.length > 0
  const prune = hasHoles ? [] : prunable([...archives, tonight], backup.keep).map(({ name }) => name)
  if (context.flags.has('json')) {
    context.print(
      JSON.stringify({
        archive: tonight.name,
        database: service.database,
        databaseBytes: onDisk,
        mediaFiles: media.files,
        mediaBytes: media.bytes,
        unreadable: media.unreadable,
        sha: sha ?? null,
        prune,
      }),
    )
    return EXIT.done
  }
  context.print(
    [
      'Nothing is changed. A run now would',
      `  store    ${tonight.name} in ${borg.repository}`,
      `           database ${service.database} of ${service.name}, ${bytes(onDisk)} on disk`,
      `           media ${settings.MEDIA_DIR}, ${plural(media.files, 'file')}, ${bytes(media.bytes)}`,
      ...media.unreadable.map((path) => `           which can't be read: ${path}`),
      `  prune    ${prune.length === 0 ? `nothing of ${plural(archives.length, 'archive')}` : prune.join('\n           ')}`,
    ].join('\n'),
  )
  return EXIT.done
}

async function init(context: Context): Promise<number> {
  const { borg } = prepareBackup(context)
  await borg.version()
  await borg.call(initArgs())
  context.print(`Created ${borg.repository} (repokey-blake2).

Without its key AND its passphrase no archive can ever be read again. The key is in the
repository: keep a copy elsewhere, and the passphrase with it, on paper or in a password
manager, not on this machine:

  (set -a; . ${context.envFile.path}; borg key export --paper)

Next: backup --check`)
  return EXIT.done
}

async function checkEverything(context: Context): Promise<number> {
  const { environment, envFile, shell } = context
  const { settings, problems } = checkSettings(BACKUP_SETTINGS, environment, { ...envFile, problems: [] })
  const { BORG_REPO, ARCHIVE_PREFIX, DOKKU_COMMAND, DB_SERVICE, MEDIA_DIR } = settings
  const borg = openBorg(context, BORG_REPO ?? '')
  const version = await check.borgCheck(borg)
  // What depends on a setting that is wrong is not asked: the settings line says what to mend first.
  const checks = (
    await Promise.all([
      check.nodeCheck(process.versions.node),
      version,
      check.envFileCheck(envFile),
      check.settingsCheck(problems),
      BORG_REPO && version.verdict === 'pass' ? check.repositoryChecks(borg, ARCHIVE_PREFIX ?? '') : [],
      DOKKU_COMMAND && DB_SERVICE ? check.dokkuCheck(createDokku(context, DOKKU_COMMAND), DB_SERVICE) : [],
      MEDIA_DIR ? check.mediaCheck(MEDIA_DIR) : [],
      check.crontabCheck(shell),
    ])
  ).flat()
  const width = Math.max(...checks.map(({ name }) => name.length))
  if (context.flags.has('json')) context.print(JSON.stringify({ checks }))
  else
    for (const { name, verdict, detail, fix } of checks)
      context.print(
        `${verdict}  ${name.padEnd(width)}  ${context.log.redact(detail)}${fix ? `\n${' '.repeat(width + 8)}→ ${fix}` : ''}`,
      )
  if (problems.length > 0 || envFile.problems.length > 0) return EXIT.usage
  return checks.some(({ verdict }) => verdict === 'fail') ? EXIT.failed : EXIT.done
}
