// Takes secrets out of text, in time that grows with the text's length and no faster.
import { CUT, oneLine, printable, printableLines } from './format.ts'

/** Knows secrets, and takes them out of text. */
export interface Redaction {
  /** Replaces every known secret, also as JSON, an address or a shell writes it, and the password of any URL, by `***`. */
  redact(text: string): string
  /** Makes `redact` know these values, too. */
  addSecrets(values: readonly string[]): void
}

const MASK = '***'

export function createRedaction(): Redaction {
  let forms: string[] = []
  return {
    redact: (text) => redactAddresses(forms.reduce(redactCut, forms.reduce(redactWhole, text))),
    addSecrets: (values) => {
      const known = new Set([
        ...forms,
        ...values.filter(canBeRedacted).flatMap((secret) => writtenForms(secret).filter(canBeRedacted)),
      ])
      // The longest first: a secret may be a part of another one.
      forms = [...known].sort((a, b) => b.length - a.length)
    },
  }
}

/** A secret that is a plain word would be replaced wherever the word stands, and so show itself. */
export function canBeRedacted(secret: string): boolean {
  return secret.length >= 8 && !/^[a-z]+$/i.test(secret)
}

/** How other programs write a secret in what they say. */
function writtenForms(secret: string): string[] {
  const inJson = (text: string): string => JSON.stringify(text).slice(1, -1)
  const forms = [
    secret,
    // By way of bytes: half a character, which an address can't hold, becomes the sign for one that is missing.
    encodeURIComponent(Buffer.from(secret).toString()),
    new URLSearchParams({ '': secret }).toString().slice(1),
    secret.replaceAll("'", "'\\''"),
    secret.replaceAll('\\', '\\\\').replaceAll("'", "\\'"),
    // What was made fit to be shown before it is told.
    printable(secret),
    printableLines(secret),
    oneLine(secret, secret.length),
  ]
  // Each as JSON, and as JSON that is told as a text of other JSON.
  return forms.flatMap((form) => [form, inJson(form), inJson(inJson(form))])
}

function redactWhole(text: string, form: string): string {
  return text.split(form).join(MASK)
}

/** Less of a secret tells nobody anything. */
const LEAST_TOLD = 4
/** At the end of a line, where a word may stand that a secret begins with. */
const LEAST_AT_END = 8

/** Takes the beginning of a secret out, where the text that held it was cut. */
function redactCut(text: string, form: string): string {
  const beginning = form.slice(0, LEAST_TOLD)
  let clean = ''
  let done = 0
  for (let at = text.indexOf(beginning); at >= 0; at = text.indexOf(beginning, at + 1)) {
    const length = sameLength(text, at, form)
    if (!isCut(text[at + length], length)) continue
    clean += text.slice(done, at) + MASK
    done = at + length
  }
  return clean + text.slice(done)
}

/** Whether this follows where a text was cut: by us, or, after much of a secret, at the end of a line. */
function isCut(next: string | undefined, length: number): boolean {
  return next === CUT || (length >= LEAST_AT_END && (next === undefined || next === '\n'))
}

/** How much of a form stands there. */
function sameLength(text: string, at: number, form: string): number {
  let length = 0
  while (length < form.length && text[at + length] === form[length]) length++
  return length
}

const SEPARATOR = '://'

/** `scheme://user:***@host`: the password of every URL. A pattern would take the square of a long word's length. */
function redactAddresses(text: string): string {
  let clean = ''
  let done = 0
  let wordEnd = 0
  for (let at = text.indexOf(SEPARATOR); at >= 0; at = text.indexOf(SEPARATOR, Math.max(done, at + 1))) {
    const userEnd = endOf(text, at + SEPARATOR.length, /[\s:/@]/g)
    if (!/\w/.test(text[at - 1] ?? '') || text[userEnd] !== ':') continue
    // No part of the text is looked at again and again.
    if (wordEnd <= userEnd) wordEnd = endOf(text, userEnd, /\s/g)
    const length = passwordLength(text.slice(userEnd + 1, wordEnd))
    if (length > 0) clean += `${text.slice(done, userEnd + 1)}${MASK}`
    // Without an @ up to the end of this word no other address in it has a password either.
    else clean += text.slice(done, wordEnd)
    done = length > 0 ? userEnd + 1 + length : wordEnd
  }
  return clean + text.slice(done)
}

/** Up to the last @ before the path; in a password with a slash, up to the first @ at all; all that is left of one that was cut. 0 when there is none. */
function passwordLength(rest: string): number {
  const beforePath = rest.slice(0, endOf(rest, 0, /[\s/?#"'<>,]/g))
  const last = beforePath.lastIndexOf('@')
  const at = last > 0 ? last : rest.indexOf('@', 1)
  if (at > 0) return at
  // Digits are a port.
  return /^(?!\d*…)[^…]+…/.test(beforePath) ? rest.length : 0
}

function endOf(text: string, start: number, pattern: RegExp): number {
  pattern.lastIndex = start
  return pattern.exec(text)?.index ?? text.length
}
