import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { listArgs, pruneArgs } from '../../lib/borg/commands.ts'
import { parseList, parseMessages, parsePruned } from '../../lib/borg/output.ts'
import { prunable } from '../../lib/borg/retention.ts'
import { createShell } from '../../lib/core/shell.ts'

const test = suite('retention')

test('the preview of pruning agrees with what Borg does', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-prune-'))
  const env = {
    PATH: '/usr/bin:/bin',
    HOME: folder,
    BORG_REPO: join(folder, 'repo'),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
    BORG_SELFTEST: 'disabled',
    TZ: 'UTC',
  }
  const shell = createShell(env, new AbortController().signal)
  await shell.run(['borg', 'init', '--encryption', 'none'])
  // Around year's ends, where ISO weeks and years differ, with gaps and several on one day.
  const days = [0, 0.2, 1, 2, 3, 5, 8, 9, 14, 15, 20, 33, 40, 70, 71, 100, 135, 400, 401]
  const names: string[] = []
  for (const day of days) {
    const time = new Date(Date.UTC(2026, 0, 9, 3) - day * 86_400_000).toISOString().slice(0, 19)
    names.push(`a-${time}`)
    await shell.run(['borg', 'create', '--timestamp', time, `::a-${time}`, '/dev/null'])
  }
  const { stdout } = await shell.run(['borg', ...listArgs('a')])
  const archives = parseList(stdout)
  for (const keep of [
    { daily: 7, weekly: 4, monthly: 6 },
    { daily: 1, weekly: 0, monthly: 0 },
    { daily: 2, weekly: 3, monthly: 2 },
    { daily: 0, weekly: 5, monthly: 0 },
    { daily: 3, weekly: 1, monthly: 20 },
  ]) {
    const [command = '', ...args] = pruneArgs('a', keep).filter((arg) => arg !== '--stats')
    const { stderr } = await shell.run(['borg', command, '--dry-run', ...args])
    const expected = parsePruned(parseMessages(stderr)).sort()
    assert.ok(expected.length > 0)
    assert.equal(
      prunable(archives, keep)
        .map(({ name }) => name)
        .sort(),
      expected,
      JSON.stringify(keep),
    )
  }
  await rm(folder, { recursive: true })
})

test.run()
