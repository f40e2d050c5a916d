// A revert of what the last deploy brought: which commits, and the commits that take them back.

import { Failure, Interrupted } from '../core/failure.ts'
import { lastLines, printable } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { describePlan, type Plan } from '../deploy/plan.ts'
import { type Checkout, type Commit, describeCommits, hasCommit, isAncestor, trackedRef } from '../git/checkout.ts'
import { findReverts } from '../git/reverts.ts'
import { inOwnTree } from '../git/worktree.ts'
import { type Entry, isWayBack, movesOf, waysBack } from '../server/ledger.ts'
import { pushLine } from './agree.ts'
import { fetchOrigin } from './origin.ts'
import type { Situation } from './situation.ts'

/** A revert that is made and not pushed. */
interface Revert {
  /** What origin has. */
  head: string
  /** What it will have: `head` itself when everything is reverted there already. */
  sha: string
  /** What is reverted, for the operator. */
  text: string
}

/** What a revert takes back: the commits that `to` has and `from` has not. Without `from`, the commit `to` alone. */
interface RevertRange {
  from: string | undefined
  to: string
  /** Why these, in a sentence. */
  why: string
  /** They ran, and a way back took them from production: what runs is `from`. */
  isTakenBack?: true
}

const OTHER_WAY = 'Back to a release without a revert: rollback --list, then rollback --to SHA'

interface CommitToRevert extends Commit {
  /** Of a merge: which parent it is reverted to, counted from 1. */
  mainline: number | undefined
}

/** Makes the revert, so that all of it is known before anything is pushed: what is in it, and that it has no conflict. */
export async function makeRevert(deployment: Deployment, { running, entries }: Situation): Promise<Revert> {
  const { checkout, branch, context } = deployment
  const head = await fetchOrigin(checkout, branch)
  const range = rangeToRevert(entries, running, head)
  const commits = await commitsToRevert(checkout, range, head, branch)
  await requireNoReverts(deployment, range, commits)
  const sha = await revertOnto(deployment, head, commits)
  if (range.from && range.to === head && (await checkout.git(['diff', '--quiet', range.from, sha])).exitCode !== 0)
    context.log.warn(
      `The result is not what ${shortSha(range.from)} was; see: git diff ${shortSha(range.from)} ${shortSha(sha)}`,
    )
  const lines = commits.map(
    ({ sha, subject, author }) => `  ${shortSha(sha)} ${printable(subject)} (${printable(author)})`,
  )
  return {
    head,
    sha,
    text: [`${range.why}, reverted on top of origin/${branch} (${shortSha(head)}):`, ...lines].join('\n'),
  }
}

/**
 * Pure: what the last deploy brought, by the ledger. After a rollback with `--to` it is what that left behind on origin, and would
 * come back from there; several of those in a row count as one.
 * @param running what runs
 * @param head the deploy branch on origin: reverted alone when the ledger does not know how `running` came to run
 */
export function rangeToRevert(entries: readonly Entry[], running: string, head: string): RevertRange {
  // What ran before the first of the ways back: the ledger need not know how that came to run.
  const tip = waysBack(entries, running)[0]?.from
  if (tip && tip !== running)
    return { from: running, to: tip, why: 'What the rollback took back, and origin still holds', isTakenBack: true }
  const moves = movesOf(entries, running)
  const brought = moves.findLast((entry) => !isWayBack(entry))
  if (moves.at(-1)?.to === running && brought?.to === running && brought.from)
    return { from: brought.from, to: running, why: 'What the last deploy brought' }
  return {
    from: undefined,
    to: head,
    why: 'The ledger does not know what the last deploy brought: HEAD of origin alone',
  }
}

/** Commits with their parents, newest first. */
async function historyOf(checkout: Checkout, ...range: string[]): Promise<Map<string, string[]>> {
  const lines = (await checkout.ask(['rev-list', '--parents', ...range, '--'])).split('\n').filter(Boolean)
  return new Map(lines.map((line) => line.split(' ')).map(([sha = '', ...parents]) => [sha, parents]))
}

/**
 * The commits of the range, newest first: those on the way from `from` to `to`, where a merge stands for all that it merged into
 * that way. The way goes along first parents, but where `from` is behind another parent: after a `git pull`, what ran before is the
 * second one.
 * @throws Failure when they can't be told, or there is nothing on origin to revert
 */
async function commitsToRevert(
  checkout: Checkout,
  { from, to }: RevertRange,
  head: string,
  branch: string,
): Promise<CommitToRevert[]> {
  for (const sha of [to, ...(from ? [from] : [])])
    if (!(await hasCommit(checkout, sha)))
      throw new Failure(`${shortSha(sha)} is in the ledger, but neither here nor on origin/${branch}.`, OTHER_WAY)
  if (!(await isAncestor(checkout, to, head)))
    throw new Failure(`${shortSha(to)} is not on origin/${branch}: there is nothing to revert there.`, OTHER_WAY)
  const lineage = from ? await historyOf(checkout, '--ancestry-path', to, `^${from}`) : new Map<string, string[]>()
  const range = from ? [to, `^${from}`] : ['--max-count=1', to]
  const history = lineage.size > 0 ? lineage : await historyOf(checkout, '--first-parent', ...range)
  const onWay: { sha: string; mainline: number | undefined }[] = []
  let sha = to
  for (let parents = history.get(sha); parents; parents = history.get(sha)) {
    const [first] = parents
    if (first === undefined)
      throw new Failure(`${shortSha(sha)} is the first commit: before it there is nothing to go back to.`)
    const onto = Math.max(
      0,
      parents.findIndex((parent) => parent === from || lineage.has(parent)),
    )
    onWay.push({ sha, mainline: parents.length > 1 ? onto + 1 : undefined })
    sha = parents[onto] ?? first
  }
  if (onWay.length === 0)
    throw new Failure(`The last deploy brought no commit that ${shortSha(from ?? to)} does not have.`, OTHER_WAY)
  const commits = await describeCommits(
    checkout,
    onWay.map(({ sha }) => sha),
  )
  return commits.map((commit, i) => ({ ...commit, mainline: onWay[i]?.mainline }))
}

/**
 * A second `--revert`, e.g. by a program that tries again, must not bring the bug back, nor one after a revert by pull request.
 * @throws Failure when a commit takes another one back
 */
async function requireNoReverts(
  { checkout, branch }: Deployment,
  { to, isTakenBack }: RevertRange,
  commits: readonly CommitToRevert[],
): Promise<void> {
  const reverts = await findReverts(checkout, commits)
  if (reverts.length === 0) return
  const isAll = commits.every(({ sha }) => reverts.some((revert) => revert.sha === sha))
  const named = reverts.map(({ sha, subject }) => `${shortSha(sha)} ${printable(subject)}`).join(', ')
  const others = commits
    .filter(({ sha }) => !reverts.some((revert) => revert.sha === sha))
    .map(({ sha }) => shortSha(sha))
  throw new Failure(
    `What would be reverted ${isAll ? 'is' : 'holds'} a revert itself (${named}): that would bring back what it took away.`,
    isTakenBack
      ? [
          `To have on origin what runs, by hand: ${revertByHand(commits, branch)}`,
          `Or back to what origin has, without what the revert took away: rollback --to ${shortSha(to)}`,
        ].join('\n')
      : isAll || others.length === 0 || commits.some(({ mainline }) => mainline !== undefined)
        ? `If that is what you want, by hand: ${revertByHand(commits, branch)}\n${OTHER_WAY}`
        : `Only the others, by hand: git revert ${others.join(' ')}, then deploy. ${OTHER_WAY}`,
  )
}

/** Lets origin have what runs after a way back: `--revert`, or where that would refuse because of a revert, the same by hand. */
export async function commandToKeep(checkout: Checkout, range: RevertRange, branch: string): Promise<string> {
  const revert = 'rollback --revert'
  try {
    const commits = await commitsToRevert(checkout, range, trackedRef(branch), branch)
    return (await findReverts(checkout, commits)).length === 0 ? revert : revertByHand(commits, branch)
  } catch (error) {
    // A way back does not wait for that. The command says why itself.
    if (!(error instanceof Failure) || error instanceof Interrupted) throw error
    return revert
  }
}

function revertByHand(commits: readonly CommitToRevert[], branch: string): string {
  const isPlain = commits.every(({ mainline }) => mainline === undefined)
  const reverts = isPlain
    ? [commits.map(({ sha }) => shortSha(sha)).join(' ')]
    : commits.map(({ sha, mainline }) => `${mainline === undefined ? '' : `-m ${mainline} `}${shortSha(sha)}`)
  return [
    `git switch ${branch}`,
    'git pull',
    ...reverts.map((words) => `git revert --no-edit ${words}`),
    `git push origin ${branch}`,
  ].join(' && ')
}

/**
 * Reverts commits on top of `head`, each in a commit of its own. A commit that is reverted there already is passed over.
 * @returns the last revert, or `head` when all of them are reverted there already
 * @throws Failure on a conflict, with its paths
 */
async function revertOnto(
  { checkout, context }: Deployment,
  head: string,
  commits: readonly CommitToRevert[],
): Promise<string> {
  return inOwnTree(checkout, context, head, async (tree) => {
    for (const commit of commits) await revertOne(tree, commit)
    return tree.ask(['rev-parse', 'HEAD'])
  })
}

/** @throws Failure on a conflict, with its paths */
async function revertOne(tree: Checkout, { sha, subject, mainline }: CommitToRevert): Promise<void> {
  const options = mainline === undefined ? [] : ['-m', String(mainline)]
  // A revert is recognised by its classic subject.
  const output = await tree.git(['-c', 'revert.reference=false', 'revert', '--no-edit', ...options, sha])
  if (output.exitCode === 0) return
  const conflicts = (await tree.ask(['diff', '--name-only', '--diff-filter=U'])).split('\n').filter(Boolean)
  // Not every failure without a conflict: that would be taken for a revert that is there already.
  if (conflicts.length === 0 && /^nothing to commit/m.test(output.stdout)) {
    await tree.git(['revert', '--skip'])
    return
  }
  throw new Failure(
    conflicts.length > 0
      ? `Reverting ${shortSha(sha)} (${subject}) conflicts in ${conflicts.join(', ')}. Your checkout is as it was.`
      : `Reverting ${shortSha(sha)} (${subject}) failed: ${lastLines(output.stderr)}.`,
    `At once, without a revert: rollback --list, then rollback --to SHA. By hand: git ${['revert', ...options, shortSha(sha)].join(' ')}, then deploy.`,
  )
}

/** @throws Failure when there is nothing to push */
export function requireSomethingToPush(
  { branch }: Deployment,
  { sha, head }: Revert,
  deployed: string,
  now: boolean,
): void {
  if (sha !== head || (now && sha !== deployed)) return
  throw new Failure(
    `origin/${branch} has that reverted already: nothing was pushed.`,
    sha === deployed ? 'It is live, too. Look: deploy --status' : 'CI deploys it. At once: rollback --revert --now',
  )
}

/** What will be pushed, for the operator. @param now to Dokku as well */
export function describeRevert(deployment: Deployment, plan: Plan, { head, sha, text }: Revert, now: boolean): string {
  const { remote, app } = deployment
  return [
    text,
    sha === head ? 'origin has that already.' : pushLine(deployment, 'origin', sha, head),
    now
      ? `${describePlan(deployment, plan)}\n${pushLine(deployment, remote.gitUrl(app), sha, plan.deployed ?? '')}`
      : 'CI tests and deploys it.',
  ].join('\n')
}
