// A database restore against a bare pipe into an empty database, at two sizes; how long a client can't query meanwhile.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { bytes } from '../../lib/core/format.ts'
import { addRows, populate } from '../support/book-corners.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { measure } from './measure.ts'
import { seconds, settle, succeed, timed } from './steps.ts'
import { atMost, type Target } from './targets.ts'

interface Measurement {
  bareMs: number
  oursMs: number
  awayMs: number
  /** Of the script itself, without its children. */
  memoryBytes: number
}

/** Each way so often, in turn; the best counts. */
const ROUNDS = 3

export async function benchRestoreDatabase(
  sandbox: Sandbox,
  { databaseBytes }: { databaseBytes: number },
): Promise<Target[]> {
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  console.log('Generating the database')
  await populate(sandbox, { databaseBytes: databaseBytes / 4, mediaBytes: 1e5, photos: 10 })
  const quarter = await measureSize(sandbox, databaseBytes / 4)
  await addRows(sandbox, (databaseBytes / 4) * 3)
  const all = await measureSize(sandbox, databaseBytes)
  return [
    atMost('a quarter of the database, against extract | pg_restore', quarter.oursMs / quarter.bareMs, 1.25),
    atMost('all of the database, against extract | pg_restore', all.oursMs / all.bareMs, 1.25),
    atMost('time away at a quarter', quarter.awayMs, 2000, seconds),
    atMost('time away at all of it', all.awayMs, 2000, seconds),
    atMost('own memory at all of it, against a quarter', all.memoryBytes / quarter.memoryBytes, 1.2),
  ]
}

async function measureSize(sandbox: Sandbox, sizeBytes: number): Promise<Measurement> {
  const { archive } = JSON.parse((await succeed(sandbox.script('backup.ts', ['--json']))).stdout)
  const bare: number[] = []
  const ours: number[] = []
  const away: number[] = []
  let memoryBytes = 0
  for (let round = 0; round < ROUNDS; round++) {
    await sandbox.sql('CREATE DATABASE bare TEMPLATE template0;')
    await settle(sandbox)
    bare.push(await timed(() => bareRestore(sandbox, archive)))
    await sandbox.sql('DROP DATABASE bare;')
    await settle(sandbox)
    const measured = await restore(sandbox, archive)
    ours.push(measured.wallMs)
    memoryBytes = Math.max(memoryBytes, measured.memoryBytes)
    // Apart, since the client takes a core for itself.
    const client = startClient(sandbox)
    await restore(sandbox, archive)
    away.push(await client.stop())
  }
  const result = { bareMs: Math.min(...bare), oursMs: Math.min(...ours), awayMs: Math.max(...away), memoryBytes }
  console.log(
    `Database (${bytes(sizeBytes)} dump): extract | pg_restore ${bare.map(seconds).join(', ')}; restore --db-only ${ours.map(seconds).join(', ')}, ${bytes(memoryBytes)} of memory; away at most ${seconds(result.awayMs)}`,
  )
  return result
}

/** The two programs, and nothing that shows whether what they did is right. */
async function bareRestore(sandbox: Sandbox, archive: string): Promise<void> {
  const socket = join(sandbox.dir, 'services', sandbox.service)
  const pipe = `borg extract --stdout ::${archive} db.dump | ${sandbox.postgresBin}/pg_restore -h ${socket} -U postgres -d bare`
  await succeed(sandbox.borgShell(pipe))
}

async function restore(sandbox: Sandbox, archive: string): Promise<{ wallMs: number; memoryBytes: number }> {
  const measured = await measure(() => sandbox.start('restore.ts', [archive, '--db-only', '--yes']), {
    folders: [],
    ignored: [],
    ignoredFiles: /./,
  })
  await succeed(measured.output)
  const kept = await sandbox.sql("SELECT datname FROM pg_database WHERE datname LIKE '%_before_%';")
  await sandbox.sql(`DROP DATABASE "${kept}";`)
  return measured
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
