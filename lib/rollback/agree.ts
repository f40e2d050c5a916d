// Shows what a way back would push and what is in its way, and asks.

import { dirname } from 'node:path'
import { reason } from '../core/failure.ts'
import { quoteAll } from '../core/shell.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { describePackages, type Plan } from '../deploy/plan.ts'
import { pushArgs } from '../deploy/push.ts'
import { askNewestBackup } from '../deploy/status.ts'
import { crossingFailure, describeCrossing } from './migrations.ts'
import { describeRestorePoint } from './restore-point.ts'
import type { Situation } from './situation.ts'

/**
 * @param text what would be pushed
 * @returns false after a dry run
 * @throws Failure when migrations are in the way, or the operator does not agree
 */
export async function agree(
  deployment: Deployment,
  { running, entries }: Situation,
  { commit, packages }: Plan,
  text: string,
): Promise<boolean> {
  const { context, checkout, settings } = deployment
  const { flags, print, log, ask } = context
  const isDryRun = flags.has('dry-run')
  if (isDryRun) print(text)
  else log.info(text)
  if (packages.length > 0) log.warn(`${describePackages(packages)}. Dokku does not undo them either.`)
  const known = { entries, running, opsDir: settings.OPS_DIR }
  const crossing = await describeCrossing(deployment, commit.sha, running, async (crossed) => [
    ...(await describeRestorePoint(checkout, known, crossed)),
    `Newest backup: ${await tellNewestBackup(deployment)}`,
  ])
  if (crossing.length > 0 && !flags.has('allow-migrations')) throw crossingFailure(crossing)
  if (crossing.length > 0) log.warn(crossing.join('\n'))
  if (isDryRun) print('Nothing was pushed.')
  else await ask.confirm(`This changes what ${deployment.app} runs.`, 'yes')
  return !isDryRun
}

/**
 * A push as it could be typed.
 * @param lease what the branch there must still have
 */
export function pushLine({ branch }: Deployment, to: string, sha: string, lease: string): string {
  return `Push: ${quoteAll(['git', ...pushArgs(to, sha, branch, lease)])}`
}

/** The newest backup in words, or where to look for it: nothing here keeps the way back from being described. */
async function tellNewestBackup({ remote, settings: { OPS_DIR } }: Deployment): Promise<string> {
  const newest = await askNewestBackup(remote, OPS_DIR, 30_000).catch((error: unknown) => {
    remote.signal.throwIfAborted()
    return `unknown: ${reason(error)}`
  })
  return /^(unknown|fail)\b/.test(newest)
    ? `${newest.replace(/\.$/, '')}. Look on the server: ${dirname(OPS_DIR)}/restore --list`
    : newest
}
