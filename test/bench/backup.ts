// A few nights with small changes, backed up the classic way and by backup.ts in turn, each into a repository of its own.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseCreated } from '../../lib/borg/output.ts'
import { bytes, plural } from '../../lib/core/format.ts'
import { table } from '../../lib/core/layout.ts'
import { aDayPasses, addRows, populate } from '../support/book-corners.ts'
import { PASSPHRASE, type Sandbox } from '../support/sandbox.ts'
import { type Measured, measure, type Watch } from './measure.ts'
import { seconds, settle, succeed } from './steps.ts'
import { atMost, type Target } from './targets.ts'

interface BackupSizes {
  /** Of an uncompressed dump. */
  databaseBytes: number
  mediaBytes: number
  nights: number
}

interface Night extends Measured {
  /** Deduplicated size of the archive as it was created. */
  newBytes: number
  pruned: number
}

/** The ways to do a night's backup. */
interface Ways {
  classic(): Promise<Night>
  /** The programs alone: a dump into borg create, prune and compact, and nothing that looks whether it was right. */
  bare(): Promise<Measured>
  ours(): Promise<Night>
}

const CLASSIC = new URL('classic-backup', import.meta.url).pathname
const BARE = new URL('bare-backup', import.meta.url).pathname
const PHOTO_BYTES = 133_000
const DAY = { updated: 40, added: 350, photos: 3 }
/** Node's memory varies a little from run to run. */
const SAME_MEMORY = 1.15

export async function benchBackup(sandbox: Sandbox, sizes: BackupSizes): Promise<Target[]> {
  const { databaseBytes, mediaBytes, nights } = sizes
  const ways = await prepare(sandbox)
  console.log('Generating the database and the photos')
  await populate(sandbox, { databaseBytes, mediaBytes, photos: Math.ceil(mediaBytes / PHOTO_BYTES) })
  const onDisk = Number(await sandbox.sql('SELECT pg_database_size(current_database());'))
  console.log(`Database: ${bytes(onDisk)} on its server. Every night ${changesInWords()}.`)

  const results: { night: number; a: Night; b: Night; bareMs: number }[] = []
  for (let night = 1; night <= nights; night++) results.push({ night, ...(await measureNight(sandbox, ways, night)) })
  await addRows(sandbox, databaseBytes)
  await settleDay(sandbox)
  const doubled = await ways.ours()
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
    ...later.map(({ night, b, bareMs }) =>
      atMost(`night ${night}: wall time, against the bare programs`, b.wallMs / bareMs, 1.15),
    ),
    ...later.map(({ night, b }) => atMost(`night ${night}: extra disk`, b.diskBytes, 0, bytes)),
    atMost('memory of our process', Math.max(usual, doubled.memoryBytes), 150e6, bytes),
    atMost('memory at twice the database, ratio', doubled.memoryBytes / usual, SAME_MEMORY),
  ]
}

async function prepare(sandbox: Sandbox): Promise<Ways> {
  const within = (name: string): string => join(sandbox.dir, name)
  const [repository, bare, temporary] = [within('classic-repo'), within('bare-repo'), within('tmp')]
  await mkdir(temporary)
  // borg check, once a week, is not what a night costs.
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  for (const made of [repository, bare]) await succeed(sandbox.borg(['init', '--encryption', 'repokey-blake2', made]))

  const caches = ['.cache', '.config', '.local'].map((name) => join(sandbox.home, name))
  const watch: Watch = {
    folders: [temporary, sandbox.home],
    ignored: [sandbox.repository, repository, bare, ...caches],
    // Every Borg command begins with a self-test, which puts its few kB there.
    ignoredFiles: new RegExp(`^${temporary}/tmp\\w{8}/(file|idx)$`),
  }
  const env = {
    TMPDIR: temporary,
    BORG_REPO: repository,
    BORG_PASSPHRASE: PASSPHRASE,
    DOKKU_COMMAND: join(sandbox.dir, 'bin/dokku'),
    DB_SERVICE: sandbox.service,
    DATABASE: sandbox.database,
    MEDIA_DIR: sandbox.mediaDir,
  }
  return {
    classic: async () => {
      const measured = await measure(() => sandbox.launch(CLASSIC, [], { env }), watch)
      const { stdout, stderr } = await succeed(measured.output)
      return { ...measured, newBytes: parseCreated(stdout).newBytes, pruned: count(stderr, /^Pruning archive/gm) }
    },
    bare: async () => {
      const measured = await measure(() => sandbox.launch(BARE, [], { env: { ...env, BORG_REPO: bare } }), watch)
      await succeed(measured.output)
      return measured
    },
    ours: async () => {
      const start = () => sandbox.start('backup.ts', ['--json'], { env: { TMPDIR: temporary } })
      const measured = await measure(start, watch)
      const { newBytes, pruned } = JSON.parse((await succeed(measured.output)).stdout)
      return { ...measured, newBytes, pruned: pruned.length }
    },
  }
}

async function measureNight(
  sandbox: Sandbox,
  ways: Ways,
  night: number,
): Promise<{ a: Night; b: Night; bareMs: number }> {
  if (night > 1) await aDayPasses(sandbox, DAY, PHOTO_BYTES)
  await settleDay(sandbox)
  // Whoever comes second finds the files in memory: they take turns.
  let a: Night
  let b: Night
  let bare: Measured
  if (night % 2) [a, bare, b] = [await ways.classic(), await ways.bare(), await ways.ours()]
  else [b, bare, a] = [await ways.ours(), await ways.bare(), await ways.classic()]
  console.log(nightTable(night, a, b))
  console.log(`The bare programs took ${seconds(bare.wallMs)}`)
  return { a, b, bareMs: bare.wallMs }
}

/** What the day has left to write is written before a night begins. */
async function settleDay(sandbox: Sandbox): Promise<void> {
  await sandbox.sql('CHECKPOINT;')
  await settle(sandbox)
  await sleep(1000)
}

function nightTable(night: number, a: Night, b: Night): string {
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

function count(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0
}
