// The releases that one can go back to: the list, and the choice from it.

import { Failure } from '../core/failure.ts'
import { oneLine, plural, printable } from '../core/format.ts'
import { type Listing, listing } from '../core/layout.ts'
import { shortSha } from '../core/sha.ts'
import { age, isoLocal, moment } from '../core/times.ts'
import type { Deployment } from '../deploy/deployment.ts'
import { type Checkout, type Commit, commitsBetween, commitsHere, hasCommit, trackedRef } from '../git/checkout.ts'
import { changedPackages } from '../git/packages.ts'
import { revertedSince } from '../git/reverts.ts'
import { type Entry, wentLive } from '../server/ledger.ts'
import { migrationsBetween } from './migrations.ts'
import { SIGHTS } from './sights.ts'
import { resolveTarget, type Situation } from './situation.ts'

/** A commit that ran, or could have, and that one can go back to. */
interface Release {
  sha: string
  /** When it went live; the commit's own date where the ledger does not say. */
  at: Date | undefined
  /** The ledger says when. */
  recorded: boolean
  author: string
  subject: string
  /** It passed the site's checks when it went live; undefined when they were not made, or nobody knows. */
  verified: boolean | undefined
  /** Its run ended before the checks. */
  isCutShort: boolean
  /**
   * When a commit that it holds was reverted, of which what runs is free: when the revert went live, or was committed where the ledger
   * does not say; undefined when none was.
   */
  revertedAt: Date | undefined
  /** The way there crosses so many migrations; undefined when it can't be told. */
  migrations: number | undefined
  /** So many Python packages change on it, which may have migrations of their own. */
  packages: number
  current: boolean
}

interface ReleaseList {
  /** Newest first; the first one runs. */
  releases: Release[]
  /** Where the list is from, in a sentence. */
  source: string
}

/** A commit that the ledger saw running, with the entry of its last time. */
interface PastRelease {
  sha: string
  entry?: Entry
}

const MOST = 20

/**
 * Pure: what the ledger saw running, newest first, each commit once, at its last time. What a deploy came `from` ran as well. So the
 * release before the first entry is known, and one whose deploy lost its connection.
 */
export function pastReleases(entries: readonly Entry[]): PastRelease[] {
  const seen = entries
    .filter(wentLive)
    .flatMap((entry): PastRelease[] => [
      ...(entry.from && entry.from !== entry.to ? [{ sha: entry.from }] : []),
      { sha: entry.to, entry },
    ])
  const newest = new Map<string, PastRelease>()
  for (const { sha, entry } of seen) {
    const known = entry ?? newest.get(sha)?.entry
    newest.delete(sha)
    newest.set(sha, { sha, ...(known ? { entry: known } : {}) })
  }
  return [...newest.values()].reverse()
}

/** What runs and what ran before it: from the ledger, or, where that knows nothing but what runs, from git's history. */
async function listReleases({ checkout, branch }: Deployment, { entries, running }: Situation): Promise<ReleaseList> {
  const past = pastReleases(entries)
  const now = past.find(({ sha }) => sha === running) ?? { sha: running }
  const ran = past.filter(({ sha }) => sha !== running)
  const fromLedger = ran.length > 0
  const others = fromLedger ? ran : await deployHistory(checkout, running, branch)
  const shown = [now, ...others].slice(0, MOST)
  const here = await commitsHere(
    checkout,
    shown.map(({ sha }) => sha),
  )
  const releases = await Promise.all(shown.map((release) => describe(checkout, release, here, { entries, running })))
  const why =
    entries.length === 0 ? 'Without a ledger of deploys on the server' : 'The ledger knows of no other release'
  return {
    releases,
    source: fromLedger
      ? 'From the ledger of deploys on the server:'
      : `${why}: from git's history of ${branch}, whether it was ever deployed or not:`,
  }
}

/** The commits before `running`, newest first; where this checkout does not have it, those of origin's deploy branch. */
async function deployHistory(checkout: Checkout, running: string, branch: string): Promise<PastRelease[]> {
  for (const tip of [running, trackedRef(branch)])
    if (await hasCommit(checkout, tip))
      return (await commitsBetween(checkout, undefined, tip, MOST))
        .map(({ sha }) => ({ sha }))
        .filter(({ sha }) => sha !== running)
  return []
}

/** When a commit that a release holds was reverted on the way to what runs. */
async function findRevertedAt(
  checkout: Checkout,
  sha: string,
  { entries, running }: Pick<Situation, 'entries' | 'running'>,
): Promise<Date | undefined> {
  const revert = await revertedSince(checkout, sha, running)
  if (!revert) return undefined
  const after = (await checkout.ask(['rev-list', '--ancestry-path', running, `^${revert.sha}`])).split('\n')
  const first = entries.find((entry) => wentLive(entry) && (entry.to === revert.sha || after.includes(entry.to)))
  return first ? new Date(first.at) : revert.at
}

/** @param here those of the releases that this checkout has */
async function describe(
  checkout: Checkout,
  { sha, entry }: PastRelease,
  here: readonly Commit[],
  { entries, running }: Pick<Situation, 'entries' | 'running'>,
): Promise<Release> {
  const commit = here.find((commit) => commit.sha === sha)
  const current = sha === running
  const comparable = !current && commit !== undefined && here.some((commit) => commit.sha === running)
  return {
    sha,
    at: entry ? new Date(entry.at) : commit?.at,
    recorded: entry !== undefined,
    author: commit?.author ?? 'unknown',
    subject: commit?.subject ?? (entry?.subject || '(not in this checkout)'),
    verified: entry?.verified ?? undefined,
    isCutShort: entry?.notDone?.includes('verify') === true,
    revertedAt: comparable ? await findRevertedAt(checkout, sha, { entries, running }) : undefined,
    migrations: current ? 0 : comparable ? (await migrationsBetween(checkout, sha, running)).length : undefined,
    packages: comparable ? (await changedPackages(checkout, sha, running)).length : 0,
    current,
  }
}

function migrationsText({ current, migrations, packages }: Release): string {
  if (current) return 'runs now'
  if (migrations === undefined) return 'migrations unknown'
  const own = migrations === 0 ? 'no migration' : migrations === 1 ? '1 MIGRATION' : `${migrations} MIGRATIONS`
  return packages === 0 ? own : `${own}, ${plural(packages, 'PACKAGE', 'PACKAGES')}`
}

function siteText({ verified, isCutShort, revertedAt }: Release): string {
  if (revertedAt) return `reverted ${age(revertedAt)}`
  if (isCutShort) return 'not checked: interrupted'
  return verified === undefined ? 'not checked' : verified ? 'verified' : 'NOT verified'
}

function listingOf(releases: readonly Release[]): Listing {
  return {
    head: ['release', 'went live', 'site', 'on the way', 'author', 'subject'],
    rows: releases.map((release) => [
      shortSha(release.sha),
      release.at ? `${release.recorded ? '' : 'committed '}${age(release.at)}` : 'unknown',
      siteText(release),
      migrationsText(release),
      printable(release.author),
      printable(release.subject),
    ]),
  }
}

/** What runs and what ran before it, for the operator. */
export async function showReleases(deployment: Deployment, situation: Situation): Promise<string> {
  const { source, releases } = await listReleases(deployment, situation)
  return `${source}\n${listing(listingOf(releases), deployment.context.log.resultColumns)}`
}

/** The same for machines; null is what is not known. */
export async function releasesJson(deployment: Deployment, situation: Situation): Promise<unknown> {
  const { source, releases } = await listReleases(deployment, situation)
  return {
    source: source.replace(/:$/, ''),
    releases: releases.map(({ at, verified, isCutShort: _, revertedAt, migrations, ...release }) => ({
      ...release,
      at: at ? isoLocal(at) : null,
      verified: verified ?? null,
      revertedAt: revertedAt ? isoLocal(revertedAt) : null,
      migrations: migrations ?? null,
    })),
  }
}

/** What somebody must know who types `rollback` alone: another way back may be the better one. */
function beforehand(columns: number | undefined): string {
  return [
    `Nothing is pushed before you type yes. Ctrl-C at any time. Now it is ${moment(new Date())}.`,
    listing({ head: ['what you see', 'type'], rows: SIGHTS }, columns),
  ].join('\n')
}

/** The release that the operator picks from the list. */
export async function pickRelease(deployment: Deployment, situation: Situation): Promise<string> {
  const { log, ask } = deployment.context
  log.info(beforehand(log.columns && log.columns - 2))
  const { source, releases } = await listReleases(deployment, situation)
  const [now, ...others] = releases
  if (!now || others.length === 0)
    throw new Failure('No release is known but the one that runs.', 'Name a commit: --to SHA')
  const runs = `${shortSha(now.sha)} runs now: ${oneLine(now.subject)} (${oneLine(now.author)}).`
  log.info(`${runs} To go back to one of these, type its number. ${source}`)
  const index = await ask.pick('Back to which release?', listingOf(others))
  return resolveTarget(deployment, releases[index + 1]?.sha ?? '')
}
