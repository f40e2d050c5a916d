import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { duration } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import type { CloudflareSettings } from './cloudflare.ts'
import { type Run, record, recordLate } from './go-live.ts'
import type { Plan } from './plan.ts'
import { createSteps, purgeStep, type Steps, verifyStep } from './steps.ts'

interface Ending {
  outcome: 'deployed' | 'unchanged'
  /** The rest of a sentence that begins with the commit, e.g. `is deployed`. */
  runs: string
  settings: CloudflareSettings & Settings<'SITE_URL' | 'DOKKU_APP'>
  /** What comes before the purge. */
  first?: (steps: Steps) => Promise<unknown>
  verify?: boolean
}

/**
 * What follows when the plan's commit is live: purge, verify, record, and the summary with the total time.
 * Interrupted, it is recorded all the same.
 * @throws Failure when the cache was not purged or the site does not pass its checks; the release runs all the same
 */
export async function finish(
  context: Context,
  run: Run,
  plan: Plan,
  { outcome, runs, settings, first, verify = true }: Ending,
): Promise<number> {
  const { sha } = plan.commit
  const steps = createSteps(context)
  try {
    await first?.(steps)
    await steps.must('purge the cache', () => purgeStep(context, settings))
    const check = () => steps.must('pass the checks', () => verifyStep(context, run.remote, settings, sha))
    await record(run, plan, outcome, verify ? await check() : null)
  } catch (error) {
    await recordLate(run, plan, outcome)
    throw error
  }
  const what = `${shortSha(sha)} ${runs} (${plan.app}, ${duration(Date.now() - run.startedMs)})`
  if (steps.failed.length > 0)
    throw new Failure(`${what}, but this did not ${steps.failed.join(', and not ')}: the reasons are above.`)
  context.print(summary(context, what, steps))
  return EXIT.done
}

/** The last line: what was done, and every warning on the way. */
export function summary({ log }: Pick<Context, 'log'>, what: string, { done }: Pick<Steps, 'done'>): string {
  return [what, ...done, ...log.warnings.map((warning) => `WARNING: ${warning}`)].join('; ')
}
