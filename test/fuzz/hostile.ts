// What is hostile or odd in the fuzz cases: texts, answers of another shape, secrets.
import { inTurn, type Random } from './random.ts'

/** What must not be shown. Its two halves are in no other text, and in every way that it can be written. */
export interface Secret {
  text: string
  halves: readonly [string, string]
}

/** @param between its halves; without it one odd sign */
export function secretOf(random: Random, between?: string): Secret {
  const half = (): string =>
    Array.from({ length: 10 }, () => random.pick([...'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'])).join('')
  const halves = [half(), half()] as const
  return { text: halves.join(between ?? random.pick(['-', '"', "'", '\\', '  ', '\t', '\t', '%', 'ü', '{'])), halves }
}

/** How other programs write a text. */
export const FORMS: readonly ((text: string) => string)[] = [
  String,
  JSON.stringify,
  (text) => JSON.stringify(JSON.stringify(text)),
  encodeURIComponent,
  (text) => new URLSearchParams({ key: text }).toString(),
  (text) => `'${text.replaceAll("'", "'\\''")}'`,
]

function written(random: Random, { text }: Secret): string {
  return random.pick([String, ...FORMS])(text)
}

/** An address whose password is half of the secret. */
function address(random: Random, { halves: [password] }: Secret): string {
  const scheme = random.pick(['postgres', 'https', 'ssh', 'redis', 'x'])
  return `${scheme}://${random.pick(['app', '', 'a.b', '%40'])}:${password}${random.pick(['', ':x', '!', '%2F'])}@${random.pick(['db:5432/books', 'host', '[::1]/', ''])}`
}

const PIECES = [
  'a',
  ' ',
  '/',
  '://',
  'a://b:',
  '#',
  ' #',
  '.',
  '"',
  "'",
  '\\',
  '$',
  '`',
  '1',
  '0',
  '-',
  '=',
  '<',
  '(',
  '[',
  '{',
  '%',
  '@',
  ':',
  '\t',
  '\n',
  'App ',
  '[Errno ',
  'Remote: ',
]
/** What a pattern is slow on most often, when it repeats: a word, addresses, blanks, what messages begin with. */
const SLOW_PIECES = ['a', 'a b', 'a://b:', ' ', '\n', '\t', ' a', 'App ', '<', 'Remote: ']
export const SIGNS = [
  '\u001b[2J',
  '\u001b]0;x\u0007',
  '\r',
  '\u0007',
  '\u0000',
  '\u009b31m',
  '\u202e',
  '\u2066',
  '\u2028',
  '\u007f',
  '\r\nOK: all is well',
  '\n2026-02-28T03:00:00+01:00 OK',
  '\ud800',
  '\ufeff',
]
const WORDS = [
  'Traceback (most recent call last):',
  'does not exist',
  '$(touch x)',
  '; touch x;',
  '`touch x`',
  'No space left on device',
  '::error::x',
  '../../etc/passwd',
  '-rf',
  '--yes',
  'ä€😀',
  'null',
  'NaN',
  '1e999',
  '-0',
]

/** Long enough to be slow on, where something takes the square of a length. */
const LONG = 150_000

/** A text on which one of them repeats: each has its turn. */
export function longText(turn: number): string {
  const piece = inTurn(SLOW_PIECES, turn)
  return `x${piece.repeat(Math.floor(LONG / piece.length))}x`
}

/** A text of somebody who means harm, or of nobody who meant anything. */
export function hostileText(random: Random, secret?: Secret): string {
  const part = (): string => {
    const kind = random.below(secret ? 13 : 11)
    if (kind < 2) {
      const piece = random.pick(random.chance(0.8) ? SLOW_PIECES : PIECES)
      return piece.repeat(Math.floor(LONG / piece.length))
    }
    if (kind < 5) return random.pick(SIGNS)
    if (kind < 8) return random.pick(WORDS)
    if (kind < 11 || !secret) return random.pick(PIECES).repeat(1 + random.below(4))
    return kind === 11 ? ` ${written(random, secret)} ` : ` ${address(random, secret)} `
  }
  return random.list(6, part).join(random.pick(['', ' ', '\n']))
}

/** The same, short: for names. */
export function hostileName(random: Random): string {
  return random.list(4, () => random.pick([...SIGNS, ...WORDS, ...PIECES, 'photo'])).join('')
}

const OTHERS: readonly unknown[] = [
  null,
  0,
  -1,
  1.5,
  1e300,
  '',
  'x',
  true,
  [],
  [null],
  {},
  { a: null },
  [[]],
  '2026-99-99T99:99:99',
]

/** A value in which one part, however deep, is left out or another. */
export function otherShape(random: Random, value: unknown): unknown {
  return changedAt(random, value, random.pick(pathsIn(value)))
}

/** The ways to all parts of a value; the first one leads to itself. */
function pathsIn(value: unknown): string[][] {
  const parts = typeof value === 'object' && value !== null ? Object.entries(value) : []
  return [[], ...parts.flatMap(([key, part]) => pathsIn(part).map((path) => [key, ...path]))]
}

function changedAt(random: Random, value: unknown, [key, ...path]: readonly string[]): unknown {
  if (key === undefined) return random.chance(0.3) ? null : random.pick([...OTHERS, hostileName(random)])
  const isLeftOut = path.length === 0 && random.chance(0.2)
  const changed = Object.entries(value as object).flatMap(([name, part]) => {
    if (name !== key) return [[name, part]]
    return isLeftOut ? [] : [[name, changedAt(random, part, path)]]
  })
  return Array.isArray(value) ? changed.map(([, part]) => part) : Object.fromEntries(changed)
}

/** What somebody says who should have said this as JSON. */
export function oddAnswer(random: Random, value: unknown, secret?: Secret): string {
  const json = JSON.stringify(random.chance(0.75) ? otherShape(random, value) : value)
  const kind = random.below(20)
  if (kind === 0) return json.slice(0, random.below(json.length + 1))
  if (kind === 1) return `${json}\n${hostileName(random)}`
  if (kind === 2) return hostileText(random, secret)
  // About where a text for one line is cut.
  const beforeCut = 'x'.repeat(95 + random.below(25))
  if (kind < 8 && secret) return `${beforeCut}${written(random, secret)}${json}`
  if (kind === 8 && secret) return `${beforeCut} ${address(random, secret)}${json}`
  if (kind === 3) return '['.repeat(20_000) + ']'.repeat(20_000)
  if (kind === 4) return ''
  return json
}
