// A second working tree of the checkout, for work that must not touch the engineer's own.

import { rm } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Context } from '../cli/main.ts'
import { makeTemporaryFolder } from '../core/folder.ts'
import type { Shell } from '../core/shell.ts'
import { type Checkout, gitIn } from './checkout.ts'

/** The name of its folder, with the process that made it. */
const FOLDER = /^bc-revert-(\d+)-/

/**
 * Works in a new working tree, on no branch, and removes it again, also after an interruption. Whatever happens, the checkout's own
 * working tree is not touched.
 */
export async function inOwnTree<T>(
  checkout: Checkout,
  { shell, cleanup }: Pick<Context, 'shell' | 'cleanup'>,
  sha: string,
  work: (tree: Checkout) => Promise<T>,
): Promise<T> {
  await removeLeftovers(checkout, cleanup)
  const dir = await makeTemporaryFolder(`bc-revert-${process.pid}-`)
  try {
    await checkout.ask(['worktree', 'add', '--quiet', '--detach', dir, sha])
    return await work({ ...checkout, ...gitIn(shell, dir), dir })
  } finally {
    await removeTree(checkout, cleanup, dir)
  }
}

/** Git lets go of a working tree whose folder is gone. One that it was still making has a lock: hence the second --force. */
async function removeTree(checkout: Checkout, cleanup: Shell, dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
  await cleanup.run(['git', '-C', checkout.dir, 'worktree', 'remove', '--force', '--force', dir])
}

/** Removes what a run left behind that was killed. */
async function removeLeftovers(checkout: Checkout, cleanup: Shell): Promise<void> {
  for (const line of (await checkout.ask(['worktree', 'list', '--porcelain'])).split('\n')) {
    const dir = line.replace(/^worktree /, '')
    const pid = FOLDER.exec(basename(dir))?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) await removeTree(checkout, cleanup, dir)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
