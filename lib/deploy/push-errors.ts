// What a push that failed means for the operator, and what to do.

import { EXIT, Failure } from '../core/failure.ts'
import { oneLine } from '../core/format.ts'
import { sshLine } from '../core/host.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from './deployment.ts'
import type { Outcome, PushResult } from './outcome.ts'

/** What the server said after a push that failed. */
interface After {
  /** The deploy goes on without us, or was cut off. */
  locked: boolean
  /** The release runs all the same: what failed came after its web processes were switched. */
  isLive: boolean
}

/** What the sentences are made of. */
interface Words extends Pick<After, 'locked' | 'isLive'> {
  app: string
  branch: string
  /** The commit. */
  it: string
  /** How to try once more. */
  again: string
  /** How Dokku is called by hand. */
  dokku: string
  /** Who goes back wants a release that works, not to fix this one. */
  fix(what: string): string
}

type Explanation = [what: string, hint: string]

const EXPLANATIONS: Partial<Record<Outcome, (words: Words) => Explanation>> = {
  locked: ({ app, it, again, dokku }) => [
    `Another deploy of ${app} is under way: ${it} was not deployed.`,
    `Wait for it, then ${again}; see it: deploy --status. If none is under way: ${dokku} apps:unlock ${app}`,
  ],
  stale: ({ it, again }) => [
    `Somebody deployed since this run looked: ${it} was not pushed.`,
    `See what runs: deploy --status. Then ${again}: what is shown then includes their commits.`,
  ],
  'build-failed': ({ it, fix }) => [`The build of ${it} failed.`, `${fix('it')}. The same build here: docker build .`],
  'predeploy-failed': ({ it, fix }) => [
    `The predeploy task (migrate) of ${it} failed.`,
    `${fix('the migration')}. What it applied is in its output, above: Applying … OK`,
  ],
  'postdeploy-failed': ({ app, it, dokku }) => [
    `The postdeploy task of ${it} failed, after ${it} went live.`,
    `Fix the task, or what it needs. By hand, in what runs: ${dokku} enter ${app} web COMMAND`,
  ],
  'health-failed': ({ app, it, isLive, dokku, fix }) => [
    isLive
      ? `${it} runs, but not all of it: a process did not pass its health check.`
      : `${it} was built, but its container did not pass the health check.`,
    `More of its log: ${dokku} logs:failed ${app}. ${fix('it')}.`,
  ],
  elsewhere: ({ app, branch }) => [
    `Dokku does not deploy pushes to ${branch}: nothing was deployed.`,
    `Set DEPLOY_BRANCH to the branch it names, or on the server: dokku git:set ${app} deploy-branch ${branch}`,
  ],
  'no-connection': ({ it }) => [`The server was not reached: ${it} was not deployed.`, 'Try: deploy --status'],
  lost: ({ it, locked, again }) => [
    `The connection was lost while ${it} was being deployed.`,
    locked ? 'Follow it: deploy --status, until no deploy is under way.' : `If it is not what runs: ${again}.`,
  ],
}

/** A longer line of a cause is cut: somebody reads it. */
const LONGEST_CAUSE = 500

/** The failure behind a push that did not go well. */
export function explainPush(
  { outcome, cause }: PushResult,
  { kind, app, branch, context, remote: { host } }: Deployment,
  sha: string,
  { locked, isLive }: After,
): Failure {
  const it = shortSha(sha)
  const refused: Explanation = [
    isLive ? `${it} runs, but its deploy did not end well.` : `The server refused to deploy ${it}.`,
    'Look: deploy --status',
  ]
  const words: Words = {
    ...{ app, branch, it, locked, isLive },
    again: kind === 'deploy' ? 'deploy again' : 'type the same again',
    dokku: sshLine('dokku', host),
    fix: (what) => (kind === 'deploy' ? `Fix ${what} and deploy again` : 'Choose another release: rollback --list'),
  }
  const [what, hint] = EXPLANATIONS[outcome]?.(words) ?? refused
  // A secret must not lose its end: then nobody would know it again.
  const lines = cause.map((line) => context.log.redact(line).trimEnd())
  const why = lines.map((line) => `\n  | ${line.length > LONGEST_CAUSE ? oneLine(line, LONGEST_CAUSE) : line}`).join('')
  return new Failure(`${what}${why}`, hint, outcome === 'locked' ? EXIT.locked : EXIT.failed)
}
