// What Borg prints, as data: its messages, its lists of archives and items, its figures.

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
  /** Of a restore point: what it was taken before. */
  label?: string
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
}

/** What `borg list --json` prints, oldest first. */
export function parseList(stdout: string): Archive[] {
  return (JSON.parse(stdout) as { archives: { name: string; start: string; comment?: string }[] }).archives.map(
    ({ name, start, comment = '' }) => ({ name, start: new Date(start), comment }),
  )
}

/** What `borg create --json` prints. */
export function parseCreated(stdout: string): Created {
  const { archive, cache } = JSON.parse(stdout) as {
    archive: { stats: { original_size: number; deduplicated_size: number } }
    cache: { stats: { unique_csize: number } }
  }
  return {
    originalBytes: archive.stats.original_size,
    newBytes: archive.stats.deduplicated_size,
    repositoryBytes: cache.stats.unique_csize,
  }
}

/** An item of the list that `itemsArgs` asks for, without its end; Borg was called with TZ=UTC, since it prints times without a zone. */
export function parseItem(item: string): Item {
  const [mode = '', size, time = '', path = '', source = ''] = item.split('\0')
  const [, date, clock, fraction = ''] = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,3})?/.exec(time) ?? []
  return {
    // `h`: a hard link. Borg says that its size is 0.
    type: mode.slice(0, 1),
    path,
    sizeBytes: Number(size ?? 0),
    mtimeMs: Date.parse(`${date}T${clock}${fraction}Z`),
    target: source.slice(1),
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

/** The `--log-json` lines of a stderr; any other line becomes a message without a type. */
export function parseMessages(stderr: string): Message[] {
  return stderr.split('\n').flatMap((line) => {
    if (line.trim() === '') return []
    try {
      const message = JSON.parse(line) as Message
      return typeof message === 'object' && message
        ? [{ ...message, message: String(message.message ?? '') }]
        : [{ message: line }]
    } catch {
      return [{ message: line }]
    }
  })
}

/** `[1, 2, 4]` of `borg 1.2.4`. */
export function parseVersion(stdout: string): number[] | undefined {
  const found = /^borg (\d+)\.(\d+)\.(\d+)/m.exec(stdout)
  return found ? found.slice(1).map(Number) : undefined
}
