// Tries something again after a wait.
import { setTimeout as sleep } from 'node:timers/promises'
import { Interrupted } from './failure.ts'

/** When another attempt is made after one that failed. */
export interface RetryOptions {
  /** At most so many attempts. */
  attempts?: number
  /** No other attempt is made when the last one ends later than this, counted from the start of the first. */
  withinMs?: number
  /** How long to wait before the next attempt; a function returns undefined when another attempt can't help. */
  waitMs: number | ((error: unknown, attempt: number) => number | undefined)
  /** Ends the wait early. */
  signal?: AbortSignal
}

/**
 * Makes attempts, one after the other, until one does not throw. An interruption is not tried again.
 *
 * @param attempt told its number: 1, 2, …
 * @throws what the last attempt threw; the signal's reason when that has fired
 */
export async function retry<T>(attempt: (number: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts = Number.POSITIVE_INFINITY, withinMs = Number.POSITIVE_INFINITY, waitMs, signal } = options
  const startedMs = performance.now()
  for (let number = 1; ; number++) {
    try {
      return await attempt(number)
    } catch (error) {
      signal?.throwIfAborted()
      const isLast = number >= attempts || performance.now() - startedMs > withinMs || error instanceof Interrupted
      const wait = isLast ? undefined : typeof waitMs === 'number' ? waitMs : waitMs(error, number)
      if (wait === undefined) throw error
      await sleep(wait, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted())
    }
  }
}
