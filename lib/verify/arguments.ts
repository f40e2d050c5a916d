// What the flags of `verify` may hold.
import { EXIT, Failure } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'

function refuse(message: string, hint = 'See: verify --help'): never {
  throw new Failure(message, hint, EXIT.usage)
}

/**
 * The site's address as `https://host`, without a path.
 * @param source where it was given, for the message
 * @throws Failure (exit status 2) when it is no such address
 */
export function parseSite(text: string, source = '--url'): string {
  const example =
    /^[a-z0-9.-]+(:\d+)?(\/|$)/i.test(text) && !text.includes('://') ? ` Did you mean https://${oneLine(text)}?` : ''
  if (!URL.canParse(text) || !/^https?:\/\//i.test(text))
    return refuse(`${source} must be an address that starts with https:// or http://.${example}`)
  const url = new URL(text)
  if (url.username || url.password)
    return refuse(`${source} must not hold a user or password: verify sends nothing secret.`)
  if (url.pathname !== '/' || url.search || url.hash)
    return refuse(`${source} must be the site's address alone, without a path.`, `Try: verify --url ${url.origin}`)
  return url.origin
}

const MAX_SECONDS = 3600

/** @throws Failure (exit status 2) */
export function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || seconds <= 0 || seconds > MAX_SECONDS)
    return refuse(
      `--timeout must be a number of seconds, more than 0 and at most ${MAX_SECONDS}, not ${oneLine(text, 20)}.`,
    )
  return seconds
}

/**
 * A commit's name, perhaps abbreviated, in lower case.
 * @throws Failure (exit status 2)
 */
export function parseExpectedSha(text: string | undefined): string | undefined {
  if (text !== undefined && !/^[0-9a-f]{7,40}$/i.test(text))
    return refuse(
      `--expect-sha must be 7 to 40 hexadecimal digits, not ${oneLine(text, 50)}.`,
      'For the commit at hand: git rev-parse HEAD',
    )
  return text?.toLowerCase()
}
