// What the flags of `verify` may hold.
import { siteAddress } from '../cli/setting-values.ts'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'

function refuse(message: string, hint = 'See: verify --help'): never {
  throw new Failure(message, hint, EXIT.usage)
}

/**
 * The site's address as `https://host`, without a path, as --url gave it.
 * @throws Failure (exit status 2) when it is no such address
 */
export function parseSite(text: string): string {
  try {
    return siteAddress(text)
  } catch (error) {
    const isHost = /^[a-z0-9.-]+(:\d+)?(\/|$)/i.test(text) && !text.includes('://')
    const url = URL.canParse(text) && /^https?:/i.test(text) ? new URL(text) : undefined
    return refuse(
      `--url ${reason(error)}.${isHost ? ` Did you mean https://${oneLine(text)}?` : ''}`,
      url ? `Try: verify --url ${url.origin}` : undefined,
    )
  }
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
