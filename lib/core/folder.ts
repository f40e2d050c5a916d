// Makes folders that only this user may look into.

import { mkdir, mkdtemp, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Failure, reason } from './failure.ts'
import { quote } from './quote.ts'

/**
 * Makes a new folder for what is gone with this run; whoever calls it removes it.
 * @param name what its name begins with
 */
export async function makeTemporaryFolder(name: string, parent = tmpdir()): Promise<string> {
  try {
    return await mkdtemp(join(parent, name))
  } catch (error) {
    throw new Failure(
      `Nothing can be made in the folder for temporary files, ${parent}: ${reason(error)}`,
      `Look: df -h ${quote(parent)}; df -i ${quote(parent)}; ls -ld ${quote(parent)}. TMPDIR names another one.`,
    )
  }
}

/**
 * Makes a folder and those above it, with mode 0700; what is there stays as it is. Node's own `recursive` goes round for
 * ever where a file system has no room for folders of others, such as /proc: mkdir says ENOENT there (Node 20 to 24).
 * @throws NodeJS.ErrnoException
 */
export async function makeFolder(path: string): Promise<void> {
  if (await isFolderAfter(mkdir(path, { mode: 0o700 }), path)) return
  await makeFolder(dirname(path))
  if (!(await isFolderAfter(mkdir(path, { mode: 0o700 }), path)))
    throw Object.assign(new Error(`ENOENT: no folder can be made in ${dirname(path)}`), { code: 'ENOENT' })
}

/** Whether there is a folder now; false when there is none above it. */
async function isFolderAfter(making: Promise<unknown>, path: string): Promise<boolean> {
  try {
    await making
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && dirname(path) !== path) return false
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return true
    throw error
  }
}
