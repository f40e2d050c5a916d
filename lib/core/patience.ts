// Waits with a bound, of which no part is time in which this program itself could do nothing.

/** A wait that has a bound. */
interface Patience {
  /** Something came: the wait begins again. */
  refresh(): void
  stop(): void
}

const LONGEST_SLICE_MS = 1000

/**
 * Calls `onEnd` once when nothing came for so long. A program that was stopped (SIGSTOP, Ctrl-Z, a laptop that slept) finds all its
 * time used up when it goes on, although nobody kept it waiting: so the time is counted in slices, and each counts twice at most.
 */
export function startPatience(ms: number, onEnd: () => void): Patience {
  const sliceMs = Math.min(ms / 4, LONGEST_SLICE_MS)
  let seenMs = performance.now()
  let waitedMs = 0
  const timer = setInterval(() => {
    const nowMs = performance.now()
    waitedMs += Math.min(nowMs - seenMs, 2 * sliceMs)
    seenMs = nowMs
    if (waitedMs < ms) return
    clearInterval(timer)
    onEnd()
  }, sliceMs)
  return {
    refresh: () => {
      waitedMs = 0
    },
    stop: () => clearInterval(timer),
  }
}

/** Whether a promise settles in time. */
export async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let patience: Patience | undefined
  const late = new Promise<false>((resolve) => {
    patience = startPatience(ms, () => resolve(false))
  })
  try {
    return await Promise.race([promise.then(() => true as const), late])
  } finally {
    patience?.stop()
  }
}
