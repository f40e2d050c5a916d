import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { installedBin } from '../support/postgres.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('restore into a newer PostgreSQL')
const other = process.env.TEST_POSTGRES_BIN
const isNewer = other !== undefined && major(other) > major(installedBin())
const sandboxes: Sandbox[] = []

function major(bin: string): number {
  return Number(/ (\d+)/.exec(execFileSync(join(bin, 'postgres'), ['--version']).toString())?.[1])
}

test.after(async () => {
  for (const sandbox of sandboxes) await sandbox.stop()
})

if (!isNewer) {
  console.log('Skipped: TEST_POSTGRES_BIN names no newer PostgreSQL than the installed one')
  test.skip('an archive of an older version is restored', () => {})
} else
  test('an archive of an older version is restored, and is proved by a drill', async () => {
    const [older, newer] = await Promise.all([startSandbox(installedBin()), startSandbox()])
    sandboxes.push(older, newer)
    await seed(older, { libraries: 300, photos: 3 })
    const { stdout, stderr } = await older.script('backup.ts', ['--json'])
    assert.is(stdout === '', false, stderr)
    await seed(newer, { libraries: 5, photos: 3 })
    const env = { BORG_REPO: older.repository }
    for (const args of [
      ['--test', '--yes'],
      ['latest', '--db-only', '--yes'],
    ]) {
      const { exitCode, stderr } = await newer.script('restore.ts', args, { env })
      assert.is(exitCode, 0, stderr)
    }
    assert.is(await newer.sql('SELECT count(*) FROM libraries_library;'), '300')
    assert.is(await newer.sql('SELECT count(*) FROM libraries_library;', 'book-corners-db-test'), '300')
    assert.match(await newer.sql('SHOW server_version;'), new RegExp(`^${major(other)}\\.`))
  })

test.run()
