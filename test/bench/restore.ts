// Ten lost photos against extracting everything; a database restore against a bare pipe; how long a client can't query.
import { spawn } from 'node:child_process'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { bytes, plural } from '../../lib/core/format.ts'
import { addRows, populate } from '../support/book-corners.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { seconds, settle, succeed, timed } from './steps.ts'
import { atMost, type Target } from './targets.ts'

/** Sizes in bytes, of an uncompressed dump and of the media folder. */
interface RestoreSizes {
  databaseBytes: number
  mediaBytes: number
}

const PHOTOS = 3000
const LOST = 10

export async function benchRestore(sandbox: Sandbox, { databaseBytes, mediaBytes }: RestoreSizes): Promise<Target[]> {
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  console.log('Generating the database and the photos')
  // A quarter first, for the time away at a quarter of the data.
  await populate(sandbox, { databaseBytes: databaseBytes / 4, mediaBytes, photos: PHOTOS })
  const small = await backup(sandbox)
  const awaySmall = await timeAway(sandbox, small)
  await addRows(sandbox, (databaseBytes / 4) * 3)
  const archive = await backup(sandbox)

  const media = await lostPhotos(sandbox, archive)
  await settle(sandbox)
  const bareMs = await timed(() => bareRestore(sandbox, archive))
  await succeed(sandbox.dokku(['postgres:destroy', 'bare', '--force']))
  await settle(sandbox)
  const wallMs = await restoreDatabase(sandbox, archive)
  const away = await timeAway(sandbox, archive)
  console.log(
    `Database (${bytes(databaseBytes)} dump): bare extract | pg_restore ${seconds(bareMs)}, restore --db-only ${seconds(wallMs)}`,
  )
  console.log(
    `A client that keeps querying is away for ${seconds(awaySmall)} at a quarter of it, ${seconds(away)} at all of it`,
  )
  return [
    atMost(`${LOST} of ${PHOTOS} photos, against extracting and copying all`, media.oursMs / media.wholeMs, 0.25),
    atMost('database, all of it, against extract | pg_restore', wallMs / bareMs, 3),
    atMost('time away', awaySmall, 2000, seconds),
    atMost('time away at 4 times the data', away, 2000, seconds),
  ]
}

async function backup(sandbox: Sandbox): Promise<string> {
  return JSON.parse((await succeed(sandbox.script('backup.ts', ['--json']))).stdout).archive
}

async function lostPhotos(sandbox: Sandbox, archive: string): Promise<{ oursMs: number; wholeMs: number }> {
  const photos = (await readdir(sandbox.mediaDir, { recursive: true })).filter((path) => path.endsWith('.jpg'))
  const lose = async (): Promise<void> => {
    for (let i = 0; i < LOST; i++) await rm(join(sandbox.mediaDir, photos[i * 290] ?? ''))
  }
  const all = async (): Promise<void> => {
    const count = (await readdir(sandbox.mediaDir, { recursive: true })).filter((path) => path.endsWith('.jpg')).length
    if (count !== photos.length) throw new Error(`${count} of ${photos.length} photos are there`)
  }
  // Both once unmeasured, so that neither is the first to read the repository.
  const work = join(sandbox.dir, 'whole')
  const whole = async (): Promise<void> => {
    await succeed(sandbox.borg(['extract', `::${archive}`, sandbox.mediaDir.slice(1)], { cwd: work }))
    await succeed(sandbox.launch('cp', ['-a', `${join(work, sandbox.mediaDir)}/.`, sandbox.mediaDir]).ended)
  }
  const ours = async (): Promise<void> => {
    await succeed(sandbox.script('restore.ts', [archive, '--media-only', '--yes']))
  }
  const measured = { oursMs: 0, wholeMs: 0 }
  for (const [key, way] of [
    ['wholeMs', whole],
    ['oursMs', ours],
    ['wholeMs', whole],
    ['oursMs', ours],
  ] as const) {
    await lose()
    await rm(work, { recursive: true, force: true })
    await mkdir(work)
    measured[key] = await timed(way)
    await all()
  }
  console.log(
    `${LOST} of ${plural(photos.length, 'photo')} lost: everything ${seconds(measured.wholeMs)}, restore --media-only ${seconds(measured.oursMs)}`,
  )
  return measured
}

/** What an operator without scripts would do at best: a fresh database, and one pipe. */
async function bareRestore(sandbox: Sandbox, archive: string): Promise<void> {
  await succeed(sandbox.dokku(['postgres:create', 'bare']))
  const pipe = `borg extract --stdout ::${archive} db.dump | ${join(sandbox.dir, 'bin/dokku')} postgres:import bare`
  await succeed(sandbox.borgShell(pipe))
}

async function restoreDatabase(sandbox: Sandbox, archive: string): Promise<number> {
  const wallMs = await timed(() => succeed(sandbox.script('restore.ts', [archive, '--db-only', '--yes'])))
  await sandbox.sql(
    `DROP DATABASE "${await sandbox.sql("SELECT datname FROM pg_database WHERE datname LIKE '%_before_%';")}";`,
  )
  return wallMs
}

/** How long a client can't query while a restore goes on; measured apart, since it takes a core for itself. */
async function timeAway(sandbox: Sandbox, archive: string): Promise<number> {
  const client = startClient(sandbox)
  await restoreDatabase(sandbox, archive)
  return client.stop()
}

/** A client that asks again and again; reports the longest time between two answers. */
function startClient(sandbox: Sandbox): { stop: () => Promise<number> } {
  const ask = 'SELECT count(*) FROM (SELECT 1 FROM libraries_library LIMIT 1) found;'
  const loop = `while :; do psql -qAtX -h "$1" -U postgres -d "$2" -c "$3" 2>/dev/null; done`
  const child = spawn('sh', ['-c', loop, 'sh', join(sandbox.dir, 'services', sandbox.service), sandbox.database, ask], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  })
  let last = performance.now()
  let longest = 0
  child.stdout.on('data', () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  })
  return {
    stop: async () => {
      process.kill(-(child.pid ?? 0), 'SIGKILL')
      return longest
    },
  }
}
