// Builds and starts what is deployed once more: the code is right, the container is not.

import { Failure } from '../core/failure.ts'
import { printable } from '../core/format.ts'
import { sshLine } from '../core/host.ts'
import { parseSha, shortSha } from '../core/sha.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { classifyPush, collectLines, type PushResult } from '../deploy/outcome.ts'
import type { Plan } from '../deploy/plan.ts'
import { explainDokku } from '../dokku/errors.ts'
import { describeCommit, hasCommit } from '../git/checkout.ts'
import { SshFailure } from '../server/ssh-errors.ts'

/**
 * @param deployed the head of the deploy branch there
 * @throws Failure when the server's ideas of the deployed revision differ
 */
export async function planRebuild(deployment: Deployment, deployed: string): Promise<Plan> {
  const { checkout } = deployment
  await checkRevision(deployment, deployed)
  const commit = (await hasCommit(checkout, deployed))
    ? await describeCommit(checkout, deployed)
    : { sha: deployed, author: '', at: new Date(0), subject: '(not in this checkout)', migrations: [] }
  return { deployed, commit, commits: [], dropped: [] }
}

/**
 * Dokku rebuilds the head of its deploy branch, and tells the container that it is GIT_REV. Dokku writes GIT_REV before a build,
 * and it survives a failed one.
 */
async function checkRevision({ remote, app, context }: Deployment, deployed: string): Promise<void> {
  const head = await remote.dokku('git:report APP --git-sha', app, { timeoutMs: 60_000 })
  if (head.exitCode !== 0) throw explainDokku(head, `git:report ${app}`, remote.host)
  // Not config:show, which prints every secret. It exits 1 for a key that is not set.
  const config = await remote.dokku('config:get APP GIT_REV', app, { timeoutMs: 60_000 })
  const [sha, revision] = [parseSha(head.stdout), parseSha(config.stdout)]
  if (revision === undefined && sha === deployed)
    return context.log.warn(`${app} has no GIT_REV to compare ${shortSha(deployed)} with.`)
  if (revision === deployed && sha === deployed) return
  const says = (name: string, value: string | undefined): string => `${name} is ${value ? shortSha(value) : 'not set'}`
  throw new Failure(
    `The server disagrees with itself about what is deployed: ${says('its deploy branch', deployed)}, ${says('HEAD', sha)}, ${says('GIT_REV', revision)}. A deploy of ${shortSha(revision ?? sha ?? deployed)} failed or was cut off; a rebuild would run ${shortSha(deployed)} under another name. Nothing was changed.`,
    sha === deployed
      ? `If ${shortSha(deployed)} is right: ${sshLine('dokku', remote.host)} config:set --no-restart ${app} GIT_REV=${deployed}, then again. Else: deploy, or rollback --list`
      : `See: ${sshLine('dokku', remote.host)} git:report ${app}. Then: deploy, or rollback --list`,
  )
}

/** What will be done, for the operator. */
export function describeRebuild({ app }: Deployment, { commit }: Plan): string {
  return `${shortSha(commit.sha)} ${printable(commit.subject)} is built and started once more: dokku ps:rebuild ${app}`
}

/** Dokku's words are those of a push. */
export async function rebuildApp({ remote, app }: Deployment, onLine: (line: string) => void): Promise<PushResult> {
  const said = collectLines(onLine, () => false)
  try {
    return classifyPush(await remote.dokku('ps:rebuild APP', app, { onLine: said.take }), said.lines)
  } catch (error) {
    if (!(error instanceof SshFailure)) throw error
    return { outcome: error.trouble === 'lost' ? 'lost' : 'no-connection', cause: [error.message] }
  }
}
