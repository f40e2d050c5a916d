// Waits for a run that holds the lock, where that is soon over.

import { HeldLock, RESTORE_POINT_RUN, takeLock } from '../cli/lock.ts'
import { retry } from '../core/retry.ts'
import type { Backup } from './backup.ts'

const LONGEST_WAIT_MS = 15 * 60_000
const ASK_EVERY_MS = 2000

/** A night that meets a restore point begins after it: it would be missed for a few seconds. */
export function isRestorePoint({ holder }: HeldLock): boolean {
  return holder?.script === RESTORE_POINT_RUN
}

/**
 * @param script as the record of the lock names this run
 * @param isWaitedFor whether the run that holds it is worth a wait
 * @returns a function that gives the lock back
 * @throws HeldLock when it is not, or takes too long
 */
export function waitForLock(
  { context, settings }: Backup,
  script: string,
  isWaitedFor: (held: HeldLock) => boolean,
): Promise<() => Promise<void>> {
  const { shell, log } = context
  let told: number | undefined
  return retry(() => takeLock({ shell }, script, settings), {
    withinMs: LONGEST_WAIT_MS,
    waitMs: (error) => {
      if (!(error instanceof HeldLock)) return
      // Between two runs, or at the end of one, nobody says who holds it for a moment: on a busy machine, for seconds.
      if (told !== undefined && !error.holder) return ASK_EVERY_MS
      if (!isWaitedFor(error)) return
      const pid = error.holder?.pid ?? 0
      if (pid !== told) log.info(`${error.message} It is waited for, ${LONGEST_WAIT_MS / 60_000} minutes at most.`)
      told = pid
      return ASK_EVERY_MS
    },
    signal: shell.signal,
  })
}
