// What an app that was taken over does to its media folder while something of ours works in it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { OWNER } from './sandbox.ts'

/** See attacker.mjs. */
export type Attack =
  | 'the working folder becomes a link'
  | 'what is unpacked becomes links'
  | 'a folder that was just made becomes a link'
  | 'a folder becomes a link and a folder again'
  | 'the media folder becomes a link and a folder again'
  | 'photos become pipes, the working folder and the photos’ folder links'

const SOURCE = readFileSync(fileURLToPath(new URL('attacker.mjs', import.meta.url)))

/**
 * Attacks as the app's user while `body` runs.
 * @param outside where the links lead
 */
export async function underAttack<T>(kind: Attack, media: string, outside: string, body: () => Promise<T>): Promise<T> {
  const [uid, gid] = OWNER.split(':').map(Number)
  const attacker = spawn(process.execPath, ['--input-type=module', '-', kind, media, outside], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: '/',
    env: {},
    ...(process.getuid?.() === 0 ? { uid, gid } : {}),
  })
  const ended = once(attacker, 'close')
  attacker.stdin.end(SOURCE)
  try {
    await Promise.race([once(attacker.stdout, 'data'), ended.then(() => Promise.reject(new Error('no attacker')))])
    return await body()
  } finally {
    attacker.kill('SIGKILL')
    await ended
  }
}

/** Everything below a folder, as a line each: an attack that got there changes one. */
export function snapshot(root: string): string[] {
  const look = (path: string): string[] => {
    const { ino, mode, uid, gid, size, ctimeMs } = lstatSync(path)
    const kind = mode & 0o170000
    const inside =
      kind === 0o040000
        ? readdirSync(path).sort()
        : kind === 0o100000
          ? [readFileSync(path, 'latin1')]
          : kind === 0o120000
            ? [readlinkSync(path)]
            : []
    const line = JSON.stringify([path, ino, mode.toString(8), uid, gid, size, ctimeMs, inside])
    return [line, ...(kind === 0o040000 ? inside.flatMap((name) => look(join(path, name))) : [])]
  }
  return look(root)
}
