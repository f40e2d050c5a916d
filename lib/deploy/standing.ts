// What is on the server before anything moves.

import { EXIT, Failure } from '../core/failure.ts'
import { shortSha } from '../core/sha.ts'
import { hasCommit } from '../git/checkout.ts'
import { plainUrl } from '../git/own-settings.ts'
import { isMisnamed } from '../server/agreement.ts'
import {
  deployBranch,
  describeRevision,
  isLocked,
  isSilent,
  type RunningRelease,
  runningRelease,
} from '../server/app.ts'
import { type Entry, readLedger } from '../server/ledger.ts'
import type { Deployment } from './deployment.ts'

export interface Standing {
  /** The deploy branch there: what a push has its lease on; undefined before the first deployment. */
  deployed: string | undefined
  /** The commit that runs: by the containers' word, and where that does not tell, what the deploy branch has. */
  running: string | undefined
  release: RunningRelease
  /** The ledger, oldest entry first. */
  entries: readonly Entry[]
}

/**
 * Asks the server, before anything moves, whether a push to the branch means there what it means here, and what runs.
 * @throws SshFailure, Failure
 */
export async function lookAtServer(deployment: Deployment): Promise<Standing> {
  const { remote, app, branch, context } = deployment
  const theirs = await deployBranch(remote, app)
  if (theirs !== branch)
    throw new Failure(
      `Dokku deploys pushes to ${theirs}, but DEPLOY_BRANCH is ${branch}.`,
      `Set DEPLOY_BRANCH=${theirs}, or on the server: dokku git:set ${app} deploy-branch ${branch}`,
      EXIT.usage,
    )
  // Only a file, which a failed build leaves behind, too: Dokku takes no notice of it unless a process holds it.
  if (await isLocked(remote, app))
    context.log.info(
      `Dokku's deploy lock of ${app} is there: another deploy is under way, or one failed or was cut off.`,
    )
  const deployed = await remote.headOf(app, branch)
  if (deployed !== undefined) await fetchDeployed(deployment, deployed)
  const entries = await readEntries(deployment)
  const release = await runningRelease(remote, app)
  return { deployed, running: judgeRunning(deployment, { deployed, release, entries }), release, entries }
}

/** What is deployed may have been deployed from elsewhere: the server has it. Without it what changes can't be told. */
async function fetchDeployed({ checkout, remote, app, branch, context }: Deployment, deployed: string): Promise<void> {
  if (await hasCommit(checkout, deployed)) return
  context.log.info(`${shortSha(deployed)}, which is deployed, is not in this checkout: fetching it from the server.`)
  const url = remote.gitUrl(app)
  const args = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', url, `refs/heads/${branch}`]
  await checkout.git([...plainUrl(url), ...args], { env: remote.gitEnv(), timeoutMs: 120_000 })
}

/** Whoever has no key of the deploy user can deploy and go back all the same. */
async function readEntries({ remote, settings, context }: Deployment): Promise<readonly Entry[]> {
  return readLedger(remote, settings.OPS_DIR).catch((error: unknown): Entry[] => {
    remote.signal.throwIfAborted()
    if (!(error instanceof Failure)) throw error
    context.log.warn(`The ledger can't be read: ${error.message}`)
    return []
  })
}

/**
 * Dokku switches the containers before its deploy branch moves, and a deploy that is cut off in between leaves the branch behind.
 * Under `skip-deploy` the branch moves, and the containers stay.
 */
function judgeRunning({ context: { log } }: Deployment, standing: Omit<Standing, 'running'>): string | undefined {
  const { deployed, release, entries } = standing
  const { revision } = release
  if (revision === deployed || !release.serves || isSilent(release)) return deployed
  if (isMisnamed(revision, entries)) return deployed
  log.warn(
    `The container says that it runs ${describeRevision(release)}, the deploy branch there is at ${deployed ? shortSha(deployed) : 'nothing'}: a deploy is under way, failed, was cut off, or started nothing (skip-deploy). See: deploy --status`,
  )
  return revision ?? deployed
}
