import type { Context } from './cli.ts'
import type { CloudflareSettings } from './cloudflare.ts'
import type { Settings } from './config.ts'
import { EXIT, Failure } from './failure.ts'
import { duration } from './format.ts'
import { short } from './git.ts'
import { type Run, record } from './golive.ts'
import type { Plan } from './plan.ts'
import { purgeStep, type Steps, verifyStep } from './steps.ts'

interface Ending {
  outcome: 'deployed' | 'unchanged'
  /** The rest of a sentence that begins with the commit, e.g. `is deployed`. */
  runs: string
  /** With what was done already. */
  steps: Steps
  settings: CloudflareSettings & Settings<'SITE_URL' | 'DOKKU_APP'>
  verify?: boolean
}

/**
 * What follows when the plan's commit is live: purge, verify, record, and the summary with the total time.
 * @throws Failure when the cache was not purged or the site does not pass its checks; the release runs all the same
 */
export const finish = async (
  context: Context,
  run: Run,
  plan: Plan,
  { outcome, runs, steps, settings, verify = true }: Ending,
): Promise<number> => {
  const { sha } = plan.commit
  await steps.must('purge the cache', () => purgeStep(context, settings))
  const verified = verify
    ? await steps.must('pass the checks', () => verifyStep(context, run.remote, settings, sha))
    : null
  await record(run, plan, outcome, verified)
  const what = `${short(sha)} ${runs} (${plan.app}, ${duration(Date.now() - run.startedMs)})`
  if (steps.failed.length > 0)
    throw new Failure(`${what}, but this did not ${steps.failed.join(', and not ')}: the reasons are above.`)
  context.print(summary(context, what, steps))
  return EXIT.done
}

/** The last line: what was done, and every warning on the way. */
export const summary = ({ log }: Pick<Context, 'log'>, what: string, { done }: Pick<Steps, 'done'>): string =>
  [what, ...done, ...log.warnings.map((warning) => `WARNING: ${warning}`)].join('; ')
