// Empties Cloudflare's cache, which would go on showing the old pages.

import type { Settings } from '../cli/settings.ts'
import { Failure, fetchReason } from '../core/failure.ts'
import { printable } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'

export const CLOUDFLARE_SETTINGS = ['CLOUDFLARE_ZONE_ID', 'CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_API_URL'] as const
export type CloudflareSettings = Settings<(typeof CLOUDFLARE_SETTINGS)[number]>

interface Answer {
  success?: boolean
  errors?: unknown
}
interface ApiError {
  code?: number
  message?: string
}

const ATTEMPTS = 4
const TIMEOUT_MS = 15_000
const FIRST_WAIT_MS = 1000
/** A `Retry-After` beyond this is not waited for. */
const LONGEST_WAIT_MS = 60_000

/** Cloudflare's errors as it words them: `10000: Authentication error`. */
function apiErrors(answer: Answer | undefined, status: number): string {
  return (
    (Array.isArray(answer?.errors) ? (answer.errors as ApiError[]) : [])
      .map(({ code, message }) => printable(`${code ?? '?'}: ${message ?? 'no message'}`))
      .join(', ') || `HTTP ${status} without a reason`
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
    const answer = (await response.json().catch(() => undefined)) as Answer | undefined
    if (response.ok && answer?.success === true) return
    const again = response.status === 429 || response.status >= 500
    throw new NotPurged(apiErrors(answer, response.status), again, response.headers.get('retry-after'))
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof NotPurged) throw error
    throw new NotPurged(fetchReason(error), true)
  } finally {
    clearTimeout(timer)
  }
}
