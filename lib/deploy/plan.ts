import { EXIT, Failure } from '../core/failure.ts'
import { plural, printable } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { shortSha } from '../core/sha.ts'
import {
  type Checkout,
  type Commit,
  commitsBetween,
  describeCommit,
  dirtyPaths,
  fileOf,
  hasCommit,
  isAncestor,
  isShallow,
} from '../git/checkout.ts'
import { deployBranch, isLocked, requireApp } from '../server/app.ts'
import type { Remote } from '../server/ssh.ts'
import { deployedCommit } from './push.ts'

/** What a deploy will do. */
export interface Plan {
  app: string
  branch: string
  commit: Commit
  /** On the deploy branch there; undefined before the first deployment. */
  deployed: string | undefined
  /** What goes live with it, newest first; undefined when the deployed commit is not in this checkout. */
  commits: Commit[] | undefined
  /** What runs now and will not any more, newest first. */
  dropped: Commit[]
}

/**
 * Looks at the commit before anything moves: does it hold what Dokku's build, migration and health check need.
 * @throws Failure that lists what is missing
 */
export async function checkCommit(checkout: Checkout, sha: string): Promise<void> {
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

/**
 * Everything that can be known before anything moves.
 * @throws Failure for what must not be deployed; what is only unusual is a warning
 */
export async function preflight(
  checkout: Checkout,
  remote: Remote,
  { app, branch, sha, log }: { app: string; branch: string; sha: string; log: Log },
): Promise<Plan> {
  await requireHistory(checkout)
  await checkCommit(checkout, sha)
  const dirty = await dirtyPaths(checkout)
  if (dirty.length > 0)
    log.warn(
      `The working tree has ${plural(dirty.length, 'change')} that will not be deployed: only the commit ${shortSha(sha)} is.`,
    )
  await checkOrigin(checkout, branch, sha, log)
  const plan = await makePlan(checkout, {
    app,
    branch,
    sha,
    deployed: await lookAtServer(checkout, remote, { app, branch, log }),
  })
  warnOfChanges(plan, log)
  return plan
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
 * Asks the server, before anything moves, whether a push to the branch means there what it means here.
 * @returns the commit on its deploy branch; undefined before the first deployment
 * @throws SshFailure, Failure
 */
export async function lookAtServer(
  checkout: Checkout,
  remote: Remote,
  { app, branch, log }: { app: string; branch: string; log: Log },
): Promise<string | undefined> {
  await requireApp(remote, app)
  const theirs = await deployBranch(remote, app)
  if (theirs !== branch)
    throw new Failure(
      `Dokku deploys pushes to ${theirs}, but DEPLOY_BRANCH is ${branch}.`,
      `Set DEPLOY_BRANCH=${theirs}, or on the server: dokku git:set ${app} deploy-branch ${branch}`,
      EXIT.usage,
    )
  // Only a file, which a failed build leaves behind, too: Dokku itself takes no notice of it without a living holder.
  if (await isLocked(remote, app))
    log.info(`Dokku's deploy lock of ${app} is there: another deploy is under way, or one failed or was cut off.`)
  return deployedCommit(checkout, remote, app, branch)
}

/** What is different between the commit that is deployed and the one that will be. */
export async function makePlan(
  checkout: Checkout,
  { sha, ...plan }: Pick<Plan, 'app' | 'branch' | 'deployed'> & { sha: string },
): Promise<Plan> {
  return {
    ...plan,
    commit: await describeCommit(checkout, sha),
    ...(await compare(checkout, plan.deployed, sha)),
  }
}

async function checkOrigin(checkout: Checkout, branch: string, sha: string, log: Log): Promise<void> {
  const tracked = `refs/remotes/origin/${branch}`
  if (!(await hasCommit(checkout, tracked)))
    log.warn(`This checkout has no origin/${branch} to compare ${shortSha(sha)} with.`)
  else if (!(await isAncestor(checkout, sha, tracked)))
    log.warn(`${shortSha(sha)} is not on origin/${branch} (as last fetched): the next deploy from there takes it back.`)
}

async function compare(
  checkout: Checkout,
  deployed: string | undefined,
  sha: string,
): Promise<Pick<Plan, 'commits' | 'dropped'>> {
  if (deployed === undefined) return { commits: await commitsBetween(checkout, undefined, sha), dropped: [] }
  if (!(await hasCommit(checkout, deployed))) return { commits: undefined, dropped: [] }
  const [commits, dropped] = await Promise.all([
    commitsBetween(checkout, deployed, sha),
    commitsBetween(checkout, sha, deployed),
  ])
  return { commits, dropped }
}

function warnOfChanges({ commit: { sha }, deployed, commits, dropped }: Plan, log: Log): void {
  if (deployed !== undefined && commits === undefined)
    log.warn(
      `${shortSha(deployed)}, which is deployed, is not in this checkout: what changes can't be told. Try: git fetch`,
    )
  const migrations = dropped.flatMap((commit) => commit.migrations)
  if (deployed !== undefined && dropped.length > 0)
    log.warn(
      `This takes back ${plural(dropped.length, 'commit')} that ${dropped.length === 1 ? 'is' : 'are'} deployed: ${shortSha(deployed)} is not an ancestor of ${shortSha(sha)}.`,
    )
  if (migrations.length > 0)
    log.warn(`Their migrations stay applied: ${migrations.join(', ')}. rollback.ts says how to undo them.`)
}

const MOST_SHOWN = 20

function commitLines(commits: readonly Commit[], sign: string): string[] {
  return [
    ...commits
      .slice(0, MOST_SHOWN)
      .flatMap(({ sha, author, subject, migrations }) => [
        `  ${sign} ${shortSha(sha)} ${printable(subject)} (${printable(author)})`,
        ...migrations.map((path) => `      migration ${path}`),
      ]),
    ...(commits.length > MOST_SHOWN ? [`  ${sign} … and ${commits.length - MOST_SHOWN} more`] : []),
  ]
}

/** What will go live, for the operator. */
export function describePlan({ app, branch, commit, deployed, commits, dropped }: Plan): string {
  const goal = `${shortSha(commit.sha)} ${printable(commit.subject)} (${printable(commit.author)})`
  if (deployed === commit.sha) return `${goal} is what ${app} runs already: nothing to push.`
  const count = (commits: readonly Commit[]): string => {
    const migrations = commits.reduce((sum, { migrations }) => sum + migrations.length, 0)
    return `${plural(commits.length, 'commit')}, ${migrations === 0 ? 'no migration' : plural(migrations, 'migration')}:`
  }
  return [
    `${app} (${branch}): ${deployed ? shortSha(deployed) : 'nothing deployed yet'} → ${goal}`,
    ...(commits?.length && deployed ? [count(commits), ...commitLines(commits, '+')] : []),
    ...(dropped.length > 0 ? [`takes back ${count(dropped)}`, ...commitLines(dropped, '-')] : []),
  ].join('\n')
}
