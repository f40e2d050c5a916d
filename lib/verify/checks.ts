// The checks of `verify`, all at the same time, and what their results mean together.
import { siteChecks } from './page-checks.ts'
import { type ExpectedRelease, releaseCheck } from './release.ts'
import { type Check, type CheckResult, runCheck } from './run-check.ts'
import { tlsCheck } from './tls.ts'

export interface VerifyOptions {
  /** The site's address, without a path. */
  url: string
  timeoutMs: number
  /** The operator's interruption. */
  signal: AbortSignal
  release?: ExpectedRelease | undefined
  /** Checks beside the eight, e.g. those in a browser. */
  more?: readonly Check[]
  /** Told of each check's final verdict as it comes. */
  onResult?: (result: CheckResult) => void
  /** Told of each failed attempt that is followed by another. */
  onRetry?: (result: CheckResult) => void
}

const LONGEST_PATIENCE_MS = 10_000

/** The checks in the order they are shown. */
export function checksFor({ url, release, more = [] }: Pick<VerifyOptions, 'url' | 'release' | 'more'>): Check[] {
  const site = new URL(url)
  return [...siteChecks(site), tlsCheck(site), releaseCheck(release), ...more]
}

/**
 * Looks at the site from outside, all checks at the same time, each until it passes or `timeoutMs` is over.
 * A failed check is a result, not an error.
 * @throws what `signal` carries when interrupted
 */
export async function verifySite(options: VerifyOptions): Promise<CheckResult[]> {
  const { timeoutMs, signal, onResult, onRetry } = options
  const budget = {
    deadlineMs: performance.now() + timeoutMs,
    patienceMs: Math.min(timeoutMs / 4, LONGEST_PATIENCE_MS),
    signal,
    onRetry,
  }
  return Promise.all(
    checksFor(options).map(async (check) => {
      const result = await runCheck(check, budget)
      onResult?.(result)
      return result
    }),
  )
}

export function failedChecks(results: readonly CheckResult[]): CheckResult[] {
  return results.filter(({ verdict }) => verdict === 'fail')
}

/** Whether nothing is known against the site: each check that failed did not get to it. */
export function isOnlyBlocked(results: readonly CheckResult[]): boolean {
  const failed = failedChecks(results)
  return failed.length > 0 && failed.every(({ blocked }) => blocked)
}

/** Whether the site is verified: something was checked, and nothing failed. */
export function isGreen(results: readonly CheckResult[]): boolean {
  return results.some(({ verdict }) => verdict !== 'skip') && failedChecks(results).length === 0
}
