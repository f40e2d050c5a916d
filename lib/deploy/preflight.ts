// What a deploy checks before anything moves: the commit, the checkout, and the server.

import { EXIT, Failure } from '../core/failure.ts'
import { plural } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { aText, atBest, listOf, record, tryJson } from '../core/outside.ts'
import { shortSha } from '../core/sha.ts'
import { type Checkout, dirtyPaths, fileOf, isAncestor, pathsIn, trackedRef } from '../git/checkout.ts'
import type { Deployment } from './deployment.ts'
import { findObjection, type Objection, warnOfTakenBack } from './objection.ts'
import { describePackages, makePlan, type Plan } from './plan.ts'
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
  requireHistory(checkout)
  await requireDeployable(deployment, sha)
  const dirty = await dirtyPaths(checkout)
  if (dirty.length > 0)
    context.log.warn(
      `The working tree has ${plural(dirty.length, 'change')} that will not be deployed: only the commit ${shortSha(sha)} is.`,
    )
  await warnOfOtherOrigin(deployment, sha)
  const standing = await lookAtServer(deployment)
  const plan = await makePlan(checkout, standing, sha)
  warnOfChanges(plan, context.log)
  const objection = await findObjection(deployment, plan, standing)
  // The objection says that, too.
  if (!objection) await warnOfTakenBack(deployment, plan, standing)
  return { plan, objection }
}

/** @throws Failure (exit status 2) when the checkout can't be pushed from */
export function requireHistory(checkout: Checkout): void {
  if (checkout.isShallow)
    throw new Failure(
      `${checkout.dir} is a shallow clone: Dokku can't take pushes from one.`,
      'Fetch the rest: git fetch --unshallow. In a workflow: actions/checkout with fetch-depth: 0',
      EXIT.usage,
    )
}

/**
 * Whether a commit holds what Dokku's build, migration and health check need. What can't be told is a warning.
 * @throws Failure that lists what is missing
 */
export async function requireDeployable({ checkout, context: { log } }: Deployment, sha: string): Promise<void> {
  const there = await pathsIn(checkout, sha, ['Dockerfile', 'package-lock.json', 'app.json', 'Procfile'])
  const [appJson, procfile] = await Promise.all(
    ['app.json', 'Procfile'].map((path) => (there.has(path) ? fileOf(checkout, sha, path) : undefined)),
  )
  const app = appJson === undefined ? undefined : judgeAppJson(appJson, procfile)
  const problems = [
    ...(!there.has('Dockerfile') ? ['it has no Dockerfile: Dokku would try to build it some other way'] : []),
    ...(!there.has('package-lock.json') ? ['it has no package-lock.json: npm ci in the build would fail'] : []),
    ...(app?.problems ?? [
      'it has no app.json: Dokku would not migrate the database, and not check /health/ before it switches',
    ]),
  ]
  if (problems.length > 0)
    throw new Failure(
      `${shortSha(sha)} can't be deployed:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`,
      'Commit what is missing, then deploy that commit.',
    )
  for (const doubt of app?.doubts ?? []) log.warn(`${shortSha(sha)}: ${doubt}.`)
}

const APP_JSON = record({
  scripts: atBest(record({ dokku: atBest(record({ predeploy: atBest(aText) })) })),
  healthchecks: atBest(record({ web: atBest(listOf(atBest(record({ type: atBest(aText), path: atBest(aText) })))) })),
})

/**
 * Pure.
 * @param procfile its text, if there is one: Dokku runs its `release` as well, before the new containers start
 */
export function judgeAppJson(text: string, procfile = ''): { problems: string[]; doubts: string[] } {
  const app = tryJson(text, APP_JSON)
  if (!app) return { problems: ['its app.json is no JSON object'], doubts: [] }
  const startup = app.healthchecks?.web?.some((check) => check?.type === 'startup' && check.path === '/health/')
  const unchecked = 'its app.json has no startup check of /health/: a release that does not answer would go live'
  const migration = judgeMigration(app.scripts?.dokku?.predeploy ?? '', procfile)
  return {
    problems: [
      ...(migration === 'none' ? ['its app.json has no predeploy script that migrates the database'] : []),
      ...(startup ? [] : [unchecked]),
    ],
    doubts: migration === undefined || migration === 'none' ? [] : [migration],
  }
}

/** @returns undefined when the predeploy script migrates, `none` when nothing can, else what is not sure */
function judgeMigration(predeploy: string, procfile: string): string | undefined {
  const release = /^release:[ \t]*(.*)$/m.exec(procfile)?.[1]?.trim() ?? ''
  if (/\bmigrate\b/.test(predeploy)) return
  if (/\bmigrate\b/.test(release))
    return `the database is migrated by the release task of its Procfile (${release}), not by the predeploy script of its app.json`
  const doesNothing = /^\s*(true|:|exit 0|echo\b[^&|;]*)?\s*$/
  const [script] = [predeploy, release].filter((command) => !doesNothing.test(command))
  return script === undefined ? 'none' : `whether ${script} migrates the database can't be told: see that it does`
}

async function warnOfOtherOrigin({ checkout, branch, context: { log } }: Deployment, sha: string): Promise<void> {
  const isThere = await isAncestor(checkout, sha, trackedRef(branch))
  if (isThere === undefined) log.warn(`This checkout has no origin/${branch} to compare ${shortSha(sha)} with.`)
  else if (!isThere)
    log.warn(`${shortSha(sha)} is not on origin/${branch} (as last fetched): the next deploy from there takes it back.`)
}

function warnOfChanges({ commit: { sha }, running, commits, dropped, left, packages }: Plan, log: Log): void {
  if (running !== undefined && commits === undefined)
    log.warn(`${shortSha(running)}, which runs, is not in this checkout: what changes can't be told. Try: git fetch`)
  if (running !== undefined && dropped.length > 0)
    log.warn(
      `This takes back ${plural(dropped.length, 'commit')} that ${dropped.length === 1 ? 'is' : 'are'} deployed: ${shortSha(running)} is not an ancestor of ${shortSha(sha)}.`,
    )
  if (dropped.length > 0 && left.length > 0)
    log.warn(`Their migrations stay applied: ${left.join(', ')}. rollback.ts says how to undo them.`)
  if (packages.length > 0) log.warn(`${describePackages(packages)}.`)
}
