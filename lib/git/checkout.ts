// The app's checkout on this machine, asked with git.

import { access, constants } from 'node:fs/promises'
import { resolve } from 'node:path'
import { EXIT, Failure } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { isSha } from '../core/sha.ts'
import type { Env, Output, RunOptions, Shell } from '../core/shell.ts'
import { ENGLISH, OWN_SETTINGS } from './own-settings.ts'

/** A checkout, or a working tree of it. */
export interface Checkout {
  readonly dir: string
  /** The hook that a `git push` of the engineer's would run here. */
  readonly prePushHook: string | undefined
  readonly isShallow: boolean
  git(args: readonly string[], options?: RunOptions): Promise<Output>
  /**
   * As `git`, for what can't change while a run lasts: what there is to say of commits that are named by their full SHA. It is asked
   * once; but what failed is asked again, for a fetch may have brought the commit.
   */
  once(args: readonly string[]): Promise<Output>
  /** Git's standard output. @throws Failure with what git said, when it did not end well */
  ask(args: readonly string[]): Promise<string>
  /** The same of what `once` is for. */
  askOnce(args: readonly string[]): Promise<string>
}

export interface Commit {
  sha: string
  author: string
  at: Date
  subject: string
  /** Files it adds. */
  added: string[]
}

/**
 * @param dir a folder in the checkout
 * @throws Failure (exit status 2) when it is none
 */
export async function openCheckout(shell: Shell, dir: string): Promise<Checkout> {
  const from = resolve(dir)
  const args = ['rev-parse', '--is-shallow-repository', '--show-toplevel', '--git-path', 'hooks/pre-push']
  const found = await shell.run(['git', '-C', from, ...args], { cwd: '/', env: ENGLISH })
  if (found.exitCode === 127)
    throw new Failure('Git is not installed.', 'Install it: sudo apt-get install git', EXIT.usage)
  if (found.exitCode !== 0)
    throw new Failure(
      `${dir} is not a git checkout of the app: ${lastLines(found.stderr, 1).replace(/^fatal: /, '')}`,
      'Change to the checkout, or name it: --repo DIR',
      EXIT.usage,
    )
  const [shallow = '', top = '', hook = ''] = found.stdout.trimEnd().split('\n')
  return {
    ...gitIn(shell, top),
    dir: top,
    prePushHook: await ifExecutable(resolve(from, hook)),
    isShallow: shallow === 'true',
  }
}

/** Git in a folder of a checkout, or of a working tree of it. */
export function gitIn(shell: Shell, cwd: string): Pick<Checkout, 'git' | 'once' | 'ask' | 'askOnce'> {
  const git: Checkout['git'] = (args, options = {}) =>
    shell.run(['git', ...OWN_SETTINGS, ...args], { cwd, ...options, env: { ...ENGLISH, ...options.env } })
  const said = new Map<string, Promise<Output>>()
  const once: Checkout['once'] = (args) => {
    const key = args.join('\0')
    const answer = said.get(key) ?? git(args)
    said.set(key, answer)
    const forget = (): boolean => said.delete(key)
    void answer.then(({ exitCode }) => exitCode === 0 || forget(), forget)
    return answer
  }
  return {
    git,
    once,
    ask: async (args) => textOf(await git(args), args),
    askOnce: async (args) => textOf(await once(args), args),
  }
}

function textOf({ exitCode, stdout, stderr }: Output, [command]: readonly string[]): string {
  if (exitCode !== 0) throw new Failure(`git ${command} failed: ${lastLines(stderr)}`)
  return stdout.trim()
}

/** What to tell the engineer before a push, if anything. */
export function hookNotice({ prePushHook }: Checkout): string | undefined {
  return (
    prePushHook &&
    `The hook ${prePushHook} is not run: what is pushed is a commit that exists, for what your hooks check.`
  )
}

async function ifExecutable(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.X_OK)
    return path
  } catch {
    return
  }
}

/**
 * The full SHA of a commit, tag, branch or short SHA.
 * @throws Failure (exit status 2) when there is none
 */
export async function resolveCommit(checkout: Checkout, ref: string): Promise<string> {
  const output = await checkout.git(['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`])
  if (output.exitCode === 0) return output.stdout.trim()
  throw new Failure(
    ref === 'HEAD' ? `${checkout.dir} has no commit yet.` : `${checkout.dir} has no commit ${ref}.`,
    ref === 'HEAD' ? '' : 'Fetch it first, or look: git log --oneline --all',
    EXIT.usage,
  )
}

export async function hasCommit(checkout: Checkout, name: string): Promise<boolean> {
  const args = ['cat-file', '-e', `${name}^{commit}`]
  return (await (isSha(name) ? checkout.once(args) : checkout.git(args))).exitCode === 0
}

/** Paths of the working tree that differ from HEAD, untracked ones included. */
export async function dirtyPaths(checkout: Checkout, untracked: 'normal' | 'no' = 'normal'): Promise<string[]> {
  return (await checkout.ask(['status', '--porcelain', '-z', `--untracked-files=${untracked}`]))
    .split('\0')
    .filter(Boolean)
}

/** Whether `ancestor` is in the history of `sha`, or is it; undefined where this checkout lacks one of them. */
export async function isAncestor(checkout: Checkout, ancestor: string, sha: string): Promise<boolean | undefined> {
  const { exitCode } = await checkout.git(['merge-base', '--is-ancestor', ancestor, sha])
  return exitCode === 0 ? true : exitCode === 1 ? false : undefined
}

/** The deploy branch as this checkout has last fetched or pushed it. */
export function trackedRef(branch: string): string {
  return `refs/remotes/origin/${branch}`
}

/**
 * How many commits the branch on origin, as last fetched, has on top of `sha`; a merge counts as one.
 * @returns undefined where that can't be told, or `sha` is not on it
 */
export async function originAhead(checkout: Checkout, branch: string, sha: string): Promise<number | undefined> {
  const tracked = trackedRef(branch)
  if (!(await isAncestor(checkout, sha, tracked))) return undefined
  return Number(await checkout.ask(['rev-list', '--count', '--first-parent', tracked, `^${sha}`, '--']))
}

/** A file of a commit, or undefined when it has none of that name. */
export async function fileOf(checkout: Checkout, sha: string, path: string): Promise<string | undefined> {
  const output = await checkout.once(['show', `${sha}:${path}`])
  return output.exitCode === 0 ? output.stdout : undefined
}

/** Those of the paths, without wildcards, that a commit has. */
export async function pathsIn(checkout: Checkout, sha: string, paths: readonly string[]): Promise<Set<string>> {
  return new Set((await checkout.askOnce(['ls-tree', '-z', '--name-only', sha, '--', ...paths])).split('\0'))
}

/** Files in which `to` differs from `from`, each with git's letter for how: not what one commit on the way does and a later one undoes. */
export async function changedFiles(
  checkout: Checkout,
  from: string,
  to: string,
): Promise<[how: string, path: string][]> {
  // The way back has the same differences, told the other way round.
  const [a, b] = from < to ? [from, to] : [to, from]
  const words = (await checkout.askOnce(['diff', '--name-status', '--no-renames', '-z', a, b, '--'])).split('\0')
  const turned: Record<string, string> = from === a ? {} : { A: 'D', D: 'A' }
  return words.flatMap((path, i) => {
    const how = words[i - 1] ?? ''
    return i % 2 === 1 ? [[turned[how] ?? how, path]] : []
  })
}

// %x1e separates the commits: a subject can hold anything but control characters, a name of a file anything but NUL.
const LOG_FORMAT = '--format=%x1e%H%x1f%an%x1f%aI%x1f%s'

/** Pure: what `git log` in LOG_FORMAT with `--name-status` printed. */
function parseLog(stdout: string): Commit[] {
  return stdout
    .split('\u001e')
    .slice(1)
    .map((block) => {
      const [head = '', ...paths] = block.split('\n')
      const [sha = '', author = '', at = '', subject = ''] = head.split('\u001f')
      const added = paths.flatMap((line) => (line.startsWith('A\t') ? [line.slice(2)] : []))
      return { sha, author, at: new Date(at), subject, added }
    })
}

/**
 * The commits that `to` has and `from` has not, newest first, each with the files it adds; without `from`, all.
 * @param most no more than this many
 */
export async function commitsBetween(
  checkout: Checkout,
  from: string | undefined,
  to: string,
  most = 200,
): Promise<Commit[]> {
  const range = from === undefined ? [to] : [to, `^${from}`]
  // Not --diff-filter=A: it leaves out the commits that add no file.
  const options = ['--name-status', '--no-renames', '-m', '--first-parent', `--max-count=${most}`]
  return parseLog(await logOf(checkout, options, range))
}

function logOf(checkout: Checkout, options: readonly string[], commits: readonly string[]): Promise<string> {
  const args = ['-c', 'core.quotePath=false', 'log', LOG_FORMAT, ...options, ...commits, '--']
  return commits.every((name) => isSha(name.replace('^', ''))) ? checkout.askOnce(args) : checkout.ask(args)
}

/** @param shas of commits that this checkout has */
export async function describeCommits(checkout: Checkout, shas: readonly string[]): Promise<Commit[]> {
  if (shas.length === 0) return []
  const options = ['--no-walk=unsorted', '--name-status', '--no-renames', '-m', '--first-parent']
  const commits = parseLog(await logOf(checkout, options, shas))
  return shas.map((sha) => {
    const commit = commits.find((commit) => commit.sha === sha)
    if (!commit) throw new Failure(`git shows no commit ${sha}.`)
    return commit
  })
}

/** Those of the commits that this checkout has. */
export async function commitsHere(checkout: Checkout, shas: readonly string[]): Promise<Commit[]> {
  const input = shas.map((sha) => `${sha}\n`).join('')
  const types = await checkout.git(['cat-file', '--batch-check=%(objecttype)'], { input })
  const lines = types.stdout.split('\n')
  return describeCommits(
    checkout,
    shas.filter((_, i) => lines[i] === 'commit'),
  )
}

/** One commit. */
export async function describeCommit(checkout: Checkout, sha: string): Promise<Commit> {
  const [commit] = await describeCommits(checkout, [sha])
  if (!commit) throw new Failure(`git shows no commit ${sha}.`)
  return commit
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
    'Commit them or put them aside (git stash -u), or use another clone: --repo DIR',
  )
}

/** @throws Failure (exit status 2) when git would not know who makes a commit */
export async function requireIdentity(checkout: Checkout): Promise<void> {
  const { exitCode, stderr } = await checkout.git(['var', 'GIT_COMMITTER_IDENT'])
  if (exitCode !== 0)
    throw new Failure(
      `Git does not know who makes the revert: ${lastLines(stderr, 1).replace(/^fatal: /, '')}`,
      "Tell it: git config --global user.name 'Your Name', and: git config --global user.email you@example.org",
      EXIT.usage,
    )
}

/** Who deploys: CI's actor, else git's user. */
export async function whoDeploys(checkout: Checkout, environment: Env): Promise<string> {
  if (environment.GITHUB_ACTOR) return `${environment.GITHUB_ACTOR} (CI)`
  const { exitCode, stdout } = await checkout.git(['config', 'user.name'])
  return (exitCode === 0 && stdout.trim()) || environment.USER || 'unknown'
}
