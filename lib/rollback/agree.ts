// Shows what a way back would push and what is in its way, and asks.

import { dirname } from 'node:path'
import { reason } from '../core/failure.ts'
import { wrap } from '../core/layout.ts'
import { quoteAll } from '../core/quote.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { describePackages, type Plan } from '../deploy/plan.ts'
import { pushArgs } from '../deploy/push.ts'
import { askBackup, type BackupReport } from '../deploy/status.ts'
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
  if (isDryRun) print(wrap(text, log.resultColumns))
  else log.info(text)
  if (packages.length > 0) log.warn(`${describePackages(packages)}. Dokku does not undo them either.`)
  const crossing = await describeCrossing(deployment, commit.sha, running, async (crossed) => {
    const { newest, restorePoint, archives } = await askArchives(deployment)
    const known = { entries, running, opsDir: settings.OPS_DIR, newest: restorePoint, archives }
    return [...(await describeRestorePoint(checkout, known, crossed)), `Newest backup: ${newest}`]
  })
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

/** The newest archives in words, or where to look for them: nothing here keeps the way back from being described. */
async function askArchives({ app, remote, settings: { OPS_DIR } }: Deployment): Promise<BackupReport> {
  const report = await askBackup(remote, app, OPS_DIR, 30_000).catch((error: unknown): BackupReport => {
    remote.signal.throwIfAborted()
    return { newest: `unknown: ${reason(error)}` }
  })
  if (!/^(unknown|fail)\b/.test(report.newest)) return report
  const look = `Look on the server: ${dirname(OPS_DIR)}/restore --list`
  return { ...report, newest: `${report.newest.replace(/\.$/, '')}. ${look}` }
}
