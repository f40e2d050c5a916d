// A rescue of lost rows against a whole restore of the same archive: what follows the import, by the import.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bytes } from '../../lib/core/format.ts'
import { populate } from '../support/book-corners.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { measure } from './measure.ts'
import { seconds, settle, succeed } from './steps.ts'
import { atMost, type Target } from './targets.ts'

/** So many bytes have 400,000 libraries (see support/book-corners.ts), beside users and reviews. */
const DATABASE_BYTES = 518e6
const LOST = 1000
/** Each way so often, in turn. A round's two runs are compared with each other: they had the same machine; the best round counts. */
const ROUNDS = 2

/** Reviews and photos of the lost rows are lost with them: they come along. */
const LOSE = `CREATE TEMP TABLE gone AS SELECT id FROM libraries_library WHERE id % (SELECT count(*) / ${LOST} FROM libraries_library) = 0 LIMIT ${LOST};
  DELETE FROM libraries_review WHERE library_id IN (SELECT id FROM gone); DELETE FROM libraries_photo WHERE library_id IN (SELECT id FROM gone);
  ALTER TABLE libraries_review DISABLE TRIGGER ALL; ALTER TABLE libraries_photo DISABLE TRIGGER ALL; ALTER TABLE libraries_library DISABLE TRIGGER ALL;
  DELETE FROM libraries_library WHERE id IN (SELECT id FROM gone);
  ALTER TABLE libraries_review ENABLE TRIGGER ALL; ALTER TABLE libraries_photo ENABLE TRIGGER ALL; ALTER TABLE libraries_library ENABLE TRIGGER ALL;`

interface Measurement {
  importMs: number
  /** From the end of the import to the end of the run. */
  afterMs: number
  memoryBytes: number
}

export async function benchRestoreRows(sandbox: Sandbox): Promise<Target[]> {
  await sandbox.configure({ CHECK_EVERY_DAYS: '0' })
  console.log('Generating the database')
  await populate(sandbox, { databaseBytes: DATABASE_BYTES, mediaBytes: 1e5, photos: 10 })
  const { archive } = JSON.parse((await succeed(sandbox.script('backup.ts', ['--json']))).stdout)
  const whole: Measurement[] = []
  const rows: Measurement[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await sandbox.sql(LOSE)
    await settle(sandbox)
    rows.push(await run(sandbox, [archive, '--rows', 'libraries_library', '--yes']))
    await settle(sandbox)
    whole.push(await run(sandbox, [archive, '--db-only', '--yes']))
    const kept = await sandbox.sql("SELECT datname FROM pg_database WHERE datname LIKE '%_before_%';")
    await sandbox.sql(`DROP DATABASE "${kept}";`)
  }
  const best = (runs: Measurement[], of: keyof Measurement): number => Math.min(...runs.map((one) => one[of]))
  const list = (runs: Measurement[]): string =>
    runs.map(({ importMs, afterMs }) => `${seconds(importMs)} + ${seconds(afterMs)}`).join(', ')
  console.log(
    `${LOST} lost rows of 400,000: import + what follows: --rows ${list(rows)}, ${bytes(best(rows, 'memoryBytes'))} of memory; a whole restore ${list(whole)}`,
  )
  return [
    atMost(
      'lost rows: what follows the import, by the import of a whole restore',
      Math.min(...rows.map(({ afterMs }, i) => afterMs / (whole[i]?.importMs ?? 0))),
      0.2,
    ),
    atMost(
      'lost rows: own memory, against a whole restore',
      best(rows, 'memoryBytes') / best(whole, 'memoryBytes'),
      1.1,
    ),
  ]
}

async function run(sandbox: Sandbox, args: readonly string[]): Promise<Measurement> {
  const times = join(sandbox.dir, 'services', sandbox.service, 'times')
  await sandbox.containerProgram(
    'pg_restore',
    `date +%s%3N >${times}; ${sandbox.postgresBin}/pg_restore "$@"; status=$?; date +%s%3N >>${times}; exit $status`,
  )
  const measured = await measure(() => sandbox.start('restore.ts', args), {
    folders: [],
    ignored: [],
    ignoredFiles: /./,
  })
  const endedMs = Date.now()
  await succeed(measured.output)
  const [beganMs = 0, importedMs = 0] = (await readFile(times, 'utf8')).split('\n').map(Number)
  return { importMs: importedMs - beganMs, afterMs: endedMs - importedMs, memoryBytes: measured.memoryBytes }
}
