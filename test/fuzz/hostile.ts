// What is hostile or odd in the fuzz cases: texts, answers of another shape, secrets.
import type { Random } from './random.ts'

/** What must not be shown. Its two halves are in no other text, and in every way that it can be written. */
export interface Secret {
  text: string
  halves: readonly [string, string]
}

export function secretOf(random: Random): Secret {
  const half = (): string =>
    Array.from({ length: 10 }, () => random.pick([...'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'])).join('')
  const halves = [half(), half()] as const
  return { text: halves.join(random.pick(['-', '"', "'", '\\', ' ', '%', 'ü', '\t', '+', '{'])), halves }
}

/** How other programs write a secret. */
function written(random: Random, { text }: Secret): string {
  return random.pick([
    text,
    JSON.stringify(text),
    encodeURIComponent(text),
    new URLSearchParams({ key: text }).toString(),
    `'${text.replaceAll("'", "'\\''")}'`,
  ])
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
const BLANKS = [' ', '\n', '\t', ' a']
const SIGNS = [
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
const LONG = 60_000

/** A text of somebody who means harm, or of nobody who meant anything. */
export function hostileText(random: Random, secret?: Secret): string {
  const part = (): string => {
    const kind = random.below(secret ? 12 : 10)
    if (kind === 0) {
      const piece = random.pick(random.chance(0.5) ? BLANKS : PIECES)
      return piece.repeat(Math.floor(LONG / piece.length))
    }
    if (kind < 4) return random.pick(SIGNS)
    if (kind < 7) return random.pick(WORDS)
    if (kind < 10 || !secret) return random.pick(PIECES).repeat(1 + random.below(4))
    return kind === 10 ? ` ${written(random, secret)} ` : ` ${address(random, secret)} `
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

/** A value with something of it replaced, left out, or added. */
export function otherShape(random: Random, value: unknown): unknown {
  if (random.chance(0.2) || typeof value !== 'object' || value === null)
    return random.pick([...OTHERS, hostileName(random)])
  const entries = Object.entries(value)
  const at = random.below(entries.length)
  const changed = entries.flatMap(([key, item], index) => {
    if (index !== at) return [[key, item]]
    return random.chance(0.2) ? [] : [[key, otherShape(random, item)]]
  })
  return Array.isArray(value) ? changed.map(([, item]) => item) : Object.fromEntries(changed)
}

/** What somebody says who should have said this as JSON. */
export function oddAnswer(random: Random, value: unknown): string {
  const json = JSON.stringify(random.chance(0.75) ? otherShape(random, value) : value)
  const kind = random.below(12)
  if (kind === 0) return json.slice(0, random.below(json.length + 1))
  if (kind === 1) return `${json}\n${hostileName(random)}`
  if (kind === 2) return hostileText(random)
  if (kind === 3) return '['.repeat(20_000) + ']'.repeat(20_000)
  if (kind === 4) return ''
  return json
}
