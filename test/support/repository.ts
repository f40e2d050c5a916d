// A git repository of a test's own, where a test needs commits and no server.

import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createShell } from '../../lib/core/shell.ts'
import { type Checkout, openCheckout } from '../../lib/git/checkout.ts'

/** Runs git as the scripts do, without the settings of whoever runs the tests. */
export const shell = createShell(
  { PATH: process.env.PATH ?? '', HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1' },
  new AbortController().signal,
)

interface Repository {
  dir: string
  checkout: Checkout
  git(...args: string[]): string
  /** Commits files, by their paths; returns the SHA. */
  commit(subject: string, files?: Record<string, string>): Promise<string>
  remove(): Promise<void>
}

/** An empty repository with the branch master. */
export async function createRepository(): Promise<Repository> {
  const dir = await mkdtemp(join(tmpdir(), 'bc-git-'))
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', dir, '-c', 'user.name=Engineer', '-c', 'user.email=a@b', ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .toString()
      .trim()
  git('init', '-q', '-b', 'master')
  return {
    dir,
    checkout: await openCheckout(shell, dir),
    git,
    commit: async (subject, files = {}) => {
      for (const [path, text] of Object.entries(files)) {
        await mkdir(dirname(join(dir, path)), { recursive: true })
        await writeFile(join(dir, path), text)
      }
      git('add', '-A')
      git('commit', '-q', '--allow-empty', '-m', subject)
      return git('rev-parse', 'HEAD')
    },
    remove: () => rm(dir, { recursive: true, force: true }),
  }
}
