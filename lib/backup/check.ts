// `backup --check`: whether this machine, the settings, the repository and the crontab are sound. It changes nothing.

import { lstat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Borg } from '../borg/borg.ts'
import type { EnvFile } from '../cli/env-file.ts'
import { lockFolder, SHARED_FOLDER } from '../cli/lock.ts'
import type { Context } from '../cli/main.ts'
import { describeMonitor } from '../cli/monitor.ts'
import { checkSettings, SETTINGS, type Settings } from '../cli/settings.ts'
import { currentUser, type User } from '../cli/user.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { nearest } from '../core/format.ts'
import { wrap } from '../core/layout.ts'
import { quote } from '../core/quote.ts'
import { canBeRedacted } from '../core/redaction.ts'
import type { Shell } from '../core/shell.ts'
import { showWaiting } from '../core/waiting.ts'
import { allowPlacing, type PlaceSettings, tryPlacing, whySudo } from '../media/place.ts'
import { BACKUP_SETTINGS, openRepository } from './backup.ts'
import { crontabCheck } from './check-crontab.ts'
import { dataChecks } from './check-data.ts'
import { type Asked, attempt, type CheckLine, fail, formatLine, pass, warn } from './check-line.ts'
import { describeKeepsakes, keepsakes } from './keep-elsewhere.ts'

type CheckedSetting = (typeof BACKUP_SETTINGS)[number] | 'MEDIA_OWNER' | 'VERIFY_SQL' | 'DRILL_HEALTHCHECK_URL'

/** Every check, printed as a line each. Exit status 2 when the settings are wrong, 1 when another check failed. */
export async function checkEverything(context: Context): Promise<number> {
  const { environment, envFile, flags, print, log } = context
  const { settings, problems } = checkSettings(
    [...BACKUP_SETTINGS, 'MEDIA_OWNER', 'VERIFY_SQL', 'DRILL_HEALTHCHECK_URL'],
    environment,
    {
      ...envFile,
      problems: [],
    },
  )
  const kept = settings.BORG_REPO ? keepsakes(settings.BORG_REPO, envFile.path) : []
  const asked = await ask(context, settings, problems)
  const columns = log.resultColumns
  if (!flags.has('json') && context.interactive)
    log.info('Nothing is changed. Where a line does not pass, → says what to type.')
  const lines = await tellEach(asked, context, (line) => print(formatLine(line, columns)))
  if (flags.has('json'))
    context.printJson({ app: settings.DOKKU_APP ?? null, envFile: envFile.path, checks: lines, keepElsewhere: kept })
  else {
    if (kept.length > 0) print(`\n${wrap(describeKeepsakes(kept), columns)}`)
    print(`\n${wrap(summaryOf(lines), columns)}`)
  }
  if (problems.length > 0 || envFile.problems.length > 0) return EXIT.usage
  return lines.some(({ verdict }) => verdict === 'fail') ? EXIT.failed : EXIT.done
}

/** What depends on a setting that is wrong is not asked: the line on the settings says what to fix first. */
async function ask(
  context: Context,
  settings: Partial<Settings<CheckedSetting>>,
  problems: readonly string[],
): Promise<Asked[]> {
  const { envFile, shell } = context
  const { BORG_REPO, MEDIA_DIR, MEDIA_OWNER } = settings
  const user = currentUser()
  const borg = openRepository(context, BORG_REPO ?? '')
  const version = await borgCheck(borg)
  const here = [
    nodeCheck(process.versions.node),
    await codeCacheCheck(join(tmpdir(), `tsx-${process.geteuid?.()}`), process.geteuid?.()),
    version,
    envFileCheck(envFile),
    settingsCheck(problems),
    misspelledCheck(envFile),
    secretsCheck(settings),
    monitorChecks(settings),
  ].flat()
  return [
    ['this machine', Promise.resolve(here)],
    ...dataChecks(context, version.verdict === 'pass' ? borg : undefined, settings, user.name),
    ['the lock', lockCheck(shell)],
    ...(MEDIA_DIR && MEDIA_OWNER ? [['sudo', placingCheck(shell, { MEDIA_DIR, MEDIA_OWNER }, user)] as const] : []),
    ['the crontab', crontabCheck(shell)],
  ]
}

/**
 * Tells each line as soon as it is known, and at a terminal what is waited for.
 * @returns all of them, in the order in which they were asked
 */
async function tellEach(
  asked: readonly Asked[],
  { log, flags }: Context,
  tell: (line: CheckLine) => void,
): Promise<CheckLine[]> {
  const open = new Set(asked)
  const waiting = showWaiting(log, () => [...open].map(([what]) => what))
  try {
    const all = asked.map(async (one) => {
      const lines = [await one[1]].flat()
      open.delete(one)
      if (!flags.has('json')) for (const line of lines) tell(line)
      waiting.show()
      return lines
    })
    return (await Promise.all(all)).flat()
  } finally {
    waiting.stop()
  }
}

/** What remains on the screen. */
function summaryOf(lines: readonly CheckLine[]): string {
  const named = (verdict: CheckLine['verdict']): string[] =>
    lines.filter((line) => line.verdict === verdict).map(({ name }) => name)
  const [failed, warned] = [named('fail'), named('warn')]
  if (failed.length + warned.length === 0) return `All ${lines.length} pass.`
  return [
    failed.length > 0 ? `FAILED: ${failed.join(', ')}.` : 'Nothing failed.',
    ...(warned.length > 0 ? [`Warnings: ${warned.join(', ')}.`] : []),
    'What to type stands behind the arrow of each.',
  ].join(' ')
}

/** @param version as Node says it, e.g. `20.20.2` */
export function nodeCheck(version: string): CheckLine {
  return Number(version.split('.')[0]) >= 20
    ? pass('Node', version)
    : fail('Node', `${version} is too old`, 'Install Node 20 or later.')
}

/**
 * These scripts don't use tsx's cache, but another program of this user may: whoever may write there runs code as this user.
 * @param path where tsx keeps what it has compiled for the user `uid`
 */
export async function codeCacheCheck(path: string, uid: number | undefined): Promise<CheckLine> {
  const name = 'other users'
  const found = await lstat(path).catch(() => undefined)
  if (!found || (found.isDirectory() && found.uid === uid && !(found.mode & 0o022)))
    return pass(name, `none of them has put code in ${path}`)
  return fail(
    name,
    `${path} is where tsx would run code as this user, and it is in others' hands (owner ${found.uid}, mode ${(found.mode & 0o777).toString(8)})`,
    `See what is there: ls -lan ${quote(path)}. Then, as root: rm -r ${quote(path)}`,
  )
}

/** Whether the env file can be read, by this user alone. */
export function envFileCheck({ path, exists, denied, problems, mode = 0 }: EnvFile): CheckLine {
  const name = 'env file'
  if (problems.length > 0) return fail(name, ...problemsAndFix(path, problems))
  if (denied) return fail(name, `${path} can't be read by this user`, 'Run this as its owner.')
  if (!exists)
    return warn(
      name,
      `there is no ${path}: the settings come from the environment alone`,
      `Copy .env.backup.example to ${quote(path)}, then: chmod 600 ${quote(path)}`,
    )
  const octal = mode.toString(8)
  if (mode & 0o077)
    return warn(name, `${path} has mode ${octal}: others of its group can read it`, `chmod 600 ${quote(path)}`)
  return pass(name, `${path}, mode ${octal}`)
}

/** What is wrong with the env file, and the commands that its problems name as the way to fix them. */
function problemsAndFix(path: string, problems: readonly string[]): [string, string] {
  const parts = problems.map((problem) => problem.split(' Type: '))
  const commands = parts.flatMap(([, command]) => command ?? [])
  const fixes = [commands.join(' && '), commands.length < problems.length ? `Fix ${path}` : '']
  return [parts.map(([what]) => what).join(' '), fixes.filter(Boolean).join('; then: ')]
}

/** A name that is almost one of ours: what it sets has no effect, and nothing else tells. */
export function misspelledCheck({ path, values }: EnvFile): CheckLine[] {
  const known = Object.keys(SETTINGS)
  return Object.keys(values).flatMap((key) => {
    const [near] = known.includes(key) ? [] : nearest(key, known, 1, 1 / 5)
    return near === undefined
      ? []
      : [fail('settings', `${path} sets ${key}, which nothing reads`, `If ${near} is meant, write that.`)]
  })
}

function settingsCheck(problems: readonly string[]): CheckLine {
  return problems.length === 0
    ? pass('settings', 'complete')
    : fail('settings', problems.join(' '), 'See .env.backup.example for every setting.')
}

/** Whether the log can keep the secrets out: a plain word, or a few letters, may stand in it for something else. */
export function secretsCheck(secrets: Partial<Settings<'BORG_PASSPHRASE'>>): CheckLine[] {
  const { BORG_PASSPHRASE } = secrets
  if (BORG_PASSPHRASE === undefined) return []
  const name = 'passphrase'
  return canBeRedacted(BORG_PASSPHRASE)
    ? [pass(name, 'long enough, and no plain word')]
    : [
        fail(
          name,
          'BORG_PASSPHRASE is of letters alone, or shorter than eight characters: it can be guessed, and no log hides it',
          'Choose another one: borg key change-passphrase, then the same in the env file, and on paper',
        ),
      ]
}

/** What the monitors are taken for: one that does not understand what it is told hears of no failure. */
export function monitorChecks(settings: Partial<Settings<'HEALTHCHECK_URL' | 'DRILL_HEALTHCHECK_URL'>>): CheckLine[] {
  const { HEALTHCHECK_URL, DRILL_HEALTHCHECK_URL } = settings
  return [
    HEALTHCHECK_URL === undefined
      ? warn('monitor', 'there is none: nobody hears of a night that fails', 'Set HEALTHCHECK_URL: docs/backup.md')
      : pass('monitor', describeMonitor(HEALTHCHECK_URL)),
    ...(DRILL_HEALTHCHECK_URL === undefined ? [] : [pass('drill monitor', describeMonitor(DRILL_HEALTHCHECK_URL))]),
  ]
}

function borgCheck(borg: Borg): Promise<CheckLine> {
  return attempt('Borg', async () => pass('Borg', await borg.version()))
}

/** Whether the lock keeps out the runs of other users, too. */
export function lockCheck(shell: Shell, shared = SHARED_FOLDER): Promise<CheckLine> {
  const name = 'lock'
  return attempt(name, async () => {
    const folder = await lockFolder(shell, shared)
    if (folder === shared) return pass(name, `in ${folder}: whoever can enter it waits for the others`)
    // Written out: pasted into root's shell, a `$(id -gn)` would be root's group.
    const { stdout: group } = await shell.run(['id', '-gn'])
    return warn(
      name,
      `in ${folder}: it does not keep out the runs of another user, such as root`,
      `As root type: install -d -o root -g ${group.trim()} -m 770 ${shared}`,
    )
  })
}

/** Whether a restore could put photos back, and whether sudo still lets this user be root for it, as it had to once. */
export async function placingCheck(shell: Shell, settings: PlaceSettings, user: User): Promise<CheckLine> {
  const name = 'placing media'
  try {
    const needsSudo = whySudo(settings, user)
    if (needsSudo === undefined) return pass(name, `as ${settings.MEDIA_OWNER}, without sudo`)
    const allow = `As root type: ${allowPlacing(settings, user)}`
    const { stdout } = await shell.run(['sudo', '-n', '-l'])
    if (/\/place-media\.sh\b/.test(stdout))
      return warn(
        name,
        `sudo lets ${user.name} run place-media.sh as root; that does nothing any more but to make ${user.name} root`,
        `Remove its line: grep -r place-media.sh /etc/sudoers /etc/sudoers.d. ${allow}`,
      )
    const { allowed, said } = await tryPlacing(shell, settings, user)
    return allowed
      ? pass(name, `as ${settings.MEDIA_OWNER}, through sudo without a password`)
      : warn(name, `a restore can put no photos back without a password: ${needsSudo} (${said})`, allow)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return warn(name, error.message, error.hint)
  }
}
