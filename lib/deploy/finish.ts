// What follows when a release runs: sync, purge, verify, the ledger, and the summary.

import type { Context } from '../cli/main.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { duration, plural } from '../core/format.ts'
import { wrap } from '../core/layout.ts'
import { shortSha } from '../core/sha.ts'
import { showWaiting } from '../core/waiting.ts'
import { type RunningRelease, runningRelease } from '../server/app.ts'
import type { Remote } from '../server/ssh.ts'
import { syncRelease } from '../server/sync.ts'
import { checksFor, failedChecks, isGreen, isOnlyBlocked, verifySite } from '../verify/checks.ts'
import { tellActions } from '../verify/github-actions.ts'
import { countsOf, LET_IN, resultLine } from '../verify/report.ts'
import { type CloudflareSettings, purgeCache } from './cloudflare.ts'
import type { Live } from './confirm.ts'
import type { Deployment } from './deployment.ts'
import { createFollowing } from './following.ts'
import type { Plan } from './plan.ts'
import { record, recordLate } from './record.ts'

/** The rest of a sentence that begins with the commit. */
const RUNS: Record<Deployment['kind'], string> = {
  deploy: 'is deployed',
  rollback: 'is live',
  revert: 'is live',
  rebuild: 'is rebuilt',
}

/**
 * What follows when the plan's commit is live: sync, purge, verify, record, and the summary with the total time.
 * Interrupted, it is recorded all the same.
 * @throws Failure when the cache was not purged or the site does not pass its checks; the release runs all the same
 */
export async function finish(deployment: Deployment, plan: Plan, live: Live): Promise<typeof EXIT.done> {
  const { kind, context, settings, remote, app, startedMs } = deployment
  const { sha } = plan.commit
  const steps = createSteps(context)
  const following = createFollowing(deployment, sha)
  let verified: boolean | null = null
  try {
    const sync = () => syncStep(context, remote, settings.OPS_DIR)
    if (kind === 'deploy' && (await steps.may('The server keeps the ops scripts it had', sync))) following.done('sync')
    if (await steps.must('purge the cache', () => purgeStep(context, settings))) following.done('purge')
    if (!context.flags.has('no-verify'))
      verified = await steps.must('pass the checks', () => verifyStep(deployment, live.runs, { trouble: live.trouble }))
    following.done('verify')
    await record(deployment, plan, { ...live, notDone: following.left() }, verified)
  } catch (error) {
    await recordLate(deployment, plan, { ...live, notDone: following.left() }, verified)
    throw error
  }
  const runs = kind === 'deploy' && live.outcome === 'unchanged' ? 'runs already' : RUNS[kind]
  const what = `${shortSha(sha)} ${runs} (${app}, ${duration(performance.now() - startedMs)})`
  const done = [...(plan.restorePoint === undefined ? [] : [`restore point ${plan.restorePoint}`]), ...steps.done]
  const failed =
    steps.failed.length > 0 ? `this did not ${steps.failed.join(', and not ')}: the reasons are above.` : ''
  if (live.trouble) {
    const looked = summary(context, `${shortSha(sha)} was looked after all the same`, { done })
    throw new Failure(`${live.trouble.message}\n${failed ? `${looked}; but ${failed}` : looked}`, live.trouble.hint)
  }
  if (failed) throw new Failure(`${what}, but ${failed}${plan.restorePoint ? ` Before it: ${done[0]}` : ''}`)
  context.print(wrap(summary(context, what, { done }), context.log.resultColumns))
  return EXIT.done
}

/** The last line: what was done, and every warning on the way. */
export function summary({ log }: Pick<Context, 'log'>, what: string, { done }: Pick<Steps, 'done'>): string {
  return [what, ...done, ...log.warnings.map((warning) => `WARNING: ${warning}`)].join('; ')
}

/** What comes after a release runs: nothing of it takes the release back, and all of it is tried. */
interface Steps {
  /** What each step that went well has to say. */
  readonly done: readonly string[]
  /** The names of those that did not. */
  readonly failed: readonly string[]
  /** A step whose failure is a warning. */
  may(otherwise: string, step: () => Promise<string>): Promise<boolean>
  /** A step whose failure is one of the whole run, at its end. */
  must(name: string, step: () => Promise<string>): Promise<boolean>
}

export function createSteps({ log, shell }: Pick<Context, 'log' | 'shell'>): Steps {
  const done: string[] = []
  const failed: string[] = []
  const attempt = async (step: () => Promise<string>, otherwise: (failure: Failure) => void): Promise<boolean> => {
    try {
      done.push(await step())
      return true
    } catch (error) {
      shell.signal.throwIfAborted()
      if (!(error instanceof Failure)) throw error
      otherwise(error)
      if (error.hint) log.info(error.hint)
      return false
    }
  }
  return {
    done,
    failed,
    may: (otherwise, step) => attempt(step, ({ message }) => log.warn(`${otherwise}: ${message}`)),
    must: (name, step) =>
      attempt(step, ({ message }) => {
        failed.push(name)
        log.error(message)
      }),
  }
}

/** @throws Failure with the reason; the server keeps the ops scripts it has */
export async function syncStep({ log }: Pick<Context, 'log'>, remote: Remote, opsDir: string): Promise<string> {
  const { release, changed } = await syncRelease(remote, { opsDir, log })
  const said = `ops scripts ${changed ? 'synced' : 'unchanged'} (${release})`
  log.info(`Sync: ${said}.`)
  return said
}

/** @throws Failure with Cloudflare's words */
export async function purgeStep(
  { log, shell }: Pick<Context, 'log' | 'shell'>,
  settings: CloudflareSettings,
): Promise<string> {
  const purged = await purgeCache(settings, log, shell.signal)
  const said = purged ? 'cache purged' : 'cache purge skipped (CLOUDFLARE_ZONE_ID and CLOUDFLARE_API_TOKEN are not set)'
  log.info(`Purge: ${said}.`)
  return said
}

const VERIFY_TIMEOUT_MS = 60_000

/**
 * Looks at the site, and asks the server whether it runs `sha`; without one, not all containers say what they run.
 * @param known what is known to be wrong with the processes, which is no news; and what the server has just said that it runs
 * @throws Failure that names the checks that failed
 */
export async function verifyStep(
  { context, settings, remote, app, branch }: Deployment,
  sha: string | undefined,
  known: { trouble?: Failure | undefined; justSaid?: RunningRelease } = {},
): Promise<string> {
  const { log, shell, environment } = context
  const url = settings.SITE_URL
  log.info(`Verifying ${url}, for up to ${VERIFY_TIMEOUT_MS / 1000} s.`)
  let { justSaid } = known
  const ask = async (): Promise<RunningRelease> => {
    const release = justSaid ?? (await runningRelease(remote, app))
    justSaid = undefined
    return known.trouble ? { ...release, running: true } : release
  }
  const release = sha === undefined ? undefined : { sha, ask, recorded: () => remote.headOf(app, branch) }
  const open = new Set(checksFor({ url, release }).map(({ name }) => name))
  const waiting = showWaiting(log, () => [...open])
  const results = await verifySite({
    ...{ url, release, signal: shell.signal },
    timeoutMs: VERIFY_TIMEOUT_MS,
    onResult: (result) => {
      open.delete(result.name)
      log.info(resultLine(result))
      waiting.show()
    },
  }).finally(waiting.stop)
  await tellActions({ environment, print: log.command, log }, url, results)
  const failed = failedChecks(results)
  if (isGreen(results)) return `verified (${countsOf(results)})`
  throw new Failure(
    `${url} fails ${plural(failed.length, 'check')}: ${failed.map(({ name }) => name).join(', ')}.`,
    isOnlyBlocked(results) ? LET_IN : 'Look: deploy --logs. Back to an earlier release: rollback',
  )
}
