// The repository that CI deploys from: what it has, and a revert's way there.

import { SO } from '../cli/closing.ts'
import { EXIT, Failure, Interrupted } from '../core/failure.ts'
import { duration, lastLines } from '../core/format.ts'
import { wrap } from '../core/layout.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { createSteps, summary, verifyStep } from '../deploy/finish.ts'
import { classifyPush, collectLines } from '../deploy/outcome.ts'
import type { Plan } from '../deploy/plan.ts'
import { pushArgs } from '../deploy/push.ts'
import { record } from '../deploy/record.ts'
import { type Checkout, hookNotice, openCheckout, resolveCommit, trackedRef } from '../git/checkout.ts'
import { describeRevision, describeState, serverState } from '../server/app.ts'

/** A revert as it goes to origin. */
interface Push {
  sha: string
  /** What origin must still have. */
  head: string
}

/** @throws Failure (exit status 2) when the checkout has no remote of that name */
export async function requireOrigin(checkout: Checkout): Promise<void> {
  if ((await checkout.git(['remote', 'get-url', 'origin'])).exitCode !== 0)
    throw new Failure(
      `${checkout.dir} has no remote origin.`,
      'Name the repository that CI deploys from: git remote add origin URL',
      EXIT.usage,
    )
}

/**
 * The deploy branch as origin has it now.
 * @throws Failure with git's words
 */
export async function fetchOrigin(checkout: Checkout, branch: string): Promise<string> {
  const refspec = `+refs/heads/${branch}:${trackedRef(branch)}`
  const output = await checkout.git(['fetch', '--quiet', '--no-write-fetch-head', 'origin', refspec], {
    timeoutMs: 120_000,
  })
  if (output.exitCode !== 0)
    throw new Failure(
      `origin did not give its ${branch}: ${lastLines(output.stderr.replace(/^Please make sure[\s\S]*/m, ''))}`,
      `Try: git fetch origin ${branch}`,
    )
  return resolveCommit(checkout, trackedRef(branch))
}

/**
 * Brings a revert to origin, and the checkout up to date with it.
 * @throws Failure, or Interrupted, after it is known whether origin has it
 */
export async function bringToOrigin(deployment: Deployment, push: Push): Promise<void> {
  const { branch, context } = deployment
  if (push.sha === push.head) return
  context.closing.so('origin', SO.originBegun(branch))
  await pushToOrigin(deployment, push)
  context.closing.so('origin', SO.originHas(branch, shortSha(push.sha)))
  const followed = await followOrigin(deployment, push)
  context.log.info(`origin/${branch} holds the revert ${shortSha(push.sha)}; ${followed}.`)
}

async function pushToOrigin({ checkout, branch, context }: Deployment, { sha, head }: Push): Promise<void> {
  const said = collectLines()
  const notice = hookNotice(checkout)
  if (notice) context.log.info(notice)
  let failure: Failure
  try {
    const output = await checkout.git(pushArgs('origin', sha, branch, head), { onLine: said.take })
    if (output.exitCode === 0) return requireOriginHas(checkout, branch, sha)
    const { outcome } = classifyPush(output, said.lines)
    failure = explainOrigin(
      branch,
      sha,
      outcome === 'stale',
      said.lines.map(({ text }) => text),
    )
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    failure = error
  }
  // Asked after an interruption as well.
  const has = await originHas(await openCheckout(context.cleanup, checkout.dir), branch, sha)
  if (failure instanceof Interrupted) {
    // A push that is still under way may arrive later: that it has not is no certainty.
    if (has) context.closing.so('origin', SO.originHas(branch, shortSha(sha)))
    throw failure
  }
  if (has === false) context.closing.so('origin', SO.originHasNot(branch))
  // If it has, the connection broke after origin had taken it.
  if (!has) throw failure
}

/** The failure behind a push that origin did not take. */
function explainOrigin(branch: string, sha: string, isStale: boolean, lines: readonly string[]): Failure {
  const why = lines
    .filter((line) => line !== '' && !line.startsWith('hint: '))
    .map((line) => `\n  | ${line}`)
    .join('')
  return isStale
    ? new Failure(
        `Somebody pushed to origin/${branch} since this run looked: nothing was pushed.${why}`,
        'Type the same again: the revert is then made on top of theirs.',
      )
    : new Failure(
        `origin did not take the revert: nothing was pushed.${why}`,
        `If ${branch} is protected, open a pull request: git push origin ${shortSha(sha)}:refs/heads/revert-${shortSha(sha)}. At once: rollback --list, then rollback --to SHA`,
      )
}

/** @throws Failure when the push went to another repository: `remote.origin.pushurl` names it, and CI deploys from origin */
async function requireOriginHas(checkout: Checkout, branch: string, sha: string): Promise<void> {
  const [origin, pushed] = await Promise.all(
    [['origin'], ['--push', 'origin']].map((args) => checkout.ask(['remote', 'get-url', ...args])),
  )
  if (origin === pushed || (await originHas(checkout, branch, sha)) !== false) return
  throw new Failure(
    `The revert went to ${pushed}, not to origin (${origin}), which CI deploys from.`,
    `Your remote.origin.pushurl names it. To origin: git push ${origin} ${shortSha(sha)}:refs/heads/${branch}`,
  )
}

/** @returns undefined when origin does not say */
async function originHas(checkout: Checkout, branch: string, sha: string): Promise<boolean | undefined> {
  const options = { timeoutMs: 20_000 }
  const there = await checkout.git(['ls-remote', 'origin', `refs/heads/${branch}`], options).catch(() => undefined)
  return there?.exitCode === 0 ? there.stdout.startsWith(sha) : undefined
}

/**
 * Brings the checkout up to date with what was pushed, if nothing but `head` of the branch is checked out.
 * @returns what became of it, or what to type
 */
async function followOrigin({ checkout, branch }: Deployment, { sha, head }: Push): Promise<string> {
  const { stdout } = await checkout.git(['rev-parse', 'HEAD', '--symbolic-full-name', 'HEAD'])
  if (stdout.trim() === `${head}\nrefs/heads/${branch}`) {
    const merged = await checkout.git(['merge', '--ff-only', '--quiet', sha])
    if (merged.exitCode === 0) return `your ${branch} holds it too`
  }
  return `your checkout does not have it yet: git switch ${branch} && git pull`
}

/** CI deploys the revert from origin. What runs until then is told and looked at, without a part in the exit status. */
export async function leaveToCi(deployment: Deployment, plan: Plan): Promise<number> {
  const { context, remote, app, branch, startedMs } = deployment
  await record(deployment, plan, { outcome: 'pushed', runs: plan.running }, null)
  const steps = createSteps(context)
  const { sha } = plan.commit
  await steps.may('Until CI has deployed it', async () => {
    const state = await serverState(remote, app)
    context.log.info(describeState(state, sha, ['with the revert', 'without the revert']))
    return `${describeRevision(state)} runs until then: ${await verifyStep(deployment, state.revision, { justSaid: state })}`
  })
  const took = duration(performance.now() - startedMs)
  const what = `${shortSha(sha)} is on origin/${branch}: CI tests and deploys it (${took})`
  context.print(wrap(summary(context, what, steps), context.log.resultColumns))
  return EXIT.done
}
