// One run at a time on this machine.
import { createHash } from 'node:crypto'
import { closeSync, constants, fchmodSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { access, chmod, type FileHandle, lstat, open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure, reason } from '../core/failure.ts'
import { makeFolder } from '../core/folder.ts'
import { aCount, matching, optional, record, tryJson } from '../core/outside.ts'
import { quote } from '../core/quote.ts'
import type { Shell } from '../core/shell.ts'
import { age, isoLocal, moment } from '../core/times.ts'
import type { Ask } from './prompt.ts'
import type { Settings } from './settings.ts'
import { stateFolder } from './state.ts'
import { currentUser } from './user.ts'

/** Where users share the lock, if root has made it (docs/setup.md): only those in its group can enter. */
export const SHARED_FOLDER = '/var/lib/book-corners-ops'

interface Holder {
  script: string
  pid: number
  user: string
  /** ISO time with zone. */
  since: string
  /** Since when it waits for an answer of its operator, if it does: ISO time with zone. */
  asks?: string | undefined
}

/** What takes a restore point, in the record of the lock: it is soon over, and tells no monitor how it ends. */
export const RESTORE_POINT_RUN = 'backup.ts --restore-point'

/** Another run holds the lock. */
export class HeldLock extends Failure {
  constructor(readonly holder: Holder | undefined) {
    super(
      holder
        ? `Another run holds the lock: ${holder.script} of ${holder.user}, process ${holder.pid}, since ${since(holder.since)}.${holder.asks ? ` It waits for an answer at its terminal, since ${since(holder.asks)}.` : ''}`
        : 'Another run holds the lock and does not say who it is.',
      holder ? whatToDo(holder) : 'Look: pgrep -af "backup.ts|restore.ts"',
      EXIT.locked,
    )
  }
}

function since(time: string): string {
  return `${moment(new Date(time))} (${age(new Date(time))})`
}

function whatToDo({ pid, asks }: Holder): string {
  const where = `ps -fp ${pid}`
  // As Ctrl-C at the question: nothing has been changed by then.
  return asks ? `Answer it there (${where}), or end it: kill -INT ${pid}` : `Wait for it, or look: ${where}`
}

/**
 * One run at a time for a database service and its media folder, whichever script and user: backup and restore share it.
 *
 * The lock is the kernel's (flock) on a file that this process has open: it ends with the process, however that ends, and
 * any Node takes it alike. The file is in a folder that other users of the machine can't enter: whoever could open it could
 * keep the nights from running.
 *
 * @param ask whose questions the record of the lock tells of: whoever is kept out learns that only an answer is missing
 * @param shared the folder that users share, where it exists
 * @returns a function that gives the lock back
 * @throws HeldLock (exit status 75) that says who holds it since when
 */
export async function takeLock(
  { shell, ask }: { shell: Shell; ask?: Pick<Ask, 'watch'> },
  script: string,
  settings: Settings<'DB_SERVICE' | 'MEDIA_DIR'>,
  shared = SHARED_FOLDER,
): Promise<() => Promise<void>> {
  const path = await lockPath(shell, settings, shared)
  const record = `${path}.json`
  const file = await lockFile(shell, path)
  if (!file) throw new HeldLock(await readHolder(record))
  const holder = { script, pid: process.pid, user: currentUser().name, since: isoLocal(new Date()) }
  writeHolder(record, holder)
  ask?.watch((asks) => writeHolder(record, asks ? { ...holder, asks: isoLocal(new Date()) } : holder))
  return async () => {
    ask?.watch(() => {})
    await rm(record, { force: true }).catch(() => {})
    await file.close()
  }
}

/** Who holds the lock now, for those who only look and don't take it; undefined when nobody does, or it can't be told. */
export async function lockHolder(
  shell: Shell,
  settings: Settings<'DB_SERVICE' | 'MEDIA_DIR'>,
  shared = SHARED_FOLDER,
): Promise<HeldLock | undefined> {
  try {
    const holder = await runningHolder(`${await lockPath(shell, settings, shared)}.json`)
    return holder && new HeldLock(holder)
  } catch {
    return undefined
  }
}

async function lockPath(
  shell: Shell,
  { DB_SERVICE, MEDIA_DIR }: Settings<'DB_SERVICE' | 'MEDIA_DIR'>,
  shared: string,
): Promise<string> {
  const key = createHash('sha256')
    .update(`${DB_SERVICE}\0${MEDIA_DIR ?? 'none'}`)
    .digest('hex')
    .slice(0, 16)
  return join(await lockFolder(shell, shared), `${key}.lock`)
}

/**
 * The folder of the lock's file: the shared one, or this user's own.
 * @throws Failure when other users can get at what is in it
 */
export async function lockFolder(shell: Shell, shared = SHARED_FOLDER): Promise<string> {
  const me = process.getuid?.()
  const found = await stat(shared).catch(() => undefined)
  const folder = found ? shared : stateFolder(shell.env)
  try {
    if (!found) await makeFolder(folder)
    const { uid } = await stat(folder)
    if (!found && uid === me) await chmod(folder, 0o700)
    const { mode } = await stat(folder)
    // What another user owns is a trap to everybody but root, whom nobody shuts out.
    if ((uid === me || uid === 0 || me === 0) && !(mode & 0o007)) {
      await access(folder, constants.W_OK | constants.X_OK)
      return folder
    }
  } catch (error) {
    throw new Failure(
      `The folder of the lock can't be used: ${reason(error)}`,
      `Run this as the user who runs the nights, or join the group of that folder. Look: ls -ld ${quote(folder)}`,
    )
  }
  throw new Failure(
    `Other users can enter ${folder}, and whoever takes the lock there keeps every run from starting.`,
    `It must belong to root or to this user, and be closed to others: chmod o= ${quote(folder)}`,
  )
}

/**
 * Opens the lock's file, and locks it. It is only read: what another user put in its place must do no harm.
 * @returns undefined when another process has locked it
 */
async function lockFile(shell: Shell, path: string): Promise<FileHandle | undefined> {
  const { O_RDONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  for (;;) {
    const file = await open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK).catch((error: unknown) => {
      throw new Failure(`The lock can't be taken: ${reason(error)}`, `Look: ls -l ${quote(path)}`)
    })
    try {
      await letOthersRead(file)
      // The lock belongs to the open file, not to flock: it stays when flock has ended.
      const { exitCode, stderr } = await shell.run(['flock', '--nonblock', '0'], { stdin: file.fd })
      if (exitCode === 127) throw new Failure('flock is not installed.', 'Install it: sudo apt-get install util-linux')
      if (exitCode !== 0 && exitCode !== 1) throw new Failure(`The lock can't be taken: ${stderr.trim()}`)
      const there = await lstat(path).catch(() => undefined)
      const { ino } = await file.stat()
      if (exitCode === 0 && there?.ino === ino) return file
      await file.close()
      if (exitCode === 1) return undefined
      // Someone removed the file while we locked it: what we hold keeps nobody out.
    } catch (error) {
      await file.close()
      throw error
    }
  }
}

/** For whoever comes second. It is not the lock: that it can't be written harms nobody. */
function writeHolder(path: string, holder: Holder): void {
  try {
    rmSync(`${path}.new`, { force: true })
    const file = openSync(`${path}.new`, 'wx')
    try {
      fchmodSync(file, FOR_OTHERS)
      writeFileSync(file, JSON.stringify(holder))
    } finally {
      closeSync(file)
    }
    renameSync(`${path}.new`, path)
  } catch {
    // Then the second one is told that it is not known.
  }
}

/** The others are those who can enter the folder. Whatever the umask: what root made first must not keep `deploy` out. */
const FOR_OTHERS = 0o644

async function letOthersRead(file: FileHandle): Promise<void> {
  const { uid } = await file.stat()
  if (uid === process.getuid?.()) await file.chmod(FOR_OTHERS)
}

const LONGEST_RECORD_BYTES = 4096
const RECORD_WAIT_MS = 2000

/** Who holds the lock. The record comes a moment after the lock, and an earlier run that was killed may have left its own. */
async function readHolder(path: string): Promise<Holder | undefined> {
  for (const untilMs = performance.now() + RECORD_WAIT_MS; performance.now() < untilMs; await sleep(50)) {
    const holder = await runningHolder(path)
    if (holder) return holder
  }
  return undefined
}

async function runningHolder(path: string): Promise<Holder | undefined> {
  const holder = parseHolder(await readRecord(path).catch(() => ''))
  return holder && (await stat(`/proc/${holder.pid}`).catch(() => undefined)) ? holder : undefined
}

async function readRecord(path: string): Promise<string> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(LONGEST_RECORD_BYTES) })
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

const A_TIME = matching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/, 'a time')
const HOLDER = record({
  script: matching(/^[a-z]{1,20}\.ts( --restore-point)?$/, 'a script'),
  pid: aCount,
  user: matching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/, 'a user'),
  since: A_TIME,
  asks: optional(A_TIME),
})

/** What a record says; undefined unless all of it has the shape that is shown, and typed as a command. */
export function parseHolder(text: string): Holder | undefined {
  const holder = tryJson(text, HOLDER)
  const isTime = (time: string): boolean => !Number.isNaN(Date.parse(time))
  return holder && holder.pid > 0 && isTime(holder.since) && isTime(holder.asks ?? holder.since) ? holder : undefined
}
