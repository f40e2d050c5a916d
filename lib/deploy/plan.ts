// What a deploy or rollback will change, and how that is shown.

import { plural, printable } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import { type Checkout, type Commit, commitsBetween, describeCommit, hasCommit } from '../git/checkout.ts'
import type { Deployment } from './deployment.ts'

/** What will go live. */
export interface Plan {
  commit: Commit
  /** On the deploy branch there; undefined before the first deployment. */
  deployed: string | undefined
  /** What runs; the same, unless a deploy was cut off, or started nothing. */
  running: string | undefined
  /** What goes live with it, newest first; undefined when the deployed commit is not in this checkout. */
  commits: Commit[] | undefined
  /** What runs now and will not any more, newest first. */
  dropped: Commit[]
}

/** What is different between the commit that runs and the one that will. */
export async function makePlan(
  checkout: Checkout,
  { deployed, running }: Pick<Plan, 'deployed' | 'running'>,
  sha: string,
): Promise<Plan> {
  const plan = { commit: await describeCommit(checkout, sha), deployed, running }
  if (running === undefined) return { ...plan, commits: await commitsBetween(checkout, undefined, sha), dropped: [] }
  if (!(await hasCommit(checkout, running))) return { ...plan, commits: undefined, dropped: [] }
  const [commits, dropped] = await Promise.all([
    commitsBetween(checkout, running, sha),
    commitsBetween(checkout, sha, running),
  ])
  return { ...plan, commits, dropped }
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

function countCommits(commits: readonly Commit[]): string {
  const migrations = commits.reduce((sum, { migrations }) => sum + migrations.length, 0)
  return `${plural(commits.length, 'commit')}, ${migrations === 0 ? 'no migration' : plural(migrations, 'migration')}:`
}

/** What will go live, for the operator. */
export function describePlan({ app, branch }: Deployment, plan: Plan): string {
  const { commit, deployed, running, commits, dropped } = plan
  const goal = `${shortSha(commit.sha)} ${printable(commit.subject)} (${printable(commit.author)})`
  if (deployed === commit.sha)
    return running === deployed
      ? `${goal} is what ${app} runs already: nothing to push.`
      : `${goal} is on the deploy branch of ${app} already: nothing to push. But ${shortSha(running ?? '')} runs.`
  return [
    `${app} (${branch}): ${running ? shortSha(running) : 'nothing deployed yet'} → ${goal}`,
    ...(commits?.length && running ? [countCommits(commits), ...commitLines(commits, '+')] : []),
    ...(dropped.length > 0 ? [`takes back ${countCommits(dropped)}`, ...commitLines(dropped, '-')] : []),
  ].join('\n')
}
