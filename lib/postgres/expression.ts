// Whether a text that somebody typed is one SQL expression, and nothing beside it.

import { EXIT, Failure } from '../core/failure.ts'

const WORD = /[\w$\u0080-\uffff]+/y
const TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const CLOSING: Record<string, string> = { '(': ')', '[': ']' }

/**
 * Refuses what could end the expression that a text is put into, or the statement around it: a bracket too many, a quote that
 * stays open, a semicolon, a comment, a command for psql. PostgreSQL itself judges the rest.
 * @throws Failure (exit status 2) that says what is wrong
 */
export function requireExpression(text: string, flag: string): void {
  const problem = problemOf(text)
  if (problem)
    throw new Failure(`${flag} must be one SQL expression: ${problem}.`, `For example: ${flag} "id = 42"`, EXIT.usage)
}

function problemOf(text: string): string | undefined {
  const open: string[] = []
  if (text.trim() === '') return 'it is empty'
  for (let at = 0; at < text.length; ) {
    const sign = text[at] ?? ''
    if (text.startsWith('--', at) || text.startsWith('/*', at)) return 'there is a comment in it'
    if (sign === ';') return 'there is a semicolon in it'
    if (sign === '\\' || sign === '\0') return `there is a ${sign === '\0' ? 'NUL' : 'backslash'} outside of quotes`
    if (CLOSING[sign]) open.push(CLOSING[sign])
    if ((sign === ')' || sign === ']') && open.pop() !== sign) return `a ${sign} closes what was not opened`
    const end = endOfToken(text, at)
    if (end === undefined) return `a quote stays open: ${text.slice(at, at + 20)}`
    at = end
  }
  return open.length > 0 ? `a ${open.at(-1)} is missing` : undefined
}

/** Where the token ends that begins here; undefined for a quote that stays open. */
function endOfToken(text: string, at: number): number | undefined {
  const sign = text[at]
  if (sign === "'" || sign === '"') return endOfQuote(text, at, false)
  const word = matchAt(WORD, text, at)
  const tag = matchAt(TAG, text, at)
  if (tag) {
    const end = text.indexOf(tag, at + tag.length)
    return end < 0 ? undefined : end + tag.length
  }
  // E'…': the only quotes in which a backslash takes the next sign's meaning away.
  if (word && /^e$/i.test(word) && text[at + 1] === "'") return endOfQuote(text, at + 1, true)
  return at + (word?.length ?? 1)
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

/** A quote that is doubled is a part of the text. */
function endOfQuote(text: string, start: number, escapes: boolean): number | undefined {
  const quote = text[start]
  for (let at = start + 1; at < text.length; at++) {
    if (escapes && text[at] === '\\') at++
    else if (text[at] === quote && text[at + 1] === quote) at++
    else if (text[at] === quote) return at + 1
  }
  return undefined
}
