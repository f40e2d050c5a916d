// What an empty server needs beside dump and media: the app's configuration and a manifest, in the archive's folder `dokku/`.

import { lstat, readFile, rm, writeFile } from 'node:fs/promises'
import { arch } from 'node:os'
import { join } from 'node:path'
import { plainSettings } from '../cli/settings.ts'
import { currentUser } from '../cli/user.ts'
import { shownUrl } from '../core/database-url.ts'
import { Failure, reason } from '../core/failure.ts'
import { makeFolder } from '../core/folder.ts'
import { plural } from '../core/format.ts'
import { sudoersWord } from '../core/quote.ts'
import { CONFIG_NAME, KIT_FOLDER, MANIFEST_NAME, type Manifest, type Mount, type Plugin } from '../dokku/manifest.ts'
import { type Answers, type AppVariables, configArgs, questions, readAnswers, readVariables } from '../dokku/report.ts'
import type { Backup } from './backup.ts'

/** What goes into the archive's folder. The content is secret: it is written to files, and nowhere else. */
export interface AppConfig {
  /** By name. */
  files: ReadonlyMap<string, string>
  /** How many variables of the app. */
  variables: number
  /** Why something of it is missing, a sentence each. */
  doubts: string[]
}

type Sources = Pick<Backup, 'context' | 'dokku'> & {
  settings: Pick<Backup['settings'], 'DOKKU_APP' | 'DB_SERVICE' | 'DATABASE_URL'>
}

/**
 * Asks Dokku for it. That something can't be known never throws.
 * @param sha the deployed commit
 */
export async function collectAppConfig(sources: Sources, sha: string | undefined): Promise<AppConfig> {
  const { context, settings } = sources
  const { DOKKU_APP: app, DATABASE_URL: away } = settings
  const service = away ? undefined : settings.DB_SERVICE
  const refused: string[] = []
  const [variables, answers, system] = await Promise.all([
    askVariables(sources, refused),
    askAll(sources, refused),
    systemName(),
  ])
  const facts = readAnswers(answers)
  const manifest: { [K in keyof Manifest]: Manifest[K] | undefined } = {
    format: '1',
    madeAt: new Date().toISOString(),
    app,
    service,
    database: away && shownUrl(away),
    sha,
    ...facts,
    plugins: facts.plugins && (await Promise.all(facts.plugins.map(withSource))),
    mounts: facts.mounts && (await Promise.all(facts.mounts.map(withOwner))),
    otherServices: variables instanceof Failure ? undefined : othersOf(variables, service),
    architecture: arch(),
    system,
    settings: plainSettings(context.environment, context.envFile),
  }
  const files = new Map([[MANIFEST_NAME, `${JSON.stringify(manifest)}\n`]])
  if (!(variables instanceof Failure)) files.set(CONFIG_NAME, `${JSON.stringify(variables.values)}\n`)
  return {
    files,
    variables: variables instanceof Failure ? 0 : Object.keys(variables.values).length,
    doubts: [
      ...(refused.length > 0 ? [explainRefusal(refused)] : []),
      ...(variables instanceof Failure && refused.length === 0 ? [`${variables.message} ${variables.hint}`] : []),
    ],
  }
}

function othersOf({ linked }: AppVariables, service = ''): Manifest['otherServices'] {
  return Object.fromEntries(Object.entries(linked).filter(([, name]) => name !== `postgres ${hostOf(service)}`))
}

/** In the name of a host there is neither a dot nor an underscore. */
function hostOf(service: string): string {
  return service.toLowerCase().replace(/[._]/g, '-')
}

/** What Dokku answers at once; a night waits no longer for what it can do without. */
const ANSWER_MS = 20_000

/** sudo's words, when a line of sudoers is lacking. */
const REFUSED = /^sudo: |^Sorry, user /m

async function ask({ dokku }: Sources, args: readonly string[], refused: string[]): Promise<string | undefined> {
  const output = await dokku.run(args, { timeoutMs: ANSWER_MS }).catch(() => undefined)
  if (output?.exitCode === 0) return output.stdout
  if (output && REFUSED.test(output.stderr)) refused.push(args.join(' '))
  return undefined
}

/** @returns a Failure that says nothing of what Dokku said: that may be a part of a variable */
async function askVariables(sources: Sources, refused: string[]): Promise<AppVariables | Failure> {
  const { DOKKU_APP: app } = sources.settings
  const stdout = await ask(sources, configArgs(app), refused)
  // What it printed is not said: it may hold secrets.
  return (
    (stdout === undefined ? undefined : readVariables(stdout)) ??
    new Failure(
      "The app's configuration is not in the archive: Dokku did not export it.",
      `Try it by hand: sudo dokku config:keys ${app}`,
    )
  )
}

// Dokku takes the processor for a moment each time: the site has it, too.
const AT_ONCE = 3

async function askAll(sources: Sources, refused: string[]): Promise<Answers> {
  const { DOKKU_APP, DB_SERVICE, DATABASE_URL } = sources.settings
  const waiting = Object.entries(questions(DOKKU_APP, DB_SERVICE)).filter(
    ([name]) => name !== 'service' || !DATABASE_URL,
  )
  const answers: Record<string, string> = {}
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [name, args] = next
      const stdout = await ask(sources, args, refused)
      if (stdout !== undefined) answers[name] = stdout
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return answers
}

function explainRefusal(refused: readonly string[]): string {
  const commands = refused.map((command) =>
    ['/usr/bin/dokku', '--quiet', ...command.split(' ')].map(sudoersWord).join(' '),
  )
  return `sudo refuses ${plural(commands.length, 'command')} of Dokku, and the archive lacks what an empty server needs. Add to /etc/sudoers.d/deploy-dokku, or set KEEP_APP_CONFIG=no: ${currentUser().name} ALL=(root) NOPASSWD: ${commands.join(', ')}`
}

const PLUGINS = '/var/lib/dokku/plugins/available'

/** Where a plugin comes from, if Dokku does not say it: before 0.38.22. */
async function withSource(plugin: Plugin): Promise<Plugin> {
  const git = join(PLUGINS, plugin.name, '.git')
  const [config = '', head = ''] = await Promise.all(
    ['config', 'HEAD'].map((name) => readFile(join(git, name), 'utf8').catch(() => '')),
  )
  const source = plugin.source ?? /^[ \t]*url = (\S+)$/m.exec(config)?.[1]
  const ref = /^ref: (refs\/[\w./-]+)$/m.exec(head)?.[1]
  const commit = plugin.commit ?? (ref ? await readFile(join(git, ref), 'utf8').catch(() => '') : head).trim()
  return {
    ...plugin,
    // Without a user and a token.
    ...(source ? { source: source.replace(/^(https?:\/\/)[^/@]*@/, '$1') } : {}),
    ...(commit ? { commit } : {}),
  }
}

async function withOwner(mount: Mount): Promise<Mount> {
  const info = await lstat(mount.host).catch(() => undefined)
  return info?.isDirectory() ? { ...mount, owner: `${info.uid}:${info.gid}` } : mount
}

async function systemName(): Promise<string | undefined> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(text)?.[1]
}

export interface LaidOut {
  /** Borg's working directory, in which the folder is: the archive has its paths from there. */
  cwd: string
  /** Of the files. */
  bytes: number
}

/**
 * Writes it where Borg reads it: a folder of this run's own, which only this user can enter, not in /tmp.
 * @returns undefined when there is nothing, or it can't be written
 */
export async function layOutAppConfig(
  backup: Pick<Backup, 'context' | 'statePath'>,
  config: AppConfig | undefined,
): Promise<LaidOut | undefined> {
  // Also what a run that was killed has left.
  const { context, statePath } = backup
  await clearAppConfig(backup)
  if (!config) return undefined
  const folder = join(workingFolder(statePath), KIT_FOLDER)
  try {
    await makeFolder(folder)
    for (const [name, text] of config.files) await writeFile(join(folder, name), text, { mode: 0o600, flag: 'wx' })
    const bytes = [...config.files.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    return { cwd: workingFolder(statePath), bytes }
  } catch (error) {
    context.log.warn(`The app's configuration is not in the archive: ${reason(error)}`)
    await clearAppConfig(backup)
    return undefined
  }
}

/** That it can't be removed is a warning, and left to the next run. */
export async function clearAppConfig({ context, statePath }: Pick<Backup, 'context' | 'statePath'>): Promise<void> {
  const folder = workingFolder(statePath)
  try {
    await rm(folder, { recursive: true, force: true })
  } catch (error) {
    context.log.warn(`The app's configuration could not be removed from ${folder}: ${reason(error)}`)
  }
}

function workingFolder(statePath: string): string {
  return statePath.replace(/(\.json)?$/, '.archive')
}
