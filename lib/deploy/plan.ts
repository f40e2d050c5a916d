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
  /** What goes live with it, newest first; undefined when the deployed commit is not in this checkout. */
  commits: Commit[] | undefined
  /** What runs now and will not any more, newest first. */
  dropped: Commit[]
}

/** What is different between the commit that is deployed and the one that will be. */
export async function makePlan(checkout: Checkout, deployed: string | undefined, sha: string): Promise<Plan> {
  const commit = await describeCommit(checkout, sha)
  if (deployed === undefined)
    return { commit, deployed, commits: await commitsBetween(checkout, undefined, sha), dropped: [] }
  if (!(await hasCommit(checkout, deployed))) return { commit, deployed, commits: undefined, dropped: [] }
  const [commits, dropped] = await Promise.all([
    commitsBetween(checkout, deployed, sha),
    commitsBetween(checkout, sha, deployed),
  ])
  return { commit, deployed, commits, dropped }
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
export function describePlan({ app, branch }: Deployment, { commit, deployed, commits, dropped }: Plan): string {
  const goal = `${shortSha(commit.sha)} ${printable(commit.subject)} (${printable(commit.author)})`
  if (deployed === commit.sha) return `${goal} is what ${app} runs already: nothing to push.`
  return [
    `${app} (${branch}): ${deployed ? shortSha(deployed) : 'nothing deployed yet'} → ${goal}`,
    ...(commits?.length && deployed ? [countCommits(commits), ...commitLines(commits, '+')] : []),
    ...(dropped.length > 0 ? [`takes back ${countCommits(dropped)}`, ...commitLines(dropped, '-')] : []),
  ].join('\n')
}
