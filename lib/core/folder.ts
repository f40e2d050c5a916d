// Makes folders that only this user may look into.

import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

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
