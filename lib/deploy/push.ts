// The push to Dokku.

import { hookNotice } from '../git/checkout.ts'
import { plainUrl } from '../git/own-settings.ts'
import { explainSsh } from '../server/ssh-errors.ts'
import type { Deployment } from './deployment.ts'
import { classifyPush, collectLines, type PushResult } from './outcome.ts'
import type { Plan } from './plan.ts'

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
  const ours = said.lines.filter(({ isOurs }) => isOurs).map(({ text }) => text)
  return classifyPush(output, said.lines, explainSsh(ours.join('\n'), 'dokku', remote.host)?.trouble)
}
