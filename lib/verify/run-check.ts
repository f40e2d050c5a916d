// Runs one check until it passes or the time is up.
import { Failure } from '../core/failure.ts'

export type Verdict = 'pass' | 'warn' | 'fail' | 'skip'

/** What an attempt found when nothing was wrong. */
export interface CheckOutcome {
  verdict: 'pass' | 'warn'
  /** What was seen, in one line. */
  seen: string
}

/** One line of the report. */
export interface CheckResult {
  name: string
  verdict: Verdict
  /** It failed because something before the site did not let this program in. Of the site it says nothing. */
  blocked?: boolean
  /** What was seen, in one line. */
  seen: string
  /** How long the attempt that decided took. */
  tookMs: number
  tries: number
}

/** What is looked at, or why it is not. */
export type Check = RunnableCheck | SkippedCheck

export interface RunnableCheck {
  name: string
  /** One attempt. @throws Unexpected with what was seen */
  run(signal: AbortSignal): Promise<CheckOutcome>
}

interface SkippedCheck {
  name: string
  /** Why it does not run. */
  skip: string
}

/** What a check saw that it should not have seen, as the rest of its line. Nothing else that a check throws is expected. */
export class Unexpected extends Error {
  override name = 'Unexpected'

  constructor(
    message: string,
    /** Another attempt is of no use. */
    readonly final = false,
  ) {
    super(message)
  }
}

/** Something before the site answered in its place: whether the site works is not known. */
export class Blocked extends Unexpected {
  override name = 'Blocked'
}

interface Budget {
  /** When to stop, on the clock of `performance.now()`. */
  deadlineMs: number
  /** The operator's interruption. */
  signal: AbortSignal
  /** When an attempt has had no answer for so long, another one starts beside it. */
  patienceMs: number
  /** Told of every attempt that failed and will be followed by another. */
  onRetry?: ((result: CheckResult) => void) | undefined
}

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 5000
const SHORTEST_PAUSE_MS = 100
const ATTEMPTS_AT_ONCE = 3
/** On a busy machine a check that was ended needs it to say how far it came. */
const MOMENT_MS = 500

/** The pause after a failed attempt: doubled each time, spread by a quarter, and at most half of the time that is left. */
export function pauseMs(tries: number, leftMs: number, random = Math.random()): number {
  const backoff = Math.min(FIRST_PAUSE_MS * 2 ** (tries - 1), LONGEST_PAUSE_MS)
  return Math.min(backoff * (0.75 + random / 2), leftMs / 2)
}

interface Attempt {
  readonly aborted: boolean
  ended: Promise<{ result: CheckResult; final: boolean; by: Attempt }>
  abort(): void
}

/**
 * Runs one check until it passes or the time is up. When an attempt gets no answer, another one starts and the first goes
 * on: a slow answer may still come, and a lost one does not cost the whole time. Three run at once; a fourth ends the oldest.
 *
 * @throws what the interruption's signal carries
 */
export async function runCheck(
  check: Check,
  { deadlineMs, signal, patienceMs, onRetry }: Budget,
): Promise<CheckResult> {
  if ('skip' in check) return { name: check.name, verdict: 'skip', seen: check.skip, tookMs: 0, tries: 0 }
  signal.throwIfAborted()
  const running = new Set<Attempt>()
  let last: CheckResult | undefined
  let tries = 0
  let nextMs = performance.now()
  try {
    for (;;) {
      if (performance.now() >= nextMs) {
        const [oldest] = running
        if (oldest && running.size === ATTEMPTS_AT_ONCE) oldest.abort()
        running.add(start(check))
        tries++
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
          // An attempt that was ended for a newer one needs no other.
          if (!event.by.aborted) nextMs = Math.min(nextMs, performance.now() + pause)
        } else nextMs = Infinity
      }
      if (leftMs > 0 && (running.size > 0 || nextMs !== Infinity)) continue
      const [oldest] = running
      if (last || !oldest) return last ?? noTime(check, tries)
      oldest.abort()
      return { ...(await oldest.ended).result, tries }
    }
  } finally {
    for (const { abort } of running) abort()
  }
}

function start(check: RunnableCheck): Attempt {
  const controller = new AbortController()
  const startedMs = performance.now()
  const result = (verdict: Verdict, seen: string): CheckResult => ({
    name: check.name,
    verdict,
    seen,
    tookMs: performance.now() - startedMs,
    tries: 1,
  })
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => {
      // The check itself may know how far it came: it gets a moment to say so.
      setTimeout(() => reject(new Unexpected('no answer in time')), MOMENT_MS)
    })
  })
  const attempt: Attempt = {
    get aborted() {
      return controller.signal.aborted
    },
    abort: () => controller.abort(),
    ended: Promise.race([check.run(controller.signal), aborted]).then(
      ({ verdict, seen }) => ({ result: result(verdict, seen), final: true, by: attempt }),
      (error: unknown) => {
        if (!(error instanceof Unexpected || error instanceof Failure)) throw error
        const final = error instanceof Unexpected && error.final
        const failed = result('fail', error.message)
        return { result: error instanceof Blocked ? { ...failed, blocked: true } : failed, final, by: attempt }
      },
    ),
  }
  // When nobody waits for it any longer, its failure is nobody's.
  attempt.ended.catch(() => {})
  return attempt
}

/** The first of the attempts to end; undefined when none did until then. */
async function first(
  running: ReadonlySet<Attempt>,
  untilMs: number,
  signal: AbortSignal,
): Promise<Awaited<Attempt['ended']> | undefined> {
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

function noTime({ name }: Check, tries: number): CheckResult {
  return { name, verdict: 'fail', seen: 'the time was up before the first attempt', tookMs: 0, tries }
}
