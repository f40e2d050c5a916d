// Empties Cloudflare's cache, which would go on showing the old pages.

import type { Settings } from '../cli/settings.ts'
import { textOf } from '../core/answer.ts'
import { Failure, fetchReason } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { aBoolean, aNumber, aText, atBest, listOf, record, tryJson } from '../core/outside.ts'
import { retry } from '../core/retry.ts'

export const CLOUDFLARE_SETTINGS = ['CLOUDFLARE_ZONE_ID', 'CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_API_URL'] as const
export type CloudflareSettings = Settings<(typeof CLOUDFLARE_SETTINGS)[number]>

const ANSWER = record({ success: atBest(aBoolean), errors: atBest(listOf(atBest(apiError))) })
type Answer = ReturnType<typeof ANSWER>

interface ApiError {
  code?: number
  message?: string
  /** What is behind it: often the one that says what to do. */
  error_chain?: (ApiError | undefined)[]
}

const ATTEMPTS = 4
const TIMEOUT_MS = 15_000
const FIRST_WAIT_MS = 1000
/** A `Retry-After` beyond this is not waited for. */
const LONGEST_WAIT_MS = 60_000

function apiError(value: unknown): ApiError {
  return record({
    code: atBest(aNumber),
    message: atBest(aText),
    error_chain: atBest(listOf(atBest(apiError))),
  })(value)
}

/** Cloudflare's errors as it words them: `6003: Invalid request headers (6111: Invalid format for Authorization header)`. */
function apiErrors(errors: readonly (ApiError | undefined)[] = [], deepest = 3): string {
  return (deepest > 0 ? errors : [])
    .map((error) => {
      const behind = apiErrors(error?.error_chain, deepest - 1)
      return `${error?.code ?? '?'}: ${oneLine(error?.message ?? 'no message', MOST_REASON)}${behind && ` (${behind})`}`
    })
    .join(', ')
}

const MOST_REASON = 200
/** Of a page no more is looked at. */
const MOST_PAGE = 10_000

/** Why it did not purge: the API's errors, or the title of the page that answered in its place, or that page's words. */
function reasonOf(body: string, answer: Answer | undefined, status: number): string {
  const page = body.slice(0, MOST_PAGE)
  const title = /<title[^>]{0,200}>([^<]*)/i.exec(page)?.[1]?.trim()
  const words = title || (answer ? '' : page.replace(/<(style|script)\b[\s\S]*?(<\/\1>|$)|<[^<>]*>/gi, ' '))
  return (
    apiErrors(answer?.errors) ||
    `HTTP ${status}${words.trim() ? `: ${oneLine(words, MOST_REASON)}` : ' without a reason'}`
  )
}

/** How long to wait before the next attempt, in ms: what `Retry-After` says (seconds or a date), else doubling. */
export function waitMs(retryAfter: string | null, attempt: number, firstWaitMs: number, now = Date.now()): number {
  const seconds = Number(retryAfter ?? '')
  const asked = !retryAfter ? 0 : Number.isFinite(seconds) ? seconds * 1000 : Date.parse(retryAfter) - now
  return Math.max(firstWaitMs * 2 ** (attempt - 1), asked || 0)
}

/**
 * Empties the zone's cache. Tries again after 429, 5xx and network trouble.
 * @returns false when it was skipped because Cloudflare is not configured
 * @throws Failure with Cloudflare's own words; the cache still holds the old pages then
 */
export async function purgeCache(
  { CLOUDFLARE_ZONE_ID: zone, CLOUDFLARE_API_TOKEN: token, CLOUDFLARE_API_URL: api }: CloudflareSettings,
  log: Log,
  signal: AbortSignal,
  { firstWaitMs = FIRST_WAIT_MS, timeoutMs = TIMEOUT_MS } = {},
): Promise<boolean> {
  if (!zone || !token) return false
  const url = `${api}/zones/${zone}/purge_cache`
  let attempts = 0
  const purge = (attempt: number): Promise<void> => {
    attempts = attempt
    return purgeOnce(url, token, signal, timeoutMs)
  }
  const next = (error: unknown, attempt: number): number | undefined => {
    if (!(error instanceof NotPurged) || !error.again) return
    const wait = waitMs(error.retryAfter, attempt, firstWaitMs)
    if (wait > LONGEST_WAIT_MS) return
    log.info(`Cloudflare: ${error.message}. Trying again in ${Math.ceil(wait / 1000)} s.`)
    return wait
  }
  try {
    await retry(purge, { attempts: ATTEMPTS, waitMs: next, signal })
    return true
  } catch (error) {
    if (!(error instanceof NotPurged)) throw error
    throw new Failure(
      `Cloudflare did not purge the cache: ${error.message}${attempts > 1 ? ` (${attempts} attempts)` : ''}`,
      'Visitors may see old pages. Check CLOUDFLARE_ZONE_ID and the token (it needs Zone / Cache Purge), then: deploy --purge-only',
    )
  }
}

class NotPurged extends Error {
  constructor(
    problem: string,
    /** Whether another attempt may go better. */
    readonly again: boolean,
    readonly retryAfter: string | null = null,
  ) {
    super(problem)
  }
}

/** @throws NotPurged */
async function purgeOnce(url: string, token: string, signal: AbortSignal, timeoutMs: number): Promise<void> {
  const { response, body } = await send(url, token, signal, timeoutMs)
  const answer = tryJson(body, ANSWER)
  if (response.ok && answer?.success === true) return
  const again = response.status === 429 || response.status >= 500
  throw new NotPurged(reasonOf(body, answer, response.status), again, response.headers.get('retry-after'))
}

/** @throws NotPurged where no answer came */
async function send(
  url: string,
  token: string,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<{ response: Response; body: string }> {
  // Not AbortSignal.timeout: under AbortSignal.any Node 20 lets it be collected as garbage, and it never fires.
  const over = new AbortController()
  const timer = setTimeout(() => over.abort(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs)
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: '{"purge_everything":true}',
      // A redirect would carry the token elsewhere.
      redirect: 'error',
      signal: AbortSignal.any([signal, over.signal]),
    })
    return { response, body: await textOf(response) }
  } catch (error) {
    signal.throwIfAborted()
    // What fetch can't send has no cause: another attempt would end the same way.
    throw new NotPurged(fetchReason(error), !(error instanceof TypeError && error.cause === undefined))
  } finally {
    clearTimeout(timer)
  }
}
