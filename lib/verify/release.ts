// Whether the server runs the expected commit, asked over SSH.
import { Failure } from '../core/failure.ts'
import { shortSha } from '../core/sha.ts'
import { createShell, type Shell } from '../core/shell.ts'
import { describeRevision, isSilent, type RunningRelease, recordedHead, runningRelease } from '../server/app.ts'
import { connectRemote } from '../server/ssh.ts'
import { isFinal, SshFailure } from '../server/ssh-errors.ts'
import { type Check, Unexpected } from './run-check.ts'

/** The commit that must run, and how to find out what runs. */
export interface ExpectedRelease {
  /** In lower case, perhaps abbreviated. */
  sha: string
  /** Asks the server what runs. */
  ask(): Promise<RunningRelease>
  /** The commit that Dokku has written down as the deployed one. */
  recorded(): Promise<string | undefined>
}

/** What to ask, and where. */
export interface ReleaseQuestion {
  sha: string
  settings: Parameters<typeof connectRemote>[1] & { DOKKU_APP: string }
  timeoutMs: number
}

/**
 * Connects to the server.
 * @returns with `close`, which ends what is still being asked: after the verification nobody waits for it
 */
export async function connectRelease(
  shell: Shell,
  { sha, settings, timeoutMs }: ReleaseQuestion,
): Promise<ExpectedRelease & { close(): Promise<void> }> {
  const over = new AbortController()
  const remote = await connectRemote(createShell(shell.env, AbortSignal.any([shell.signal, over.signal])), settings)
  return {
    sha,
    ask: () => runningRelease(remote, settings.DOKKU_APP, timeoutMs),
    recorded: () => recordedHead(remote, settings.DOKKU_APP, timeoutMs),
    close: () => {
      over.abort(new Failure('The time is up.'))
      return remote.close()
    },
  }
}

export function releaseCheck(release: ExpectedRelease | undefined): Check {
  const name = 'release'
  if (!release) return { name, skip: 'not asked for: give --expect-sha' }
  return {
    name,
    run: async () => {
      const live = await release.ask().catch((error: unknown) => {
        // A key that is not accepted now will not be accepted in a minute.
        throw error instanceof SshFailure && isFinal(error) ? new Unexpected(error.message, true) : error
      })
      const { revision, processes, running } = live
      const expected = (sha: string | undefined): boolean => sha?.startsWith(release.sha) === true
      const seen = `runs ${describeRevision(live)}, ${processes}`
      if (revision !== undefined && !expected(revision)) {
        const recorded = await release.recorded()
        throw new Unexpected(
          expected(recorded)
            ? `Dokku deployed ${shortSha(release.sha)}, but its container says it ${seen}`
            : `${seen}; expected ${shortSha(release.sha)}`,
        )
      }
      // Containers that are not told their commit: then Dokku's record is all there is.
      const recorded = isSilent(live) ? await release.recorded() : undefined
      if (recorded !== undefined && !expected(recorded))
        throw new Unexpected(
          `runs ${shortSha(recorded)} by Dokku's record, ${processes}; expected ${shortSha(release.sha)}`,
        )
      if (revision === undefined && recorded === undefined)
        throw new Unexpected(live.serves ? `the server does not say which commit it runs: ${seen}` : seen)
      const told =
        recorded === undefined
          ? seen
          : `runs ${shortSha(recorded)}, ${processes} (by Dokku's record: the container does not say)`
      if (!running) throw new Unexpected(told)
      return { verdict: 'pass', seen: told }
    },
  }
}
