// Tables, lists and texts that fit a terminal.
import { printable } from './format.ts'

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
  'echo printf cat grep sed tail ls ps pgrep kill df mount readlink rm cp mv mkdir install chmod chown setfacl crontab export',
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
