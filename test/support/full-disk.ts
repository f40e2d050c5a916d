// A disk without room.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'

/**
 * Mounts a disk without room on a folder while something is done.
 * @returns false where none can be mounted: then nothing is done
 */
export async function withFullDisk(folder: string, use: () => Promise<void>): Promise<boolean> {
  mkdirSync(folder, { recursive: true })
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=755', 'tmpfs', folder]).status !== 0) {
    console.log('Skipped: a full disk, because none can be mounted here.')
    return false
  }
  try {
    spawnSync('sh', ['-c', `cat /dev/zero >'${folder}/filler'`])
    await use()
    return true
  } finally {
    execFileSync('umount', [folder])
  }
}
