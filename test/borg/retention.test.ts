import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { pruneArgs } from '../../lib/borg/commands.ts'
import { parseList, parseMessages, parsePruned } from '../../lib/borg/output.ts'
import { prunable, prunablePoints, type Retention, retentionOf } from '../../lib/borg/retention.ts'
import { createShell, type Shell } from '../../lib/core/shell.ts'

const test = suite('retention')

// Around year's ends, where ISO weeks and years differ, over both changes of the clock, with gaps, and several an hour.
const HOURS = [
  ...Array.from({ length: 120 }, (_, i) => i / 2),
  ...Array.from({ length: 100 }, (_, i) => 60 + i * 3),
  ...Array.from({ length: 100 }, (_, i) => 360 + i * 23),
  ...Array.from({ length: 40 }, (_, i) => 2700 + i * 331),
  17_000,
  17_001,
  40_000,
]

const NOTHING: Retention = { withinHours: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }
const MIXES: Retention[] = [
  { ...NOTHING, withinHours: 48, daily: 7, weekly: 4, monthly: 6 },
  { ...NOTHING, daily: 1 },
  { ...NOTHING, daily: 2, weekly: 3, monthly: 2 },
  { ...NOTHING, weekly: 5 },
  { ...NOTHING, daily: 3, weekly: 1, monthly: 20 },
  { ...NOTHING, withinHours: 48, hourly: 24, daily: 7, weekly: 4, monthly: 6, yearly: 3 },
  { ...NOTHING, hourly: 500 },
  { ...NOTHING, yearly: 1 },
  { ...NOTHING, withinHours: 31 * 24, hourly: 10, yearly: 2 },
  { ...NOTHING, withinHours: 7 * 24, daily: 30, weekly: 60 },
  { ...NOTHING, hourly: 3, daily: 3, weekly: 3, monthly: 3, yearly: 10 },
  { ...NOTHING, withinHours: 48 },
]

/** Copies an archive under other times, as Borg would make them: each call of Borg takes a second. */
const COPY_IT = `
import os, sys
from datetime import datetime, timezone
from borg.archiver import Archiver
from borg.helpers import Manifest, msgpack
from borg.item import ArchiveItem
from borg.logger import setup_logging
from borg.repository import Repository
setup_logging()
with Repository(os.environ['BORG_REPO'], exclusive=True) as repository:
    manifest, key = Manifest.load(repository, Manifest.NO_OPERATION_CHECK)
    first = manifest.archives['first'].id
    archive = ArchiveItem(internal_dict=msgpack.unpackb(key.decrypt(first, repository.get(first))))
    for at in sys.argv[1:]:
        then = datetime.fromtimestamp(int(at), timezone.utc)
        archive.name = 'a-' + then.strftime('%Y-%m-%dT%H:%M:%S')
        archive.time = archive.time_end = then.replace(tzinfo=None).isoformat(timespec='microseconds')
        data = key.pack_and_authenticate_metadata(archive.as_dict(), context=b'archive')
        id = key.id_hash(data)
        repository.put(id, key.encrypt(data))
        manifest.archives[archive.name] = (id, then)
    manifest.write()
    repository.commit(compact=False)
`

/** The Python that Borg itself runs with; undefined where Borg is one binary. */
async function pythonOf(shell: Shell): Promise<string | undefined> {
  const { stdout } = await shell.run(['sh', '-c', 'command -v borg'])
  return /^#!(\S*python\S*)/.exec(readFileSync(stdout.trim()).toString('latin1', 0, 100))?.[1]
}

test('the preview of pruning agrees with what Borg does, for every mix of rules, on some hundred archives', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-prune-'))
  process.env.TZ = 'Europe/Rome'
  const env = {
    PATH: '/usr/bin:/bin',
    HOME: folder,
    BORG_REPO: join(folder, 'repo'),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
    BORG_SELFTEST: 'disabled',
    TZ: 'Europe/Rome',
  }
  const shell = createShell(env, new AbortController().signal)
  await shell.run(['borg', 'init', '--encryption', 'none'])
  await shell.run(['borg', 'create', '::first', '/dev/null'])
  const python = await pythonOf(shell)
  // A third of an hour off: between Borg's look at the clock and ours none of them crosses a limit.
  const times = HOURS.map((hours) => Math.floor(Date.now() / 1000) - Math.round((hours + 1 / 3) * 3600))
  if (python) {
    const { exitCode, stderr } = await shell.run([python, '-c', COPY_IT, ...times.map(String)])
    assert.is(exitCode, 0, stderr)
  } else
    for (const time of times.filter((_, i) => i % 12 === 0)) {
      const at = new Date(time * 1000).toISOString().slice(0, 19)
      await shell.run(['borg', 'create', '--timestamp', at, `::a-${at}`, '/dev/null'])
    }
  const { stdout } = await shell.run(['borg', 'list', '--json'])
  const archives = parseList(stdout).filter(({ name }) => name !== 'first')
  assert.ok(archives.length > (python ? 300 : 20))
  for (const keep of MIXES) {
    const [command = '', ...args] = pruneArgs('a', keep).filter((arg) => arg !== '--stats')
    const { stderr } = await shell.run(['borg', command, '--dry-run', ...args], { wholeStderr: true })
    const expected = parsePruned(parseMessages(stderr)).sort()
    assert.ok(expected.length > 0, stderr)
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

test('nothing younger than 48 hours is pruned, whatever is set', () => {
  const settings = { KEEP_HOURLY: 0, KEEP_DAILY: 1, KEEP_WEEKLY: 0, KEEP_MONTHLY: 0, KEEP_YEARLY: 0 }
  const nowMs = Date.now()
  const archives = [0, 1, 2, 47, 49, 50, 51].map((hours) => ({
    name: String(hours),
    start: new Date(nowMs - hours * 3_600_000),
    comment: '',
  }))
  for (const KEEP_WITHIN of [undefined, 1]) {
    const keep = retentionOf({ ...settings, KEEP_WITHIN })
    assert.ok(pruneArgs('a', keep).includes('--keep-within=48H'))
    const pruned = prunable(archives, keep, nowMs).map(({ name }) => name)
    assert.ok(pruned.length > 0)
    assert.ok(pruned.every((name) => Number(name) > 48))
  }
  assert.ok(pruneArgs('a', retentionOf({ ...settings, KEEP_WITHIN: 72 })).includes('--keep-within=72H'))
})

test('of the restore points the newest stay, and whatever is younger than 48 hours', () => {
  const nowMs = Date.UTC(2026, 1, 28)
  const points = [1, 30, 47, 49, 72, 100].map((hours) => ({
    name: String(hours),
    start: new Date(nowMs - hours * 3_600_000),
    comment: '',
  }))
  const pruned = (keep: number): string[] => prunablePoints(points, keep, nowMs).map(({ name }) => name)
  assert.equal([1, 3, 5, 10].map(pruned), [['49', '72', '100'], ['49', '72', '100'], ['100'], []])
})

test.run()
