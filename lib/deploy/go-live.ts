import type { Settings } from '../cli/settings.ts'
import { Failure, Interrupted, reason } from '../core/failure.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'
import { shortSha } from '../core/sha.ts'
import { createShell, type Shell } from '../core/shell.ts'
import type { Checkout } from '../git/checkout.ts'
import { describeState, liveRelease, runningRelease, type ServerState, serverState } from '../server/app.ts'
import { appendEntry, type Entry } from '../server/ledger.ts'
import { connectRemote, type Remote } from '../server/ssh.ts'
import type { Plan } from './plan.ts'
import { cleanLine, type Outcome, type Pushed, pushCommit } from './push.ts'
import { explainPush } from './push-errors.ts'

/** What deploy and rollback work with once they know what to do. */
export interface Run {
  kind: Entry['kind']
  settings: Settings<'DOKKU_HOST' | 'DEPLOY_USER' | 'OPS_DIR'>
  shell: Shell
  log: Log
  checkout: Checkout
  remote: Remote
  who: string
  startedMs: number
}

/** How long the server is asked after a connection broke, and after a Ctrl-C. */
const ASK_MS = 20_000
/** How long a hook that lost its connection is given to end. */
const SETTLE_MS = 10_000
const ASK_EVERY_MS = 2000
const FAILED_LOG_LINES = 30

/** What the two releases of a run are called: a way back goes from the newer to the older one. */
const NAMES: Record<Entry['kind'], readonly [string, string]> = {
  deploy: ['the new release', 'the old release'],
  rollback: ['the release asked for', 'not the release asked for'],
  revert: ['with the revert', 'without the revert'],
  rebuild: ['the release asked for', 'not the release asked for'],
}

/**
 * Pushes the plan's commit and returns when the server runs it, as `bringLive` does.
 * @throws Failure, Interrupted
 */
export async function goLive(run: Run, plan: Plan): Promise<'deployed' | 'unchanged'> {
  const { app, branch, commit, deployed } = plan
  if (deployed === commit.sha) return confirmUnchanged(run, plan)
  return bringLive(run, plan, (onLine) =>
    pushCommit(run.checkout, run.remote, { app, branch, sha: commit.sha, deployed, onLine }),
  )
}

/**
 * Makes the server deploy and returns when it runs the plan's commit; the build's output goes to the log as it comes.
 * What does not go live is recorded here; what does, by the caller, who knows whether the site passed its checks.
 *
 * @param act what makes it deploy, told where the output goes
 * @throws Failure that says why, what runs now, and what to do
 * @throws Interrupted after it has said what the server does
 */
export async function bringLive(
  run: Run,
  plan: Plan,
  act: (onLine: (line: string) => void) => Promise<Pushed>,
): Promise<'deployed' | 'unchanged'> {
  const { kind, log } = run
  try {
    return await judge(run, plan, await act((line) => log.raw(`${line}\n`)))
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    log.error(`The ${kind === 'rebuild' ? 'rebuild' : 'push'} was interrupted; asking the server what it does.`)
    log.info(await tellAfterInterruption(run, plan))
    throw error
  }
}

/** @throws Failure, Interrupted as `bringLive` does */
async function judge(run: Run, plan: Plan, pushed: Pushed): Promise<'deployed' | 'unchanged'> {
  const { kind, log, remote } = run
  const { app, branch, commit } = plan
  const { outcome } = pushed
  if (outcome === 'unchanged') return confirmUnchanged(run, plan)
  if (outcome === 'deployed') return confirmLive(run, plan)

  const state = outcome === 'no-connection' ? undefined : await askServer(remote, app, outcome === 'lost')
  // A rebuild begins with the state that it ends with: there it tells nothing.
  const moved = kind !== 'rebuild' && typeof state === 'object' && state.sha === commit.sha && state.running
  if (outcome === 'lost' && moved) {
    log.warn('The connection was lost during the push, but the server finished the deploy.')
    return 'deployed'
  }
  if (outcome === 'health-failed') pushed.cause.push(...(await failedLog(remote, app)))
  if (outcome !== 'no-connection') await record(run, plan, outcome, null)
  // Dokku leaves the lock behind when a build fails: only after a lost connection it tells something.
  const known = typeof state === 'object' ? { ...state, locked: state.locked && outcome === 'lost' } : undefined
  const now = known ? tellState(known, plan, kind) : typeof state === 'string' ? state : 'Nothing was changed there.'
  const target = { app, branch, sha: commit.sha, host: remote.host, back: kind !== 'deploy' }
  throw explainPush(pushed, target, now, known)
}

/**
 * "Deployed" is said when the server says so, not when git does: with `skip-deploy` Dokku builds, and takes the push, but runs what
 * it ran. Then the container tells.
 */
async function confirmLive(run: Run, plan: Plan): Promise<'deployed'> {
  const { sha, revision, running, processes } = await liveRelease(run.remote, plan.app)
  const runs = revision ?? sha
  if (runs === plan.commit.sha && running) return 'deployed'
  await record(run, plan, runs === plan.commit.sha ? 'deployed' : 'refused', false)
  throw new Failure(
    runs === plan.commit.sha
      ? `The push went through, but not every process runs: ${processes}.`
      : `The push went through, but the server says it runs ${runs ?? 'nothing'}.`,
    `Look: deploy --status, and: deploy --logs. Dokku's own settings: ssh dokku@${run.remote.host} ps:report ${plan.app}`,
  )
}

/** Nothing is pushed for what is deployed already; but a stopped app is not live. */
async function confirmUnchanged({ remote }: Run, { app, commit }: Plan): Promise<'unchanged'> {
  const { running, processes } = await runningRelease(remote, app)
  if (running) return 'unchanged'
  throw new Failure(
    `${shortSha(commit.sha)} is deployed already, but not every process runs: ${processes}.`,
    `Look: deploy --logs. Start it: ssh dokku@${remote.host} ps:start ${app}, or anew: rollback --rebuild`,
  )
}

/** Neither the plan's commit nor the one it began with: somebody deployed meanwhile, and it is not "the old release". */
function tellState(state: ServerState, { commit, deployed }: Plan, kind: Entry['kind']): string {
  const expected = [commit.sha, deployed].includes(state.revision ?? state.sha)
  return describeState(state, commit.sha, NAMES[expected ? kind : 'rollback'])
}

/** @returns a sentence when the server can't be asked */
async function askServer(remote: Remote, app: string, patiently: boolean): Promise<ServerState | string> {
  const settledMs = Date.now() + SETTLE_MS
  const ask = async (): Promise<ServerState> => {
    const state = await serverState(remote, app)
    // A hook whose connection broke takes a moment to notice.
    if (patiently && state.locked && Date.now() <= settledMs) throw new Error('A deploy still runs there.')
    return state
  }
  const attempts = patiently ? Number.POSITIVE_INFINITY : 1
  try {
    return await retry(ask, { attempts, withinMs: ASK_MS, waitMs: ASK_EVERY_MS, signal: remote.signal })
  } catch (error) {
    remote.signal.throwIfAborted()
    return `What runs now can't be asked: ${reason(error)}`
  }
}

function tellAfterInterruption(run: Run, plan: Plan): Promise<string> {
  return late(run, async (remote) => {
    const state = await askServer(remote, plan.app, false)
    await record({ ...run, remote }, plan, 'interrupted', null)
    return typeof state === 'string' ? state : `${tellState(state, plan, run.kind)} Follow it: deploy --status`
  }).catch(() => `The server did not say within ${ASK_MS / 1000} s what it does. Ask again: deploy --status`)
}

/** Talks to the server once more after an interruption, over a connection of its own, for a bounded time. */
async function late<T>(run: Run, talk: (remote: Remote) => Promise<T>): Promise<T> {
  const remote = await connectRemote(createShell(run.shell.env, AbortSignal.timeout(ASK_MS)), run.settings)
  try {
    return await talk(remote)
  } finally {
    await remote.close()
  }
}

/** Records a release that went live in a run that was then interrupted. */
export function recordLate(run: Run, plan: Plan, outcome: Outcome): Promise<void> {
  return late(run, (remote) => record({ ...run, remote }, plan, outcome, null)).catch(() =>
    run.log.warn(`This ${run.kind} is not in the ledger: the server did not answer in time.`),
  )
}

async function failedLog(remote: Remote, app: string): Promise<string[]> {
  try {
    const { stdout } = await remote.dokku(['logs:failed', app], { timeoutMs: 30_000 })
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

/** Adds what happened to the ledger; if that fails it is a warning: the release runs all the same. */
export async function record(
  { kind, settings, log, remote, who, startedMs }: Run,
  { deployed, commit }: Pick<Plan, 'deployed' | 'commit'>,
  outcome: Outcome | 'interrupted' | 'pushed',
  verified: boolean | null,
): Promise<void> {
  const seconds = Math.round((Date.now() - startedMs) / 1000)
  const at = new Date().toISOString()
  const { sha: to, subject } = commit
  try {
    const from = deployed ?? null
    await appendEntry(remote, settings.OPS_DIR, { at, kind, who, from, to, subject, outcome, seconds, verified })
  } catch (error) {
    remote.signal.throwIfAborted()
    log.warn(`This ${kind} is not in the ledger: ${reason(error)}`)
  }
}
