import { Failure } from '../core/failure.ts'
import { shortSha } from '../core/sha.ts'
import { type Checkout, type Commit, describeCommit, hasCommit, isAncestor } from '../git/checkout.ts'
import type { Entry } from '../server/ledger.ts'
import { wasCutOff, wentLive } from './releases.ts'

/** What a revert takes back: the commits that `to` has and `from` has not. Without `from`, the commit `to` alone. */
export interface Range {
  from: string | undefined
  to: string
  /** Why these, in a sentence. */
  why: string
}

/** A commit to revert. */
export interface Reverted extends Commit {
  /** Of a merge: which parent it is reverted to, counted from 1. */
  mainline: number | undefined
}

/**
 * Pure: what the last deploy brought, by the ledger. After a rollback with `--to` it is what that left behind on origin, and would
 * come back from there; several of those in a row count as one.
 * @param deployed what runs
 * @param head the deploy branch on origin: reverted alone when the ledger does not know how `deployed` came to run
 */
export function rangeToRevert(entries: readonly Entry[], deployed: string, head: string): Range {
  // A run that was cut off went live all the same if what it was to deploy is what runs.
  const live = (entry: Entry): boolean => wentLive(entry) || (wasCutOff(entry) && entry.to === deployed)
  const moves = entries.filter((entry) => live(entry) && entry.from !== entry.to)
  const brought = moves.findLast(({ kind }) => kind !== 'rollback')
  const tip = brought?.to ?? moves[0]?.from
  if (moves.at(-1)?.to === deployed && brought?.to === deployed && brought.from)
    return { from: brought.from, to: deployed, why: 'What the last deploy brought' }
  if (moves.at(-1)?.to === deployed && tip && tip !== deployed)
    return { from: deployed, to: tip, why: 'What the rollback took back, and origin still holds' }
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
 * The commits of the range, newest first: those on the way from `from` to `to`, a merge standing for all that it merged into that
 * way. It leads along first parents but where `from` is behind another one: after a `git pull`, what ran before is the second.
 * @throws Failure when they can't be told, or there is nothing on origin to revert
 */
export async function commitsToRevert(
  checkout: Checkout,
  { from, to }: Range,
  head: string,
  branch: string,
): Promise<Reverted[]> {
  const other = `Back to a release without a revert: rollback --list, then rollback --to SHA`
  for (const sha of [to, ...(from ? [from] : [])])
    if (!(await hasCommit(checkout, sha)))
      throw new Failure(`${shortSha(sha)} is in the ledger, but neither here nor on origin/${branch}.`, other)
  if (!(await isAncestor(checkout, to, head)))
    throw new Failure(`${shortSha(to)} is not on origin/${branch}: there is nothing to revert there.`, other)
  const lineage = from ? await historyOf(checkout, '--ancestry-path', to, `^${from}`) : new Map<string, string[]>()
  const range = from ? [to, `^${from}`] : ['--max-count=1', to]
  const history = lineage.size > 0 ? lineage : await historyOf(checkout, '--first-parent', ...range)
  const commits: Reverted[] = []
  let sha = to
  for (let parents = history.get(sha); parents; parents = history.get(sha)) {
    const [first] = parents
    if (first === undefined)
      throw new Failure(`${shortSha(sha)} is the first commit: before it there is nothing to go back to.`)
    const onWay = parents.findIndex((parent) => parent === from || lineage.has(parent))
    const onto = Math.max(0, onWay)
    commits.push({ ...(await describeCommit(checkout, sha)), mainline: parents.length > 1 ? onto + 1 : undefined })
    sha = parents[onto] ?? first
  }
  if (commits.length === 0)
    throw new Failure(`The last deploy brought no commit that ${shortSha(from ?? to)} does not have.`, other)
  // A second `--revert`, e.g. by an automation that tries again, must not bring the bug back.
  if (commits.every(({ subject }) => subject.startsWith('Revert "')))
    throw new Failure(
      `What would be reverted is a revert itself (${commits.map(({ sha }) => shortSha(sha)).join(', ')}): that would bring back what it took away.`,
      `If that is what you want: git revert ${shortSha(to)}, then deploy. ${other}`,
    )
  return commits
}
