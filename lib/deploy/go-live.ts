// Makes the server deploy a commit, and makes sure what it runs afterwards.

import { SO } from '../cli/closing.ts'
import { Failure, Interrupted, reason } from '../core/failure.ts'
import { retry } from '../core/retry.ts'
import { shortSha } from '../core/sha.ts'
import { findDisagreement } from '../server/agreement.ts'
import { describeState, type Records, readRecords, type ServerState, serverState } from '../server/app.ts'
import { confirmLive, confirmUnchanged, type Live } from './confirm.ts'
import type { Deployment } from './deployment.ts'
import { createFollowing } from './following.ts'
import { cleanLine, type Outcome, type PushResult } from './outcome.ts'
import type { Plan } from './plan.ts'
import { pushCommit } from './push.ts'
import { explainPush } from './push-errors.ts'
import { LATE_MS, reconnected, record } from './record.ts'
import { describeDataBefore, describeTaken } from './restore-point.ts'

/** How long the server is asked after a connection broke. */
const ASK_MS = 20_000
/** How long a hook that lost its connection is given to end. */
const SETTLE_MS = 10_000
const ASK_EVERY_MS = 2000
const FAILED_LOG_LINES = 30

/** What the two releases of a run are called: a rollback goes from the newer to the older one. */
const NAMES: Record<Deployment['kind'], readonly [string, string]> = {
  deploy: ['the new release', 'the old release'],
  rollback: ['the release asked for', 'not the release asked for'],
  revert: ['with the revert', 'without the revert'],
  rebuild: ['the release asked for', 'not the release asked for'],
}

/**
 * Pushes the plan's commit and returns when the server runs it, as `bringLive` does.
 * @throws Failure, Interrupted
 */
export async function goLive(deployment: Deployment, plan: Plan): Promise<Live> {
  if (plan.deployed === plan.commit.sha) return confirmUnchanged(deployment, plan)
  return bringLive(deployment, plan, (onLine) => pushCommit(deployment, plan, onLine))
}

/**
 * Makes the server deploy and returns when it runs the plan's commit; the build's output goes to the log as it comes.
 * What does not go live is recorded here. What does is recorded by the caller, who knows whether the site passed its checks.
 *
 * @param act makes the server deploy, and is told where the output goes
 * @throws Failure that says why, what runs now, and what to do
 * @throws Interrupted after it has said what the server does
 */
export async function bringLive(
  deployment: Deployment,
  plan: Plan,
  act: (onLine: (line: string) => void) => Promise<PushResult>,
): Promise<Live> {
  const { kind, context } = deployment
  context.closing.so('production', SO.pushing)
  try {
    return await judge(deployment, plan, await act(context.log.raw))
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    context.log.error(`The ${kind === 'rebuild' ? 'rebuild' : 'push'} was interrupted; asking the server what it does.`)
    context.closing.so('production', await tellAfterInterruption(deployment, plan))
    context.closing.so('archive', describeDataBefore(deployment, plan, 'interrupted'))
    throw error
  }
}

/** @throws Failure, Interrupted as `bringLive` does */
async function judge(deployment: Deployment, plan: Plan, result: PushResult): Promise<Live> {
  const { kind, context } = deployment
  const { sha } = plan.commit
  const { outcome } = result
  if (outcome === 'unchanged') return confirmUnchanged(deployment, plan)
  if (outcome === 'deployed' || outcome === 'skipped') return confirmLive(deployment, plan, outcome)
  if (outcome === 'no-connection') {
    context.closing.so('production', SO.notPushed)
    throw explainPush(result, deployment, sha, { locked: false, isLive: false })
  }

  const isLost = outcome === 'lost'
  const answer = await askServer(deployment, isLost)
  const { state } = answer
  const runs = state?.revision
  // A rebuild begins with the state that it ends with: there it tells nothing.
  if (isLost && kind !== 'rebuild' && isRecorded(answer, sha)) {
    context.log.warn('The connection was lost during the push, but the server finished the deploy.')
    context.closing.so('production', SO.runs(shortSha(sha)))
    return { outcome: 'deployed', runs }
  }
  const isLive = runs === sha && wentLiveAllTheSame(plan, outcome)
  const failedLog = outcome === 'health-failed' ? await askFailedLog(deployment) : []
  // Dokku leaves the lock behind when a build fails: only after a lost connection it tells something.
  const locked = isLost && state?.locked === true
  const now = tellAnswer(deployment, plan, state ? { ...answer, state: { ...state, locked } } : answer)
  const cause = [
    ...result.cause,
    ...failedLog.filter((line) => !result.cause.some((told) => told.trim() === line.trim())),
  ]
  context.closing.so('production', now)
  context.closing.so('archive', isLive ? describeTaken(plan) : describeDataBefore(deployment, plan, outcome))
  const failure = explainPush({ outcome, cause }, deployment, sha, { locked, isLive })
  if (isLive) return { outcome, runs, trouble: failure }
  await record(deployment, plan, { outcome, runs }, null)
  throw failure
}

/** What the server said of itself, or why it did not. */
interface Answer {
  state?: ServerState
  records?: Records
  silence?: string
}

/** The deploy went through: the containers are switched, and Dokku has moved the branch. */
function isRecorded({ state, records }: Answer, sha: string): boolean {
  return state?.revision === sha && state.running && records?.branch === sha
}

/**
 * Whether a failed deploy has switched the web containers before it failed, when they say that they run its commit. Dokku checks the
 * other processes after that, and runs the postdeploy task.
 */
function wentLiveAllTheSame({ running, commit }: Plan, outcome: Outcome): boolean {
  return outcome === 'postdeploy-failed' || (running !== commit.sha && ['health-failed', 'refused'].includes(outcome))
}

/** Where neither the plan's commit runs nor the one it began with, somebody deployed meanwhile: that is not "the old release". */
function tellAnswer(deployment: Deployment, { commit, running }: Plan, { state, records, silence }: Answer): string {
  if (state === undefined) return silence ?? ''
  const { kind, app, branch } = deployment
  const expected = [commit.sha, running].includes(state.revision)
  const said = describeState(state, commit.sha, NAMES[expected ? kind : 'rollback'])
  // While a deploy goes on they differ, as they should.
  if (state.locked || records === undefined) return said
  const disagreement = findDisagreement({ ...state, ...records, app, branchName: branch, entries: [] })
  return disagreement
    ? `${said}\n${disagreement.what}. To make them agree: ${disagreement.fix.replace(/\)$/, ').')}`
    : said
}

async function askServer({ remote, app, branch }: Deployment, patiently: boolean): Promise<Answer> {
  const startedMs = performance.now()
  const ask = async (): Promise<ServerState> => {
    const state = await serverState(remote, app)
    // A hook whose connection broke takes a moment to notice.
    const isSettling = patiently && state.locked && performance.now() < startedMs + SETTLE_MS
    if (isSettling) throw new Failure('the deploy lock is there')
    return state
  }
  const { signal } = remote
  try {
    const attempts = patiently ? Infinity : 1
    const state = await retry(ask, { attempts, withinMs: ASK_MS, waitMs: ASK_EVERY_MS, signal })
    const records = await readRecords(remote, app, branch).catch(() => undefined)
    signal.throwIfAborted()
    return records ? { state, records } : { state }
  } catch (error) {
    signal.throwIfAborted()
    return { silence: `What runs now can't be asked: ${reason(error)}` }
  }
}

async function askFailedLog({ remote, app }: Deployment): Promise<string[]> {
  try {
    const { stdout } = await remote.dokku('logs:failed APP', app, { timeoutMs: 30_000 })
    return stdout
      .split('\n')
      .map(cleanLine)
      .filter((line) => line !== '')
      .slice(-FAILED_LOG_LINES)
  } catch {
    // The push said why, too.
    remote.signal.throwIfAborted()
    return []
  }
}

function tellAfterInterruption(deployment: Deployment, plan: Plan): Promise<string> {
  return reconnected(deployment, async (late) => {
    // Not all of `askServer`: the time is short, and the deploy may go on.
    const state = await serverState(late.remote, late.app)
    await record(late, plan, { outcome: 'interrupted', runs: state.revision }, null)
    if (state.revision === plan.commit.sha) createFollowing(late, state.revision)
    return `${tellAnswer(late, plan, { state })} Follow it: deploy --status`
  }).catch(() => `The server did not say within ${LATE_MS / 1000} s what it does. Ask again: deploy --status`)
}
