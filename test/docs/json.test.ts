// The page of what --json prints: each example has the shape that the command really prints.
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { blocksOf } from '../support/docs.ts'
import type { Output } from '../support/launch.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { type Server, startServer } from '../support/server.ts'
import { startSite } from '../support/site.ts'

const PAGE = 'docs/json.md'
const test = suite('what --json prints')
let sandbox: Sandbox
let server: Server
let folder: string

test.before(async () => {
  ;[sandbox, server, folder] = await Promise.all([startSandbox(), startServer(), mkdtemp(join(tmpdir(), 'bc-json-'))])
  await seed(sandbox)
})
test.after(async () => {
  await Promise.all([sandbox.stop(), server.stop(), rm(folder, { recursive: true })])
})

/** By the page's headings, in the order in which they are run. */
const COMMANDS: Record<string, () => Promise<Output>> = {
  backup: () => sandbox.script('backup.ts', ['--json']),
  'backup --dry-run': () => sandbox.script('backup.ts', ['--dry-run', '--json']),
  'backup --check': () => sandbox.script('backup.ts', ['--check', '--json']),
  'backup --history': () => sandbox.script('backup.ts', ['--history', '--json']),
  'backup --env-dir': async () => {
    await cp(sandbox.envFile, join(folder, 'one.env'))
    return sandbox.script('backup.ts', ['--env-dir', folder, '--history', '--json'])
  },
  'restore --list': () => sandbox.script('restore.ts', ['--list', '--json']),
  'restore --dry-run': () => sandbox.script('restore.ts', ['--dry-run', '--json']),
  'restore --drill': () => sandbox.script('restore.ts', ['--drill', '--json']),
  'restore --rows': async () => {
    await sandbox.sql('DELETE FROM libraries_photo; DELETE FROM libraries_library WHERE id > 190;')
    return sandbox.script('restore.ts', ['latest', '--rows', 'libraries_library', '--dry-run', '--json'])
  },
  'restore --kit': () => sandbox.script('restore.ts', ['latest', '--kit', join(folder, 'kit'), '--json']),
  'deploy --status': async () => {
    await server.script('deploy.ts', ['--no-verify', '--yes'])
    return server.script('deploy.ts', ['--status', '--json'])
  },
  'rollback --list': () => server.script('rollback.ts', ['--list', '--json']),
  verify: async () => {
    const site = await startSite()
    const output = await sandbox.script('verify.ts', ['--url', site.url, '--timeout', '5', '--json'])
    await site.stop()
    return output
  },
  'A failure': () => sandbox.script('restore.ts', ['2001-01-01', '--dry-run', '--json']),
}

/** Names and types, without values. A name with a dot in it is a value, too: a table's. Null may stand for anything. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape)
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value
  const entries = Object.entries(value).map(([name, part]) => [name.includes('.') ? '*' : name, shape(part)] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Where two shapes differ; an empty list and a null say nothing of what would be there. */
function differences(example: unknown, real: unknown, at = ''): string[] {
  if (example === 'null' || real === 'null') return []
  if (Array.isArray(example) && Array.isArray(real))
    return example.length > 0 && real.length > 0 ? differences(example[0], real[0], `${at}[]`) : []
  if (typeof example !== 'object' || typeof real !== 'object')
    return example === real ? [] : [`${at}: ${example}, ${real}`]
  const [ours, theirs] = [example, real] as Record<string, unknown>[]
  return [...new Set([...Object.keys(ours ?? {}), ...Object.keys(theirs ?? {})])].flatMap((name) => {
    const [one, other] = [ours?.[name], theirs?.[name]]
    if (one === undefined || other === undefined) return [`${at}.${name} is only ${one ? 'on the page' : 'printed'}`]
    return differences(one, other, `${at}.${name}`)
  })
}

const examples = blocksOf(PAGE).filter(({ language }) => language === 'json')

test('each command that takes --json has its example', () => {
  assert.equal(examples.map(({ heading }) => heading).sort(), Object.keys(COMMANDS).sort())
})

for (const [heading, run] of Object.entries(COMMANDS))
  test(`${heading}: the example is what is printed`, async () => {
    const { stdout, stderr } = await run()
    const line = stdout.trim().split('\n').at(-1) ?? ''
    assert.ok(line.startsWith('{') || line.startsWith('['), stderr)
    const example = examples.find((block) => block.heading === heading)
    assert.ok(example)
    assert.equal(differences(shape(JSON.parse(example.text)), shape(JSON.parse(line))), [])
  })

test.run()
