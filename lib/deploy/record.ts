// Adds what a deploy or rollback did to the ledger on the server, also when the run was interrupted.

import { reason } from '../core/failure.ts'
import { createShell } from '../core/shell.ts'
import { appendEntry, type Entry } from '../server/ledger.ts'
import { connectRemote } from '../server/ssh.ts'
import type { Deployment } from './deployment.ts'
import type { Outcome } from './outcome.ts'
import type { Plan } from './plan.ts'

/** How long the server is talked to after an interruption. */
export const LATE_MS = 20_000

/** How a run ended. */
interface Ending {
  outcome: Outcome | 'interrupted' | 'pushed'
  /** What the containers say that they run. */
  runs: string | undefined
  /** What should follow, and was not done. */
  notDone?: readonly string[]
}

/** Talks to the server once more after an interruption: over a connection of its own, for a bounded time. */
export async function reconnected<T>(deployment: Deployment, talk: (late: Deployment) => Promise<T>): Promise<T> {
  const { context, remote } = deployment
  const shell = createShell(context.shell.env, AbortSignal.timeout(LATE_MS))
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
  { running, commit, restorePoint }: Plan,
  { outcome, runs, notDone = [] }: Ending,
  verified: boolean | null,
): Promise<void> {
  const entry: Entry = {
    at: new Date().toISOString(),
    kind,
    who,
    from: running ?? null,
    to: commit.sha,
    subject: commit.subject,
    outcome,
    runs: runs ?? null,
    seconds: Math.round((performance.now() - startedMs) / 1000),
    verified,
    ...(notDone.length === 0 ? {} : { notDone }),
    ...(restorePoint === undefined ? {} : { restorePoint }),
  }
  try {
    await appendEntry(remote, settings.OPS_DIR, entry)
  } catch (error) {
    remote.signal.throwIfAborted()
    context.log.warn(`This ${kind} is not in the ledger: ${reason(error)}`)
  }
}

/** Records a release that went live in a run that was then interrupted. */
export function recordLate(
  deployment: Deployment,
  plan: Plan,
  ending: Ending,
  verified: boolean | null,
): Promise<void> {
  return reconnected(deployment, (late) => record(late, plan, ending, verified)).catch(() =>
    deployment.context.log.warn(`This ${deployment.kind} is not in the ledger: the server did not answer in time.`),
  )
}
