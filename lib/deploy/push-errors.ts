// What a push that did not go live means for the operator, and what to do.

import { EXIT, Failure } from '../core/failure.ts'
import { sshLine } from '../core/host.ts'
import { shortSha } from '../core/sha.ts'
import type { Deployment } from './deployment.ts'
import type { PushResult } from './outcome.ts'

/** What the server said after a push that did not go live. */
interface After {
  /** What runs, in a sentence. */
  now: string
  /** The deploy goes on without us, or was cut off. */
  locked: boolean
  /** The release runs all the same: what failed came after its web processes were switched. */
  isLive: boolean
}

/** The failure behind a push that did not go live. */
export function explainPush(
  { outcome, cause }: PushResult,
  { kind, app, branch, remote: { host } }: Deployment,
  sha: string,
  { now, locked, isLive }: After,
): Failure {
  const why = cause.length > 0 ? `\n${cause.map((line) => `  | ${line}`).join('\n')}` : ''
  const failure = (what: string, hint: string, exitCode: number = EXIT.failed): Failure =>
    new Failure(`${what}${why}\n${now}`, hint, exitCode)
  const it = shortSha(sha)
  const again = kind === 'deploy' ? 'deploy again' : 'type the same again'
  // Who goes back wants a release that works, not to fix this one.
  const fix = (what: string): string =>
    kind === 'deploy' ? `Fix ${what} and deploy again` : 'Choose another release: rollback --list'
  switch (outcome) {
    case 'locked':
      return failure(
        `Another deploy of ${app} is under way: ${it} was not deployed.`,
        `Wait for it, then ${again}; see it: deploy --status. If none is under way: ${sshLine('dokku', host)} apps:unlock ${app}`,
        EXIT.locked,
      )
    case 'stale':
      return failure(
        `Somebody deployed since this run looked: ${it} was not pushed.`,
        `See what runs: deploy --status. Then ${again}: what is shown then includes their commits.`,
      )
    case 'build-failed':
      return failure(`The build of ${it} failed.`, `${fix('it')}. The same build here: docker build .`)
    case 'predeploy-failed':
      return failure(
        `The predeploy task (migrate) of ${it} failed.`,
        `${fix('the migration')}. What it applied is in its output, above: Applying … OK`,
      )
    case 'postdeploy-failed':
      return failure(
        `The postdeploy task of ${it} failed, after ${it} went live.`,
        `Fix the task, or what it needs. By hand, in what runs: ${sshLine('dokku', host)} enter ${app} web COMMAND`,
      )
    case 'health-failed':
      return failure(
        isLive
          ? `${it} runs, but not all of it: a process did not pass its health check.`
          : `${it} was built, but its container did not pass the health check.`,
        `More of its log: ${sshLine('dokku', host)} logs:failed ${app}. ${fix('it')}.`,
      )
    case 'elsewhere':
      return failure(
        `Dokku does not deploy pushes to ${branch}: nothing was deployed.`,
        `Set DEPLOY_BRANCH to the branch it names, or on the server: dokku git:set ${app} deploy-branch ${branch}`,
      )
    case 'no-connection':
      return failure(`The server was not reached: ${it} was not deployed.`, 'Try: deploy --status')
    case 'lost':
      return failure(
        `The connection was lost while ${it} was being deployed.`,
        locked ? 'Follow it: deploy --status, until no deploy is under way.' : `If it is not what runs: ${again}.`,
      )
    default:
      return failure(`The server refused to deploy ${it}.`, 'Look: deploy --status')
  }
}
