// The push to Dokku, and what became of it.

import type { Output } from '../core/shell.ts'
import { explainDokku } from '../dokku/errors.ts'
import { hookNotice } from '../git/checkout.ts'
import { plainUrl } from '../git/own-settings.ts'
import { explainSsh, type SshTrouble } from '../server/ssh-errors.ts'
import type { Deployment } from './deployment.ts'
import type { Plan } from './plan.ts'

/**
 * What became of a push. `stale`: somebody deployed since this run looked. `elsewhere`: it went to a branch that Dokku does not
 * deploy. `refused`: for a reason not known here.
 */
export type Outcome =
  | 'deployed'
  | 'unchanged'
  | 'locked'
  | 'build-failed'
  | 'predeploy-failed'
  | 'health-failed'
  | 'stale'
  | 'elsewhere'
  | 'no-connection'
  | 'lost'
  | 'refused'

export interface PushResult {
  outcome: Outcome
  /** The lines of the push that say why, as they came. */
  cause: string[]
}

/** A lease on what is deployed: if somebody else deployed meanwhile, git refuses. An empty one: there is nothing yet. */
export function pushArgs(url: string, sha: string, branch: string, deployed: string | undefined): string[] {
  return [
    'push',
    '--no-verify',
    '--no-follow-tags',
    `--force-with-lease=refs/heads/${branch}:${deployed ?? ''}`,
    url,
    `${sha}:refs/heads/${branch}`,
  ]
}

/** A line as it should be shown: without git's `remote: `, Dokku's way of erasing it, colours and other control characters. */
export function cleanLine(line: string): string {
  return (
    line
      .split('\r')
      .filter((part) => part.trim() !== '')
      .at(-1) ?? ''
  )
    .replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '')
    .replace(/^remote: ?/, '')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
    .trimEnd()
}

/** Keeps the lines of a push or a build as they should be shown, and passes each on. */
export function collectLines(onLine: (line: string) => void = () => {}): {
  lines: readonly string[]
  take(raw: string): void
} {
  const lines: string[] = []
  return {
    lines,
    take: (raw) => {
      const line = cleanLine(raw)
      lines.push(line)
      onLine(line)
    },
  }
}

const MOST_CAUSE = 20

/** Lines between Dokku's `Start of APP … output` and `End of APP … output`. */
function block(lines: readonly string[], what: RegExp): string[] {
  const start = lines.findLastIndex((line) => /Start of /.test(line) && what.test(line))
  if (start < 0) return []
  const length = lines.slice(start + 1).findIndex((line) => /End of /.test(line) && what.test(line))
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length)
}

function before(lines: readonly string[], marker: RegExp): string[] {
  const at = lines.findIndex((line) => marker.test(line))
  return lines.slice(Math.max(0, at - 12), at)
}

/** Which outcome a line means, in the words of Dokku 0.30 to 0.38 and git; the first that matches any line wins. */
const SIGNS: { outcome: Outcome; sign: RegExp; cause?: (lines: readonly string[], sign: RegExp) => string[] }[] = [
  { outcome: 'locked', sign: /currently has a deploy lock in place/ },
  {
    outcome: 'stale',
    sign: /\[rejected\].*\((stale info|remote ref updated|fetch first|non-fast-forward)\)|cannot lock ref/,
  },
  {
    outcome: 'predeploy-failed',
    sign: /Execution of (pre|post)?deploy task failed|Execution of release task failed/,
    cause: (lines) => block(lines, /(deploy|release) task/),
  },
  {
    outcome: 'health-failed',
    sign: /Could not start due to \d+ failed checks/,
    cause: (lines) => [
      ...lines.filter((line) => /Failure in name=|healthcheck.*fail/i.test(line)),
      ...block(lines, /container output/),
    ],
  },
  { outcome: 'build-failed', sign: /App build failed/, cause: before },
  { outcome: 'elsewhere', sign: /deploy did not complete, you must push to/ },
]

/**
 * What became of a push, by what git and Dokku said: the exit status is 1 for every failure, and 0 for a push that deployed nothing.
 * Pure.
 */
export function classifyPush(
  { exitCode, signal }: Pick<Output, 'exitCode' | 'signal'>,
  lines: readonly string[],
  trouble?: SshTrouble,
): PushResult {
  const found = SIGNS.find(({ sign }) => lines.some((line) => sign.test(line)))
  const rejected = lines.some((line) => /\[(remote )?rejected\]/.test(line))
  if (found && (exitCode !== 0 || found.outcome === 'elsewhere')) {
    // The connection broke after the reason was said, before git could report it: the reason stands.
    const cause = found.cause?.(lines, found.sign).slice(-MOST_CAUSE) ?? []
    return { outcome: found.outcome, cause: [...cause, ...lines.filter((line) => found.sign.test(line))] }
  }
  const complaints = lines.filter((line) =>
    /^(error|fatal|ssh|client_loop|mux_client)\b|! +\S|\[.*rejected\]/i.test(line),
  )
  if (exitCode === 0)
    return { outcome: lines.some((line) => /^Everything up-to-date/.test(line)) ? 'unchanged' : 'deployed', cause: [] }
  if (trouble && trouble !== 'lost') return { outcome: 'no-connection', cause: complaints }
  const cut = lines.some((line) => /hung up unexpectedly|unexpected disconnect|early EOF|Broken pipe/i.test(line))
  if (!rejected && (trouble === 'lost' || cut || signal !== null)) return { outcome: 'lost', cause: complaints }
  return { outcome: 'refused', cause: (complaints.length > 0 ? complaints : [...lines]).slice(-MOST_CAUSE) }
}

/**
 * Pushes the plan's commit to Dokku, which builds and starts it before git is done.
 * @param onLine told each line of the build, clean
 * @throws Interrupted; what the server does then is asked by the caller
 */
export async function pushCommit(
  { checkout, remote, app, branch, context }: Deployment,
  { commit, deployed }: Plan,
  onLine: (line: string) => void,
): Promise<PushResult> {
  const said = collectLines(onLine)
  const notice = hookNotice(checkout)
  if (notice) context.log.info(notice)
  const url = remote.gitUrl(app)
  const output = await checkout.git([...plainUrl(url), ...pushArgs(url, commit.sha, branch, deployed)], {
    env: remote.gitEnv(),
    onLine: said.take,
  })
  // A build can say "Connection reset", too: only what is not the server's word is ssh's.
  const local = output.stderr.split('\n').filter((line) => !line.startsWith('remote:'))
  return classifyPush(output, said.lines, explainSsh(local.join('\n'), 'dokku', remote.host)?.trouble)
}

/**
 * The commit on the deploy branch there; undefined before the first deployment. Not `git:report --git-sha`: that is HEAD, which
 * can be another branch, and the lease is on this one.
 * @throws SshFailure, Failure
 */
export async function deployedCommit({ checkout, remote, app, branch }: Deployment): Promise<string | undefined> {
  const url = remote.gitUrl(app)
  const output = await checkout.git([...plainUrl(url), 'ls-remote', url, `refs/heads/${branch}`], {
    env: remote.gitEnv(),
  })
  if (output.exitCode !== 0)
    throw explainSsh(output.stderr, 'dokku', remote.host) ?? explainDokku(output, `git-upload-pack ${app}`, remote.host)
  return /^[0-9a-f]{40}/.exec(output.stdout)?.[0]
}
