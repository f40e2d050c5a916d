// What a deploy or rollback will change, and how that is shown.

import { plural, printable } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import { type Checkout, type Commit, commitsBetween, describeCommit, hasCommit } from '../git/checkout.ts'
import { changedMigrations } from '../git/migrations.ts'
import { changedPackages } from '../git/packages.ts'
import type { Deployment } from './deployment.ts'

/** What will go live. */
export interface Plan extends Change {
  commit: Commit
  /** On the deploy branch there; undefined before the first deployment. */
  deployed: string | undefined
  /** What runs; the same, unless a deploy was cut off, or started nothing. */
  running: string | undefined
  /** The archive that was taken before the push. */
  restorePoint?: string
}

/** What is different between the commit that runs and the one that will. */
interface Change {
  /** What goes live with it, newest first; undefined when what runs is not in this checkout. */
  commits: Commit[] | undefined
  /** What runs now and will not any more, newest first. */
  dropped: Commit[]
  /** The migration files that go live: without those that a later one of the commits removes again. */
  migrations: string[]
  /** The migration files that what runs has, and what will run has not. */
  left: string[]
  /** Whether what goes live changes any migration file; undefined when it can't be told. */
  migrates: boolean | undefined
  /** Python packages of other versions: they may bring migrations of their own. */
  packages: string[]
}

export const NO_CHANGE: Change = { commits: [], dropped: [], migrations: [], left: [], migrates: false, packages: [] }

export async function makePlan(
  checkout: Checkout,
  { deployed, running }: Pick<Plan, 'deployed' | 'running'>,
  sha: string,
): Promise<Plan> {
  const isKnown = running === undefined || (await hasCommit(checkout, running))
  const commits = isKnown && running !== sha ? await commitsBetween(checkout, running, sha) : []
  const commit = commits.find((commit) => commit.sha === sha) ?? (await describeCommit(checkout, sha))
  const plan = { ...NO_CHANGE, commit, deployed, running }
  if (!isKnown) return { ...plan, commits: undefined, migrates: undefined }
  if (running === undefined || running === sha) return { ...plan, commits }
  const [dropped, changed, packages] = await Promise.all([
    commitsBetween(checkout, sha, running),
    changedMigrations(checkout, running, sha),
    changedPackages(checkout, running, sha),
  ])
  const pathsOf = (wanted: string): string[] => changed.filter(({ how }) => how === wanted).map(({ path }) => path)
  return {
    ...plan,
    ...{ commits, dropped, packages },
    ...{ migrations: pathsOf('added'), left: pathsOf('deleted'), migrates: commits.length > 0 && changed.length > 0 },
  }
}

const MOST_SHOWN = 20

function commitLines(commits: readonly Commit[], sign: string, migrations: readonly string[]): string[] {
  return [
    ...commits
      .slice(0, MOST_SHOWN)
      .flatMap(({ sha, author, subject, added }) => [
        `  ${sign} ${shortSha(sha)} ${printable(subject)} (${printable(author)})`,
        ...added.filter((path) => migrations.includes(path)).map((path) => `      migration ${printable(path)}`),
      ]),
    ...(commits.length > MOST_SHOWN ? [`  ${sign} … and ${commits.length - MOST_SHOWN} more`] : []),
  ]
}

/** @param removed migration files that these commits delete, as a revert does */
function countCommits(
  commits: readonly Commit[],
  migrations: readonly string[],
  removed: readonly string[] = [],
): string {
  const parts = [
    ...(migrations.length > 0 ? [plural(migrations.length, 'migration')] : []),
    ...(removed.length > 0 ? [`takes back ${plural(removed.length, 'migration')}`] : []),
  ]
  const count = parts.join(', ') || 'no migration'
  return `${plural(commits.length, 'commit')}, ${count}:`
}

/** Packages that change, in one sentence. */
export function describePackages(packages: readonly string[]): string {
  const more = packages.length > MOST_SHOWN ? `, and ${packages.length - MOST_SHOWN} more` : ''
  return `${plural(packages.length, 'package')} of another version, which may bring migrations of their own: ${packages.slice(0, MOST_SHOWN).map(printable).join(', ')}${more}`
}

/** What will go live, for the operator. */
export function describePlan({ app, branch }: Deployment, plan: Plan): string {
  const { commit, deployed, running, commits, dropped, migrations, left } = plan
  const goal = `${shortSha(commit.sha)} ${printable(commit.subject)} (${printable(commit.author)})`
  if (deployed === commit.sha)
    return running === deployed
      ? `${goal} is what ${app} runs already: nothing to push.`
      : `${goal} is on the deploy branch of ${app} already: nothing to push. But ${shortSha(running ?? '')} runs.`
  if (running === commit.sha)
    return `${goal} is what ${app} runs. The deploy branch there is at ${shortSha(deployed ?? '')}: a push makes them agree.`
  return [
    `${app} (${branch}): ${running ? shortSha(running) : 'nothing deployed yet'} → ${goal}`,
    ...(commits?.length && running
      ? [countCommits(commits, migrations, dropped.length > 0 ? [] : left), ...commitLines(commits, '+', migrations)]
      : []),
    ...(dropped.length > 0 ? [`takes back ${countCommits(dropped, left)}`, ...commitLines(dropped, '-', left)] : []),
  ].join('\n')
}
