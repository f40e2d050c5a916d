// What speaks against a deploy, though everything works: it would put an older release, or one that was rolled back, over a newer one.

import { Failure } from '../core/failure.ts'
import { plural, printable } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import { age } from '../core/times.ts'
import { type Checkout, commitsBetween, hasCommit, isAncestor } from '../git/checkout.ts'
import { notReverted } from '../git/reverts.ts'
import { type Entry, waysBack, wentLive } from '../server/ledger.ts'
import type { Deployment } from './deployment.ts'
import type { Plan } from './plan.ts'
import type { Standing } from './standing.ts'

/** Why a deploy needs somebody who means it. */
export interface Objection {
  why: string
  hint: string
}

/** A job that is run again, or whose tests ended last, comes with an older commit than the one that is deployed. */
export async function findObjection(
  { checkout, context: { environment } }: Deployment,
  { commit: { sha }, commits, dropped }: Plan,
  { deployed, running, entries }: Standing,
): Promise<Objection | undefined> {
  const it = shortSha(sha)
  const hint = `If you want ${it} all the same, at a terminal: rollback --to ${it}`
  // To push what runs, or what is on the deploy branch already, brings no older release back.
  const newerOnes = sha === running || sha === deployed ? [] : new Set([running, deployed])
  for (const newer of newerOnes) {
    if (newer === undefined) continue
    // What has nothing that the running one lacks is older.
    if (newer === running ? commits?.length === 0 : await isAncestor(checkout, sha, newer)) {
      const lost = dropped.length > 0 ? `: it would take back ${plural(dropped.length, 'commit')}` : ''
      return { why: `${it} is older than ${shortSha(newer)}, which is deployed${lost}.`, hint }
    }
  }
  const back = entries.findLast((entry) => wentLive(entry) && entry.from !== entry.to)
  const isRerun = Number(environment.GITHUB_RUN_ATTEMPT ?? 1) > 1
  if (back === undefined || !isRerun || !(await wasRolledBack(checkout, back, { sha, running }))) return
  return {
    why: `${it} was rolled back (${printable(back.who)}, ${age(new Date(back.at))}), and this job is run again: it would bring that back.`,
    hint,
  }
}

async function wasRolledBack(
  checkout: Checkout,
  { kind, from, to }: Entry,
  { sha, running }: { sha: string; running: string | undefined },
): Promise<boolean> {
  if (kind !== 'rollback' || from === null || to !== running || sha === running) return false
  return sha === from || (await isAncestor(checkout, sha, from)) === true
}

const MOST_SHOWN = 3

/** Says which commits that a way back took from production this would bring back: whoever deploys may know, or not. */
export async function warnOfTakenBack(
  { checkout, context: { log } }: Deployment,
  { commit: { sha }, commits = [] }: Plan,
  { running, entries }: Standing,
): Promise<void> {
  const ways = running === undefined ? [] : waysBack(entries, running)
  const [tip, last] = [ways[0]?.from, ways.at(-1)]
  if (!tip || !last || running === undefined || !(await hasCommit(checkout, tip))) return
  const ran = new Set((await commitsBetween(checkout, running, tip)).map((commit) => commit.sha))
  const again = commits.filter((commit) => ran.has(commit.sha))
  const back = again.length > 0 ? await notReverted(checkout, again, tip, sha) : []
  if (back.length === 0) return
  const more = back.length > MOST_SHOWN ? `, and ${back.length - MOST_SHOWN} more` : ''
  const named = back.slice(0, MOST_SHOWN).map((commit) => `${shortSha(commit.sha)} ${printable(commit.subject)}`)
  log.warn(
    `${plural(back.length, 'commit')} of this ${back.length === 1 ? 'was' : 'were'} taken back by a ${last.kind} ${age(new Date(last.at))} (by ${printable(last.who)}): ${named.join(', ')}${more}`,
  )
}

/**
 * At a terminal it must be typed, whatever --yes says.
 * @throws Failure when there is nobody to type it, or something else is typed
 */
export async function overrule(
  { context: { ask, interactive } }: Deployment,
  { why, hint }: Objection,
  sha: string,
): Promise<void> {
  if (!interactive) throw new Failure(why, hint)
  await ask.insist(why, shortSha(sha))
}
