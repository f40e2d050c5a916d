// What an archive holds for an empty server, read out of it.

import { flawsOf } from '../../borg/archives.ts'
import type { Borg } from '../../borg/borg.ts'
import { extractToStdoutArgs } from '../../borg/commands.ts'
import { parseComment } from '../../borg/comment.ts'
import { eachItem, isDump } from '../../borg/items.ts'
import type { Item } from '../../borg/output.ts'
import { plainSettings, type Settings } from '../../cli/settings.ts'
import { shownUrl } from '../../core/database-url.ts'
import { Failure } from '../../core/failure.ts'
import { aText, mapOf, tryJson } from '../../core/outside.ts'
import { CONFIG_NAME, KIT_FOLDER, MANIFEST_NAME, type Manifest, parseManifest } from '../../dokku/manifest.ts'
import { orUnknown } from '../choose.ts'
import type { ChosenArchive, Reading } from '../restore.ts'

/** What an archive holds for an empty server. */
export interface Kit {
  archive: ChosenArchive
  /** What is known to be wrong with the archive. */
  flaws: string[]
  repository: string
  /** Of an archive without one: what the settings here and its comment tell. */
  manifest: Manifest
  hasManifest: boolean
  /** The app's variables; undefined when they are not in the archive. */
  config: Record<string, string> | undefined
  dump: { path: string; bytes: number } | undefined
  /** The folder's path is that of the old server. */
  media: { folder: string; files: number; bytes: number } | undefined
  /** It was made with `MEDIA_DIR=none`. */
  noMedia: boolean
  /** Of the repository; undefined where a command prints it. */
  passphrase: string | undefined
}

interface Found extends Pick<Kit, 'dump' | 'media'> {
  /** Names of the files in the archive's folder. */
  files: Set<string>
}

/** The settings that a kit is read with: nothing of Dokku is called. */
export const KIT_SETTINGS = [
  'BORG_REPO',
  'BORG_PASSPHRASE',
  'BORG_PASSCOMMAND',
  'ARCHIVE_PREFIX',
  'DOKKU_APP',
  'DB_SERVICE',
  'DATABASE_URL',
] as const

type KitReading = Reading & { settings: Settings<(typeof KIT_SETTINGS)[number]> }

export async function readKit(reading: KitReading, archive: ChosenArchive): Promise<Kit> {
  const { context, borg, settings } = reading
  const { name, comment = '', start } = archive
  const { files, dump, media } = await orUnknown(reading, name, survey(borg, name))
  const text = files.has(MANIFEST_NAME) ? await read(borg, name, MANIFEST_NAME) : ''
  const manifest = parseManifest(text)
  if (text && !manifest)
    context.log.warn(`The manifest of ${name} is of another form than these scripts know: it is left out`)
  const config = files.has(CONFIG_NAME) ? parseConfig(await read(borg, name, CONFIG_NAME)) : undefined
  const { sha, noMedia = false } = parseComment(comment)
  return {
    archive,
    flaws: start ? flawsOf({ start, comment }) : [],
    repository: settings.BORG_REPO,
    hasManifest: manifest !== undefined,
    manifest: manifest ?? {
      format: '1',
      app: settings.DOKKU_APP,
      ...(settings.DATABASE_URL ? { database: shownUrl(settings.DATABASE_URL) } : { service: settings.DB_SERVICE }),
      ...(sha ? { sha } : {}),
      settings: plainSettings(context.environment, context.envFile),
    },
    config,
    dump,
    media,
    noMedia,
    passphrase: settings.BORG_PASSPHRASE,
  }
}

/** What an archive holds, and where. Borg lists a folder before what is in it. */
async function survey(borg: Borg, archive: string): Promise<Found> {
  const files = new Set<string>()
  const dumps: Item[] = []
  const folders: NonNullable<Kit['media']>[] = []
  await eachItem(borg, archive, [], (item) => {
    const path = `/${item.path}`
    if (path.startsWith(`/${KIT_FOLDER}/`)) files.add(path.slice(KIT_FOLDER.length + 2))
    if (path === `/${KIT_FOLDER}` || path.startsWith(`/${KIT_FOLDER}/`)) return
    const folder = folders.find((one) => path.startsWith(`${one.folder}/`))
    // Somebody may have uploaded one of that name.
    if (isDump(item, '') && (!folder || path === `${folder.folder}/db.dump`)) dumps.push(item)
    if (folder && item.type !== 'd') {
      folder.files++
      folder.bytes += item.sizeBytes
    }
    if (!folder && item.type === 'd') folders.push({ folder: path, files: 0, bytes: 0 })
  })
  const [dump] = dumps.sort((one, other) => one.path.length - other.path.length)
  // Archives of the bash scripts have the dump in a folder of its own.
  const [media] = folders
    .filter(({ folder }) => !dump || dump.path !== `${folder.slice(1)}/db.dump`)
    .sort((one, other) => other.files - one.files)
  return { files, dump: dump && { path: dump.path, bytes: dump.sizeBytes }, media }
}

async function read(borg: Borg, archive: string, name: string): Promise<string> {
  return (await borg.call(extractToStdoutArgs(archive, [`${KIT_FOLDER}/${name}`]))).stdout
}

/** @throws Failure that shows nothing of it */
function parseConfig(text: string): Record<string, string> {
  const values = tryJson(text, mapOf(aText))
  if (values && Object.keys(values).every((key) => /^[A-Za-z_]\w*$/.test(key))) return values
  throw new Failure(
    `${KIT_FOLDER}/${CONFIG_NAME} of the archive is no configuration.`,
    'Take another one: restore --list',
  )
}
