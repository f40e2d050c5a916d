// The narrow sudoers lines of the setup are what the nightly run says to Dokku, all of it and no more.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { blocksOf } from '../support/docs.ts'
import type { Output } from '../support/launch.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('the sudoers lines')
/** sudo needs a user with a name. */
const USER = 'nobody'
let sandbox: Sandbox

/** The sudoers files that the setup writes for Dokku, the narrow one last. */
function sudoersFiles(): string[] {
  return blocksOf('docs/setup.md').flatMap(({ text }) => {
    if (!text.includes('deploy-dokku')) return []
    const [, line, here] = /^echo '(.*)' >|<<'END'\n([\s\S]*?)^END$/m.exec(text) ?? []
    return [`${line ?? here}\n`]
  })
}

const NARROW = sudoersFiles().at(-1) ?? ''

/** The commands that the narrow lines allow, without sudo's escapes. */
function allowed(): string[] {
  const [, list = ''] = /^Cmnd_Alias \w+ = \\\n((?:.*\\\n)*.*\n)/m.exec(NARROW) ?? []
  return list
    .split(/, \\\n|\n/)
    .map((line) => line.trim().replace(/\\(.)/g, '$1'))
    .filter(Boolean)
    .map((line) => line.replace(/^\/usr\/bin\/dokku /, ''))
}

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox)
  const recorder = join(sandbox.dir, 'bin/recorder')
  const calls = join(sandbox.dir, 'night')
  const dokku = join(sandbox.dir, 'bin/dokku')
  await writeFile(recorder, `#!/bin/sh\nprintf '%s\\n' "$*" >>'${calls}'\nexec '${dokku}' "$@"\n`, { mode: 0o755 })
  // Of the night only what it says to Dokku is looked at.
  await sandbox.configure({ DOKKU_COMMAND: recorder, PRUNE: 'no', CHECK_EVERY_DAYS: '0' })
})
test.after(() => sandbox.stop())

test('they are what the nights, the check and the preview say, whatever goes wrong', async () => {
  const ends = async (status: number, run: Promise<Output>): Promise<void> => {
    const { exitCode, stderr, stdout } = await run
    assert.is(exitCode, status, stderr + stdout)
  }
  await ends(0, sandbox.script('backup.ts'))
  // The plugin is too old for `enter`, so the dump is exported.
  await sandbox.fault('postgres:enter', 'echo "not found" >&2; exit 127')
  await ends(0, sandbox.script('backup.ts'))
  // The dump hangs: it is ended in the container.
  await sandbox.fault('postgres:enter', 'exec sleep 60')
  await ends(1, sandbox.script('backup.ts', [], { env: { DUMP_STALL_SECONDS: '1' } }))
  await sandbox.fault('postgres:enter')
  await ends(0, sandbox.script('backup.ts', ['--dry-run']))
  await sandbox.script('backup.ts', ['--check'])
  const said = new Set((await readFile(join(sandbox.dir, 'night'), 'utf8')).split('\n').filter(Boolean))
  assert.equal([...said].sort(), allowed().sort())
})

const hasVisudo = existsSync('/usr/sbin/visudo')
if (!hasVisudo) console.log('Skipped: whether visudo accepts the sudoers lines, because sudo is not installed.')
const checked = hasVisudo ? test : test.skip

checked('visudo accepts both choices', async () => {
  const files = sudoersFiles()
  assert.is(files.length, 2)
  for (const file of files) {
    const path = join(sandbox.dir, 'sudoers')
    await writeFile(path, file, { mode: 0o440 })
    execFileSync('/usr/sbin/visudo', ['-cf', path], { stdio: 'pipe' })
  }
})

/** What the real sudo says of a command, with these lines as all of its sudoers. */
function mayRun(sudoers: string, command: readonly string[]): boolean {
  const inside = `mount --bind "$0" /etc/sudoers && exec setpriv --reuid=${USER} --clear-groups sudo -n -l "$@"`
  return spawnSync('unshare', ['-m', 'sh', '-c', inside, sudoers, ...command]).status === 0
}

function canMount(): boolean {
  return hasVisudo && spawnSync('unshare', ['-m', 'mount', '--bind', '/etc/sudoers', '/etc/sudoers']).status === 0
}

const hasSudo = canMount()
if (!hasSudo)
  console.log('Skipped: what sudo itself makes of the lines, because only root can give it another sudoers file.')
const asked = hasSudo ? test : test.skip

asked('sudo lets through these commands, and no other word with them', async () => {
  const dokku = join(sandbox.dir, 'bin/dokku')
  const sudoers = join(sandbox.dir, 'sudoers')
  await writeFile(sudoers, NARROW.replaceAll('/usr/bin/dokku', dokku).replace(/^deploy /m, `${USER} `), { mode: 0o440 })
  for (const line of allowed()) assert.ok(mayRun(sudoers, [dokku, ...line.split(' ')]), line)
  for (const line of [
    'storage:mount book-corners /:/host',
    '--quiet config:show book-corners',
    '--quiet postgres:enter book-corners-db',
    '--quiet postgres:enter book-corners-db sh',
    '--quiet postgres:connect other-db',
    '--quiet postgres:export book-corners-db --x',
    '--quiet postgres:destroy book-corners-db --force',
    'run book-corners sh',
  ])
    assert.not.ok(mayRun(sudoers, [dokku, ...line.split(' ')]), line)
})

test.run()
