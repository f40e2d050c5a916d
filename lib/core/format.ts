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

/** `1 file`, `3 files`. */
export function plural(count: number, word: string, many = `${word}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? word : many}`
}

/** The first of many, and how many more: `a, b and 3 more`. */
export function firstOf(texts: readonly string[], most = 5): string {
  const more = texts.length - most
  return texts.slice(0, most).join(', ') + (more > 0 ? ` and ${more.toLocaleString('en')} more` : '')
}

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
