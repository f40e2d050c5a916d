// What a deploy checks before anything moves: the commit, the checkout, and the server.

import { EXIT, Failure } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { shortSha } from '../core/sha.ts'
import { type Checkout, dirtyPaths, fileOf, hasCommit, isAncestor, isShallow } from '../git/checkout.ts'
import type { Deployment } from './deployment.ts'
import { findObjection, type Objection } from './objection.ts'
import { makePlan, type Plan } from './plan.ts'
import { lookAtServer } from './standing.ts'

/**
 * Everything that can be known before anything moves.
 * @throws Failure for what must not be deployed; what is only unusual is a warning
 */
export async function preflight(
  deployment: Deployment,
  sha: string,
): Promise<{ plan: Plan; objection: Objection | undefined }> {
  const { checkout, context } = deployment
  await requireHistory(checkout)
  await requireDeployable(checkout, sha)
  const dirty = await dirtyPaths(checkout)
  if (dirty.length > 0)
    context.log.warn(
      `The working tree has ${plural(dirty.length, 'change')} that will not be deployed: only the commit ${shortSha(sha)} is.`,
    )
  await warnOfOtherOrigin(deployment, sha)
  const standing = await lookAtServer(deployment)
  const plan = await makePlan(checkout, standing, sha)
  warnOfChanges(plan, context.log)
  return { plan, objection: await findObjection(deployment, plan, standing) }
}

/** @throws Failure (exit status 2) when the checkout can't be pushed from */
export async function requireHistory(checkout: Checkout): Promise<void> {
  if (await isShallow(checkout))
    throw new Failure(
      `${checkout.dir} is a shallow clone: Dokku can't take pushes from one.`,
      'Fetch the rest: git fetch --unshallow. In a workflow: actions/checkout with fetch-depth: 0',
      EXIT.usage,
    )
}

/**
 * Whether a commit holds what Dokku's build, migration and health check need.
 * @throws Failure that lists what is missing
 */
export async function requireDeployable(checkout: Checkout, sha: string): Promise<void> {
  const [dockerfile, lockFile, appJson] = await Promise.all(
    ['Dockerfile', 'package-lock.json', 'app.json'].map((path) => fileOf(checkout, sha, path)),
  )
  const problems = [
    ...(dockerfile === undefined ? ['it has no Dockerfile: Dokku would try to build it some other way'] : []),
    ...(lockFile === undefined ? ['it has no package-lock.json: npm ci in the build would fail'] : []),
    ...(appJson === undefined
      ? ['it has no app.json: Dokku would not migrate the database, and not check /health/ before it switches']
      : appJsonProblems(appJson)),
  ]
  if (problems.length === 0) return
  throw new Failure(
    `${shortSha(sha)} can't be deployed:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
    'Commit what is missing, then deploy that commit.',
  )
}

/** Pure. */
export function appJsonProblems(text: string): string[] {
  interface AppJson {
    scripts?: { dokku?: { predeploy?: unknown } }
    healthchecks?: { web?: { type?: unknown; path?: unknown }[] }
  }
  let app: AppJson
  try {
    app = JSON.parse(text)
  } catch {
    return ['its app.json is not JSON']
  }
  const web = app?.healthchecks?.web
  const startup = Array.isArray(web) && web.some(({ type, path }) => type === 'startup' && path === '/health/')
  return [
    ...(/\bmigrate\b/.test(String(app?.scripts?.dokku?.predeploy ?? ''))
      ? []
      : ['its app.json has no predeploy script that migrates the database']),
    ...(startup ? [] : ['its app.json has no startup check of /health/: a release that does not answer would go live']),
  ]
}

async function warnOfOtherOrigin({ checkout, branch, context: { log } }: Deployment, sha: string): Promise<void> {
  const tracked = `refs/remotes/origin/${branch}`
  if (!(await hasCommit(checkout, tracked)))
    log.warn(`This checkout has no origin/${branch} to compare ${shortSha(sha)} with.`)
  else if (!(await isAncestor(checkout, sha, tracked)))
    log.warn(`${shortSha(sha)} is not on origin/${branch} (as last fetched): the next deploy from there takes it back.`)
}

function warnOfChanges({ commit: { sha }, running, commits, dropped }: Plan, log: Log): void {
  if (running !== undefined && commits === undefined)
    log.warn(`${shortSha(running)}, which runs, is not in this checkout: what changes can't be told. Try: git fetch`)
  const migrations = dropped.flatMap((commit) => commit.migrations)
  if (running !== undefined && dropped.length > 0)
    log.warn(
      `This takes back ${plural(dropped.length, 'commit')} that ${dropped.length === 1 ? 'is' : 'are'} deployed: ${shortSha(running)} is not an ancestor of ${shortSha(sha)}.`,
    )
  if (migrations.length > 0)
    log.warn(`Their migrations stay applied: ${migrations.join(', ')}. rollback.ts says how to undo them.`)
}
