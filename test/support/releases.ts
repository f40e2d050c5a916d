// The words of the tests of a rollback, on a server that runs a first release.
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Output } from './launch.ts'
import { endsWith, readJsonLines, type Server } from './server.ts'

/** The words of the tests of a rollback, on a server that runs a first release. */
export function withReleases(server: Server) {
  const ledger = () => readJsonLines(join(server.opsDir, 'deploys.jsonl'))
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
