// Makes sure that what was pushed, or was there already, is what runs: by the word of the containers.

import { SO } from '../cli/closing.ts'
import { Failure } from '../core/failure.ts'
import { sshLine } from '../core/host.ts'
import { retry } from '../core/retry.ts'
import { shortSha } from '../core/sha.ts'
import { showWaiting } from '../core/waiting.ts'
import { findDisagreement } from '../server/agreement.ts'
import { describeRevision, isSilent, type RunningRelease, readRecords, runningRelease } from '../server/app.ts'
import type { Deployment } from './deployment.ts'
import type { Outcome } from './outcome.ts'
import type { Plan } from './plan.ts'
import { record } from './record.ts'

/** How long the old release may go on answering after a push that went well. */
const SWITCH_MS = 60_000
const ASK_EVERY_MS = 2000

/** The plan's commit runs; cache and site are looked after, whatever else is wrong. */
export interface Live {
  outcome: Outcome
  /** What the containers say that they run; undefined where none says. */
  runs: string | undefined
  /** What makes the run fail in the end: a process that does not run, a postdeploy task that failed. */
  trouble?: Failure
}

/**
 * "Deployed" is said when the containers say so, not when git does: with `skip-deploy` Dokku builds and takes the push, but goes on
 * running what it ran.
 */
export async function confirmLive(deployment: Deployment, plan: Plan, outcome: 'deployed' | 'skipped'): Promise<Live> {
  const { remote, app, context } = deployment
  const { sha } = plan.commit
  const release = outcome === 'skipped' ? await runningRelease(remote, app) : await awaitSwitch(deployment, plan)
  const { revision: runs, running, processes } = release
  context.closing.so('production', SO.runs(describeRevision(release)))
  const notAll = new Failure(
    `The push went through, but not every process runs: ${processes}.`,
    'Look: deploy --status, and: deploy --logs. To build and start it again: rollback --rebuild',
  )
  if (runs === sha) return { outcome: 'deployed', runs, ...(running ? {} : { trouble: notAll }) }
  if (isSilent(release) && outcome !== 'skipped') {
    context.log.warn(`The containers of ${app} do not say which commit they run: Dokku's word is taken for it.`)
    return { outcome: 'deployed', runs: undefined, ...(running ? {} : { trouble: notAll }) }
  }
  await record(deployment, plan, { outcome: release.serves ? 'refused' : 'deployed', runs }, false)
  if (!release.serves) throw notAll
  throw new Failure(
    `The push went through, but the server says it runs ${describeRevision(release)}.`,
    await hintNotStarted(deployment, release, sha),
  )
}

/** What to do about a commit that is on the deploy branch there and does not run. */
async function hintNotStarted(
  { remote, app, branch }: Deployment,
  release: RunningRelease,
  sha: string,
): Promise<string> {
  const records = await readRecords(remote, app, branch)
  const keep = findDisagreement({ ...release, ...records, app, branchName: branch, entries: [] })?.fix
  return [
    `Dokku starts nothing while its setting skip-deploy is on: ${sshLine('dokku', remote.host)} ps:report ${app}`,
    `To start ${shortSha(sha)}, with that off: rollback --rebuild`,
    ...(keep ? [`To leave it: ${keep}`] : []),
  ].join('\n')
}

class NotSwitched extends Failure {}

/** What runs after a push that went well. The old release may go on answering for a moment. */
async function awaitSwitch({ remote, app, context }: Deployment, { commit, running }: Plan): Promise<RunningRelease> {
  let release: RunningRelease | undefined
  const ask = async (): Promise<void> => {
    release = await runningRelease(remote, app)
    const { revision, serves } = release
    const isOld = revision !== commit.sha && (revision === undefined || revision === running)
    if (serves && isOld && !isSilent(release)) throw new NotSwitched('The old release still answers.')
  }
  const waitMs = (error: unknown): number | undefined => (error instanceof NotSwitched ? ASK_EVERY_MS : undefined)
  const waiting = showWaiting(context.log, () => [`${app} to run ${shortSha(commit.sha)}`])
  await retry(ask, { withinMs: SWITCH_MS, waitMs, signal: remote.signal })
    .catch((error: unknown) => {
      if (!(error instanceof NotSwitched)) throw error
    })
    .finally(waiting.stop)
  return release ?? runningRelease(remote, app)
}

/** Nothing is pushed for what is on the deploy branch already. Whether it runs, the containers say. */
export async function confirmUnchanged(deployment: Deployment, { commit }: Plan): Promise<Live> {
  const { remote, app, context } = deployment
  const release = await runningRelease(remote, app)
  context.closing.so('production', SO.runs(describeRevision(release)))
  const { revision: runs, running, serves, processes } = release
  const it = shortSha(commit.sha)
  const again = 'To build and start it again: rollback --rebuild'
  const notAll = new Failure(
    `${it} is deployed already, but not every process runs: ${processes}.`,
    `Look: deploy --logs. ${again}`,
  )
  if (runs === commit.sha) return { outcome: 'unchanged', runs, ...(running ? {} : { trouble: notAll }) }
  if (!serves) throw notAll
  if (isSilent(release))
    throw new Failure(
      `${it} is on the deploy branch there already, and the containers do not say whether they run it (GIT_REV).`,
      `${again}. What is set: ${sshLine('dokku', remote.host)} git:report ${app}`,
    )
  throw new Failure(
    `${it} is on the deploy branch there already, so a push changes nothing; but the server runs ${describeRevision(release)}.`,
    await hintNotStarted(deployment, release, commit.sha),
  )
}
