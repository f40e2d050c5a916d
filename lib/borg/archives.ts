import type { Context } from '../cli/main.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { age, isoLocal, nearest } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import { lines } from '../core/shell.ts'
import type { DumpMode } from '../postgres/dump.ts'
import { type Archive, type Borg, parseList } from './borg.ts'
import { itemsArgs, listArgs } from './commands.ts'

/** What an archive's comment says about it, as JSON. Archives of the bash scripts have none. */
export interface ArchiveComment {
  /** The release that was deployed when it was taken. */
  sha: string | null
  dumpMode: DumpMode
  version: string
}

export function parseComment(comment: string): Partial<ArchiveComment> {
  try {
    const parsed: unknown = JSON.parse(comment)
    return typeof parsed === 'object' && parsed !== null ? parsed : {}
  } catch {
    return {}
  }
}

/** This prefix's archives, newest first. */
export async function listArchives(borg: Borg, prefix: string): Promise<Archive[]> {
  return parseList((await borg.call(listArgs(prefix))).stdout).reverse()
}

/** A row for the eye: name, age, date, release. */
export function describe(archive: Archive): string[] {
  const sha = parseComment(archive.comment).sha
  return [
    archive.name,
    age(archive.start),
    isoLocal(archive.start),
    sha ? `release ${shortSha(sha)}` : 'release unknown',
  ]
}

/** The same for machines: age in seconds; null is what an archive of the bash scripts does not tell. */
export function archiveJson({ name, start, comment }: Archive) {
  return {
    name,
    start: isoLocal(start),
    ageSeconds: Math.round((Date.now() - start.getTime()) / 1000),
    sha: parseComment(comment).sha ?? null,
    dumpMode: parseComment(comment).dumpMode ?? null,
  }
}

const FIRST = 'Make the first one: backup'

/** The name in `ARCHIVE` or, as Borg writes it, `REPOSITORY::ARCHIVE`. */
export function bareName(argument: string): string {
  return argument.replace(/^.*::/, '')
}

/**
 * The archive that was named; else, at a terminal, the one that is picked; else the latest.
 * @param latestWithoutAsking whether the latest may be taken where nobody can be asked
 * @throws Failure when there is none, with the nearest names for a mistyped one, or the newest
 */
export async function chooseArchive(
  { argument, interactive, ask, flags }: Context,
  archives: readonly Archive[],
  latestWithoutAsking: boolean,
): Promise<Archive> {
  const names = archives.map(({ name }) => name)
  const [latest] = archives
  if (argument !== undefined) {
    const wanted = bareName(argument)
    const found = archives.find(({ name }) => name === wanted)
    if (found) return found
    const near = nearest(wanted, names, 3)
    if (names.length === 0) throw new Failure(`There is no archive ${wanted}, nor any other yet.`, FIRST)
    throw new Failure(
      `There is no archive ${wanted}.`,
      [
        near.length > 0 ? 'Did you mean one of these?' : 'The newest are:',
        ...(near.length > 0 ? near : names.slice(0, 3)).map((name) => `  ${name}`),
        'See them all: restore --list',
      ].join('\n'),
    )
  }
  if (!latest) throw new Failure('There is no archive yet.', FIRST)
  if (latestWithoutAsking || flags.has('yes')) return latest
  if (!interactive)
    throw new Failure(
      'No archive was named, and there is no terminal to ask at.',
      'Name one, or add --yes for the latest.',
      EXIT.usage,
    )
  const choice = await ask.pick(
    'Which archive?',
    archives.map((archive) => describe(archive).join('  ')),
  )
  return archives[choice] ?? latest
}

/** A file, folder or link in an archive. */
export interface Item {
  /** `-` file, `d` directory, `l` symbolic link, `h` hard link to an earlier file of the archive. */
  type: string
  /** Without a leading `/`. */
  path: string
  sizeBytes: number
  mtimeMs: number
  /** Permission bits. */
  mode: number
  /** Where a link leads. */
  target: string
}

/** A line of `borg list --json-lines` under TZ=UTC. */
export function parseItem(line: string): Item {
  const item = JSON.parse(line) as Record<string, string | number | undefined>
  const mode = String(item.mode ?? '')
  const bits = [...mode.slice(1)].reduce(
    (sum, sign, i) => sum | (sign === '-' || sign === 'S' || sign === 'T' ? 0 : 0o400 >> i),
    0,
  )
  return {
    // Borg 1.2.4 says of a hard link `"type": "-", "mode": "hrw-r--r--", "size": 0`.
    type: mode.startsWith('h') ? 'h' : String(item.type),
    path: String(item.path),
    sizeBytes: Number(item.size ?? 0),
    mtimeMs: Date.parse(`${String(item.mtime).replace(/(\.\d{3})\d+$/, '$1')}Z`),
    mode: bits,
    target: String(item.linktarget ?? item.source ?? ''),
  }
}

/**
 * Goes through an archive's items as Borg lists them; memory does not grow with their number.
 * @param paths only these, as Borg's path arguments; all without any
 */
export async function eachItem(
  borg: Borg,
  archive: string,
  paths: readonly string[],
  onItem: (item: Item) => void,
): Promise<void> {
  const listing = borg.stream(itemsArgs(archive, paths), { env: { TZ: 'UTC' } })
  listing.stdin.end()
  for await (const line of lines(listing)) if (line) onItem(parseItem(line))
  await listing.result()
}

/** Where the dump is in an archive: `db.dump`, or under the folder the bash scripts used. */
export function isDump({ type, path }: Item, mediaPath: string): boolean {
  return type === '-' && /(^|\/)db\.dump$/.test(path) && !path.startsWith(`${mediaPath}/`)
}
