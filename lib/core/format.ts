// How values are written for people: sizes, times, tables, and text that comes from outside.

/** Bytes as Borg and df print them: decimal units, `1.25 MB`. */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const sign = count < 0 ? '-' : ''
  let value = Math.abs(count)
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${sign}${unit === 0 ? value : value.toFixed(2)} ${units[unit]}`
}

/** `[########------------]  42 %`: how far something is. */
export function bar(done: number, total: number): string {
  const part = total > 0 ? Math.min(done / total, 1) : 1
  const full = Math.floor(part * 20)
  return `[${'#'.repeat(full)}${'-'.repeat(20 - full)}] ${String(Math.floor(part * 100)).padStart(3)} %`
}

/** `850 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}

/** How long ago, in the words an operator would use: `5 minutes ago`, `2 days ago`. */
export function age(then: Date, now = new Date()): string {
  const seconds = (now.getTime() - then.getTime()) / 1000
  if (Number.isNaN(seconds)) return 'at an unknown time'
  if (seconds < 0) return 'in the future'
  for (const [size, word] of [
    [86400 * 2, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
  ] as const) {
    if (seconds < size) continue
    const count = Math.floor(seconds / (word === 'day' ? 86400 : size))
    return `${plural(count, word)} ago`
  }
  return 'just now'
}

/** `1 file`, `3 files`. */
export function plural(count: number, word: string, many = `${word}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? word : many}`
}

/** The first of many, and how many more: `a, b and 3 more`. */
export function firstOf(texts: readonly string[], most = 5): string {
  const more = texts.length - most
  return texts.slice(0, most).join(', ') + (more > 0 ? ` and ${more.toLocaleString('en')} more` : '')
}

/** A time for people, with its zone, in local time: `Thu 26 Nov 03:00 UTC`; with the year unless it is this one. */
export function moment(date: Date, now = new Date()): string {
  return momentTo('03:00'.length, date, now)
}

/** The same of several that stand in one list: to the second where two would look alike. */
export function moments(dates: readonly Date[], now = new Date()): string[] {
  const seen = new Map<string, number>()
  for (const text of dates.map((date) => moment(date, now))) seen.set(text, (seen.get(text) ?? 0) + 1)
  return dates.map((date) => {
    const text = moment(date, now)
    return seen.get(text) === 1 ? text : momentTo('03:00:00'.length, date, now)
  })
}

function momentTo(length: number, date: Date, now: Date): string {
  if (!isTime(date)) return 'an unknown time'
  return `${day(date, now)} ${localTimestamp(date).slice(11, 11 + length)} ${zoneOf(date)}`
}

/** A day for people: `Thu 26 Nov`; with the year unless it is this one. */
export function day(date: Date, now = new Date()): string {
  if (!isTime(date)) return 'an unknown day'
  const part = (options: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat('en-GB', options).format(date)
  const year = date.getFullYear() === now.getFullYear() ? '' : ` ${date.getFullYear()}`
  return `${part({ weekday: 'short' })} ${date.getDate()} ${part({ month: 'short' })}${year}`
}

/** When something was, and how long ago that is: `Thu 26 Nov 03:00 UTC, 16 h 53 min ago`. */
export function momentAgo(date: Date, now = new Date()): string {
  return `${moment(date, now)}, ${agoInWords(date, now)}`
}

/** The zone of local time then: `UTC`, `CEST`. */
export function zoneOf(date: Date): string {
  if (!isTime(date)) return ''
  const text = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', timeZoneName: 'short' }).format(date)
  return /\S+$/.exec(text)?.[0] ?? ''
}

/** How long ago, exact enough to know what was done in it: `16 h 53 min ago`, `12 days ago`. */
export function agoInWords(then: Date, now = new Date()): string {
  const ms = now.getTime() - then.getTime()
  return ms >= 60_000 && ms < 4 * 86_400_000 ? `${duration(ms)} ago` : age(then, now)
}

/** Local time with its zone, to the second: `2026-02-28T03:00:00+01:00`. */
export function isoLocal(date: Date): string {
  if (!isTime(date)) return 'an unknown time'
  const minutes = -date.getTimezoneOffset()
  const two = (value: number): string => String(Math.floor(Math.abs(value))).padStart(2, '0')
  return `${localTimestamp(date)}${minutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`
}

/** A commit can have a date that JavaScript does not know, or none in our zone. */
function isTime(date: Date): boolean {
  return Math.abs(date.getTime()) <= LAST_MS
}

/** The last time that JavaScript writes (ECMA-262), less a day for the zones. */
const LAST_MS = 8.64e15 - 86_400_000

/** Local time without a zone, as archive names carry it: `2026-02-28T03:00:00`. */
export function localTimestamp(date: Date): string {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}

/**
 * Rows as aligned columns, two spaces apart; a column is right-aligned when `right` lists its index. What is in a cell
 * makes no line of its own. Where the columns don't fit the terminal, the last one goes on below itself; if there is no
 * room for that either, each row takes lines of its own.
 * @param columns of the terminal
 */
export function table(
  cells: readonly (readonly string[])[],
  right: readonly number[] = [],
  columns = Number.POSITIVE_INFINITY,
): string {
  return layOut(cells, right, columns).rows.join('\n')
}

/** A table with a head, and notes below its rows. */
export interface Listing {
  head: readonly string[]
  rows: readonly (readonly string[])[]
  /** Below the row of the same index; an empty one is left out. */
  notes?: readonly string[]
  /** The indexes of the columns that are right-aligned. */
  right?: readonly number[]
}

/**
 * Where its columns don't fit the terminal, each cell is told with its head instead.
 * @param numbered whether each row has its number, from 1
 */
export function listing({ head, rows, notes = [], right = [] }: Listing, columns?: number, numbered = false): string {
  const mark = (row: readonly string[], number: number | undefined): string[] => {
    const [first = '', ...more] = row
    return numbered ? [`${String(number ?? '').padStart(4)}  ${first}`, ...more] : [first, ...more]
  }
  const cells = rows.map((row, i) => mark(row, i + 1))
  const wide = layOut([mark(head, undefined), ...cells], right, columns)
  const named = (row: readonly string[]): string[] =>
    row.map((cell, i) => (i === 0 || cell === '' || row.length < 3 ? cell : `${head[i] ?? ''} ${cell}`.trimStart()))
  const texts = wide.isStacked ? layOut(cells.map(named), [], columns).rows : wide.rows.slice(1)
  const indent = ' '.repeat(numbered ? 6 : 4)
  const below = (note: string | undefined): string[] => (note ? [wrap(`${indent}! ${printable(note)}`, columns)] : [])
  return [
    ...(wide.isStacked ? [] : wide.rows.slice(0, 1)),
    ...texts.flatMap((text, i) => [text, ...below(notes[i])]),
  ].join('\n')
}

/** The text of each row. */
function layOut(
  cells: readonly (readonly string[])[],
  right: readonly number[],
  columns = Number.POSITIVE_INFINITY,
): { rows: string[]; isStacked: boolean } {
  const rows = cells.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  const width = widths.reduce((sum, cell) => sum + cell + 2, -2)
  const before = width - (widths.at(-1) ?? 0)
  const isStacked = width > columns && columns - before < LEAST_COLUMN
  const text = (row: readonly string[]): string => {
    if (isStacked) return stacked(row, columns)
    const line = row.map((cell, i) => (right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
    return wrapLine(line.join('  ').trimEnd(), columns, before).join('\n')
  }
  return { rows: rows.map(text), isStacked }
}

/** A column in which whole words still stand beside one another. */
const LEAST_COLUMN = 20

/** A row's first cell, and below it the others, as many on a line as fit. */
function stacked([first = '', ...others]: readonly string[], columns: number): string {
  const lines = [first]
  for (const cell of others.filter(Boolean)) {
    const last = lines.at(-1) ?? ''
    const longer = `${last}  ${cell}`
    if (lines.length > 1 && longer.length <= columns) lines[lines.length - 1] = longer
    else lines.push(`    ${cell}`)
  }
  return wrap(lines.join('\n'), columns)
}

/**
 * Lines that fit a terminal, broken between words, but not within a command or between a number and its unit: what is
 * pasted must stay one line. The further ones are indented as the first is, and a little more.
 * @param hanging how far instead
 */
export function wrap(text: string, columns: number | undefined, hanging?: number): string {
  if (columns === undefined || columns < LEAST_COLUMNS) return text
  return text
    .split('\n')
    .flatMap((line) => wrapLine(line, columns, hanging))
    .join('\n')
}

/** In a narrower terminal nothing is gained. */
const LEAST_COLUMNS = 40

function wrapLine(line: string, columns: number, hanging?: number): string[] {
  if (line.length <= columns) return [line]
  const indent = hanging === undefined ? `${/^ */.exec(line)?.[0] ?? ''}  ` : ' '.repeat(hanging)
  const lines: string[] = []
  let rest = line.replace(TOGETHER, (part) => part.replaceAll(' ', GLUE))
  while (rest.length > columns) {
    const space = rest.lastIndexOf(' ', columns)
    // What is longer than a line stays whole.
    const at = rest.slice(0, space + 1).trim() === '' ? rest.indexOf(' ', indent.length + 1) : space
    if (at < 0 || rest.slice(at).trim() === '') break
    lines.push(typeable(rest.slice(0, at).trimEnd(), columns))
    rest = indent + rest.slice(at + 1).trimStart()
  }
  return [...lines, typeable(rest, columns)].map((part) => part.replaceAll(GLUE, ' '))
}

/** A command that is longer than a line has that line for itself, which is copied whole: without the end of the sentence. */
function typeable(line: string, columns: number): string {
  return line.length > columns && line.includes(GLUE) ? line.replace(/(?<=[^\s.])[.,;]$/, '') : line
}

/** Stands for a space at which no line is broken. */
const GLUE = '\u0000'

/** The first words of the commands that messages name; a test looks for one that is missing. */
const PROGRAMS = [
  'sudo dokku backup restore deploy rollback verify borg psql pg_dump pg_restore git gh ssh(?:-\\w+)? scp \\\\c',
  'echo printf cat grep sed tail ls ps pgrep df mount readlink rm cp mv mkdir install chmod chown setfacl crontab export',
  'script sh su apt-get chromium',
]
  .join(' ')
  .replaceAll(' ', '|')

/** Where a command begins, by its first word, up to the end of its sentence; one of ours anywhere; a number with its unit. */
const TOGETHER = new RegExp(
  [
    String.raw`(?<=\()(?:~?\/(?:[\w./-]*\/)?)?(?:backup|restore) --[^()]*(?=\))`,
    String.raw`(?<=(?:^ *|[:?→] |\(|\b[Tt]ype ))(?:\(set -a;|(?:~?\/(?:[\w./-]*\/)?)?(?:${PROGRAMS}) ).*?(?=$|(?<=\S)[.,;] (?=[A-Z]|and |or |then)| \((?!set ))`,
    String.raw`(?<![\w-])(?:~?\/(?:[\w./-]*\/)?)?(?:backup|restore|deploy|rollback|verify)(?: --[a-z-]+(?: [A-Z]{2,}\b)?)+`,
    String.raw`\b[A-Z][a-z]{2} \d+ [A-Z][a-z]{2} (?:\d{4} )?\d\d:\d\d [A-Z]\w*`,
    String.raw`\d (?:B|[kMGT]B|ms|s|min|h \d+ min|h|%|[A-Z]{3,4}|days?|hours?|minutes?)(?!\w)`,
  ].join('|'),
  'g',
)

/** C0, DEL, C1, line and paragraph separators, and what turns the direction of writing: each can hide or forge a line. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g

/** Text from outside made safe for one line of a terminal or log: control characters become `?`. */
export function printable(text: string): string {
  return text.replace(CONTROL, '?')
}

/** The same for text of several lines. Colours go without a trace: they are in what builds and Dokku print. */
export function printableLines(text: string): string {
  return text
    .replace(/\u001b\[[\d;]*m/g, '')
    .replaceAll('\t', '  ')
    .replace(CONTROL, (sign) => (sign === '\n' ? sign : '?'))
}

/**
 * JSON that a terminal may show: control characters are escaped, which changes nothing of the value.
 * @param change made to every text in it
 */
export function printableJson(value: unknown, change: (text: string) => string): string {
  const json = JSON.stringify(value, (_, part: unknown) => (typeof part === 'string' ? change(part) : part))
  return json.replace(CONTROL, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Stands where a text was cut. */
export const CUT = '…'

/** Text from outside for one line: no control characters, not longer than a line can bear. */
export function oneLine(text: string, most = 120): string {
  const clean = printable(text.replace(/\s+/g, ' ').trim())
  return clean.length > most ? `${clean.slice(0, most - 1)}${CUT}` : clean
}

/** The last lines of what a program said, on one line. */
export function lastLines(text: string, lines = 3): string {
  return text
    .trim()
    .split('\n')
    .slice(-lines)
    .map((line) => line.replace(/^\s*!\s+/, '').trim())
    .filter(Boolean)
    .join(' · ')
}

/**
 * The candidates most like a mistyped word, best first.
 * @param most how many of them
 * @param part the part of the word that may be wrong
 */
export function nearest(word: string, candidates: readonly string[], most = 1, part = 1 / 2): string[] {
  const farthest = (candidate: string): number => Math.max(1, Math.min(word.length, candidate.length) * part)
  return candidates
    .filter((candidate) => Math.abs(word.length - candidate.length) <= farthest(candidate))
    .map((candidate) => ({ candidate, distance: editDistance(word, candidate) }))
    .filter(({ candidate, distance }) => distance <= farthest(candidate))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, most)
    .map(({ candidate }) => candidate)
}

/** How many letters are wrong, missing, too many, or change places with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, i) => i)]
  const at = (i: number, j: number): number => rows[i]?.[j] ?? 0
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j++) {
      const isTurned = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swap = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const turn = isTurned ? at(i - 2, j - 2) + 1 : swap
      row.push(Math.min(swap, turn, at(i - 1, j) + 1, at(i, j - 1) + 1))
    }
  }
  return at(a.length, b.length)
}
