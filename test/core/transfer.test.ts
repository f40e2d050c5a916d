import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { settlesWithin } from '../../lib/core/patience.ts'
import { type Child, createShell, type Output } from '../../lib/core/shell.ts'
import { peek, type TransferOptions, transfer } from '../../lib/core/transfer.ts'

const test = suite('transfer')
const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
let folder = ''

test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bc-transfer-'))
})
test.after.each(() => rm(folder, { recursive: true }))

/** Both programs must end with 0, and say why they did not. */
function carry(source: Child, target: Child, options: Partial<TransferOptions<Output>> = {}): Promise<Output> {
  const judged = async (child: Child): Promise<Output> => {
    const output = await child.ended
    if (output.exitCode !== 0) throw new Error(output.stderr || `exit status ${output.exitCode}`)
    return output
  }
  return transfer(source, target, {
    names: ['the source', 'the target'],
    stallMs: 5000,
    whole: () => judged(source),
    result: () => judged(target),
    ...options,
  })
}

/** How a transfer fails; both programs must have ended by then. */
async function failing(source: Child, target: Child, options: Partial<TransferOptions<Output>> = {}): Promise<string> {
  const error = await carry(source, target, options).then(
    () => new Error('it went well'),
    (reason: Error) => reason,
  )
  assert.ok(await settlesWithin(Promise.all([source.ended, target.ended]), 0))
  return error.message
}

test('every byte is carried, and memory does not grow with them', async () => {
  const source = shell.start(['head', '-c', '400000000', '/dev/zero'])
  const target = shell.start(['sh', '-c', 'wc -c >&2'])
  const before = process.memoryUsage().rss
  let counted = 0
  const { stderr } = await carry(source, target, { whole: async (count) => (counted = count) })
  assert.is(counted, 400_000_000)
  assert.is(stderr.trim(), '400000000')
  assert.ok(process.memoryUsage().rss - before < 100e6)
})

test('when the source fails, the target is stopped before it sees the end of its input', async () => {
  const said = join(folder, 'said')
  const source = shell.start(['sh', '-c', 'echo half; sleep 0.3; echo died >&2; exit 1'])
  const target = shell.start([
    'sh',
    '-c',
    `trap 'echo TERM > ${said}; exit 143' TERM; while read -r line; do :; done; echo EOF > ${said}`,
  ])
  assert.is(await failing(source, target), 'died\n')
  assert.is(readFileSync(said, 'utf8'), 'TERM\n')
})

test('the target sees no end of its input while it is not known that what came is whole', async () => {
  const said = join(folder, 'said')
  const target = shell.start(['sh', '-c', `cat > /dev/null; echo EOF > ${said}`])
  let early: boolean | undefined
  await carry(shell.start(['echo', 'all']), target, {
    whole: async () => {
      await sleep(500)
      early = existsSync(said)
    },
  })
  assert.is(early, false)
  assert.is(readFileSync(said, 'utf8'), 'EOF\n')
})

test('a target that gives up says why, and the source is stopped', async () => {
  // Its input breaks some time before it has ended.
  const target = shell.start(['sh', '-c', 'sleep 0.1; exec 0<&-; sleep 0.3; echo no room >&2; exit 3'])
  assert.is(await failing(shell.start(['cat', '/dev/zero']), target), 'no room\n')
})

test('a target that ends well but early has not taken all', async () => {
  const target = shell.start(['head', '-c', '100000'])
  target.stdout.resume()
  assert.match(await failing(shell.start(['cat', '/dev/zero']), target), /target ended before it had read all/)
})

test('a stall names the side that moves no bytes', async () => {
  for (const [from, to, says] of [
    [['sleep', '96'], ['cat'], /source gave no data for 1 s/],
    [['cat', '/dev/zero'], ['sleep', '96'], /target took no data for 1 s/],
  ] as const)
    assert.match(await failing(shell.start(from), shell.start(to), { stallMs: 1000 }), says)
})

test('what was peeked at is still there to be read, long after its program has ended', async () => {
  const child = shell.start(['printf', 'PGDMP and the rest'])
  assert.is(String(await peek(child, 5, 5000)), 'PGDMP and the rest')
  await sleep(500)
  assert.is(await text(child.stdout), 'PGDMP and the rest')
  assert.is((await child.ended).exitCode, 0)
})

test('a program that prints nothing for so long has stalled', async () => {
  const child = shell.start(['sh', '-c', 'printf PG; sleep 94'])
  assert.is(await peek(child, 5, 300), 'stalled')
  await child.stop()
})

test.run()
