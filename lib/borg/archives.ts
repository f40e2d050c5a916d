// The archives of a repository: which there are, how old, at which release they were taken, what they hold.

import { readState } from '../cli/state.ts'
import { bytes, firstOf } from '../core/format.ts'
import type { Listing } from '../core/layout.ts'
import { quote } from '../core/quote.ts'
import { shortSha } from '../core/sha.ts'
import { age, isoLocal, localTimestamp, moments, zoneOf } from '../core/times.ts'
import type { Borg } from './borg.ts'
import { listArgs, listEveryArgs } from './commands.ts'
import { holesOf, lastAcceptance, parseComment } from './comment.ts'
import { type Archive, parseList } from './output.ts'

/** The name of a night that begins now, or of a restore point with this label. */
export function archiveName(prefix: string, begun: Date, label?: string): string {
  return [prefix, ...(label === undefined ? [] : ['before', label]), localTimestamp(begun)].join('-')
}

/** The archives of a prefix, each newest first. */
export interface ArchiveList {
  nights: Archive[]
  restorePoints: Archive[]
  /** Restore points of another prefix whose names are those of nights of this one. */
  strangers: Archive[]
}

/**
 * Pure: tells the archives of a prefix apart. A name alone does not: `app-before-x-2026-02-28T03:00:00` is a restore point of
 * `app` with the label x, or a night of `app-before-x`. The comment of a restore point has its label.
 * @param archives newest first
 */
export function sortArchives(archives: readonly Archive[], prefix: string): ArchiveList {
  const list: ArchiveList = { nights: [], restorePoints: [], strangers: [] }
  for (const archive of archives) {
    const [, beginning, time] = /^(.*)-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)$/.exec(archive.name) ?? []
    if (time === undefined) continue
    const { before } = parseComment(archive.comment)
    if (beginning === prefix) (before === undefined ? list.nights : list.strangers).push(archive)
    else if (before !== undefined && beginning === `${prefix}-before-${before}`)
      list.restorePoints.push({ ...archive, label: before })
  }
  return list
}

export async function listArchives({ call }: Pick<Borg, 'call'>, prefix: string): Promise<ArchiveList> {
  return sortArchives(parseList((await call(listArgs(prefix))).stdout).sort(newestFirst), prefix)
}

/** The local time that its name had when it was made, a moment before Borg began it; of another name when that was. */
export function madeAt({ madeAs, name, start }: Archive): string {
  return /-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)$/.exec(madeAs ?? name)?.[1] ?? localTimestamp(start)
}

/** Of two that began in one second the name tells: it was made a moment earlier. */
export function newestFirst(a: Archive, b: Archive): number {
  const named = ({ madeAs, name }: Archive): string => (madeAs ?? name).slice(-'2026-02-28T03:00:00'.length)
  return b.start.getTime() - a.start.getTime() || (named(a) < named(b) ? 1 : -1)
}

/**
 * Pure: the archives of a prefix that somebody gave another name, by the name that they were made under. Another name keeps an
 * archive from being pruned.
 */
export function keptArchives(archives: readonly Archive[], prefix: string): Archive[] {
  return archives.flatMap((archive) => {
    const { madeAs = archive.name } = archive
    if (madeAs === archive.name) return []
    const { nights, restorePoints } = sortArchives([{ ...archive, name: madeAs }], prefix)
    const [found] = [...nights, ...restorePoints]
    return found ? [{ ...found, name: archive.name, kept: true }] : []
  })
}

/**
 * Nights, restore points and what was renamed to be kept, newest first, with what this machine knows of their damage, and of
 * their dumps' sizes.
 */
export async function listAll(borg: Borg, prefix: string, statePath?: string): Promise<Archive[]> {
  const [{ stdout }, { damaged = {}, dumps = {} }] = await Promise.all([
    borg.call(listEveryArgs()),
    statePath === undefined ? { damaged: {}, dumps: {} } : readState(statePath),
  ])
  const every = parseList(stdout)
  const { nights, restorePoints } = sortArchives(every, prefix)
  const own = [...nights, ...restorePoints]
  const names = new Set(own.map(({ name }) => name))
  const acceptedMs = Date.parse(lastAcceptance(nights)?.at ?? '1970-01-01')
  const kept = keptArchives(every, prefix).filter(({ name }) => !names.has(name))
  return [...own, ...kept]
    .map((archive) => ({
      ...archive,
      damaged: damaged[archive.name] ?? [],
      acceptedSince: archive.start.getTime() < acceptedMs,
      dumpBytes: dumps[archive.name] ?? dumps[archive.madeAs ?? ''],
    }))
    .sort(newestFirst)
}

/** What a restore point was taken before, in words: `before release 0123abcd`. */
export function describeLabel(label: string): string {
  return `before ${isRelease(label) ? 'release ' : ''}${brief(label)}`
}

function brief(label: string): string {
  return isRelease(label) ? shortSha(label) : label
}

function isRelease(label: string): boolean {
  return /^[0-9a-f]{8,40}$/.test(label)
}

// A night every day, and two hours for one that took long.
const STALE_HOURS = 26

/** Whether the newest archive is so old that a nightly run was missed. */
export function isStale({ start }: Archive): boolean {
  return Date.now() - start.getTime() > STALE_HOURS * 3_600_000
}

// The clock of a server that is set right while it works jumps by seconds, or minutes.
const CLOCK_TOLERANCE_MS = 3_600_000

/** Whether an archive is dated in the future: by a wrong clock, then or now. It is never the newest one. */
export function isFuture({ start }: Pick<Archive, 'start'>, nowMs = Date.now()): boolean {
  return start.getTime() > nowMs + CLOCK_TOLERANCE_MS
}

/** The newest that is not dated in the future, nor was renamed. @param archives newest first */
export function newestOf(archives: readonly Archive[]): Archive | undefined {
  return archives.find((archive) => !archive.kept && !isFuture(archive))
}

/** What is wrong with archives that are dated in the future, and how they stop being in the way. */
export function explainFuture(archives: readonly Archive[], envFile: string): { message: string; hint: string } {
  const renames = archives.map(({ name }) => `borg rename ::${name} wrong-clock-${name}`)
  return {
    message: `Dated in the future, by a clock that was wrong: ${archives.map(({ name }) => name).join(', ')}`,
    hint: `If the clock of this machine is right now (date), rename what is not: (set -a; . ${quote(envFile)}; ${renames.join(' && ')})`,
  }
}

/**
 * Archives for the eye; below each what is known to be wrong with it. Sizes tell the night of the damage.
 * @param by what each is called: its time, where it is picked by its number, or its name, which can be typed
 */
export function archiveListing(archives: readonly Archive[], by: 'time' | 'name'): Listing {
  const zone = zoneOf(archives[0]?.start ?? new Date())
  const times = by === 'time' ? moments(archives.map((archive) => new Date(madeAt(archive)))) : []
  const rows = archives.map((archive, i) => {
    const { sha, mediaFiles, mediaBytes, noMedia } = parseComment(archive.comment)
    const kind = [
      ...(archive.label === undefined || (by === 'name' && !archive.kept) ? [] : [`before ${brief(archive.label)}`]),
      ...(archive.kept ? [by === 'time' ? `kept as ${archive.name}` : 'kept'] : []),
    ]
    return [
      times[i] ?? archive.name,
      age(archive.start).replace(/ ago$/, ''),
      archive.dumpBytes === undefined ? '' : bytes(archive.dumpBytes),
      noMedia
        ? 'none'
        : mediaFiles === undefined
          ? ''
          : `${mediaFiles.toLocaleString('en')}, ${bytes(mediaBytes ?? 0)}`,
      sha ? shortSha(sha) : 'unknown',
      kind.join(', '),
    ]
  })
  return {
    head: [by === 'time' ? 'archive' : `archive (times are ${zone})`, 'age', 'database', 'photos', 'release', ''],
    rows,
    notes: archives.map((archive) => flawsOf(archive).join('; ')),
  }
}

/** What is known to be wrong with an archive, a phrase each, for whoever is about to choose it. */
export function flawsOf(archive: Pick<Archive, 'start' | 'comment' | 'damaged' | 'acceptedSince'>): string[] {
  const holes = holesOf(archive)
  const { damaged = [], acceptedSince = false } = archive
  return [
    ...(isFuture(archive) ? ['DATED IN THE FUTURE, by a clock that was wrong'] : []),
    ...(damaged.length > 0 ? [`DAMAGED, borg check lacks parts of: ${firstOf(damaged)}`] : []),
    ...(holes.length > 0 ? [`INCOMPLETE${acceptedSince ? ', accepted since' : ''}: ${holes.join('; ')}`] : []),
  ]
}

/** The same for machines: age in seconds, sizes in bytes; null is what an archive of the bash scripts does not tell. */
export function archiveJson(archive: Archive) {
  const { sha, dumpMode, mediaFiles, mediaBytes, unreadable, tableCount } = parseComment(archive.comment)
  return {
    name: archive.name,
    start: isoLocal(archive.start),
    ageSeconds: Math.round((Date.now() - archive.start.getTime()) / 1000),
    restorePoint: archive.label ?? null,
    kept: archive.kept ?? false,
    dumpBytes: archive.dumpBytes ?? null,
    sha: sha ?? null,
    dumpMode: dumpMode ?? null,
    mediaFiles: mediaFiles ?? null,
    mediaBytes: mediaBytes ?? null,
    tables: tableCount ?? null,
    unreadable: unreadable ?? null,
    holes: holesOf(archive),
    damaged: archive.damaged ?? [],
    future: isFuture(archive),
  }
}
