// Other users of this machine, for the tests of what one of them can do to another.
import { spawnSync } from 'node:child_process'
import { LOADER } from './loader.ts'

/** UIDs of two users that nobody is: they need no name. */
export const [DEPLOY, ATTACKER] = [54321, 54322] as const

/** What stands before a command, to run it as another user. */
export function asUser(uid: number): string[] {
  return ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--']
}

/** Whether these scripts can be started as another user; says why not, as the runner shows it. */
export function hasOtherUsers(): boolean {
  if (process.getuid?.() !== 0) {
    console.log('Skipped: what one user can do to another, because only root can start a program as another user.')
    return false
  }
  const [file = '', ...args] = [...asUser(DEPLOY), process.execPath, '--import', LOADER, '-e', '']
  const canRead = spawnSync(file, args, { cwd: '/', stdio: 'ignore' }).status === 0
  if (!canRead)
    console.log("Skipped: what one user can do to another, because others can't read this checkout, or Node.")
  return canRead
}
