// Builds and starts what is deployed once more: the code is right, the container is not.

import { printable } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { classifyPush, collectLines, type PushResult } from '../deploy/outcome.ts'
import { makePlan, NO_CHANGE, type Plan } from '../deploy/plan.ts'
import { explainDokku } from '../dokku/errors.ts'
import { hasCommit } from '../git/checkout.ts'
import { configuredRevision } from '../server/app.ts'
import { SshFailure } from '../server/ssh-errors.ts'
import { setRevision } from '../server/words.ts'
import type { Situation } from './situation.ts'

interface RebuildPlan extends Plan {
  /** GIT_REV of the app's configuration, where it is another commit's. Dokku would give its name to what it builds. */
  misnamed: string | undefined
}

/** Dokku rebuilds the head of its deploy branch. Whatever else runs is taken back by that. */
export async function planRebuild(
  { checkout, remote, app, context }: Deployment,
  { deployed, running }: Situation,
): Promise<RebuildPlan> {
  const configured = await configuredRevision(remote, app)
  if (configured === undefined)
    context.log.warn(`${app} has no GIT_REV: its containers can't say that they run ${shortSha(deployed)}.`)
  const misnamed = configured === deployed ? undefined : configured
  if (await hasCommit(checkout, deployed))
    return { ...(await makePlan(checkout, { deployed, running }, deployed)), misnamed }
  const commit = { sha: deployed, author: '', at: new Date(0), subject: '(not in this checkout)', added: [] }
  return { ...NO_CHANGE, deployed, running, commit, misnamed }
}

/** What will be done, for the operator. */
export function describeRebuild({ app }: Deployment, { commit, running, misnamed }: RebuildPlan): string {
  const it = shortSha(commit.sha)
  return [
    `${it} ${printable(commit.subject)} is built and started once more: dokku ps:rebuild ${app}`,
    ...(running !== undefined && running !== commit.sha
      ? [`It takes the place of ${shortSha(running)}, which runs.`]
      : []),
    ...(misnamed
      ? [`GIT_REV is ${shortSha(misnamed)}, of a deploy that failed or was cut off: it is set to ${it} first.`]
      : []),
  ].join('\n')
}

/**
 * Dokku writes GIT_REV before a build, and it survives a failed one: it is set right before, and put back when this build fails, because
 * then the image is still the one that it names.
 */
export async function rebuildApp(
  { remote, app }: Deployment,
  { commit, misnamed }: RebuildPlan,
  onLine: (line: string) => void,
): Promise<PushResult> {
  const name = async (sha: string): Promise<void> => {
    const output = await remote.dokku(setRevision(sha), app, { timeoutMs: 60_000 })
    if (output.exitCode !== 0) throw explainDokku(output, `config:set ${app}`, remote.host)
  }
  const said = collectLines(onLine, () => false)
  try {
    if (misnamed) await name(commit.sha)
    // Dokku's words are those of a push.
    const result = classifyPush(await remote.dokku('ps:rebuild APP', app, { onLine: said.take }), said.lines)
    if (misnamed && (result.outcome === 'build-failed' || result.outcome === 'locked')) await name(misnamed)
    return result
  } catch (error) {
    if (!(error instanceof SshFailure)) throw error
    return { outcome: error.trouble === 'lost' ? 'lost' : 'no-connection', cause: [error.message] }
  }
}
