// Lost photos against extracting everything, and what a comparison costs where there are very many small files.
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bytes, plural } from '../../lib/core/format.ts'
import { populate } from '../support/book-corners.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { type Measured, measure } from './measure.ts'
import { seconds, settle, succeed, timed } from './steps.ts'
import { atMost, type Target } from './targets.ts'

const LOST = 10

/** Ten lost photos of so many, against extracting and copying all. */
export function benchLostPhotos(photos: number, limit: number) {
  return async (sandbox: Sandbox, { mediaBytes }: { mediaBytes: number }): Promise<Target[]> => {
    await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
    console.log(`Generating ${plural(photos, 'photo')}`)
    await populate(sandbox, { databaseBytes: 1e5, mediaBytes, photos })
    const archive = await backup(sandbox)
    const whole: number[] = []
    const ours: number[] = []
    const work = join(sandbox.dir, 'whole')
    // The first of each is not counted, so that neither is the first to read the repository.
    for (let round = 0; round < 3; round++) {
      await lose(sandbox)
      await rm(work, { recursive: true, force: true })
      await mkdir(work)
      whole.push(await timed(() => extractAndCopy(sandbox, archive, work)))
      await settle(sandbox)
      await lose(sandbox)
      ours.push((await restore(sandbox, archive)).wallMs)
      await requireAll(sandbox, photos)
    }
    const [wholeMs, oursMs] = [Math.min(...whole.slice(1)), Math.min(...ours.slice(1))]
    console.log(`${LOST} of ${plural(photos, 'photo')} lost: everything ${seconds(wholeMs)}, ours ${seconds(oursMs)}`)
    return [atMost(`${LOST} of ${photos} photos, against extracting and copying all`, oursMs / wholeMs, limit)]
  }
}

const SMALL_FILES = 200_000
const FOLDERS = 200
const MEMORY_BYTES = 160e6

/** Ten and all of very many small files lost, against what Borg alone takes to list and to extract them. */
export async function benchSmallFiles(sandbox: Sandbox): Promise<Target[]> {
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  console.log(`Generating ${plural(SMALL_FILES, 'small file')}`)
  await populate(sandbox, { databaseBytes: 1e5, mediaBytes: 1000, photos: 1 })
  for (let folder = 0; folder < FOLDERS; folder++) await fill(join(sandbox.mediaDir, 'small', String(folder)), folder)
  sandbox.ownMedia()
  const archive = await backup(sandbox)
  const listMs = await timed(() => succeed(sandbox.borgShell(`borg list --json-lines ::${archive} > /dev/null`)))
  await lose(sandbox)
  const ten = await restore(sandbox, archive)
  const aside = `${sandbox.mediaDir}.aside`
  await rename(sandbox.mediaDir, aside)
  const work = join(sandbox.dir, 'whole')
  await mkdir(work)
  const extractMs = await timed(() => succeed(sandbox.borg(['extract', `::${archive}`], { cwd: work })))
  await rm(work, { recursive: true })
  await mkdir(sandbox.mediaDir)
  sandbox.ownMedia()
  await settle(sandbox)
  const all = await restore(sandbox, archive)
  await requireAll(sandbox, SMALL_FILES + 1)
  await rm(aside, { recursive: true })
  console.log(
    `${plural(SMALL_FILES, 'small file')}: borg list --json-lines ${seconds(listMs)}, borg extract ${seconds(extractMs)}; ${LOST} lost ${show(ten)}, all lost ${show(all)}`,
  )
  return [
    // What it took with JSON lines was 1.34 of that list, and 0.65 of it is wanted.
    atMost(`${LOST} of ${SMALL_FILES} files, against borg list --json-lines`, ten.wallMs / listMs, 0.87),
    atMost(`all of ${SMALL_FILES} files, against borg extract`, all.wallMs / extractMs, 2),
    atMost('own memory', Math.max(ten.memoryBytes, all.memoryBytes), MEMORY_BYTES, bytes),
  ]
}

function show({ wallMs, memoryBytes }: Measured): string {
  return `${seconds(wallMs)} and ${bytes(memoryBytes)} of memory`
}

async function fill(folder: string, number: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  const names = Array.from({ length: SMALL_FILES / FOLDERS }, (_, i) => `corner-${number}-${i}.jpg`)
  await Promise.all(names.map((name) => writeFile(join(folder, name), `${name} `.repeat(10))))
}

async function backup(sandbox: Sandbox): Promise<string> {
  return JSON.parse((await succeed(sandbox.script('backup.ts', ['--json']))).stdout).archive
}

async function files(sandbox: Sandbox): Promise<string[]> {
  return (await readdir(sandbox.mediaDir, { recursive: true })).filter((path) => path.endsWith('.jpg'))
}

async function lose(sandbox: Sandbox): Promise<void> {
  const all = (await files(sandbox)).sort()
  for (let i = 0; i < LOST; i++) await rm(join(sandbox.mediaDir, all[Math.floor((i * all.length) / LOST)] ?? ''))
}

async function requireAll(sandbox: Sandbox, count: number): Promise<void> {
  const found = (await files(sandbox)).length
  if (found !== count) throw new Error(`${found} of ${plural(count, 'file')} are there`)
}

/** What an operator without scripts would do at best. */
async function extractAndCopy(sandbox: Sandbox, archive: string, work: string): Promise<void> {
  await succeed(sandbox.borg(['extract', `::${archive}`, sandbox.mediaDir.slice(1)], { cwd: work }))
  await succeed(sandbox.launch('cp', ['-a', `${join(work, sandbox.mediaDir)}/.`, sandbox.mediaDir]).ended)
}

async function restore(sandbox: Sandbox, archive: string): Promise<Measured> {
  const measured = await measure(() => sandbox.start('restore.ts', [archive, '--media-only', '--yes']), {
    folders: [],
    ignored: [],
    ignoredFiles: /./,
  })
  await succeed(measured.output)
  return measured
}
