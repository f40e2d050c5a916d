// The list of an archive's items, as it comes from Borg.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createBorg } from '../../lib/borg/borg.ts'
import { eachItem } from '../../lib/borg/items.ts'
import { createShell } from '../../lib/core/shell.ts'

const test = suite("an archive's items")

test('what Borg lists before anybody takes it comes whole and in order, letters of several bytes, too', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'bc-items-'))
  const paths = Array.from({ length: 20_000 }, (_, i) => `media/é–${i}.jpg`)
  const items = paths.map((path) => `-rw-r--r--\x0010\x002026-02-28T03:00:00.000000\0${path}\0=\0healthy\0\0`)
  writeFileSync(join(dir, 'list'), items.join(''))
  // What Borg prints, without the time that it takes to store so many.
  writeFileSync(join(dir, 'borg'), `#!/bin/sh\nexec cat '${dir}/list'\n`, { mode: 0o755 })
  const shell = createShell({ PATH: `${dir}:/usr/bin:/bin`, HOME: dir }, new AbortController().signal)
  const taken: string[] = []
  const ready = sleep(200).then(() => (item: { path: string }) => void taken.push(item.path))
  await eachItem(createBorg(shell, {}, dir, '/x/.env'), 'night', [], ready)
  rmSync(dir, { recursive: true })
  assert.is(taken.length, paths.length)
  assert.equal(taken, paths)
})

test.run()
