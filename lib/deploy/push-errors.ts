import { EXIT, Failure } from '../core/failure.ts'
import { shortSha } from '../core/sha.ts'
import type { ServerState } from '../server/app.ts'
import type { Pushed } from './push.ts'

/**
 * What a push that did not go live means for the operator.
 * @param back it was a way back: nothing is to be mended first
 * @param now what runs, in a sentence
 */
export function explainPush(
  { outcome, cause }: Pushed,
  { app, sha, branch, host, back = false }: { app: string; sha: string; branch: string; host: string; back?: boolean },
  now: string,
  state?: ServerState,
): Failure {
  const why = cause.length > 0 ? `\n${cause.map((line) => `  | ${line}`).join('\n')}` : ''
  const failure = (what: string, hint: string, exitCode: number = EXIT.failed): Failure =>
    new Failure(`${what}${why}\n${now}`, hint, exitCode)
  const it = shortSha(sha)
  const again = back ? 'type the same again' : 'deploy again'
  const mended = (what: string): string =>
    back ? 'Choose another release: rollback --list' : `Mend ${what} and deploy again`
  switch (outcome) {
    case 'locked':
      return failure(
        `Another deploy of ${app} is under way: ${it} was not deployed.`,
        `Wait for it, then ${again}; see it: deploy --status. If none is under way: ssh dokku@${host} apps:unlock ${app}`,
        EXIT.locked,
      )
    case 'stale':
      return failure(
        `Somebody deployed since this run looked: ${it} was not pushed.`,
        `See what runs: deploy --status. Then ${again}: what is shown then includes their commits.`,
      )
    case 'build-failed':
      return failure(`The build of ${it} failed.`, `${mended('it')}. The same build here: docker build .`)
    case 'predeploy-failed':
      return failure(
        `The predeploy task (migrate) of ${it} failed.`,
        `${mended('the migration')}. What was applied: ssh dokku@${host} run ${app} python manage.py showmigrations`,
      )
    case 'health-failed':
      return failure(
        `${it} was built, but its container did not pass the health check.`,
        `More of its log: ssh dokku@${host} logs:failed ${app}. ${mended('it')}.`,
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
        state?.locked
          ? 'Follow it: deploy --status, until no deploy is under way.'
          : `If it is not what runs: ${again}.`,
      )
    default:
      return failure(`The server refused to deploy ${it}.`, 'Look: deploy --status')
  }
}
