import { spawnSync } from 'node:child_process'
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { END, header, type Member, padding } from '../../lib/media/tar.ts'

const test = suite('tar')
let folder: string

test.before(() => {
  folder = mkdtempSync(join(tmpdir(), 'bc-tar-'))
})
test.after(() => rmSync(folder, { recursive: true }))

/** Unpacked by the system's tar, in the way place.sh does it. */
function unpack(members: readonly (Member & { content?: string })[]): void {
  const tar = members.flatMap((member) => {
    const content = Buffer.from(member.content ?? '')
    return [header(member), content, padding(content.length)]
  })
  const { status, stderr } = spawnSync('tar', ['-xpf', '-', '--warning=no-timestamp', '-C', folder], {
    input: Buffer.concat([...tar, END]),
    env: { PATH: process.env.PATH ?? '', LC_ALL: 'C' },
    encoding: 'utf8',
  })
  assert.equal([status, stderr], [0, ''])
}

const MTIME_MS = Date.UTC(2026, 0, 2, 3, 4, 5) + 123.456
const NAMES = ['-leading.jpg', 'größe 漢字 🙂.jpg', 'new\nline\n', 'back\\slash "quoted" = *', '.dot', 'x'.repeat(255)]

test('names of every kind, times and permissions come out as they went in', () => {
  const content = 'photo'
  unpack(NAMES.map((name) => ({ name, sizeBytes: 5, mtimeMs: MTIME_MS, mode: 0o604, content })))
  for (const name of NAMES) {
    const info = lstatSync(join(folder, name))
    assert.is(readFileSync(join(folder, name), 'utf8'), content)
    assert.is(info.mode & 0o7777, 0o604)
    assert.ok(Math.abs(info.mtimeMs - MTIME_MS) < 0.01, String(info.mtimeMs))
  }
})

test('times before 1970 and far in the future, and contents of every length up to two blocks', () => {
  for (const [name, mtimeMs] of [
    ['old', -86_400_000],
    ['future', Date.UTC(2037, 0)],
  ] as const) {
    unpack([{ name, sizeBytes: 0, mtimeMs, mode: 0o600 }])
    assert.is(lstatSync(join(folder, name)).mtimeMs, mtimeMs)
  }
  const lengths = [0, 1, 511, 512, 513, 1024]
  unpack(
    lengths.map((length) => ({
      ...{ name: `length ${length}`, sizeBytes: length, mtimeMs: 0, mode: 0o600 },
      content: 'y'.repeat(length),
    })),
  )
  for (const length of lengths) assert.is(readFileSync(join(folder, `length ${length}`), 'utf8'), 'y'.repeat(length))
})

test('a link is one, wherever it leads', () => {
  const long = `${'deep/'.repeat(100)}end`
  for (const [name, target] of [
    ['near', '1.jpg'],
    ['far', long],
  ] as const) {
    unpack([{ name, sizeBytes: 0, mtimeMs: MTIME_MS, mode: 0o777, target }])
    assert.is(readlinkSync(join(folder, name)), target)
  }
})

test.run()
