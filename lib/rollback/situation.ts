// Where a way back begins, and where it leads.

import { EXIT, Failure } from '../core/failure.ts'
import { sshLine } from '../core/host.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { lookAtServer, requireDeployable } from '../deploy/preflight.ts'
import { hasCommit, resolveCommit } from '../git/checkout.ts'
import { plainUrl } from '../git/own-settings.ts'
import { containerRevision } from '../server/app.ts'
import { type Entry, readLedger, wasCutOff, wentLive } from '../server/ledger.ts'

/** Where a way back begins. */
export interface Situation {
  /** The deploy branch there: what a push has its lease on. */
  deployed: string
  /** What runs: the same, unless a deploy was cut off. */
  running: string
  /** The ledger, oldest entry first. */
  entries: readonly Entry[]
}

/** @throws Failure when there is nothing to go back to, or it can't be told */
export async function lookAround(deployment: Deployment): Promise<Situation> {
  const { remote, app, settings, context } = deployment
  const deployed = await lookAtServer(deployment)
  if (deployed === undefined) throw new Failure(`${app} was never deployed: there is nothing to go back to.`)
  await fetchDeployed(deployment, deployed)
  const entries = await readLedger(remote, settings.OPS_DIR).catch((error: unknown): Entry[] => {
    // Who has no key of the deploy user can go back all the same.
    remote.signal.throwIfAborted()
    if (!(error instanceof Failure)) throw error
    context.log.warn(`The ledger can't be read: ${error.message}`)
    return []
  })
  return { deployed, running: await askRunning(deployment, deployed, entries), entries }
}

/** What runs may have been deployed from elsewhere: the server has it. Without it the way back can't be described. */
async function fetchDeployed({ checkout, remote, app, branch, context }: Deployment, deployed: string): Promise<void> {
  if (await hasCommit(checkout, deployed)) return
  context.log.info(`${shortSha(deployed)}, which runs, is not in this checkout: fetching it from the server.`)
  const url = remote.gitUrl(app)
  const args = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', url, `refs/heads/${branch}`]
  await checkout.git([...plainUrl(url), ...args], { env: remote.gitEnv(), timeoutMs: 120_000 })
}

/**
 * What runs, by the container's own word: Dokku switches before its deploy branch moves, and a deploy that is cut off in between
 * leaves the branch behind. Where the container does not say, it is what the branch has.
 */
async function askRunning(
  { remote, app, context }: Deployment,
  deployed: string,
  entries: readonly Entry[],
): Promise<string> {
  const running = await containerRevision(remote, app, 10_000).catch(() => {
    // A container that hangs does not answer; it must not keep anybody from going back for long.
    remote.signal.throwIfAborted()
    return undefined
  })
  if (running === undefined || running === deployed) return deployed
  // Restarted after a deploy that failed, the old container is given the name of what failed.
  const known = entries.findLast(({ to }) => to === running)
  if (known && !wentLive(known) && !wasCutOff(known)) return deployed
  context.log.warn(
    `The container says that it runs ${shortSha(running)}, the deploy branch there is at ${shortSha(deployed)}: a deploy of ${shortSha(running)} is under way, failed, or was cut off.`,
  )
  return running
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

/** @throws Failure when `sha` is on the deploy branch there already: pushing it once more would do nothing */
export function requireNotLive({ remote, app }: Deployment, { deployed, running }: Situation, sha: string): void {
  if (sha !== deployed) return
  if (sha === running)
    throw new Failure(
      `${shortSha(sha)} is live already: nothing was pushed.`,
      'If its container is broken: rollback --rebuild. Other releases: rollback --list',
    )
  throw new Failure(
    `${shortSha(sha)} is on the deploy branch there already, so pushing it changes nothing; but ${shortSha(running)} runs.`,
    `Build it there: ${sshLine('dokku', remote.host)} config:set --no-restart ${app} GIT_REV=${sha}, then rollback --rebuild`,
  )
}

/** An older release may lack what a new one must have, and did run: here it is a warning. */
export async function warnOfCommit({ checkout, context }: Deployment, sha: string): Promise<void> {
  try {
    await requireDeployable(checkout, sha)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    context.log.warn(
      error.message.replace(" can't be deployed:", ' lacks what a deploy asks for; if it ran before, that may do:'),
    )
  }
}
