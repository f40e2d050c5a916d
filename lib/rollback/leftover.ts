// What origin keeps after a way back, and would bring back by CI: what is so then, and what is typed then.

import { plural } from '../core/format.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { isAncestor, originAhead, trackedRef } from '../git/checkout.ts'
import type { Entry } from '../server/ledger.ts'
import { commandToKeep, rangeToRevert } from './revert.ts'
import type { Situation } from './situation.ts'

/** What origin will still hold when production has gone back. */
interface Leftover {
  /** In a sentence. */
  what: string
  /** The command that lets origin have what runs then. */
  keep: string
}

/**
 * What origin will still hold when production has gone back to `sha`, by what this checkout has of origin.
 * @returns undefined where nothing comes back: `sha` is newer than what ran, or origin has the same files already
 */
export async function findLeftover(
  { checkout, branch }: Deployment,
  { entries, running }: Situation,
  sha: string,
): Promise<Leftover | undefined> {
  const tracked = trackedRef(branch)
  const range = rangeToRevert([...entries, wayBack(running, sha)], sha, tracked)
  const { from, to } = range
  // What `--revert` would take back then. Going forward leaves nothing behind.
  if (from !== sha || (await isAncestor(checkout, to, sha))) return undefined
  // A checkout that does not have on origin what runs has not fetched for a while.
  const ahead = (await isAncestor(checkout, to, tracked)) ? await originAhead(checkout, branch, sha) : undefined
  if (ahead === undefined)
    return {
      what: `origin/${branch} may hold newer commits: the next CI deploy brings them back.`,
      keep: 'rollback --revert',
    }
  if ((await checkout.git(['diff', '--quiet', sha, tracked])).exitCode === 0) return undefined
  const what = `origin/${branch} still holds ${plural(ahead, 'newer commit')}: the next CI deploy brings ${ahead === 1 ? 'it' : 'them'} back.`
  return { what, keep: await commandToKeep(checkout, range, branch) }
}

/** The entry that the ledger will have. */
function wayBack(from: string, to: string): Entry {
  const at = new Date().toISOString()
  return { at, kind: 'rollback', who: '', from, to, subject: '', outcome: 'deployed', seconds: 0, verified: null }
}
