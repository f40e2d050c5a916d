// Where a way back begins, and where it leads.

import { EXIT, Failure } from '../core/failure.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { requireDeployable } from '../deploy/preflight.ts'
import { lookAtServer, type Standing } from '../deploy/standing.ts'
import { hasCommit, resolveCommit } from '../git/checkout.ts'
import { describeRevision } from '../server/app.ts'

/** Where a way back begins: something was deployed. */
export interface Situation extends Standing {
  deployed: string
  running: string
}

/** @throws Failure when there is nothing to go back to, or it can't be told */
export async function lookAround(deployment: Deployment): Promise<Situation> {
  const { deployed, running, ...standing } = await lookAtServer(deployment)
  if (deployed === undefined || running === undefined)
    throw new Failure(`${deployment.app} was never deployed: there is nothing to go back to.`)
  return { ...standing, deployed, running }
}

/**
 * The commit that a short SHA, tag or branch names; origin is asked for what this checkout does not have.
 * @throws Failure (exit status 2) when neither knows it
 */
export async function resolveTarget({ checkout, context }: Deployment, ref: string): Promise<string> {
  try {
    return await resolveCommit(checkout, ref)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    context.log.info(`${checkout.dir} has no commit ${ref}: fetching from origin.`)
    const fetched = await checkout.git(['fetch', '--quiet', '--tags', 'origin'], { timeoutMs: 120_000 })
    for (const name of fetched.exitCode === 0 ? [ref, `refs/remotes/origin/${ref}`] : [])
      if (await hasCommit(checkout, name)) return resolveCommit(checkout, name)
    throw new Failure(
      `Neither ${checkout.dir} nor its origin has one commit ${ref}.`,
      'See the releases: rollback --list',
      EXIT.usage,
    )
  }
}

/**
 * A push of what is on the deploy branch there already would do nothing. What is live already, the containers say.
 * @throws Failure then
 */
export function requireNotLive({ deployed, release }: Situation, sha: string): void {
  if (sha !== deployed) return
  const again = 'To build and start it again: rollback --rebuild. Other releases: rollback --list'
  if (sha === release.revision) throw new Failure(`${shortSha(sha)} is live already: nothing was pushed.`, again)
  throw new Failure(
    `${shortSha(sha)} is on the deploy branch there already, so pushing it changes nothing; but the server runs ${describeRevision(release)}.`,
    again,
  )
}

/** An older release may lack what a new one must have, and did run: here it is a warning. */
export async function warnOfCommit(deployment: Deployment, sha: string): Promise<void> {
  const { context } = deployment
  try {
    await requireDeployable(deployment, sha)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    context.log.warn(
      error.message.replace(" can't be deployed:", ' lacks what a deploy asks for; if it ran before, that may do:'),
    )
  }
}
