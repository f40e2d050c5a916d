import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Shell } from '../core/shell.ts'
import { type Checkout, openCheckout } from './checkout.ts'

/** Options of git in a working tree of a run's own: the checkout's hooks (of husky, say) would not find what they need there. */
export const QUIET = ['-c', 'core.hooksPath=/dev/null', '-c', 'advice.detachedHead=false']

/** Its folder; the name tells which process it is of. */
const FOLDER = /^bc-revert-(\d+)-/

/**
 * Works in a working tree of its own, on no branch, and takes it away again: whatever happens, the checkout's own is not touched.
 * @param cleanup takes it away after an interruption as well
 */
export async function inOwnTree<T>(
  checkout: Checkout,
  shell: Shell,
  cleanup: Shell,
  sha: string,
  work: (tree: Checkout) => Promise<T>,
): Promise<T> {
  await removeLeftovers(checkout, cleanup)
  const dir = await mkdtemp(join(tmpdir(), `bc-revert-${process.pid}-`))
  try {
    await checkout.ask([...QUIET, 'worktree', 'add', '--quiet', '--detach', dir, sha])
    return await work(await openCheckout(shell, dir))
  } finally {
    await removeTree(checkout, cleanup, dir)
  }
}

/** Without its folder git gives a working tree up, even one that it was still making: the second --force is for that lock. */
async function removeTree(checkout: Checkout, cleanup: Shell, dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true })
  await cleanup.run(['git', '-C', checkout.dir, 'worktree', 'remove', '--force', '--force', dir])
}

/** What a run that was killed outright left behind. */
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
