// `restore --kit DIR`: what an empty server needs, out of an archive, on any machine with Borg, the repository's key and its passphrase.

import { lstat, mkdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { flawsOf, listAll, newestOf } from '../../borg/archives.ts'
import { openBorg } from '../../borg/borg.ts'
import type { Context } from '../../cli/main.ts'
import { readSettings } from '../../cli/settings.ts'
import { EXIT, Failure, reason } from '../../core/failure.ts'
import { bytes, plural, printable } from '../../core/format.ts'
import { wrap } from '../../core/layout.ts'
import { quote } from '../../core/quote.ts'
import { MANIFEST_NAME } from '../../dokku/manifest.ts'
import { choose, complete } from '../choose.ts'
import type { Reading } from '../restore.ts'
import { KIT_SETTINGS, type Kit, readKit } from './content.ts'
import { CONFIG_FILE, CONFIG_FILE_OF_OLD, dotenvOf, ENV_FILE, envFileOf, takesImport } from './files.ts'
import { missingOf, runbook } from './runbook.ts'

/** @throws Failure when the folder exists, or the archive can't be read */
export async function writeKit(context: Context, named: string): Promise<number> {
  const { environment, envFile, log, flags } = context
  const settings = readSettings(KIT_SETTINGS, environment, envFile)
  const folder = resolve(named)
  await requireNew(folder)
  const borg = openBorg(context, settings.BORG_REPO)
  await borg.version()
  const reading = { context, settings, borg }
  const archive = await complete(reading, await choose(reading))
  log.info(`Reading ${archive.name}`)
  const kit = await readKit(reading, archive)
  if (kit.flaws.length > 0) await warnOfFlaws(reading, kit)
  const files = filesOf(kit, folder)
  await writeFolder(folder, files)
  const missing = missingOf(kit)
  if (flags.has('json')) context.printJson(asJson(kit, folder, [...files.keys()], missing))
  else context.print(wrap(asText(kit, folder, missing), log.resultColumns))
  return EXIT.done
}

/** The newest that is whole is named: it may be the better one for a new server. */
async function warnOfFlaws(
  { context, borg, settings }: Reading & { settings: { ARCHIVE_PREFIX: string } },
  kit: Kit,
): Promise<void> {
  const archives = await listAll(borg, settings.ARCHIVE_PREFIX)
  const whole = newestOf(archives.filter((archive) => flawsOf(archive).length === 0))
  const other = whole ? `${whole.name} is the newest that is whole.` : 'No archive is whole: restore --list'
  context.log.warn(`${kit.archive.name} is ${printable(kit.flaws.join('; '))}. ${other}`)
}

async function requireNew(folder: string): Promise<void> {
  if (await lstat(folder).catch(() => undefined))
    throw new Failure(
      `${folder} exists: the kit holds secrets, and goes into a folder of its own.`,
      'Name one that is not there yet.',
      EXIT.usage,
    )
}

/** By name. */
function filesOf(kit: Kit, folder: string): Map<string, string> {
  const { config, manifest } = kit
  const files = new Map([
    [MANIFEST_NAME, `${JSON.stringify(manifest, null, 2)}\n`],
    [ENV_FILE, envFileOf(kit)],
  ])
  if (config) files.set(CONFIG_FILE, `${JSON.stringify(config)}\n`)
  // Before it had a command for it, Dokku's own file is written.
  if (config && !takesImport(manifest.dokkuVersion)) files.set(CONFIG_FILE_OF_OLD, dotenvOf(config))
  files.set('RUNBOOK.md', runbook(kit, folder))
  return files
}

async function writeFolder(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    throw new Failure(
      `The folder can't be made: ${reason(error)}`,
      'Name one in a folder where you may write.',
      EXIT.usage,
    )
  }
  try {
    for (const [name, text] of files) await writeFile(join(folder, name), text, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw new Failure(`The kit could not be written: ${reason(error)}`, `Look: df -h ${quote(folder)}`)
  }
}

function asText(kit: Kit, folder: string, missing: readonly string[]): string {
  const { archive, manifest, config, dump, media, noMedia } = kit
  return [
    `Written from ${archive.name} to ${folder} (it holds secrets: remove it when the new server runs):`,
    `  configuration  ${config ? plural(Object.keys(config).length, 'variable') : 'not in the archive'}`,
    `  database       ${dump ? `${dump.path}, ${bytes(dump.bytes)}, stays in the archive` : 'not in the archive'}`,
    ...(manifest.database ? [`                 it was at ${manifest.database}`] : []),
    `  media          ${media ? `${media.folder}, ${plural(media.files, 'file')}, ${bytes(media.bytes)}, stays in the archive` : noMedia ? 'none (MEDIA_DIR=none)' : 'not in the archive'}`,
    ...missing.map((one) => `  missing        ${one}`),
    `Next, every command in order: ${join(folder, 'RUNBOOK.md')}`,
  ].join('\n')
}

function asJson(kit: Kit, folder: string, files: readonly string[], missing: readonly string[]): unknown {
  const { archive, manifest, hasManifest, config, dump, media } = kit
  return {
    archive: archive.name,
    folder,
    files,
    app: manifest.app,
    service: manifest.service ?? null,
    sha: manifest.sha ?? null,
    manifest: hasManifest,
    variables: config ? Object.keys(config).sort() : null,
    dump: dump ?? null,
    media: media ?? null,
    missing,
  }
}
