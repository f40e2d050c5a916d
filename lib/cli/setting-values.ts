// How the value of a setting is read: each throws an Error with the rest of a sentence that begins with the key.
import { isHost } from '../core/host.ts'

export function text(text: string): string {
  return text
}

export function matching(pattern: RegExp, wanted: string) {
  return (text: string): string => {
    if (!pattern.test(text)) throw new Error(`must be ${wanted}`)
    return text
  }
}

export function wholeNumber(least: number) {
  return (text: string): number => {
    if (!/^\d{1,9}$/.test(text) || Number(text) < least) throw new Error(`must be a whole number, ${least} or more`)
    return Number(text)
  }
}

const HOURS = { H: 1, d: 24, w: 24 * 7, m: 24 * 31, y: 24 * 365 }

/** `2d`, `36H`: an interval as `borg prune --keep-within` takes it, in hours. A month is 31 days there, a year 365. */
export function interval(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,4})([Hdwmy])$/.exec(text) ?? []
  if (count === undefined) throw new Error('must be a number and one of H, d, w, m, y, e.g. 2d')
  return Number(count) * HOURS[unit as keyof typeof HOURS]
}

export function webAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol))
    throw new Error('must be an address that starts with https:// or http://')
  // What fetches it refuses it, and says it whole.
  if (url.username || url.password) throw new Error('must not hold a user or password')
  return text.replace(/(?<!\/)\/+$/, '')
}

/**
 * The site's address as `https://host`, without a path.
 * @throws Error with the rest of a sentence that begins with where the address was given
 */
export function siteAddress(text: string): string {
  const url = new URL(webAddress(text))
  if (url.pathname !== '/' || url.search || url.hash)
    throw new Error("must be the site's address alone, without a path")
  return url.origin
}

/** A token goes into an HTTP header. What a copy from a web page or a mail adds to it can't be seen. */
export function token(text: string): string {
  const value = text.trim()
  const [odd] = /[^\u0021-\u007e]/u.exec(value) ?? []
  if (odd === undefined) return value
  const code = odd.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')
  throw new Error(
    `must be the token alone: it holds ${/\s/.test(odd) ? 'a blank or a line break' : 'a character'} (U+${code})`,
  )
}

export function hostName(text: string): string {
  if (!isHost(text)) throw new Error('must be a host name, or HOST:PORT')
  return text
}

export function oneOf<T extends string>(...values: T[]) {
  return (text: string): T => {
    if (!values.includes(text as T)) throw new Error(`must be ${values.join(' or ')}`)
    return text as T
  }
}

export function yesOrNo(text: string): boolean {
  return oneOf('yes', 'no')(text) === 'yes'
}

export const name = matching(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'a name of letters, digits, dot, - and _')

function absolutePath(text: string): string {
  if (!text.startsWith('/') || text.length < 2) throw new Error('must be an absolute path')
  if (text.split('/').some((part) => part === '..' || part === '.')) throw new Error('must be a path without . and ..')
  return text.replace(/\/+/g, '/').replace(/\/$/, '')
}

/** @returns null for an app without uploads */
export function mediaFolder(text: string): string | null {
  if (text === 'none') return null
  if (!text.startsWith('/')) throw new Error('must be an absolute path, or none')
  return absolutePath(text)
}

/** Node takes the path of what it is to load for an address. */
export function scriptsFolder(text: string): string {
  if (/[#?%]/.test(text)) throw new Error('must be a path without #, ? and %')
  return absolutePath(text)
}
