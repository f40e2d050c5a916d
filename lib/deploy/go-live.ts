// Makes the server deploy a commit, and makes sure what it runs afterwards.

import { Failure, Interrupted, reason } from '../core/failure.ts'
import { sshLine } from '../core/host.ts'
import { retry } from '../core/retry.ts'
import { shortSha } from '../core/sha.ts'
import { createShell } from '../core/shell.ts'
import { findDisagreement } from '../server/agreement.ts'
import {
  describeRevision,
  describeState,
  isSilent,
  type Records,
  type RunningRelease,
  readRecords,
  runningRelease,
  type ServerState,
  serverState,
} from '../server/app.ts'
import { appendEntry } from '../server/ledger.ts'
import { connectRemote } from '../server/ssh.ts'
import type { Deployment } from './deployment.ts'
import { cleanLine, type Outcome, type PushResult } from './outcome.ts'
import type { Plan } from './plan.ts'
import { pushCommit } from './push.ts'
import { explainPush } from './push-errors.ts'

/** How long the server is asked after a connection broke, and after a Ctrl-C. */
const ASK_MS = 20_000
/** How long a hook that lost its connection is given to end. */
const SETTLE_MS = 10_000
const ASK_EVERY_MS = 2000
/** How long the old release may go on answering after a push that went well. */
const SWITCH_MS = 60_000
const FAILED_LOG_LINES = 30

/** What the two releases of a run are called: a rollback goes from the newer to the older one. */
const NAMES: Record<Deployment['kind'], readonly [string, string]> = {
  deploy: ['the new release', 'the old release'],
  rollback: ['the release asked for', 'not the release asked for'],
  revert: ['with the revert', 'without the revert'],
  rebuild: ['the release asked for', 'not the release asked for'],
}

/** The plan's commit runs; cache and site are looked after, whatever else is wrong. */
export interface Live {
  outcome: Outcome
  /** What the containers say that they run; undefined where none says. */
  runs: string | undefined
  /** What makes the run fail in the end: a process that does not run, a postdeploy task that failed. */
  trouble?: Failure
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
  try {
    return await judge(deployment, plan, await act(context.log.raw))
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    context.log.error(`The ${kind === 'rebuild' ? 'rebuild' : 'push'} was interrupted; asking the server what it does.`)
    context.log.info(await tellAfterInterruption(deployment, plan))
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
  if (outcome === 'no-connection')
    throw explainPush(result, deployment, sha, { now: 'Nothing was changed there.', locked: false, isLive: false })

  const isLost = outcome === 'lost'
  const answer = await askServer(deployment, isLost)
  const { state } = answer
  const runs = state?.revision
  // A rebuild begins with the state that it ends with: there it tells nothing.
  if (isLost && kind !== 'rebuild' && isRecorded(answer, sha)) {
    context.log.warn('The connection was lost during the push, but the server finished the deploy.')
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
  const failure = explainPush({ outcome, cause }, deployment, sha, { now, locked, isLive })
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

/**
 * "Deployed" is said when the containers say so, not when git does: with `skip-deploy` Dokku builds and takes the push, but goes on
 * running what it ran.
 */
async function confirmLive(deployment: Deployment, plan: Plan, outcome: 'deployed' | 'skipped'): Promise<Live> {
  const { remote, app, context } = deployment
  const { sha } = plan.commit
  const release = outcome === 'skipped' ? await runningRelease(remote, app) : await awaitSwitch(deployment, plan)
  const { revision: runs, running, processes } = release
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
async function awaitSwitch({ remote, app }: Deployment, { commit, running }: Plan): Promise<RunningRelease> {
  let release: RunningRelease | undefined
  const ask = async (): Promise<void> => {
    release = await runningRelease(remote, app)
    const { revision, serves } = release
    const isOld = revision !== commit.sha && (revision === undefined || revision === running)
    if (serves && isOld && !isSilent(release)) throw new NotSwitched('The old release still answers.')
  }
  const waitMs = (error: unknown): number | undefined => (error instanceof NotSwitched ? ASK_EVERY_MS : undefined)
  await retry(ask, { withinMs: SWITCH_MS, waitMs, signal: remote.signal }).catch((error: unknown) => {
    if (!(error instanceof NotSwitched)) throw error
  })
  return release ?? runningRelease(remote, app)
}

/** Nothing is pushed for what is on the deploy branch already. Whether it runs, the containers say. */
async function confirmUnchanged(deployment: Deployment, { commit }: Plan): Promise<Live> {
  const { remote, app } = deployment
  const release = await runningRelease(remote, app)
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

/** Where neither the plan's commit runs nor the one it began with, somebody deployed meanwhile: that is not "the old release". */
function tellAnswer(deployment: Deployment, { commit, running }: Plan, { state, records, silence }: Answer): string {
  if (state === undefined) return silence ?? ''
  const { kind, app, branch } = deployment
  const expected = [commit.sha, running].includes(state.revision)
  const said = describeState(state, commit.sha, NAMES[expected ? kind : 'rollback'])
  // While a deploy goes on they differ, as they should.
  if (state.locked || records === undefined) return said
  const disagreement = findDisagreement({ ...state, ...records, app, branchName: branch, entries: [] })
  return disagreement ? `${said}\n${disagreement.what}. To make them agree: ${disagreement.fix}` : said
}

async function askServer({ remote, app, branch }: Deployment, patiently: boolean): Promise<Answer> {
  const startedMs = Date.now()
  const ask = async (): Promise<ServerState> => {
    const state = await serverState(remote, app)
    // A hook whose connection broke takes a moment to notice.
    const isSettling = patiently && state.locked && Date.now() < startedMs + SETTLE_MS
    if (isSettling) throw new Failure('the deploy lock is there')
    return state
  }
  const { signal } = remote
  try {
    const attempts = patiently ? Infinity : 1
    const state = await retry(ask, { attempts, withinMs: ASK_MS, waitMs: ASK_EVERY_MS, signal })
    return { state, records: await readRecords(remote, app, branch) }
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
    return `${tellAnswer(late, plan, { state })} Follow it: deploy --status`
  }).catch(() => `The server did not say within ${ASK_MS / 1000} s what it does. Ask again: deploy --status`)
}

/** Talks to the server once more after an interruption: over a connection of its own, for a bounded time. */
async function reconnected<T>(deployment: Deployment, talk: (late: Deployment) => Promise<T>): Promise<T> {
  const { context, remote } = deployment
  const shell = createShell(context.shell.env, AbortSignal.timeout(ASK_MS))
  const again = await connectRemote(shell, { DOKKU_HOST: remote.host, DEPLOY_USER: remote.user })
  try {
    return await talk({ ...deployment, remote: again })
  } finally {
    await again.close()
  }
}

/** Adds what happened to the ledger. If that fails it is a warning: the release runs all the same. */
export async function record(
  { kind, settings, context, remote, who, startedMs }: Deployment,
  { running, commit }: Plan,
  { outcome, runs }: { outcome: Outcome | 'interrupted' | 'pushed'; runs: string | undefined },
  verified: boolean | null,
): Promise<void> {
  const entry = {
    at: new Date().toISOString(),
    kind,
    who,
    from: running ?? null,
    to: commit.sha,
    subject: commit.subject,
    outcome,
    runs: runs ?? null,
    seconds: Math.round((Date.now() - startedMs) / 1000),
    verified,
  }
  try {
    await appendEntry(remote, settings.OPS_DIR, entry)
  } catch (error) {
    remote.signal.throwIfAborted()
    context.log.warn(`This ${kind} is not in the ledger: ${reason(error)}`)
  }
}

/** Records a release that went live in a run that was then interrupted. */
export function recordLate(deployment: Deployment, plan: Plan, live: Live): Promise<void> {
  return reconnected(deployment, (late) => record(late, plan, live, null)).catch(() =>
    deployment.context.log.warn(`This ${deployment.kind} is not in the ledger: the server did not answer in time.`),
  )
}
