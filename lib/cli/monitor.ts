// Tells a monitor (healthchecks.io and its like) that a run began, and how it ended.
import { textOf } from '../core/answer.ts'
import { fetchReason, reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'
import { VERSION } from '../core/version.ts'
import { HeldLock } from './lock.ts'

/**
 * Tells a monitor of the healthchecks.io kind: `/start`, success at the address itself, `/fail` with the reason.
 * A monitor that can't be reached is a warning, never a failure of the work it watches.
 */
interface Monitor {
  start(): Promise<void>
  success(text: string): Promise<void>
  fail(text: string): Promise<void>
}

const TIMEOUT_MS = 10_000

/** @param address the check's address, itself a secret; without one nothing is sent */
export function createMonitor(address: string | undefined, log: Log): Monitor {
  const ping = async (path: '' | '/start' | '/fail', text: string): Promise<void> => {
    if (address === undefined) return
    const url = new URL(address)
    url.pathname = url.pathname.replace(/\/$/, '') + path
    const tell = async (): Promise<void> => {
      const response = await fetch(url, {
        method: 'POST',
        body: log.clean(text),
        headers: { 'user-agent': `book-corners-ops/${VERSION}`, 'content-type': 'text/plain; charset=utf-8' },
        // Elsewhere nobody waits for it, and what went wrong is told to nobody else.
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      await textOf(response)
      if (!response.ok) throw new Error(`it answered ${response.status}`)
    }
    await retry(tell, { attempts: 2, waitMs: 0 }).catch((error: unknown) =>
      log.warn(`The monitor could not be told (${path || 'success'}): ${fetchReason(error)}`),
    )
  }
  return { start: () => ping('/start', ''), success: (text) => ping('', text), fail: (text) => ping('/fail', text) }
}

/**
 * Runs something and tells the monitor how it ends: success with the summary, or failure with the reason. Nothing is told
 * when another run has held the lock since not long ago: that run tells how it ends itself.
 *
 * @param signal an interruption's: its reason counts, not the error that it leads to
 * @param run calls `begin` when the work begins, and returns the summary; what it throws before that is told, too
 * @throws what `run` throws
 */
export async function watched(
  monitor: Monitor,
  signal: AbortSignal,
  run: (begin: () => void) => Promise<string>,
): Promise<void> {
  // The work does not wait for the monitor, but its end is told after its start.
  let started = Promise.resolve()
  const begin = (): void => {
    started = monitor.start()
  }
  try {
    const summary = await run(begin)
    await started
    await monitor.success(summary)
  } catch (error) {
    await started
    const cause = signal.aborted ? signal.reason : error
    if (!(cause instanceof HeldLock && isOfTonight(cause))) await monitor.fail(reason(cause))
    throw error
  }
}

/** No night takes longer. Whoever holds the lock for longer hangs, and who does not say who it is may be anybody. */
const LONGEST_NIGHT_MS = 20 * 3_600_000

function isOfTonight({ holder }: HeldLock): boolean {
  return holder !== undefined && Date.now() - Date.parse(holder.since) < LONGEST_NIGHT_MS
}
