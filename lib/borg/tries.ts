// Tries again what failed because the repository could not be reached, or was locked, for a while.

import type { Settings } from '../cli/settings.ts'
import { Failure, reason } from '../core/failure.ts'
import { duration, oneLine } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'
import { Stalled } from '../core/transfer.ts'
import { Unavailable } from './errors.ts'

export const TRIES_SETTINGS = ['RETRIES', 'RETRY_WAIT_SECONDS'] as const

/** The tries of one run, over all of its steps. */
export interface Tries {
  /** How many there were: 1, unless something was tried again. */
  readonly count: number
  /**
   * Does a step, and does it again after a wait when the repository was unavailable. A step that fails must leave nothing.
   * @throws what the last try threw; anything else at once
   */
  run<T>(step: () => Promise<T>): Promise<T>
}

/** @param signal ends the wait */
export function createTries(
  { RETRIES, RETRY_WAIT_SECONDS }: Settings<(typeof TRIES_SETTINGS)[number]>,
  log: Log,
  signal: AbortSignal,
): Tries {
  let count = 1
  const waitMs = (error: unknown): number | undefined => {
    if (!passes(error) || count > RETRIES) return undefined
    log.info(
      `Try ${count} of ${RETRIES + 1} failed; the next one is in ${duration(RETRY_WAIT_SECONDS * 1000)}. ${oneLine(reason(error), 300)}`,
    )
    count++
    return RETRY_WAIT_SECONDS * 1000
  }
  return {
    get count() {
      return count
    },
    run: async (step) => {
      try {
        return await retry(step, { waitMs, signal })
      } catch (error) {
        if (!(error instanceof Failure) || !passes(error) || count === 1) throw error
        throw new Failure(`${error.message} (tried ${count} times)`, error.hint, error.exitCode)
      }
    },
  }
}

/** Whether it may go by itself. */
function passes(error: unknown): boolean {
  return error instanceof Unavailable || (error instanceof Stalled && error.idle === 'Borg')
}
