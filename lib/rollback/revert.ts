import { EXIT, Failure, Interrupted } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import type { Log } from '../core/log.ts'
import { shortSha } from '../core/sha.ts'
import type { Shell } from '../core/shell.ts'
import { classifyPush, cleanLine, pushArgs } from '../deploy/push.ts'
import { type Checkout, dirtyPaths, openCheckout, resolveCommit } from '../git/checkout.ts'
import { inOwnTree, QUIET } from '../git/worktree.ts'
import type { Reverted } from './revert-range.ts'

function trackedRef(branch: string): string {
  return `refs/remotes/origin/${branch}`
}

/** @throws Failure (exit status 2) when the checkout has no remote of that name */
export async function requireOrigin(checkout: Checkout): Promise<void> {
  if ((await checkout.git(['remote', 'get-url', 'origin'])).exitCode !== 0)
    throw new Failure(
      `${checkout.dir} has no remote origin.`,
      'Name the repository that CI deploys from: git remote add origin URL',
      EXIT.usage,
    )
}

/** @throws Failure (exit status 2) when git would not know whose the revert is */
export async function requireIdentity(checkout: Checkout): Promise<void> {
  const { exitCode, stderr } = await checkout.git(['var', 'GIT_COMMITTER_IDENT'])
  if (exitCode !== 0)
    throw new Failure(
      `Git does not know who makes the revert: ${lastLines(stderr, 1).replace(/^fatal: /, '')}`,
      "Tell it: git config --global user.name 'Your Name', and: git config --global user.email you@example.org",
      EXIT.usage,
    )
}

/**
 * @param untracked whether files that git does not know count: a revert would mix with them when the branch is brought up to date
 * @throws Failure that names the first changes: what is seen here is not what is pushed
 */
export async function requireClean(checkout: Checkout, untracked: 'normal' | 'no' = 'normal'): Promise<void> {
  const dirty = await dirtyPaths(checkout, untracked)
  if (dirty.length === 0) return
  throw new Failure(
    `The working tree has changes: ${dirty.slice(0, 5).join(', ')}${dirty.length > 5 ? ', …' : ''}`,
    'Nothing was pushed. Commit them or put them aside (git stash -u), or use another clone: --repo DIR',
  )
}

/**
 * The deploy branch as origin has it now.
 * @throws Failure with git's words
 */
export async function fetchOrigin(checkout: Checkout, branch: string): Promise<string> {
  const refspec = `+refs/heads/${branch}:${trackedRef(branch)}`
  const output = await checkout.git(['fetch', '--quiet', '--no-write-fetch-head', 'origin', refspec], {
    timeoutMs: 120_000,
  })
  if (output.exitCode !== 0)
    throw new Failure(
      `origin did not give its ${branch}: ${lastLines(output.stderr.replace(/^Please make sure[\s\S]*/m, ''))}`,
      `Try: git fetch origin ${branch}`,
    )
  return resolveCommit(checkout, trackedRef(branch))
}

/**
 * Reverts commits on top of `head`, each in a commit of its own, in a working tree made for it and taken away again: whatever
 * happens, the checkout's own is not touched. A commit that is reverted there already is passed over.
 *
 * @param cleanup takes the working tree away, after an interruption as well
 * @returns the last revert, or `head` when all of them are reverted there already
 * @throws Failure on a conflict, with its paths
 */
export async function revertOnto(
  checkout: Checkout,
  shell: Shell,
  cleanup: Shell,
  head: string,
  commits: readonly Reverted[],
): Promise<string> {
  return inOwnTree(checkout, shell, cleanup, head, async (tree) => {
    for (const { sha, subject, mainline } of commits) {
      const options = mainline === undefined ? [] : ['-m', String(mainline)]
      // By its classic subject a revert is told from other commits.
      const output = await tree.git([...QUIET, '-c', 'revert.reference=false', 'revert', '--no-edit', ...options, sha])
      if (output.exitCode === 0) continue
      const conflicts = (await tree.ask(['diff', '--name-only', '--diff-filter=U'])).split('\n').filter(Boolean)
      // Not any failure that changes nothing: that would be taken for a revert that is there already.
      if (conflicts.length === 0 && /^nothing to commit/m.test(output.stdout)) {
        await tree.git([...QUIET, 'revert', '--skip'])
        continue
      }
      throw new Failure(
        conflicts.length > 0
          ? `Reverting ${shortSha(sha)} (${subject}) conflicts in ${conflicts.join(', ')}: nothing was pushed, and your checkout is as it was.`
          : `Reverting ${shortSha(sha)} (${subject}) failed: ${lastLines(output.stderr)}. Nothing was pushed.`,
        `At once, without a revert: rollback --list, then rollback --to SHA. By hand: git ${['revert', ...options, shortSha(sha)].join(' ')}, then deploy.`,
      )
    }
    return tree.ask(['rev-parse', 'HEAD'])
  })
}

/**
 * @param head what origin must still have
 * @param later asks origin, after an interruption as well
 * @throws Failure, or Interrupted, after it is known whether origin has it
 */
export async function pushToOrigin(
  checkout: Checkout,
  { sha, branch, head, later, log }: { sha: string; branch: string; head: string; later: Shell; log: Log },
): Promise<void> {
  const lines: string[] = []
  let failure: Failure
  try {
    const output = await checkout.git(pushArgs('origin', sha, branch, head), {
      onLine: (line) => lines.push(cleanLine(line)),
    })
    if (output.exitCode === 0) return
    const { outcome } = classifyPush(output, lines)
    const why = lines
      .filter((line) => line !== '' && !line.startsWith('hint: '))
      .map((line) => `\n  | ${line}`)
      .join('')
    failure =
      outcome === 'stale'
        ? new Failure(
            `Somebody pushed to origin/${branch} since this run looked: nothing was pushed.${why}`,
            'Type the same again: the revert is then made on top of theirs.',
          )
        : new Failure(
            `origin did not take the revert: nothing was pushed.${why}`,
            `If ${branch} is protected, open a pull request: git push origin ${shortSha(sha)}:refs/heads/revert-${shortSha(sha)}. At once: rollback --list, then rollback --to SHA`,
          )
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    failure = error
  }
  const has = await originHas(await openCheckout(later, checkout.dir), branch, sha)
  if (failure instanceof Interrupted) {
    const known = has
      ? `has the revert ${shortSha(sha)}: CI deploys it`
      : 'does not have the revert yet; look again before you go on: git fetch'
    log.info(has === undefined ? `origin did not say whether it has the revert: git fetch` : `origin ${known}.`)
    throw failure
  }
  // The connection broke after origin had taken it.
  if (!has) throw failure
}

/** @returns undefined when origin does not say */
async function originHas(checkout: Checkout, branch: string, sha: string): Promise<boolean | undefined> {
  const options = { timeoutMs: 20_000 }
  const there = await checkout.git(['ls-remote', 'origin', `refs/heads/${branch}`], options).catch(() => undefined)
  return there?.exitCode === 0 ? there.stdout.startsWith(sha) : undefined
}

/**
 * Brings the checkout up to date with what was pushed, if nothing but `head` of the branch is checked out.
 * @returns what became of it, or what to type
 */
export async function followOrigin(checkout: Checkout, branch: string, head: string, sha: string): Promise<string> {
  const ref = await checkout.git(['symbolic-ref', '--short', '-q', 'HEAD'])
  const at = await checkout.git(['rev-parse', '-q', '--verify', 'HEAD'])
  if (ref.stdout.trim() === branch && at.stdout.trim() === head) {
    const merged = await checkout.git(['merge', '--ff-only', '--quiet', sha])
    if (merged.exitCode === 0) return `your ${branch} holds it too`
  }
  return `your checkout does not have it yet: git switch ${branch} && git pull`
}
