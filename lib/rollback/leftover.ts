// What origin keeps after a way back, and would bring back by CI: what is so then, and what is typed then.

import type { Deployment } from '../deploy/deployment.ts'
import { isAncestor, originAhead, trackedRef } from '../git/checkout.ts'
import type { Entry } from '../server/ledger.ts'
import { rangeToRevert } from './revert.ts'
import type { Situation } from './situation.ts'

/**
 * What origin will still hold when production has gone back to `sha`, in a sentence, by what this checkout has of origin.
 * @returns undefined where nothing comes back: `sha` is newer than what ran, or origin has the same files already
 */
export async function describeLeftover(
  { checkout, branch }: Deployment,
  { entries, running }: Situation,
  sha: string,
): Promise<string | undefined> {
  const tracked = trackedRef(branch)
  const { from, to } = rangeToRevert([...entries, wayBack(running, sha)], sha, tracked)
  // What `--revert` would take back then. Going forward leaves nothing behind.
  if (from !== sha || (await isAncestor(checkout, to, sha))) return undefined
  // A checkout that does not have on origin what runs has not fetched for a while.
  const ahead = (await isAncestor(checkout, to, tracked)) ? await originAhead(checkout, branch, sha) : undefined
  if (ahead === undefined) return `origin/${branch} may hold newer commits: the next CI deploy brings them back.`
  if ((await checkout.git(['diff', '--quiet', sha, tracked])).exitCode === 0) return undefined
  return ahead === 1
    ? `origin/${branch} still holds 1 newer commit: the next CI deploy brings it back.`
    : `origin/${branch} still holds ${ahead} newer commits: the next CI deploy brings them back.`
}

/** The entry that the ledger will have. */
function wayBack(from: string, to: string): Entry {
  const at = new Date().toISOString()
  return { at, kind: 'rollback', who: '', from, to, subject: '', outcome: 'deployed', seconds: 0, verified: null }
}
