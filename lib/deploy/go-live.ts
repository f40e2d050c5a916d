// Makes the server deploy a commit, and makes sure what it runs afterwards.

import { Failure, Interrupted, reason } from '../core/failure.ts'
import { sshLine } from '../core/host.ts'
import { retry } from '../core/retry.ts'
import { shortSha } from '../core/sha.ts'
import { createShell } from '../core/shell.ts'
import { describeState, liveRelease, runningRelease, type ServerState, serverState } from '../server/app.ts'
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
export async function goLive(deployment: Deployment, plan: Plan): Promise<'deployed' | 'unchanged'> {
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
): Promise<'deployed' | 'unchanged'> {
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
async function judge(deployment: Deployment, plan: Plan, result: PushResult): Promise<'deployed' | 'unchanged'> {
  const { kind, context } = deployment
  const { sha } = plan.commit
  const { outcome } = result
  if (outcome === 'unchanged') return confirmUnchanged(deployment, plan)
  if (outcome === 'deployed') return confirmLive(deployment, plan)
  if (outcome === 'no-connection')
    throw explainPush(result, deployment, sha, { now: 'Nothing was changed there.', locked: false })

  const isLost = outcome === 'lost'
  const state = await askServer(deployment, isLost)
  // A rebuild begins with the state that it ends with: there it tells nothing.
  if (isLost && kind !== 'rebuild' && typeof state === 'object' && state.sha === sha && state.running) {
    context.log.warn('The connection was lost during the push, but the server finished the deploy.')
    return 'deployed'
  }
  const failedLog = outcome === 'health-failed' ? await askFailedLog(deployment) : []
  await record(deployment, plan, outcome, null)
  // Dokku leaves the lock behind when a build fails: only after a lost connection it tells something.
  const locked = isLost && typeof state === 'object' && state.locked
  const now = typeof state === 'string' ? state : tellState(deployment, plan, { ...state, locked })
  throw explainPush({ outcome, cause: [...result.cause, ...failedLog] }, deployment, sha, { now, locked })
}

/**
 * "Deployed" is said when the server says so, not when git does. With `skip-deploy` Dokku builds and takes the push, but goes on
 * running what it ran. Then the container tells.
 */
async function confirmLive(deployment: Deployment, plan: Plan): Promise<'deployed'> {
  const { remote, app } = deployment
  const { sha, revision, running, processes } = await liveRelease(remote, app)
  const runs = revision ?? sha
  if (runs === plan.commit.sha && running) return 'deployed'
  await record(deployment, plan, runs === plan.commit.sha ? 'deployed' : 'refused', false)
  throw new Failure(
    runs === plan.commit.sha
      ? `The push went through, but not every process runs: ${processes}.`
      : `The push went through, but the server says it runs ${runs ? shortSha(runs) : 'nothing'}.`,
    `Look: deploy --status, and: deploy --logs. Dokku's own settings: ${sshLine('dokku', remote.host)} ps:report ${app}`,
  )
}

/** Nothing is pushed for what is deployed already; but a stopped app is not live. */
async function confirmUnchanged({ remote, app }: Deployment, { commit }: Plan): Promise<'unchanged'> {
  const { running, processes } = await runningRelease(remote, app)
  if (running) return 'unchanged'
  throw new Failure(
    `${shortSha(commit.sha)} is deployed already, but not every process runs: ${processes}.`,
    `Look: deploy --logs. Start it: ${sshLine('dokku', remote.host)} ps:start ${app}, or build it again: rollback --rebuild`,
  )
}

/** Where neither the plan's commit runs nor the one it began with, somebody deployed meanwhile: that is not "the old release". */
function tellState({ kind }: Deployment, { commit, deployed }: Plan, state: ServerState): string {
  const expected = [commit.sha, deployed].includes(state.revision ?? state.sha)
  return describeState(state, commit.sha, NAMES[expected ? kind : 'rollback'])
}

/** @returns a sentence when the server can't be asked */
async function askServer({ remote, app }: Deployment, patiently: boolean): Promise<ServerState | string> {
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
    return await retry(ask, { attempts: patiently ? Infinity : 1, withinMs: ASK_MS, waitMs: ASK_EVERY_MS, signal })
  } catch (error) {
    signal.throwIfAborted()
    return `What runs now can't be asked: ${reason(error)}`
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
    const state = await askServer(late, false)
    await record(late, plan, 'interrupted', null)
    return typeof state === 'string' ? state : `${tellState(late, plan, state)} Follow it: deploy --status`
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
  { deployed, commit }: Plan,
  outcome: Outcome | 'interrupted' | 'pushed',
  verified: boolean | null,
): Promise<void> {
  const entry = {
    at: new Date().toISOString(),
    kind,
    who,
    from: deployed ?? null,
    to: commit.sha,
    subject: commit.subject,
    outcome,
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
export function recordLate(deployment: Deployment, plan: Plan, outcome: Outcome): Promise<void> {
  return reconnected(deployment, (late) => record(late, plan, outcome, null)).catch(() =>
    deployment.context.log.warn(`This ${deployment.kind} is not in the ledger: the server did not answer in time.`),
  )
}
