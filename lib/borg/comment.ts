// What an archive's comment holds: what was stored, and what it lacks.
import type { DumpMode } from '../cli/settings.ts'
import { plural } from '../core/format.ts'
import {
  aBoolean,
  aCount,
  aText,
  aTimeText,
  atBest,
  listOf,
  matching,
  oneOf,
  orNull,
  record,
  type Shape,
  tryJson,
} from '../core/outside.ts'
import type { Archive } from './output.ts'

/** What an archive's comment says about it, as JSON. Archives of the bash scripts have none, older ones the first three. */
export interface ArchiveComment {
  /** The release that was deployed when it was taken. */
  sha: string | null
  dumpMode: DumpMode
  version: string
  /** What the media folder held just before: regular files that could be read, and their size. */
  mediaFiles: number
  mediaBytes: number
  /** `MEDIA_DIR=none`: that it holds no media is no loss. */
  noMedia?: boolean
  /** The folders right below MEDIA_DIR that held a tenth of the files or more. */
  folders?: string[]
  /** How many media files and folders could not be read: the archive is without them. */
  unreadable: number
  /** The first of them, relative to MEDIA_DIR. */
  unreadablePaths: string[]
  /** Tables with rows, by `schema.table`, as many as fit; missing when PostgreSQL did not say. */
  tables?: string[]
  /** How many tables had rows. */
  tableCount?: number
  /** What it lacks of what the archives before it held, in words. */
  lacks: string[]
  /** The last time somebody said that what there was is right. What older archives held counts no more. */
  accepted?: Acceptance
  /** Makes it a restore point: what it was taken before. */
  before?: string
}

export interface Acceptance {
  /** When, ISO 8601, to the second. */
  at: string
  /** As many unreadable media files are right. */
  unreadable: number
}

// More are counted, not named: a comment is an argument of Borg, and comes with each list of the archives.
export const MOST_TABLES = 300
export const MOST_PATHS = 5
const LABEL = /^[A-Za-z0-9._-]{1,100}$/

/** What a restore point may be named for: not `.` or `..`, which somebody meant as a folder. */
export function isLabel(text: string): boolean {
  return LABEL.test(text) && !/^\.{1,2}$/.test(text)
}

/** Whoever can write to the repository may have written it: of each part that is not right nothing is known. */
const COMMENT: Shape<Partial<ArchiveComment>> = record({
  sha: atBest(orNull(aText)),
  dumpMode: atBest(oneOf<DumpMode>('dedup', 'export')),
  version: atBest(aText),
  mediaFiles: atBest(aCount),
  mediaBytes: atBest(aCount),
  noMedia: atBest(aBoolean),
  folders: atBest(listOf(aText)),
  unreadable: atBest(aCount),
  unreadablePaths: atBest(listOf(aText)),
  tables: atBest(listOf(aText)),
  tableCount: atBest(aCount),
  lacks: atBest(listOf(aText)),
  before: atBest(matching(LABEL, 'a label')),
  accepted: atBest(record({ unreadable: aCount, at: aTimeText })),
})

/** What a comment says; nothing when it is not one of ours. */
export function parseComment(comment: string): Partial<ArchiveComment> {
  return tryJson(comment, COMMENT) ?? {}
}

/** What is missing in an archive, as far as its comment knows, a phrase each; none when it is complete. */
export function holesOf({ comment }: Pick<Archive, 'comment'>): string[] {
  const { unreadable = 0, unreadablePaths = [], lacks = [] } = parseComment(comment)
  return [...(unreadable > 0 ? [unreadableHole(unreadable, unreadablePaths)] : []), ...lacks]
}

/** @param paths the first of them */
export function unreadableHole(count: number, paths: readonly string[]): string {
  const more = count - paths.length
  return `without ${plural(count, 'media file')} that could not be read${paths.length > 0 ? `: ${paths.join(', ')}${more > 0 ? ` and ${more} more` : ''}` : ''}`
}

/** The last time that somebody accepted what there was. One of a clock that was wrong, in the future, does not count. */
export function lastAcceptance(archives: readonly Archive[]): Acceptance | undefined {
  return archives
    .flatMap(({ comment }) => parseComment(comment).accepted ?? [])
    .filter(({ at }) => Date.parse(at) <= Date.now())
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
    .at(-1)
}
