import { Failure } from './failure.ts'
import { type Checkout, type Commit, describeCommit, hasCommit, isAncestor, short } from './git.ts'
import type { Entry } from './ledger.ts'
import { wentLive } from './releases.ts'

/** What a revert takes back: the commits that `to` has and `from` has not. Without `from`, the commit `to` alone. */
export interface Range {
  from: string | undefined
  to: string
  /** Why these, in a sentence. */
  why: string
}

/** A commit to revert. */
export interface Reverted extends Commit {
  /** Its parents: two of a merge. */
  parents: number
}

/**
 * Pure: what the last deploy brought, by the ledger. After a rollback with `--to` it is what that left behind on origin, and would
 * come back from there; several of those in a row count as one.
 * @param deployed what runs
 * @param head the deploy branch on origin: reverted alone when the ledger does not know how `deployed` came to run
 */
export const rangeToRevert = (entries: readonly Entry[], deployed: string, head: string): Range => {
  const moves = entries.filter((entry) => wentLive(entry) && entry.from !== entry.to)
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

/**
 * The commits of the range, newest first: those of the branch itself, a merge standing for all that it merged.
 * @throws Failure when they can't be told, or there is nothing on origin to revert
 */
export const commitsToRevert = async (
  checkout: Checkout,
  { from, to }: Range,
  head: string,
  branch: string,
): Promise<Reverted[]> => {
  const other = `Back to a release without a revert: rollback --list, then rollback --to SHA`
  for (const sha of [to, ...(from ? [from] : [])])
    if (!(await hasCommit(checkout, sha)))
      throw new Failure(`${short(sha)} is in the ledger, but neither here nor on origin/${branch}.`, other)
  if (!(await isAncestor(checkout, to, head)))
    throw new Failure(`${short(to)} is not on origin/${branch}: there is nothing to revert there.`, other)
  const range = from ? [to, `^${from}`] : ['--max-count=1', to]
  const lines = (await checkout.ask(['rev-list', '--first-parent', '--parents', ...range, '--'])).split('\n')
  const commits = await Promise.all(
    lines.filter(Boolean).map(async (line) => {
      const [sha = '', ...parents] = line.split(' ')
      return { ...(await describeCommit(checkout, sha)), parents: parents.length }
    }),
  )
  if (commits.length === 0)
    throw new Failure(`The last deploy brought no commit that ${short(from ?? to)} does not have.`, other)
  const root = commits.find(({ parents }) => parents === 0)
  if (root) throw new Failure(`${short(root.sha)} is the first commit: before it there is nothing to go back to.`)
  // A second `--revert`, e.g. by an automation that tries again, must not bring the bug back.
  if (commits.every(({ subject }) => subject.startsWith('Revert "')))
    throw new Failure(
      `What would be reverted is a revert itself (${commits.map(({ sha }) => short(sha)).join(', ')}): that would bring back what it took away.`,
      `If that is what you want: git revert ${short(to)}, then deploy. ${other}`,
    )
  return commits
}
