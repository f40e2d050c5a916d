// Has the server take a restore point before a push that migrates the database: Dokku migrates forward only.

import { dirname } from 'node:path'
import { SO } from '../cli/closing.ts'
import { EXIT, Failure, Interrupted } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'
import { aBoolean, aText, atBest, record, tryJson } from '../core/outside.ts'
import { quoteAll } from '../core/quote.ts'
import { shortSha } from '../core/sha.ts'
import { anArchiveName, hasMigrated } from '../server/ledger.ts'
import { takeRestorePoint } from '../server/words.ts'
import type { Deployment } from './deployment.ts'
import type { Plan } from './plan.ts'

/** Whether one is taken before this push. */
function wantsRestorePoint({ context, settings }: Deployment, plan: Plan): boolean {
  const isPush = plan.deployed !== plan.commit.sha
  if (!isPush || context.flags.has('no-restore-point') || settings.RESTORE_POINT === 'never') return false
  // Before the first deployment there is nothing to go back to. Of what is not in this checkout it can't be told.
  return settings.RESTORE_POINT === 'always' || (plan.running !== undefined && plan.migrates !== false)
}

/** What the operator is told of it before. */
export function describeRestorePoint(deployment: Deployment, plan: Plan): string[] {
  if (wantsRestorePoint(deployment, plan))
    return [`A restore point is taken first, on the server: backup --restore-point ${shortSha(plan.commit.sha)}`]
  const isLeftOut = deployment.context.flags.has('no-restore-point') && plan.migrates
  return isLeftOut ? ['No restore point is taken first (--no-restore-point).'] : []
}

/**
 * @returns the plan, with the restore point's name if one was taken
 * @throws Failure that says why there is none; then nothing may be pushed
 */
export async function withRestorePoint(deployment: Deployment, plan: Plan): Promise<Plan> {
  if (!wantsRestorePoint(deployment, plan)) return plan
  const { log, closing } = deployment.context
  log.info(`Taking a restore point on ${deployment.remote.host}`)
  try {
    const restorePoint = await take(deployment, plan)
    if (restorePoint === undefined) return plan
    log.info(`The restore point is ${restorePoint}.`)
    return { ...plan, restorePoint }
  } catch (error) {
    if (error instanceof Interrupted) closing.so('archive', SO.restorePointEnded)
    throw error
  }
}

/** @returns its name; undefined where no backup was ever set up */
async function take({ app, remote, settings, context }: Deployment, { commit }: Plan): Promise<string | undefined> {
  const { exitCode, stdout, stderr } = await remote
    .follow(takeRestorePoint(settings.OPS_DIR, app, shortSha(commit.sha)), context.log.raw)
    .catch((error: unknown) => {
      if (!(error instanceof Failure) || error instanceof Interrupted) throw error
      throw notTaken(error.message, error.hint)
    })
  const { archive, setUp, app: backedUp } = tryJson(stdout, REPORT) ?? {}
  if (backedUp !== undefined && backedUp !== app)
    throw notTaken(`the backup there is that of ${oneLine(backedUp)}, not of ${app}.`, OTHER_APP)
  // Older scripts store what their settings say, without a word of which app that is.
  if (exitCode === 0 && archive !== undefined && backedUp === undefined) throw notTaken(...TOO_OLD)
  if (exitCode === 0 && archive !== undefined) return archive
  if (setUp !== false) throw notTaken(...explain(exitCode, stderr))
  context.log.warn(
    `No restore point was taken: no backup was ever set up on ${remote.host}, so these migrations have no way back. Set it up: docs/setup.md`,
  )
  return
}

/** The name of what was taken before the push, in a sentence; an empty text where nothing was. */
export function describeTaken({ restorePoint }: Pick<Plan, 'restorePoint'>): string {
  return restorePoint === undefined ? '' : SO.restorePoint(restorePoint)
}

/**
 * What an operator must know of the database after a push that did not go live: the predeploy task comes before the health check, so
 * the old release may run on the new schema.
 */
export function describeDataBefore(
  { settings: { OPS_DIR } }: Pick<Deployment, 'settings'>,
  plan: Pick<Plan, 'commit' | 'migrations' | 'migrates' | 'restorePoint'>,
  outcome: string,
): string {
  const { commit, migrations, migrates, restorePoint } = plan
  const taken = describeTaken(plan)
  const mayMigrate = migrations.length > 0 || migrates === undefined
  if (!mayMigrate || !hasMigrated({ outcome })) return taken
  const restore = `${dirname(OPS_DIR)}/restore`
  return [
    `The migrations of ${shortSha(commit.sha)} may have been applied: Dokku does not undo them when it does not go live.`,
    ...(restorePoint === undefined
      ? [`No restore point was taken before them; the archives there are: ${quoteAll([restore, '--list'])}`]
      : [
          taken,
          `If what runs does not get on with the new schema, on the server (what was written since is lost): ${quoteAll([restore, '--db-only', restorePoint])}`,
        ]),
  ].join(' ')
}

const REPORT = record({ app: atBest(aText), archive: atBest(anArchiveName), setUp: atBest(aBoolean) })

const OTHER_APP = 'Each app has an OPS_DIR of its own, and its env file beside that: docs/settings.md'
const TOO_OLD = [
  'the ops scripts on the server are too old for it.',
  'Bring these there, then deploy again: deploy --sync-only',
] as const

/** Why, and what to do, by the last lines that the backup said: they begin with a time. */
function explain(exitCode: number | null, stderr: string): readonly [why: string, hint: string] {
  const said = stderr
    .trim()
    .split('\n')
    .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\S+ +/, '').trim())
    .filter(Boolean)
  if (said.some((line) => line.startsWith('Unknown flag --restore-point'))) return TOO_OLD
  const why = said.slice(-3).join(' · ') || `the backup there ended with exit status ${exitCode}`
  return [why, exitCode === EXIT.locked ? 'Wait for it, then deploy again.' : 'Look on the server: backup --check']
}

function notTaken(why: string, hint: string): Failure {
  return new Failure(
    `No restore point was taken, so nothing was pushed: ${why}`,
    [hint, 'To push these migrations without a way back: deploy --no-restore-point'].filter(Boolean).join('\n'),
  )
}
