// Whether what runs and what Dokku has written down are the same commit; where they differ, the command that makes them agree.

import { shortSha } from '../core/sha.ts'
import { isSilent, type Records, type RunningRelease } from './app.ts'
import { type Entry, wentLive } from './ledger.ts'

/**
 * A failed build leaves the image and its name apart: restarted, the old container is given the name of the commit that failed. The
 * ledger knows which build failed.
 */
export function isMisnamed(revision: string | undefined, entries: readonly Entry[]): boolean {
  const last = entries.findLast(({ to }) => to === revision)
  return last !== undefined && last.outcome === 'build-failed' && !wentLive(last)
}

/** What is asked to find a disagreement. */
interface Asked extends RunningRelease, Records {
  app: string
  /** The name of the deploy branch. */
  branchName: string
  entries: readonly Entry[]
}

interface Disagreement {
  /** What differs, in a sentence. */
  what: string
  /** The commands that make all of it agree, with what they do. None of them starts a release that did not go live. */
  fix: string
}

/** @returns undefined when all agree, or nothing is deployed */
export function findDisagreement(asked: Asked): Disagreement | undefined {
  const { revision, revisions, serves, branch, head, configured, entries } = asked
  if (revisions.size === 0 && branch === undefined) return
  const isWrong = isMisnamed(revision, entries)
  // Not every app's containers are told their commit: then only the records can be compared.
  const runs = isSilent(asked) ? branch : revision
  const others = [
    ...(branch === runs ? [] : [`the deploy branch there is at ${name(branch)}`]),
    ...(configured === undefined || configured === runs
      ? []
      : [`GIT_REV is ${name(configured)}, which a restart would start`]),
    ...(head === branch ? [] : [`HEAD there is ${name(head)}`]),
  ]
  if (others.length === 0 && !isWrong) return
  const each = [...revisions].map(([process, sha]) => `${process} ${sha ? `runs ${shortSha(sha)}` : 'does not say'}`)
  const restarted = isWrong
    ? `, but the build of ${name(revision)} failed: another release was restarted under its name`
    : ''
  const what = [`${serves ? each.join(', ') : 'no web process runs'}${restarted}`, ...others].join('; ')
  const onlyHead = others.length === 1 && head !== branch && !isWrong
  return { what, fix: onlyHead ? headFix(asked) : fixOf(asked, isWrong) }
}

function fixOf({ revision, branch, configured }: Asked, isWrong: boolean): string {
  const rebuild = `rollback --rebuild (builds and starts ${name(branch)})`
  if (revision === undefined || revision === branch || isWrong) return rebuild
  const keep = `rollback --to ${shortSha(revision)} (keeps what runs)`
  // Under skip-deploy the branch and GIT_REV ran ahead together: what they name did not go live.
  return configured === revision && branch !== undefined ? `${keep}, or ${rebuild}` : keep
}

// Dokku deploys the branch, whatever HEAD is; `git:report` and other tools read HEAD.
function headFix({ app, branchName }: Asked): string {
  return `on the server: sudo -u dokku git --git-dir=/home/dokku/${app} symbolic-ref HEAD refs/heads/${branchName}`
}

function name(sha: string | undefined): string {
  return sha === undefined ? 'not set' : shortSha(sha)
}
