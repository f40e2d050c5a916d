// One run at a time on this machine.
import { createHash } from 'node:crypto'
import { connect, createServer, type Server } from 'node:net'
import { userInfo } from 'node:os'
import { EXIT, Failure } from '../core/failure.ts'
import { age, isoLocal } from '../core/format.ts'

interface Holder {
  script: string
  pid: number
  user: string
  /** ISO time with zone. */
  since: string
}

/**
 * One run at a time for a database service and its media folder, whichever script and user: backup and restore share it.
 *
 * The lock is a Linux abstract socket: the kernel gives the name to one process, takes it back when that process is
 * gone, however it ended, and whoever comes second can ask the holder who it is. Nothing can be left behind.
 *
 * @returns a function that gives the lock back
 * @throws Failure (exit status 75) that says who holds it since when
 */
export async function takeLock(script: string, service: string, mediaDir: string): Promise<() => void> {
  const key = createHash('sha256').update(`${service}\0${mediaDir}`).digest('hex').slice(0, 16)
  const name = `\0book-corners-ops-${key}`
  const me: Holder = { script, pid: process.pid, user: userInfo().username, since: isoLocal(new Date()) }
  const server = createServer((client) => {
    client.on('error', () => {})
    client.end(JSON.stringify(me))
  })
  if (await listen(server, name)) {
    server.unref()
    return () => void server.close()
  }
  const holder = await askHolder(name)
  throw new Failure(
    holder
      ? `Another run holds the lock: ${holder.script} of ${holder.user}, process ${holder.pid}, since ${holder.since} (${age(new Date(holder.since))}).`
      : 'Another run holds the lock and does not say who it is.',
    holder ? `Wait for it, or look: ps -fp ${holder.pid}` : 'Look: pgrep -af "backup.ts|restore.ts"',
    EXIT.locked,
  )
}

function listen(server: Server, name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('listening', () => resolve(true))
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    server.listen(name)
  })
}

function askHolder(name: string): Promise<Holder | undefined> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(name)
    const giveUp = setTimeout(() => socket.destroy(), 2000)
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(giveUp)
      try {
        resolve(JSON.parse(answer))
      } catch {
        resolve(undefined)
      }
    })
  })
}
