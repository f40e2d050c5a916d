// What the app on the server runs, and what Dokku has written down about it: asked over SSH, and told in words.

import { Failure } from '../core/failure.ts'
import { parseSha, shortSha } from '../core/sha.ts'
import { parseProcesses } from '../dokku/dokku.ts'
import { explainDokku } from '../dokku/errors.ts'
import type { Remote } from './ssh.ts'
import { SshFailure } from './ssh-errors.ts'
import { askRevision } from './words.ts'

/** What runs, by the containers' own word. */
export interface RunningRelease {
  /** The commit that every web process says it was made from; undefined where one does not say, or they differ. */
  revision: string | undefined
  /** What each web process says, by its name. */
  revisions: ReadonlyMap<string, string | undefined>
  /** The processes in words, e.g. `web.1 running`. */
  processes: string
  /** Every process runs. */
  running: boolean
  /** A web process runs: somebody answers the visitors. */
  serves: boolean
}

const ASK_MS = 60_000
/** A container that hangs does not answer; it must not hold anybody up for long. */
const CONTAINER_MS = 10_000

/**
 * The one answer to what runs. HEAD and the deploy branch there are no answer: they lag behind a deploy that was cut off, and run
 * ahead of what runs under `skip-deploy`. Neither is the GIT_REV of the app's configuration, which is that of the last attempt.
 * @throws SshFailure when the host can't be asked
 * @throws Failure when the app does not exist
 */
export async function runningRelease(remote: Remote, app: string, timeoutMs = ASK_MS): Promise<RunningRelease> {
  const report = await remote.dokku('ps:report APP --format json', app, { timeoutMs })
  if (report.exitCode !== 0) throw explainDokku(report, `ps:report ${app}`, remote.host)
  const { isDeployed, allRun, statuses } = parseProcesses(report.stdout)
  const web = [...statuses].filter(([name, status]) => name.startsWith('web.') && status === 'running')
  // Not every scheduler reports its processes one by one (k3s).
  const asked = statuses.size > 0 ? web.map(([name]) => name) : allRun ? ['web'] : []
  const revisions = new Map<string, string | undefined>()
  for (const name of asked) revisions.set(name, await revisionOf(remote, app, name))
  const said = new Set(revisions.values())
  const processes = [...statuses].map(([name, status]) => `${name} ${status}`)
  return {
    revision: said.size === 1 ? [...said][0] : undefined,
    revisions,
    processes: processes.join(', ') || (isDeployed ? 'no process' : 'never deployed'),
    running: allRun,
    serves: asked.length > 0,
  }
}

async function revisionOf(remote: Remote, app: string, name: string): Promise<string | undefined> {
  const number = Number(name.replace(/^web\.?/, '') || 1)
  const words = number === 1 ? 'enter APP web printenv GIT_REV' : askRevision(number)
  try {
    const { exitCode, stdout } = await remote.dokku(words, app, { timeoutMs: CONTAINER_MS })
    return exitCode === 0 ? parseSha(stdout) : undefined
  } catch (error) {
    remote.signal.throwIfAborted()
    if (error instanceof SshFailure || !(error instanceof Failure)) throw error
    return undefined
  }
}

/** What Dokku has written down about an app. It can differ from what runs, and from itself. */
export interface Records {
  /** The head of the deploy branch there, on which a push has its lease; undefined before the first deployment. */
  branch: string | undefined
  /** HEAD of the repository there. Dokku never points it at another deploy branch than git's default. */
  head: string | undefined
  /** GIT_REV of the app's configuration: that of the last attempt, which a restart starts. */
  configured: string | undefined
}

/**
 * HEAD of the app's repository there.
 * @throws SshFailure, Failure
 */
export async function recordedHead(remote: Remote, app: string, timeoutMs = ASK_MS): Promise<string | undefined> {
  const output = await remote.dokku('git:report APP --git-sha', app, { timeoutMs })
  if (output.exitCode !== 0) throw explainDokku(output, `git:report ${app}`, remote.host)
  return parseSha(output.stdout)
}

/**
 * @param branch the deploy branch
 * @throws SshFailure, Failure
 */
export async function readRecords(remote: Remote, app: string, branch: string): Promise<Records> {
  const head = await recordedHead(remote, app)
  const configured = await configuredRevision(remote, app)
  return { branch: await remote.headOf(app, branch), head, configured }
}

/**
 * GIT_REV of the app's configuration. Not config:show, which prints every secret.
 * @throws SshFailure
 */
export async function configuredRevision(remote: Remote, app: string): Promise<string | undefined> {
  // It exits 1 for a key that is not set.
  const { exitCode, stdout } = await remote.dokku('config:get APP GIT_REV', app, { timeoutMs: ASK_MS })
  return exitCode === 0 ? parseSha(stdout) : undefined
}

/**
 * The branch whose pushes Dokku deploys. Versions that do not report what counts (0.30) report an empty one where nobody set it: then
 * the default, master, does. Git would create an app of a mistyped name, so this is asked before git talks to the server.
 * @throws SshFailure, Failure when there is no such app
 */
export async function deployBranch(remote: Remote, app: string): Promise<string> {
  for (const words of ['git:report APP --git-computed-deploy-branch', 'git:report APP --git-deploy-branch'] as const) {
    const { exitCode, stdout } = await remote.dokku(words, app, { timeoutMs: ASK_MS })
    if (exitCode === 0 && stdout.trim() !== '') return stdout.trim()
  }
  const exists = await remote.dokku('apps:exists APP', app, { timeoutMs: ASK_MS })
  if (exists.exitCode !== 0) throw explainDokku(exists, `apps:exists ${app}`, remote.host)
  return 'master'
}

/** Somebody deploys at this moment, or the lock's file was left behind: by a build that failed, a deploy that was killed, `apps:lock`. */
export async function isLocked(remote: Remote, app: string): Promise<boolean> {
  return (await remote.dokku('apps:locked APP', app, { timeoutMs: ASK_MS })).exitCode === 0
}

/** What the server does and runs, as far as it can be told. */
export interface ServerState extends RunningRelease {
  /** A deploy is under way, or left its lock behind. */
  locked: boolean
}

/** @throws SshFailure, Failure */
export async function serverState(remote: Remote, app: string): Promise<ServerState> {
  return { locked: await isLocked(remote, app), ...(await runningRelease(remote, app)) }
}

/** Whether something runs, and no container was told its commit (Dokku's `rev-env-var` can be empty). */
export function isSilent({ serves, revisions }: RunningRelease): boolean {
  return serves && [...revisions.values()].every((sha) => sha === undefined)
}

/** What runs, for the middle of a sentence: `0123abcd`, or what each process says, or that nothing does. */
export function describeRevision({ revision, revisions, serves }: RunningRelease): string {
  if (revision !== undefined) return shortSha(revision)
  if (!serves) return 'nothing'
  const each = [...revisions].map(([name, sha]) => `${name} ${sha ? shortSha(sha) : 'does not say'}`)
  return `an unknown release (${each.join(', ')})`
}

/**
 * The state in a sentence or two, for whoever wanted `target` to go live.
 * @param names of the target and of anything else, where they are not the new and the old release
 */
export function describeState(
  state: ServerState,
  target: string,
  [wanted, other]: readonly [string, string] = ['the new release', 'the old release'],
): string {
  const { locked, revision, running, processes } = state
  const name = revision === undefined ? '' : `, ${revision === target ? wanted : other}`
  const runs = `The server runs ${describeRevision(state)}${name} (${processes}${running ? '' : ': NOT every process runs'}).`
  return locked ? `${runs} Its deploy lock is there: the deploy goes on without us, or was cut off.` : runs
}
