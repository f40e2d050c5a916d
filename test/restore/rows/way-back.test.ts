import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../../lib/core/failure.ts'
import { openWayBack } from '../../../lib/restore/rows/way-back.ts'
import { withFullDisk } from '../../support/full-disk.ts'

const test = suite('the way back of rows')

test('on a full disk the file is named, and nothing is left of it', async () => {
  const root = await mkdtemp(join(tmpdir(), 'bc-full-'))
  const folder = join(root, 'state')
  try {
    await withFullDisk(folder, async () => {
      const about = {
        archive: 'book-corners-2026-02-28T03:00:00',
        production: { name: 'db', database: 'db' },
        place: { transaction: 7, database: 1 },
        inserted: [],
      }
      const error = await openWayBack({ XDG_STATE_HOME: folder }, about).catch((error: unknown) => error)
      assert.instance(error, Failure)
      const { message, hint } = error as Failure
      assert.match(message, /\/rows-brought-back-\S+-7\.sql, .* could not be written: ENOSPC/)
      assert.match(hint, `df -h ${folder}/book-corners-ops;`)
      assert.equal(await readdir(join(folder, 'book-corners-ops')), [])
    })
  } finally {
    await rm(root, { recursive: true })
  }
})

test.run()
