// What the app on the server runs, asked of Dokku over SSH, and told in words.

import { parseSha, shortSha } from '../core/sha.ts'
import { parseProcesses } from '../dokku/dokku.ts'
import { explainDokku } from '../dokku/errors.ts'
import type { Remote } from './ssh.ts'

/** What the server says it runs. */
export interface RunningRelease {
  /**
   * HEAD of the app's repository there, which Dokku moves after a deployment succeeded; undefined before the first. Dokku never points
   * HEAD at another deploy branch than git's default: where it names no commit, the container is asked.
   */
  sha: string | undefined
  /** The processes in words, e.g. `web.1 running`. */
  processes: string
  /** Every process runs. */
  running: boolean
}

/** @throws Failure when Dokku's answer is not a report */
export function parsePs(stdout: string): Pick<RunningRelease, 'processes' | 'running'> {
  const { isDeployed, allRun, statuses } = parseProcesses(stdout)
  const processes = [...statuses].map(([name, status]) => `${name} ${status}`)
  return { processes: processes.join(', ') || (isDeployed ? 'no process' : 'never deployed'), running: allRun }
}

/**
 * What runs now.
 * @throws SshFailure when the host can't be asked
 * @throws Failure when the app does not exist
 */
export async function runningRelease(remote: Remote, app: string): Promise<RunningRelease> {
  const release = await reportedRelease(remote, app)
  return { ...release, sha: release.sha ?? (await containerRevision(remote, app)) }
}

async function reportedRelease(remote: Remote, app: string, timeoutMs = 60_000): Promise<RunningRelease> {
  const sha = await remote.dokku('git:report APP --git-sha', app, { timeoutMs })
  if (sha.exitCode !== 0) throw explainDokku(sha, `git:report ${app}`, remote.host)
  const ps = await remote.dokku('ps:report APP --format json', app, { timeoutMs })
  if (ps.exitCode !== 0) throw explainDokku(ps, `ps:report ${app}`, remote.host)
  return { sha: parseSha(sha.stdout), ...parsePs(ps.stdout) }
}

/** What runs now, by both of its names. */
export interface LiveRelease extends RunningRelease {
  /** What the web container says it runs, if it could be asked. */
  revision: string | undefined
}

/** @throws SshFailure, Failure as `runningRelease` does */
export async function liveRelease(remote: Remote, app: string, timeoutMs = 60_000): Promise<LiveRelease> {
  const release = await reportedRelease(remote, app, timeoutMs)
  const revision = await containerRevision(remote, app, timeoutMs)
  return { ...release, sha: release.sha ?? revision, revision }
}

/**
 * Git would create an app of a mistyped name, so this is asked before git talks to the server.
 * @throws Failure when it does not exist
 */
export async function requireApp(remote: Remote, app: string): Promise<void> {
  const output = await remote.dokku('apps:exists APP', app, { timeoutMs: 60_000 })
  if (output.exitCode !== 0) throw explainDokku(output, `apps:exists ${app}`, remote.host)
}

/**
 * The branch whose pushes Dokku deploys. It reports an empty one where nobody set it: then the default, master, counts (0.30),
 * which later versions report apart.
 */
export async function deployBranch(remote: Remote, app: string): Promise<string> {
  for (const words of ['git:report APP --git-deploy-branch', 'git:report APP --git-computed-deploy-branch'] as const) {
    const { exitCode, stdout } = await remote.dokku(words, app, { timeoutMs: 60_000 })
    if (exitCode === 0 && stdout.trim() !== '') return stdout.trim()
  }
  return 'master'
}

/** Somebody deploys at this moment, or the lock's file was left behind: by a build that failed, a deploy that was killed, `apps:lock`. */
export async function isLocked(remote: Remote, app: string): Promise<boolean> {
  return (await remote.dokku('apps:locked APP', app, { timeoutMs: 60_000 })).exitCode === 0
}

/**
 * The revision that the running web container was made from. It is the container's own word: HEAD lags behind while a push ends,
 * and the GIT_REV of the app's configuration runs ahead of a failed one. Undefined when the container can't be asked.
 */
export async function containerRevision(remote: Remote, app: string, timeoutMs = 60_000): Promise<string | undefined> {
  const { exitCode, stdout } = await remote.dokku('enter APP web printenv GIT_REV', app, { timeoutMs })
  return exitCode === 0 ? parseSha(stdout) : undefined
}

/** What the server does and runs, as far as it can be told. */
export interface ServerState extends LiveRelease {
  /** A deploy is under way, or left its lock behind. */
  locked: boolean
}

/** @throws SshFailure, Failure */
export async function serverState(remote: Remote, app: string): Promise<ServerState> {
  return {
    locked: await isLocked(remote, app),
    ...(await liveRelease(remote, app)),
  }
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
  const { locked, sha, revision, running, processes } = state
  const now = revision ?? sha
  const name = now ? `${shortSha(now)}, ${now === target ? wanted : other},` : 'nothing'
  const runs = `The server runs ${name} (${processes}${running ? '' : ': NOT every process runs'}).`
  if (locked) return `${runs} Its deploy lock is there: the deploy goes on without us, or was cut off.`
  if (now === target && sha !== target)
    return `${runs} Dokku did not get to record it (HEAD is ${sha ? shortSha(sha) : 'empty'}): deploy again to set that right.`
  return runs
}
