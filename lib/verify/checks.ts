import { shortSha } from '../core/sha.ts'
import type { LiveRelease } from '../server/app.ts'
import { SshFailure } from '../server/ssh-errors.ts'
import { siteChecks } from './page-checks.ts'
import { Unexpected } from './request.ts'
import { type Check, type CheckResult, runCheck } from './run-check.ts'
import { tlsCheck } from './tls.ts'

export type { Check, CheckResult, Verdict } from './run-check.ts'

export interface VerifyOptions {
  /** The site's address, without a path. */
  url: string
  timeoutMs: number
  /** The operator's interruption. */
  signal: AbortSignal
  /** The commit that must run, perhaps abbreviated. */
  expectSha?: string
  /** Asks the server; needed with `expectSha`. */
  release?: () => Promise<LiveRelease>
  /** Checks beside the eight, e.g. those in a browser. */
  more?: readonly Check[]
  /** Told of each check's final verdict as it comes. */
  onResult?: (result: CheckResult) => void
  /** Told of each failed try that is followed by another. */
  onRetry?: (result: CheckResult) => void
}

const LONGEST_PATIENCE_MS = 10_000

/** The checks in the order they are shown. */
export function checksFor({ url, expectSha, release, more = [] }: VerifyOptions): Check[] {
  const site = new URL(url)
  return [...siteChecks(site), tlsCheck(site), releaseCheck(expectSha, release), ...more]
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
    ...(onRetry ? { onRetry } : {}),
  }
  return Promise.all(
    checksFor(options).map(async (check) => {
      const result = await runCheck(check, budget)
      onResult?.(result)
      return result
    }),
  )
}

function releaseCheck(expectSha: string | undefined, ask: VerifyOptions['release']): Check {
  return {
    name: 'release',
    ...(expectSha === undefined ? { skip: 'not asked for: give --expect-sha' } : {}),
    run: async () => {
      if (!ask) throw new Error('expectSha needs release')
      const { sha, revision, processes, running } = await ask().catch((error: unknown) => {
        // A key that is not accepted now will not be accepted in a minute.
        const final = error instanceof SshFailure && (error.trouble === 'host-key' || error.trouble === 'login')
        throw final ? new Unexpected(error.message, true) : error
      })
      if (sha === undefined) throw new Unexpected('the server does not say which commit it runs')
      const seen = `runs ${shortSha(sha)}, ${processes}`
      if (!sha.toLowerCase().startsWith((expectSha ?? '').toLowerCase()))
        throw new Unexpected(`${seen}; expected ${shortSha(expectSha ?? '')}`)
      // A commit that was taken and not started, or a container that was restarted after a failed deploy.
      if (revision !== undefined && revision !== sha)
        throw new Unexpected(`Dokku deployed ${shortSha(sha)}, but its container says it runs ${shortSha(revision)}`)
      if (!running) throw new Unexpected(seen)
      return { verdict: 'pass', seen }
    },
  }
}

export function failedChecks(results: readonly CheckResult[]): CheckResult[] {
  return results.filter(({ verdict }) => verdict === 'fail')
}

/** Whether the site is verified: something was checked, and nothing failed. */
export function isGreen(results: readonly CheckResult[]): boolean {
  return results.some(({ verdict }) => verdict !== 'skip') && failedChecks(results).length === 0
}
