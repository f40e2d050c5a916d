import { isStale } from '../borg/archives.ts'
import type { Borg } from '../borg/borg.ts'
import { listArgs } from '../borg/commands.ts'
import { type Archive, parseList } from '../borg/output.ts'
import type { EnvFile } from '../cli/env-file.ts'
import { Failure } from '../core/failure.ts'
import { age, bytes, plural } from '../core/format.ts'
import type { Shell } from '../core/shell.ts'
import type { Dokku } from '../dokku/dokku.ts'
import { measureMedia, requireMediaDir } from '../media/folder.ts'
import { databaseBytes } from '../postgres/sql.ts'

/** One line of `backup --check`. */
export interface Check {
  name: string
  verdict: 'pass' | 'warn' | 'fail'
  detail: string
  /** What to do about it, when it did not pass. */
  fix?: string
}

function pass(name: string, detail: string): Check {
  return { name, verdict: 'pass', detail }
}

async function attempt(name: string, check: () => Promise<Check>): Promise<Check> {
  try {
    return await check()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return { name, verdict: 'fail', detail: error.message, fix: error.hint }
  }
}

export function nodeCheck(version: string): Check {
  return Number(version.split('.')[0]) >= 20
    ? pass('Node', version)
    : { name: 'Node', verdict: 'fail', detail: `${version} is too old`, fix: 'Install Node 20 or later.' }
}

export function envFileCheck(file: EnvFile): Check {
  const name = 'env file'
  if (file.problems.length > 0)
    return { name, verdict: 'fail', detail: file.problems.join(' '), fix: `Mend ${file.path}` }
  if (file.denied)
    return { name, verdict: 'fail', detail: `${file.path} can't be read by this user`, fix: 'Run this as its owner.' }
  if (!file.exists)
    return {
      name,
      verdict: 'warn',
      detail: `there is no ${file.path}: the settings come from the environment alone`,
      fix: `Copy .env.backup.example to ${file.path}, then: chmod 600 ${file.path}`,
    }
  if ((file.mode ?? 0) & 0o077)
    return {
      name,
      verdict: 'warn',
      detail: `${file.path} has mode ${(file.mode ?? 0).toString(8)}: others of its group can read it`,
      fix: `chmod 600 ${file.path}`,
    }
  return pass(name, `${file.path}, mode ${(file.mode ?? 0).toString(8)}`)
}

export function settingsCheck(problems: readonly string[]): Check {
  return problems.length === 0
    ? pass('settings', 'complete')
    : {
        name: 'settings',
        verdict: 'fail',
        detail: problems.join(' '),
        fix: 'See .env.backup.example for every setting.',
      }
}

export function borgCheck(borg: Borg): Promise<Check> {
  return attempt('Borg', async () => pass('Borg', await borg.version()))
}

/** Two lines out of one call: the repository opens with this key and passphrase, and how old its newest archive is. */
export async function repositoryChecks(borg: Borg, prefix: string): Promise<Check[]> {
  let archives: Archive[] = []
  const repository = await attempt('repository', async () => {
    archives = parseList((await borg.call(listArgs(prefix, 1))).stdout)
    return pass('repository', `${borg.repository} opens, its key can be read`)
  })
  if (repository.verdict === 'fail') return [repository]
  const [newest] = archives
  const name = 'newest archive'
  if (!newest)
    return [repository, { name, verdict: 'warn', detail: 'there is none yet', fix: 'Make the first one: backup' }]
  const detail = `${newest.name}, ${age(newest.start)}`
  if (!isStale(newest)) return [repository, pass(name, detail)]
  return [
    repository,
    { name, verdict: 'warn', detail, fix: 'A nightly run was missed: look at its log, then type: backup' },
  ]
}

export function dokkuCheck(dokku: Dokku, service: string): Promise<Check> {
  return attempt('Dokku', async () => {
    const found = await dokku.service(service)
    // Dokku knows a service that is stopped, too: only its database can tell.
    const size = await databaseBytes(dokku, found)
    return pass('Dokku', `may be called; ${service} holds the database ${found.database}, ${bytes(size)}`)
  })
}

export function mediaCheck(mediaDir: string): Promise<Check> {
  return attempt('media', async () => {
    await requireMediaDir(mediaDir)
    const { files, bytes: size, unreadable } = await measureMedia(mediaDir)
    if (unreadable.length > 0)
      return {
        name: 'media',
        verdict: 'fail',
        detail: `${plural(unreadable.length, 'path')} in ${mediaDir} can't be read, the first: ${unreadable[0] || mediaDir}`,
        fix: `Give this user the right to read: sudo setfacl -R -m u:$(id -un):rX -m d:u:$(id -un):rX ${mediaDir}`,
      }
    return pass('media', `${mediaDir}: ${plural(files, 'file')}, ${bytes(size)}`)
  })
}

/** What this user's crontab runs at night. */
export async function crontabCheck(shell: Shell): Promise<Check> {
  const name = 'crontab'
  const add = 'Type crontab -e, and add: 0 3 * * * /home/deploy/backup >> /var/log/book-corners-backup.log 2>&1'
  const { exitCode, stdout, stderr } = await shell.run(['crontab', '-l'])
  if (exitCode === 127)
    return {
      name,
      verdict: 'warn',
      detail: 'there is no crontab command',
      fix: 'Install cron: sudo apt-get install cron',
    }
  if (exitCode !== 0 && !/no crontab for/.test(stderr))
    return { name, verdict: 'warn', detail: `crontab -l failed: ${stderr.trim()}`, fix: add }
  const lines = stdout.split('\n').filter((line) => !/^\s*(#|$)/.test(line))
  const old = lines.find((line) => /\bbackup\.sh\b/.test(line))
  if (old)
    return {
      name,
      verdict: 'fail',
      detail: `it still runs the old script: ${old.trim()}`,
      fix: `Remove that line. ${add}`,
    }
  const line = lines.find((line) => /\/backup(\.ts)?(\s|$)/.test(line))
  if (!line) return { name, verdict: 'warn', detail: 'no line of it runs the backup', fix: add }
  return pass(name, line.trim())
}
