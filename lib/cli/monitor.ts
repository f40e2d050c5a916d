import { reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'

/**
 * Tells a monitor of the healthchecks.io kind: `/start`, success at the address itself, `/fail` with the reason.
 * A monitor that can't be reached is a warning, never a failure of the work it watches.
 */
export interface Monitor {
  start(): Promise<void>
  success(text: string): Promise<void>
  fail(text: string): Promise<void>
}

const TIMEOUT_MS = 10_000

/** @param address the check's address, itself a secret; without one nothing is sent */
export function createMonitor(address: string | undefined, userAgent: string, log: Log): Monitor {
  const ping = async (path: '' | '/start' | '/fail', text: string): Promise<void> => {
    if (address === undefined) return
    const url = new URL(address)
    url.pathname = url.pathname.replace(/\/$/, '') + path
    const tell = async (): Promise<void> => {
      const response = await fetch(url, {
        method: 'POST',
        body: log.redact(text),
        headers: { 'user-agent': userAgent, 'content-type': 'text/plain; charset=utf-8' },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      await response.arrayBuffer()
      if (!response.ok) throw new Error(`it answered ${response.status}`)
    }
    await retry(tell, { attempts: 2, waitMs: 0 }).catch((error: unknown) => {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : reason(error)
      log.warn(`The monitor could not be told (${path || 'success'}): ${cause}`)
    })
  }
  return { start: () => ping('/start', ''), success: (text) => ping('', text), fail: (text) => ping('/fail', text) }
}
