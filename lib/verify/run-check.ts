import { Failure } from '../core/failure.ts'
import { Unexpected } from './request.ts'

export type Verdict = 'pass' | 'warn' | 'fail' | 'skip'

export interface CheckResult {
  name: string
  verdict: Verdict
  /** What was seen, in one line. */
  seen: string
  /** How long the try that decided took. */
  tookMs: number
  tries: number
}

/** What a try found when nothing was wrong. */
export interface Found {
  verdict: 'pass' | 'warn'
  seen: string
}

export interface Check {
  name: string
  /** Why it does not run. */
  skip?: string
  /** One try. @throws Unexpected with what was seen */
  run(signal: AbortSignal): Promise<Found>
}

export interface Budget {
  /** When to stop, on the clock of `performance.now()`. */
  deadlineMs: number
  /** The operator's interruption. */
  signal: AbortSignal
  /** A try that hangs this long gets company by the next one. */
  patienceMs: number
  /** Told of every try that failed and will be followed by another. */
  onRetry?: (result: CheckResult) => void
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 5000
const SHORTEST_PAUSE_MS = 100
const TRIES_AT_ONCE = 3

/** The pause after a failed try: doubled each time, spread by a quarter, and never so long that the time runs out in it. */
export function pauseMs(tries: number, leftMs: number, random = Math.random()): number {
  const backoff = Math.min(FIRST_PAUSE_MS * 2 ** (tries - 1), LONGEST_PAUSE_MS)
  return Math.min(backoff * (0.75 + random / 2), leftMs / 2)
}

interface Try {
  number: number
  readonly aborted: boolean
  ended: Promise<{ result: CheckResult; final: boolean; by: Try }>
  abort(): void
}

/**
 * Runs one check until it passes or the time is up. A try that hangs is not given up when the next one starts: a slow
 * answer may still come, and a lost one does not cost the whole time. Only the oldest of three makes room for a fourth.
 *
 * @throws what the interruption's signal carries
 */
export async function runCheck(
  check: Check,
  { deadlineMs, signal, patienceMs, onRetry }: Budget,
): Promise<CheckResult> {
  if (check.skip !== undefined) return { name: check.name, verdict: 'skip', seen: check.skip, tookMs: 0, tries: 0 }
  signal.throwIfAborted()
  const running = new Set<Try>()
  let last: CheckResult | undefined
  let tries = 0
  let nextMs = performance.now()
  try {
    for (;;) {
      if (performance.now() >= nextMs) {
        const [oldest] = running
        if (oldest && running.size === TRIES_AT_ONCE) oldest.abort()
        running.add(start(check, ++tries))
        nextMs = performance.now() + patienceMs
      }
      const event = await first(running, Math.min(nextMs, deadlineMs), signal)
      signal.throwIfAborted()
      const leftMs = deadlineMs - performance.now()
      if (event) {
        running.delete(event.by)
        last = { ...event.result, tries }
        if (last.verdict !== 'fail' || event.final) return last
        const pause = pauseMs(tries, leftMs)
        if (pause >= SHORTEST_PAUSE_MS) {
          onRetry?.(last)
          // The one that made room has been followed already.
          if (!event.by.aborted) nextMs = Math.min(nextMs, performance.now() + pause)
        } else nextMs = Infinity
      }
      if (leftMs > 0 && (running.size > 0 || nextMs !== Infinity)) continue
      const [oldest] = running
      if (last || !oldest) return last ?? nothing(check, tries)
      oldest.abort()
      return { ...(await oldest.ended).result, tries }
    }
  } finally {
    for (const { abort } of running) abort()
  }
}

function start(check: Check, number: number): Try {
  const controller = new AbortController()
  const startedMs = performance.now()
  const result = (verdict: Verdict, seen: string): CheckResult => ({
    name: check.name,
    verdict,
    seen,
    tookMs: performance.now() - startedMs,
    tries: number,
  })
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => {
      // What was under way says more than the clock, if it says it at once.
      setTimeout(() => reject(new Unexpected('no answer in time')), 50)
    })
  })
  const attempt: Try = {
    number,
    get aborted() {
      return controller.signal.aborted
    },
    abort: () => controller.abort(),
    ended: Promise.race([check.run(controller.signal), aborted]).then(
      ({ verdict, seen }) => ({ result: result(verdict, seen), final: true, by: attempt }),
      (error: unknown) => {
        if (!(error instanceof Unexpected || error instanceof Failure)) throw error
        const final = error instanceof Unexpected && error.final
        return { result: result('fail', error.message), final, by: attempt }
      },
    ),
  }
  // Whoever no longer waits for it does not want to hear of it.
  attempt.ended.catch(() => {})
  return attempt
}

/** The first of the tries to end; undefined when none did until then. */
async function first(
  running: ReadonlySet<Try>,
  untilMs: number,
  signal: AbortSignal,
): Promise<Awaited<Try['ended']> | undefined> {
  let timer: NodeJS.Timeout | undefined
  let onAbort = (): void => {}
  const interrupted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  const time = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), Math.max(0, untilMs - performance.now()))
  })
  try {
    return await Promise.race([...[...running].map(({ ended }) => ended), time, interrupted])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}

function nothing({ name }: Check, tries: number): CheckResult {
  return {
    name,
    verdict: 'fail',
    seen: 'it did not come to a try',
    tookMs: 0,
    tries,
  }
}
