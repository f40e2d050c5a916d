// What Borg prints, as data: its messages, its lists of archives and items, its figures.

import { Failure } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'
import { aNumber, aText, aTime, atBest, listOf, optional, readJson, record, tryJson } from '../core/outside.ts'

/** One line of `--log-json`; of another program's text only `message` is set. */
export interface Message {
  type?: string
  levelname?: string
  msgid?: string
  /** The logger: `borg.output.list` for the lines of `--list`. */
  name?: string
  message: string
  /** Of `archive_progress`: bytes so far, and the file that is read. */
  original_size?: number
  deduplicated_size?: number
  path?: string
  /** Of `progress_percent`: bytes so far, and how many there are in all. */
  current?: number
  total?: number
}

/** An archive as `borg list --json` gives it. */
export interface Archive {
  name: string
  /** When it was begun. Borg prints local time without a zone. */
  start: Date
  comment: string
  /** The name that it was made under, where the command was asked for. */
  madeAs?: string
  /** Somebody gave it another name, so that it is kept. */
  kept?: true
  /** Of a restore point: what it was taken before. */
  label?: string
  /** Files of it that `borg check` found damaged, as it has their paths. */
  damaged?: readonly string[]
  /** Somebody has said since that what there is, is right. */
  acceptedSince?: boolean
  /** Of the dump, as this machine noted it. */
  dumpBytes?: number | undefined
}

/** What `borg create --json` reports, in bytes. */
export interface Created {
  originalBytes: number
  /** Deduplicated, compressed: what this archive added to the repository. */
  newBytes: number
  /** Deduplicated, compressed size of all archives of the repository. */
  repositoryBytes: number
}

/** A file, folder or link in an archive. */
export interface Item {
  /** `-` file, `d` directory, `l` symbolic link, `h` hard link to an earlier file of the archive. */
  type: string
  /** Without a leading `/`. */
  path: string
  sizeBytes: number
  mtimeMs: number
  /** Where a link leads. */
  target: string
  /** `borg check --repair` has put zeros in place of what was lost of it. */
  isBroken?: true
}

const LIST = record({
  archives: listOf(
    record({ name: aText, start: aTime, comment: optional(aText), command_line: atBest(listOf(aText)) }),
  ),
})

/**
 * What `borg list --json` prints, oldest first.
 * @throws Failure when it is something else
 */
export function parseList(stdout: string): Archive[] {
  const { archives } = readJson(stdout, LIST, 'Borg (borg list --json)', 'Is it Borg that runs? Look: borg --version')
  return archives.map(({ name, start, comment = '', command_line: command = [] }) => {
    const madeAs = command.flatMap((word) => /^[^\s{]*::(\S+)$/.exec(word)?.[1] ?? []).at(-1)
    return { name, start, comment, ...(madeAs === undefined ? {} : { madeAs }) }
  })
}

const CREATED = record({
  archive: record({ stats: record({ original_size: aNumber, deduplicated_size: aNumber }) }),
  cache: record({ stats: record({ unique_csize: aNumber }) }),
})

/**
 * What `borg create --json` prints.
 * @throws Failure when it is something else: the archive is there all the same
 */
export function parseCreated(stdout: string): Created {
  const { archive, cache } = readJson(stdout, CREATED, 'Borg (borg create --json)')
  return {
    originalBytes: archive.stats.original_size,
    newBytes: archive.stats.deduplicated_size,
    repositoryBytes: cache.stats.unique_csize,
  }
}

/**
 * An item of the list that `itemsArgs` asks for, without its end; Borg was called with TZ=UTC, since it prints times without a zone.
 * @throws Failure when it is something else
 */
export function parseItem(item: string): Item {
  const [mode = '', size = '', time = '', path = '', source = '', health = ''] = item.split('\0')
  const [, date, clock, fraction = ''] = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,3})?/.exec(time) ?? []
  const mtimeMs = Date.parse(`${date}T${clock}${fraction}Z`)
  if (mode === '' || !/^\d{1,15}$/.test(size) || Number.isNaN(mtimeMs))
    throw new Failure(`Borg (borg list) did not answer as expected: this is no file of an archive: ${oneLine(item)}`)
  return {
    // `h`: a hard link. Borg says that its size is 0.
    type: mode.slice(0, 1),
    path,
    sizeBytes: Number(size),
    mtimeMs,
    target: source.slice(1),
    ...(health === 'broken' ? { isBroken: true } : {}),
  }
}

/** The names in the lines `Pruning archive (1/2): NAME …` of `borg prune --list`. */
export function parsePruned(messages: readonly Message[]): string[] {
  return messages.flatMap(({ message }) => {
    const found = /^(?:Pruning archive|Would prune)[^:]*:\s+(\S+)/.exec(message)
    return found?.[1] ? [found[1]] : []
  })
}

/** How many archives a `borg prune --list` kept. */
export function parseKept(messages: readonly Message[]): number {
  return messages.filter(({ message }) => message.startsWith('Keeping archive')).length
}

/** Bytes that pruning took from the repository's deduplicated size: the last column of `Deleted data:` (`--stats`). */
export function parseDeletedBytes(messages: readonly Message[]): number {
  const line = messages.find(({ message }) => message.startsWith('Deleted data:'))?.message ?? ''
  const [, amount = '0', unit = 'B'] = /(?<![\d.])([\d.]+) ([kMGT]?B)\s*$/.exec(line) ?? []
  return Math.round(Number(amount) * 1000 ** ['B', 'kB', 'MB', 'GB', 'TB'].indexOf(unit))
}

/** `500M`, `1.5T`, `5000000000`: a size as it stands in a repository's configuration, in bytes; 0 when that is none. */
export function parseSize(text: string): number {
  const [, amount = '0', unit = ''] = /^([\d.]+)([KMGTP]?)$/i.exec(text.trim()) ?? []
  return Math.round(Number(amount) * 1000 ** ['', 'K', 'M', 'G', 'T', 'P'].indexOf(unit.toUpperCase()))
}

const figure = atBest(aNumber)
const word = atBest(aText)
const MESSAGE = record({
  message: word,
  type: word,
  levelname: word,
  msgid: word,
  name: word,
  path: word,
  original_size: figure,
  deduplicated_size: figure,
  current: figure,
  total: figure,
})

/** The `--log-json` lines of a stderr; any other line becomes a message without a type. */
export function parseMessages(stderr: string): Message[] {
  return stderr.split('\n').flatMap((line) => {
    if (line.trim() === '') return []
    const found = tryJson(line, MESSAGE)
    return [found ? { ...found, message: found.message ?? '' } : { message: line }]
  })
}

/**
 * The files that a `borg check --info` found without a part of them, or with zeros in its place, by archive. `Healed` says that
 * the part is there again: but only a repair puts it into the file.
 */
export function parseDamage(messages: readonly Message[]): Record<string, string[]> {
  const found = new Map<string, Set<string>>()
  for (const { message } of messages) {
    const damaged = damagedIn(message)
    if (damaged) found.set(damaged.archive, (found.get(damaged.archive) ?? new Set()).add(damaged.path))
  }
  return Object.fromEntries([...found].map(([archive, paths]) => [archive, [...paths].slice(0, MOST_DAMAGED)]))
}

const DAMAGE = [
  ': New missing file chunk detected ',
  ': Previously missing file chunk is still missing ',
  ': Healed previously missing file chunk! ',
]

/** `ARCHIVE: PATH: New missing file chunk detected …`; a path may hold anything. */
function damagedIn(message: string): { archive: string; path: string } | undefined {
  const end = Math.max(...DAMAGE.map((words) => message.lastIndexOf(words)))
  const colon = message.indexOf(': ')
  if (colon < 1 || colon + 2 >= end) return undefined
  return { archive: message.slice(0, colon), path: message.slice(colon + 2, end) }
}

const MOST_DAMAGED = 100

/** `[1, 2, 4]` of `borg 1.2.4`, or of `borgbackup version 1.2.4`. */
export function parseVersion(text: string): number[] | undefined {
  const found = /^borg(?:backup version)? (\d+)\.(\d+)\.(\d+)/m.exec(text)
  return found ? found.slice(1).map(Number) : undefined
}

/** What --show-version has said. */
export function tellsVersion({ name, message }: Message): boolean {
  return name === 'borg.output.show-version' && parseVersion(message) !== undefined
}
