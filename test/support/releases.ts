// The words of the tests of a rollback, on a server that runs a first release.
import { appendFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Entry, entryLine } from '../../lib/server/ledger.ts'
import type { Output, RunOptions } from './launch.ts'
import { endsWith, readJsonLines, type Server } from './server.ts'

/** The words of the tests of a rollback, on a server that runs a first release. */
export function withReleases(server: Server) {
  const ledger = () => readJsonLines(join(server.opsDir, 'deploys.jsonl'))
  const goLive = async (kind: Entry['kind'], to: string): Promise<string> => {
    const from = server.running() ?? null
    // The hook there runs as it does for a push over SSH.
    server.git('push', '-q', '-f', join(server.dir, 'apps/book-corners/repo'), `${to}:refs/heads/master`)
    assert.is(server.running(), to)
    const [at, subject] = [new Date().toISOString(), server.git('log', '-1', '--format=%s', to)]
    const what = { at, kind, who: 'Engineer', from, to, subject, outcome: 'deployed', runs: to }
    const entry: Entry = { ...what, seconds: 1, verified: null }
    await appendFile(join(server.opsDir, 'deploys.jsonl'), `${entryLine(entry)}\n`)
    return to
  }
  return {
    ledger,
    /** The last entry without what differs from run to run. */
    lastEntry: async () => {
      const { at: _, seconds: __, ...rest } = (await ledger()).at(-1) ?? {}
      return rest
    },
    /** Deploys what is checked out, after a push to origin. */
    deploy: async (): Promise<string> => {
      server.push()
      endsWith(server, await server.script('deploy.ts', ['--no-verify']), 0)
      return server.git('rev-parse', 'HEAD')
    },
    /** Where a deploy of what is checked out leaves origin, the server and the ledger, without a run of it. */
    bringLive: async (): Promise<string> => {
      server.push()
      return goLive('deploy', server.git('rev-parse', 'HEAD'))
    },
    /** Where a `rollback --to` leaves the server and the ledger, without a run of it. */
    bringBack: (to: string): Promise<string> => goLive('rollback', to),
    /** `deploy --status`, but for the backup there, which takes longer to say how it is than all else. */
    status: async (options?: RunOptions): Promise<Output> => {
      const launcher = join(server.home, 'backup')
      await rename(launcher, `${launcher}.away`)
      const output = await server.script('deploy.ts', ['--status'], options)
      await rename(`${launcher}.away`, launcher)
      endsWith(server, output, 0)
      return output
    },
    /** The deploy branch on origin. */
    onOrigin: (): string => server.git('ls-remote', 'origin', 'refs/heads/master').slice(0, 40),
    tree: (sha: string): string => server.git('rev-parse', `${sha}^{tree}`),
    /** What a run must leave as it was. */
    checkout: (): string =>
      ['rev-parse HEAD', 'symbolic-ref HEAD', 'status --porcelain', 'worktree list', 'stash list']
        .map((command) => server.git(...command.split(' ')))
        .join('\n'),
    ends: (output: Output, exitCode: number): void => {
      endsWith(server, output, exitCode)
      assert.is(server.git('worktree', 'list').split('\n').length, 1)
    },
  }
}
