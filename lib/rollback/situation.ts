import { dirname } from 'node:path'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { shortSha } from '../core/sha.ts'
import { checkCommit, lookAtServer } from '../deploy/plan.ts'
import { askNewestBackup } from '../deploy/status.ts'
import { type Checkout, commitsBetween, hasCommit, resolveCommit } from '../git/checkout.ts'
import { containerRevision } from '../server/app.ts'
import { type Entry, readLedger } from '../server/ledger.ts'
import type { Remote } from '../server/ssh.ts'
import { wasCutOff, wentLive } from './releases.ts'

/**
 * The commit that a short SHA, tag or branch names; origin is asked for what this checkout does not have.
 * @throws Failure (exit status 2) when neither knows it
 */
export async function resolveTarget(checkout: Checkout, ref: string, log: Log): Promise<string> {
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

/** Where a way back begins. */
export interface Situation {
  /** The deploy branch there: what a push has its lease on. */
  deployed: string
  /** What runs: the same, unless a deploy was cut off. */
  running: string
  /** The ledger, oldest entry first. */
  entries: Entry[]
}

/** @throws Failure when there is nothing to go back to, or it can't be told */
export async function lookAround(
  checkout: Checkout,
  remote: Remote,
  { app, branch, opsDir, log }: { app: string; branch: string; opsDir: string; log: Log },
): Promise<Situation> {
  const deployed = await lookAtServer(checkout, remote, { app, branch, log })
  if (deployed === undefined) throw new Failure(`${app} was never deployed: there is nothing to go back to.`)
  await fetchDeployed(checkout, remote, { app, branch, deployed, log })
  const entries = await readLedger(remote, opsDir).catch((error: unknown): Entry[] => {
    // Who has no key of the deploy user can go back all the same.
    remote.signal.throwIfAborted()
    if (!(error instanceof Failure)) throw error
    log.warn(`The ledger can't be read: ${error.message}`)
    return []
  })
  return { deployed, running: await askRunning(remote, { app, deployed, entries, log }), entries }
}

/** What runs may have been deployed from elsewhere: the server has it. Without it the way back can't be described. */
async function fetchDeployed(
  checkout: Checkout,
  remote: Remote,
  { app, branch, deployed, log }: { app: string; branch: string; deployed: string; log: Log },
): Promise<void> {
  if (await hasCommit(checkout, deployed)) return
  log.info(`${shortSha(deployed)}, which runs, is not in this checkout: fetching it from the server.`)
  const args = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', remote.gitUrl(app), `refs/heads/${branch}`]
  await checkout.git(args, { env: remote.gitEnv(), timeoutMs: 120_000 })
}

/**
 * What runs, by the container's own word: Dokku switches before its deploy branch moves, and a deploy that is cut off in between
 * leaves the branch behind. Where the container does not say, it is what the branch has.
 */
async function askRunning(
  remote: Remote,
  { app, deployed, entries, log }: { app: string; deployed: string; entries: readonly Entry[]; log: Log },
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
  log.warn(
    `The container says that it runs ${shortSha(running)}, the deploy branch there is at ${shortSha(deployed)}: a deploy of ${shortSha(running)} is under way, failed, or was cut off.`,
  )
  return running
}

/** The way to a commit that is on the deploy branch there, but does not run: pushing it once more would do nothing. */
export function notRunning(remote: Remote, app: string, sha: string, running: string): Failure {
  return new Failure(
    `${shortSha(sha)} is on the deploy branch there already, so pushing it changes nothing; but ${shortSha(running)} runs.`,
    `Build it there: ssh dokku@${remote.host} config:set --no-restart ${app} GIT_REV=${sha}, then rollback --rebuild`,
  )
}

/** The newest backup in words, or where to look for it: nothing here keeps the way back from being described. */
export async function tellNewestBackup(remote: Remote, opsDir: string): Promise<string> {
  const newest = await askNewestBackup(remote, opsDir, 30_000).catch((error: unknown) => {
    remote.signal.throwIfAborted()
    return `unknown: ${reason(error)}`
  })
  return /^(unknown|fail)\b/.test(newest)
    ? `${newest.replace(/\.$/, '')}. Look on the server: ${dirname(opsDir)}/restore --list`
    : newest
}

/** An older release may lack what a new one must have, and did run: here it is a warning. */
export async function warnOfCommit(checkout: Checkout, sha: string, log: Log): Promise<void> {
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
export async function warnOfOrigin(checkout: Checkout, branch: string, sha: string, log: Log): Promise<void> {
  const tracked = `refs/remotes/origin/${branch}`
  const newer = (await hasCommit(checkout, tracked)) ? await commitsBetween(checkout, sha, tracked) : undefined
  if (newer?.length === 0) return
  const holds = newer ? `still holds ${plural(newer.length, 'newer commit')}` : 'may hold newer commits'
  log.warn(
    `origin/${branch} ${holds}: the next CI deploy brings ${newer?.length === 1 ? 'it' : 'them'} back. To prevent that: rollback --revert`,
  )
}
