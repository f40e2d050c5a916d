// Tells an answer of Cloudflare, which stands before the site, from one of the site itself.
import type { IncomingHttpHeaders } from 'node:http'

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

interface Block {
  /** What answered in place of the site. */
  by: string
  /** It may be over in a moment. */
  passing: boolean
}

// https://developers.cloudflare.com/cloudflare-challenges/challenge-types/challenge-pages/detect-response: a challenge comes
// with this header, whatever its status (403, and as seen 429, 503, 202). A block has none: its page, or the number of its
// error (1000 to 1199) in text or JSON, tells.
const CHALLENGE_PAGE =
  /<title>Just a moment\.\.\.<|\/cdn-cgi\/challenge-platform\/|_cf_chl_opt|cf-browser-verification/i
const BLOCK_PAGE = /Attention Required! \| Cloudflare|cf-error-details|Sorry, you have been blocked/i
const ERROR_NUMBER = /error code: (1[01]\d\d)\b|"error_code":\s*(1[01]\d\d)\b|<title>[^<]*\bError (1[01]\d\d)\b/i
const RATE_LIMITED = '1015'
// The server behind Cloudflare is at fault: its host name, tunnel or worker.
const NOT_A_BLOCK = /^(1000|1001|1002|1003|1004|1014|1016|1018|1019|1033|1101|1102|1104)$/

/** What keeps this program from the site; undefined for an answer of the site, good or bad. */
export function findBlock({ status, headers, body }: Answer): Block | undefined {
  if (headers['cf-mitigated'] === 'challenge') return { by: "Cloudflare's challenge", passing: false }
  const isRefusal = [403, 429, 503].includes(status)
  if (!isRefusal || !(headers['cf-ray'] || /^cloudflare$/i.test(String(headers.server)))) return
  if (CHALLENGE_PAGE.test(body)) return { by: "Cloudflare's challenge", passing: false }
  const number = ERROR_NUMBER.exec(body)?.slice(1).find(Boolean)
  if (number !== undefined && NOT_A_BLOCK.test(number)) return
  const name = number === undefined ? "Cloudflare's block" : `Cloudflare's block (error ${number})`
  if (number !== undefined || BLOCK_PAGE.test(body)) return { by: name, passing: number === RATE_LIMITED }
  return
}
