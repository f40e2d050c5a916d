import { age, printable, table } from '../core/format.ts'
import { shortSha } from '../core/sha.ts'
import { type Checkout, type Commit, commitsBetween, describeCommit, hasCommit } from '../git/checkout.ts'
import type { Entry } from '../server/ledger.ts'
import { migrationsAcross } from './migrations.ts'

/** A commit that ran, or could have, and that one can go back to. */
export interface Release {
  sha: string
  /** When it went live; the commit's own date where the ledger does not say. */
  at: Date | undefined
  author: string
  subject: string
  /** It passed the site's checks when it went live; undefined when they were not made, or nobody knows. */
  verified: boolean | undefined
  /** The way there crosses so many migrations; undefined when it can't be told. */
  migrations: number | undefined
  current: boolean
}

export interface Releases {
  /** Newest first. */
  releases: Release[]
  /** Where the list is from, in a sentence. */
  source: string
}

interface Sighting {
  sha: string
  entry?: Entry
}

const MOST = 20

/** What went live and stayed until the next: neither failed deploys, nor reverts that only CI was to deploy. */
export function wentLive({ outcome }: Entry): boolean {
  return outcome === 'deployed' || outcome === 'unchanged'
}

/** What lost its connection, or was interrupted: Dokku may have gone on, and finished. */
export function wasCutOff({ outcome }: Entry): boolean {
  return outcome === 'lost' || outcome === 'interrupted'
}

/**
 * Pure: what the ledger saw running, newest first, each commit once, at its last time. What a deploy came `from` ran as well: it is
 * how the release before the first entry is known, and one whose deploy lost its connection.
 */
export function sightings(entries: readonly Entry[]): Sighting[] {
  const seen = entries
    .filter(wentLive)
    .flatMap((entry): Sighting[] => [
      ...(entry.from && entry.from !== entry.to ? [{ sha: entry.from }] : []),
      { sha: entry.to, entry },
    ])
  const newest = new Map<string, Sighting>()
  for (const { sha, entry } of seen) {
    const known = entry ?? newest.get(sha)?.entry
    newest.delete(sha)
    newest.set(sha, { sha, ...(known ? { entry: known } : {}) })
  }
  return [...newest.values()].reverse()
}

/**
 * What runs and what ran before it: from the ledger, or, where that knows nothing but what runs, from git's history.
 * @param current what runs
 */
export async function listReleases(
  checkout: Checkout,
  entries: readonly Entry[],
  current: string,
  branch: string,
): Promise<Releases> {
  const ran = sightings(entries).filter(({ sha }) => sha !== current)
  const now = { sha: current, ...(sightings(entries).find(({ sha }) => sha === current) ?? {}) }
  const fromLedger = ran.length > 0
  const history = fromLedger ? [] : await deployHistory(checkout, current, branch)
  const list = fromLedger ? ran : history.filter(({ sha }) => sha !== current)
  const releases = await Promise.all(
    [now, ...list].slice(0, MOST).map((sighting) => describe(checkout, sighting, current)),
  )
  const why =
    entries.length === 0 ? 'Without a ledger of deploys on the server' : 'The ledger knows of no other release'
  return {
    releases,
    source: fromLedger
      ? 'From the ledger of deploys on the server:'
      : `${why}: from git's history of ${branch}, whether it was ever deployed or not:`,
  }
}

async function deployHistory(checkout: Checkout, current: string, branch: string): Promise<Commit[]> {
  for (const tip of [current, `refs/remotes/origin/${branch}`])
    if (await hasCommit(checkout, tip)) return commitsBetween(checkout, undefined, tip, MOST)
  return []
}

async function describe(checkout: Checkout, { sha, entry }: Sighting, current: string): Promise<Release> {
  const known = await hasCommit(checkout, sha)
  const commit = known ? await describeCommit(checkout, sha) : undefined
  return {
    sha,
    at: entry ? new Date(entry.at) : commit?.at,
    author: commit?.author ?? 'unknown',
    subject: commit?.subject ?? (entry?.subject || '(not in this checkout)'),
    verified: entry?.verified ?? undefined,
    migrations: sha === current ? 0 : (await migrationsAcross(checkout, sha, current))?.length,
    current: sha === current,
  }
}

function migrationsText({ current, migrations }: Release): string {
  if (current) return 'runs now'
  if (migrations === undefined) return 'migrations unknown'
  return migrations === 0 ? 'no migration' : migrations === 1 ? '1 MIGRATION' : `${migrations} MIGRATIONS`
}

/** One line each, in columns. */
export function releaseLines(releases: readonly Release[], now = new Date()): string[] {
  return table(
    releases.map((release) => [
      release.current ? '*' : ' ',
      shortSha(release.sha),
      release.at ? age(release.at, now) : 'unknown',
      printable(release.author),
      release.verified === undefined ? 'not checked' : release.verified ? 'verified' : 'NOT verified',
      migrationsText(release),
      printable(release.subject),
    ]),
  ).split('\n')
}
