import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseCreated } from '../../lib/borg/output.ts'
import { bytes, plural, table } from '../../lib/core/format.ts'
import { aDayPasses, addRows, populate } from '../support/book-corners.ts'
import type { Output } from '../support/launch.ts'
import { type Measured, measure, type Watch } from '../support/measure.ts'
import { PASSPHRASE, type Sandbox } from '../support/sandbox.ts'
import { atMost, type Target } from '../support/targets.ts'

export interface BackupBench {
  databaseBytes: number
  mediaBytes: number
  nights: number
}

interface Night extends Measured {
  /** Deduplicated size of the archive as it was created. */
  newBytes: number
  pruned: number
}

const CLASSIC = new URL('classic-backup', import.meta.url).pathname
const PHOTO_BYTES = 133_000
const DAY = { updated: 40, added: 350, photos: 3 }

/** A few nights with small changes, the classic way and with backup.ts in turn, each in a repository of its own. */
export async function benchBackup(sandbox: Sandbox, options: BackupBench): Promise<Target[]> {
  const { databaseBytes, mediaBytes, nights } = options
  const classicRepository = join(sandbox.dir, 'classic-repo')
  const temporary = join(sandbox.dir, 'tmp')
  await mkdir(temporary)
  const watch: Watch = {
    folders: [temporary, sandbox.home],
    ignored: [
      sandbox.repository,
      classicRepository,
      ...['.cache', '.config', '.local'].map((n) => join(sandbox.home, n)),
    ],
    // Every Borg command begins with a self-test, which puts its few kB there.
    ignoredFiles: new RegExp(`^${temporary}/tmp\\w{8}/(file|idx)$`),
  }
  // borg check, once a week, is not what a night costs.
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  await succeed(sandbox.borg(['init', '--encryption', 'repokey-blake2', classicRepository]))
  // tsx compiles the scripts into TMPDIR once, not each night.
  await succeed(sandbox.script('backup.ts', ['--version'], { env: { TMPDIR: temporary } }))

  const classic = async (): Promise<Night> => {
    const env = {
      TMPDIR: temporary,
      BORG_REPO: classicRepository,
      BORG_PASSPHRASE: PASSPHRASE,
      DOKKU_COMMAND: join(sandbox.dir, 'bin/dokku'),
      DB_SERVICE: sandbox.service,
      MEDIA_DIR: sandbox.mediaDir,
    }
    const measured = await measure(() => sandbox.launch(CLASSIC, [], { env }), watch)
    const { stdout, stderr } = await succeed(measured.output)
    return { ...measured, newBytes: parseCreated(stdout).newBytes, pruned: count(stderr, /^Pruning archive/gm) }
  }
  const ours = async (): Promise<Night> => {
    const measured = await measure(() => sandbox.start('backup.ts', ['--json'], { env: { TMPDIR: temporary } }), watch)
    const { stdout } = await succeed(measured.output)
    const { newBytes, pruned } = JSON.parse(stdout) as { newBytes: number; pruned: string[] }
    return { ...measured, newBytes, pruned: pruned.length }
  }

  console.log('Generating the database and the photos')
  await populate(sandbox, { databaseBytes, mediaBytes, photos: Math.ceil(mediaBytes / PHOTO_BYTES) })
  const onDisk = Number(await sandbox.sql('SELECT pg_database_size(current_database());'))
  console.log(`Database: ${bytes(onDisk)} on its server. Every night ${changesInWords()}.`)

  const results: { night: number; a: Night; b: Night }[] = []
  for (let night = 1; night <= nights; night++) {
    if (night > 1) await aDayPasses(sandbox, DAY, PHOTO_BYTES)
    await settle(sandbox)
    // Whoever comes second finds the files in memory: they take turns.
    let a: Night
    let b: Night
    if (night % 2) [a, b] = [await classic(), await ours()]
    else [b, a] = [await ours(), await classic()]
    results.push({ night, a, b })
    console.log(nightTable(night, a, b))
  }

  await addRows(sandbox, databaseBytes)
  await settle(sandbox)
  const doubled = await ours()
  const usual = Math.max(...results.map(({ b }) => b.memoryBytes))
  console.log(
    `\nTwice the database: backup.ts took ${bytes(doubled.memoryBytes)} of memory, at most ${bytes(usual)} before.`,
  )

  const later = results.slice(1)
  const each = (name: string, limit: number, ratio: (a: Night, b: Night) => number): Target[] =>
    later.map(({ night, a, b }) => atMost(`night ${night}: ${name}`, ratio(a, b), limit))
  return [
    ...each('new bytes, b/a', 0.05, (a, b) => b.newBytes / a.newBytes),
    ...each('wall time, b/a', 0.75, (a, b) => b.wallMs / a.wallMs),
    ...later.map(({ night, b }) => atMost(`night ${night}: extra disk`, b.diskBytes, 0, bytes)),
    atMost('memory of our process', Math.max(usual, doubled.memoryBytes), 150e6, bytes),
    atMost('memory at twice the database, ratio', doubled.memoryBytes / usual, SAME),
  ]
}

/** Node's memory varies a little from run to run. */
const SAME = 1.15

/** What the day has left to write is written before a night begins. */
async function settle(sandbox: Sandbox): Promise<void> {
  await sandbox.sql('CHECKPOINT;')
  await succeed(sandbox.launch('sync', []).ended)
  await sleep(1000)
}

function nightTable(night: number, a: Night, b: Night): string {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`
  const row = (name: string, pick: (night: Night) => number, show: (value: number) => string): string[] => [
    name,
    show(pick(a)),
    show(pick(b)),
    pick(a) > 0 ? (pick(b) / pick(a)).toFixed(3) : '–',
  ]
  const rows = [
    [`Night ${night}`, '(a) classic', '(b) backup.ts', 'b/a'],
    row('wall time', ({ wallMs }) => wallMs, seconds),
    row('new bytes', ({ newBytes }) => newBytes, bytes),
    row('peak extra disk', ({ diskBytes }) => diskBytes, bytes),
    ['peak memory of our process', '', bytes(b.memoryBytes), ''],
    ['archives pruned', String(a.pruned), String(b.pruned), ''],
  ]
  return `\n${table(rows, [1, 2, 3])}`
}

function changesInWords(): string {
  return `${plural(DAY.updated, 'row')} updated, ${DAY.added} added, ${plural(DAY.photos, 'photo')} added`
}

async function succeed(running: Output | Promise<Output>): Promise<Output> {
  const output = await running
  if (output.exitCode !== 0) throw new Error(`It failed (${output.signal ?? output.exitCode}): ${output.stderr}`)
  return output
}

function count(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0
}
