// Plays the page: a thief with all that deploy has, on real Borg over a real sshd, and what the page says to type afterwards.
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createBorg } from '../../lib/borg/borg.ts'
import { askRights, type Rights } from '../../lib/borg/rights.ts'
import { createShell } from '../../lib/core/shell.ts'
import { programs } from '../support/borg.ts'
import { commandsUnder } from '../support/docs.ts'
import type { Output } from '../support/launch.ts'
import { type RepositoryHost, startRepositoryHost } from '../support/repository-host.ts'
import { PASSPHRASE, type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const PAGE = 'docs/ransomware.md'
const test = suite('a thief with the rights of deploy')
let sandbox: Sandbox
let host: RepositoryHost
/** The lines that the page writes into authorized_keys. */
const LINES =
  commandsUnder(PAGE, 'With a server of your own')
    .match(/^restrict,.*$/gm)
    ?.join('\n') ?? ''

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox)
  host = await startRepositoryHost(sandbox)
  await host.authorize(LINES)
  const { exitCode, stderr } = await onTheOtherMachine('borg key export :: exported')
  assert.is(exitCode, 0, stderr)
})
test.after(async () => {
  host.stop()
  await sandbox.stop()
})

/** With deploy's key and passphrase, as deploy has them. */
function asDeploy(args: readonly string[], env: Record<string, string> = {}): Promise<Output> {
  return sandbox.launch('borg', args, { env: { ...host.env('deploy'), BORG_PASSPHRASE: PASSPHRASE, ...env } }).ended
}

/** As typed at the operator's other machine, or, as that of the repository is this one, there. */
function onTheOtherMachine(commands: string): Promise<Output> {
  const here = commands.replaceAll('/srv/borg', host.folder).replace('KEYFILE', 'exported')
  const env = { ...host.env('other'), BORG_PASSPHRASE: PASSPHRASE, HOME: join(sandbox.dir, 'other-machine') }
  return sandbox.launch('bash', ['-o', 'pipefail', '-c', `mkdir -p ~ && cd\n${here}`], { env }).ended
}

/** What `backup --check` asks the machine of the repository; what it says of each answer is in test/backup/check.test.ts. */
function rights(): Promise<Rights> {
  const { BORG_REPO, BORG_RSH } = host.env('deploy')
  const shell = createShell({ PATH: programs(), HOME: sandbox.home }, new AbortController().signal)
  return askRights(createBorg(shell, { BORG_RSH, BORG_PASSPHRASE: PASSPHRASE }, BORG_REPO, '/x/.env'))
}

async function night(): Promise<Output> {
  // Archives of one second would have one name.
  await sleep(1000)
  return sandbox.script('backup.ts', ['--json'])
}

async function archives(): Promise<string[]> {
  const { exitCode, stdout, stderr } = await onTheOtherMachine('borg list --short')
  assert.is(exitCode, 0, stderr)
  return stdout.split('\n').filter(Boolean)
}

test('--check asks the machine of the repository what the key may do, and tries nothing', async () => {
  const config = readFileSync(join(host.folder, 'book-corners/config'), 'utf8')
  await sandbox.configure({ ...host.env('deploy'), PRUNE: 'no' })
  const { stdout } = await sandbox.script('backup.ts', ['--check'])
  assert.match(stdout, /^pass +deletion +this key may only append/m)
  for (const [lines, said] of [
    [LINES, 'append'],
    [LINES.replace('--append-only ', ''), 'delete'],
    ['DEPLOYS-PUBLIC-KEY', 'shell'],
    [LINES.replace('--restrict-to-path', '--restrict-to-repository'), 'untold'],
  ] as const) {
    await host.authorize(lines)
    assert.is(await rights(), said)
  }
  await host.authorize(LINES)
  assert.is(readFileSync(join(host.folder, 'book-corners/config'), 'utf8'), config)
})

test('a night over a key that may only append', async () => {
  await sandbox.configure({
    ...host.env('deploy'),
    PRUNE: 'no',
    KEEP_APP_CONFIG: 'no',
    CHECK_EVERY_DAYS: '0',
    KEEP_DAILY: '1',
    KEEP_WEEKLY: '0',
    KEEP_MONTHLY: '0',
  })
  for (let i = 0; i < 2; i++) {
    const { exitCode, stdout, stderr } = await night()
    assert.is(exitCode, 0, stderr)
    const { pruned, repositoryBytes } = JSON.parse(stdout)
    assert.equal([pruned, repositoryBytes], [[], null])
    await sandbox.sql(`UPDATE libraries_library SET name = 'Renamed ${i}' WHERE id = ${i + 1};`)
  }
  assert.is((await archives()).length, 2)
  const preview = await sandbox.script('backup.ts', ['--dry-run'])
  assert.match(preview.stdout, /prune +nothing of 2 archives \(PRUNE=no\)/)
})

test('whatever the thief deletes, the commands of the page bring it back', async () => {
  const before = await archives()
  const attack: [args: string[], env?: Record<string, string>][] = [
    [['delete', `::${before[0]}`]],
    [['prune', '--keep-last', '1']],
    [['delete', '--glob-archives', '*']],
    [['create', `::${before[1]}`, '/etc/hostname']],
    [['compact', '--threshold', '0']],
    [['key', 'change-passphrase'], { BORG_NEW_PASSPHRASE: 'theirs' }],
  ]
  const lastGood = /transaction (\d+), [^\n]*\n$/.exec(
    readFileSync(join(host.folder, 'book-corners/transactions'), 'utf8'),
  )
  for (const [args, env] of attack) {
    const { exitCode, stderr } = await asDeploy(args, env)
    assert.is(exitCode, 0, `${args}: ${stderr}`)
  }
  const destroy = await asDeploy(['delete'], { BORG_PASSPHRASE: 'theirs', BORG_DELETE_I_KNOW_WHAT_I_AM_DOING: 'YES' })
  assert.is(destroy.exitCode, 2)
  assert.match((await onTheOtherMachine('borg list')).stderr, /passphrase .*incorrect/)

  const key = await onTheOtherMachine(commandsUnder(PAGE, 'The passphrase is wrong'))
  assert.is(key.exitCode, 0, key.stderr)
  assert.equal(await archives(), [before[1]], 'the false one alone')
  const back = commandsUnder(PAGE, 'The archives are gone').replace('last=NUMBER', `last=${lastGood?.[1]}`)
  const { exitCode, stderr } = await onTheOtherMachine(back)
  assert.is(exitCode, 0, stderr)
  assert.equal(await archives(), before)

  // The server that was taken over says that the repository went back; a new one has seen nothing else, and restores.
  for (const folder of ['.config/borg', '.cache/borg']) await rm(join(sandbox.home, folder), { recursive: true })
  const drill = await sandbox.script('restore.ts', ['--drill'])
  assert.is(drill.exitCode, 0, drill.stderr)
})

test('every month: what is odd shows, and only then it is pruned and made final', async () => {
  for (const hour of ['03', '04', '05']) {
    const at = `2026-01-01T${hour}:00:00`
    const old = await onTheOtherMachine(`borg create --timestamp ${at} ::book-corners-${at} /etc/hostname`)
    assert.is(old.exitCode, 0, old.stderr)
  }
  const before = await archives()
  const day = before.at(-1)?.slice(0, 'book-corners-2026-02-28'.length) ?? ''
  const { exitCode, stdout, stderr } = await onTheOtherMachine(commandsUnder(PAGE, 'Every month'))
  assert.is(exitCode, 0, stderr)
  assert.match(stdout, new RegExp(`^ +2 ${day}$`, 'm'))
  assert.is(stdout.match(/^This archive: .* kB/gm)?.length, 2, stdout)
  // All of the last two days, one of the day, and the oldest of all: Borg keeps it until the months are complete.
  assert.equal(
    await archives(),
    before.filter((name) => name !== 'book-corners-2026-01-01T04:00:00'),
  )
  const { exitCode: next, stderr: said } = await night()
  assert.is(next, 0, said)
})

test.run()
