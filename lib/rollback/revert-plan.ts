import { printable } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { shortSha } from '../core/sha.ts'
import type { Shell } from '../core/shell.ts'
import type { Checkout } from '../git/checkout.ts'
import type { Entry } from '../server/ledger.ts'
import { fetchOrigin, revertOnto } from './revert.ts'
import { commitsToRevert, rangeToRevert } from './revert-range.ts'

/** A revert that is made and not pushed. */
export interface Revert {
  /** What origin has. */
  head: string
  /** What it will have: `head` itself when everything is reverted there already. */
  sha: string
  /** What is reverted, for the operator. */
  text: string
}

/**
 * Makes the revert, so that all of it is known before anything is pushed: what is in it, and that it has no conflict.
 * @param cleanup takes its working tree away
 * @throws Failure
 */
export async function makeRevert(
  checkout: Checkout,
  { shell, cleanup, log }: { shell: Shell; cleanup: Shell; log: Log },
  { branch, running, entries }: { branch: string; running: string; entries: readonly Entry[] },
): Promise<Revert> {
  const head = await fetchOrigin(checkout, branch)
  const range = rangeToRevert(entries, running, head)
  const commits = await commitsToRevert(checkout, range, head, branch)
  const sha = await revertOnto(checkout, shell, cleanup, head, commits)
  if (range.from && range.to === head && (await checkout.git(['diff', '--quiet', range.from, sha])).exitCode !== 0)
    log.warn(
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
