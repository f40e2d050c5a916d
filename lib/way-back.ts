import { EXIT, Failure, reason } from './failure.ts'
import { plural } from './format.ts'
import { type Checkout, commitsBetween, hasCommit, resolveCommit, short } from './git.ts'
import type { Log } from './log.ts'
import { checkCommit } from './plan.ts'
import type { Remote } from './ssh.ts'

/**
 * The commit that a short SHA, tag or branch names; origin is asked for what this checkout does not have.
 * @throws Failure (exit status 2) when neither knows it
 */
export const resolveTarget = async (checkout: Checkout, ref: string, log: Log): Promise<string> => {
  try {
    return await resolveCommit(checkout, ref)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    log.info(`${checkout.dir} has no commit ${ref}: fetching from origin.`)
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

/** What runs may have been deployed from elsewhere: the server has it. Without it the way back can't be described. */
export const fetchDeployed = async (
  checkout: Checkout,
  remote: Remote,
  { app, branch, deployed, log }: { app: string; branch: string; deployed: string; log: Log },
): Promise<void> => {
  if (await hasCommit(checkout, deployed)) return
  log.info(`${short(deployed)}, which runs, is not in this checkout: fetching it from the server.`)
  const args = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', remote.gitUrl(app), `refs/heads/${branch}`]
  await checkout.git(args, { env: remote.gitEnv(), timeoutMs: 120_000 })
}

/** An older release may lack what a new one must have, and did run: here it is a warning. */
export const warnOfCommit = async (checkout: Checkout, sha: string, log: Log): Promise<void> => {
  try {
    await checkCommit(checkout, sha)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    log.warn(
      reason(error).replace(" can't be deployed:", ' lacks what a deploy asks for; if it ran before, that may do:'),
    )
  }
}

/** That origin brings back what is rolled back, unless it is reverted there. */
export const warnOfOrigin = async (checkout: Checkout, branch: string, sha: string, log: Log): Promise<void> => {
  const tracked = `refs/remotes/origin/${branch}`
  const newer = (await hasCommit(checkout, tracked)) ? await commitsBetween(checkout, sha, tracked) : undefined
  if (newer?.length === 0) return
  const holds = newer ? `still holds ${plural(newer.length, 'newer commit')}` : 'may hold newer commits'
  log.warn(
    `origin/${branch} ${holds}: the next CI deploy brings ${newer?.length === 1 ? 'it' : 'them'} back. To prevent that: rollback --revert`,
  )
}
