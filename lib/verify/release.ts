// Whether the server runs the expected commit, asked over SSH.
import { Failure } from '../core/failure.ts'
import { shortSha } from '../core/sha.ts'
import { createShell, type Shell } from '../core/shell.ts'
import { describeRevision, type RunningRelease, runningRelease } from '../server/app.ts'
import { connectRemote } from '../server/ssh.ts'
import { isFinal, SshFailure } from '../server/ssh-errors.ts'
import { type Check, Unexpected } from './run-check.ts'

/** The commit that must run, and how to find out what runs. */
export interface ExpectedRelease {
  /** In lower case, perhaps abbreviated. */
  sha: string
  /** Asks the server. */
  ask(): Promise<RunningRelease>
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
      const seen = `runs ${describeRevision(live)}, ${live.processes}`
      if (live.revision === undefined)
        throw new Unexpected(live.serves ? `the server does not say which commit it runs: ${seen}` : seen)
      if (!live.revision.startsWith(release.sha)) throw new Unexpected(`${seen}; expected ${shortSha(release.sha)}`)
      if (!live.running) throw new Unexpected(seen)
      return { verdict: 'pass', seen }
    },
  }
}
