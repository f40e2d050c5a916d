// What is said of a Borg that fails is its cause, and the command that is advised leads out: each is typed here.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Output } from '../support/launch.ts'
import { asUser, hasOtherUsers } from '../support/other-users.ts'
import { startRepositoryHost } from '../support/repository-host.ts'
import { PASSPHRASE, type Sandbox, seed, startSandbox } from '../support/sandbox.ts'
import { scriptCommand } from '../support/scripts.ts'

const test = suite('hints of a night')
const between = hasOtherUsers() ? test : test.skip
/** A user who has a name, but never logs in. */
const NOBODY = 65534
let sandbox: Sandbox

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox)
  await sandbox.configure({ CHECK_EVERY_DAYS: '0', KEEP_APP_CONFIG: 'no' })
})
test.after(() => sandbox.stop())

async function night(env: Record<string, string> = {}): Promise<Output> {
  // Archives of one second would have one name.
  await sleep(1000 - (Date.now() % 1000) + 20)
  return sandbox.script('backup.ts', [], { env })
}

/** Types a command as it was advised. */
function type(command: string | undefined): Promise<Output> {
  const env = { BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' }
  return sandbox.launch('sh', ['-c', command ?? 'exit 1'], { env }).ended
}

test('a quota that is used up: how much is used, and deleting an archive and compacting lets the next night through', async () => {
  await sandbox.borg(['config', sandbox.repository, 'storage_quota', '10M'])
  const photo = (name: string): string => join(sandbox.mediaDir, name)
  await writeFile(photo('first.jpg'), randomBytes(4_000_000))
  assert.is((await night()).exitCode, 0)
  await rm(photo('first.jpg'))
  await writeFile(photo('second.jpg'), randomBytes(4_000_000))
  assert.is((await night()).exitCode, 0)
  await writeFile(photo('third.jpg'), randomBytes(4_000_000))
  const full = await night()
  assert.is(full.exitCode, 1)
  assert.match(full.stderr, /quota of the Borg repository is used up: this would make it 1\d\.\d\d MB of 10\.00 MB/)
  const [oldest = ''] = await sandbox.archives()
  const advised = /\(set -a.*borg delete.*\)/.exec(full.stderr)?.[0]
  const deleted = await type(advised?.replace('ARCHIVE', oldest))
  assert.is(deleted.exitCode, 0, deleted.stderr)
  const { exitCode, stderr } = await night()
  assert.is(exitCode, 0, stderr)
  await sandbox.borg(['config', '--delete', sandbox.repository, 'storage_quota'])
})

test('what borg check finds damaged stays with the archive, also when a repair has filled it with zeros', async () => {
  await sandbox.configure({ KEEP_APP_CONFIG: 'no' })
  const [archive = ''] = (await sandbox.archives()).slice(-1)
  const path = join(sandbox.mediaDir, 'photos/1.jpg').slice(1)
  const items = join(sandbox.dir, 'items')
  await sandbox.borg(['debug', 'dump-archive', `::${archive}`, items])
  const photo = JSON.parse(await readFile(items, 'utf8'))._items.find((item: { path: string }) => item.path === path)
  // A sign before the hexadecimal ID tells that it is one.
  const lost = await sandbox.borg(['debug', 'delete-obj', '::', photo.chunks[0][0].slice(1)])
  assert.is(lost.exitCode, 0, lost.stderr)
  await rm(join(sandbox.mediaDir, 'photos/1.jpg'))

  const found = await night()
  assert.is(found.exitCode, 1, found.stderr)
  assert.match(
    found.stderr,
    /is stored, but borg check failed: damaged are files in book-corners-.*New missing file chunk/,
  )
  const isTold = async (): Promise<void> => {
    const list = await sandbox.script('restore.ts', ['--list'])
    assert.match(list.stdout, new RegExp(`^${archive} .*\\n +! DAMAGED, borg check lacks parts of: ${path}`, 'm'))
  }
  await isTold()
  const repaired = await sandbox.borg(['check', '--repair'], { env: { BORG_CHECK_I_KNOW_WHAT_I_AM_DOING: 'YES' } })
  assert.ok((repaired.exitCode ?? 2) < 2, repaired.stderr)
  const next = await night()
  assert.is(next.exitCode, 0, next.stderr)
  assert.match(next.stdout, /repository checked/)
  await isTold()
  const preview = await sandbox.script('restore.ts', ['--dry-run', '--media-only', archive])
  assert.match(preview.stdout, /^The archive is DAMAGED/)
})

/** `restore --list` as another user, who may read the repository. */
function listAsNobody(HOME: string): Promise<Output> {
  const env = { HOME, BORG_REPO: sandbox.repository, BORG_PASSPHRASE: PASSPHRASE }
  const [file = '', ...args] = [...asUser(NOBODY), ...scriptCommand('restore.ts'), '--list']
  return sandbox.launch(file, args, { env: { ...env, BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' } }).ended
}

between('what belongs to root, since somebody ran Borg with sudo: the error itself, and chown -R', async () => {
  const home = join(sandbox.dir, 'nobodys-home')
  await mkdir(home)
  execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, home, sandbox.repository])
  const [cache, config] = [join(home, '.cache/borg'), join(home, '.config/borg')]
  const cases: [spoil: string, folder: string][] = [
    [`mkdir -p ${cache}; chown ${NOBODY}:${NOBODY} ${home}/.cache; chown -R 0:0 ${cache}`, cache],
    [`chown -R 0:0 ${config}; chmod 700 ${config}`, config],
    // Not a lock that another run holds: nobody would ever let go of it.
    [`chown 0:0 ${sandbox.repository}`, sandbox.repository],
  ]
  for (const [spoil, folder] of cases) {
    execFileSync('sh', ['-c', spoil])
    const { exitCode, stderr } = await listAsNobody(home)
    assert.is(exitCode, 1, folder)
    assert.match(stderr, new RegExp(`Borg may not use ${folder}/\\S+: it belongs to another user`))
    const advised = /Type: sudo (.*)/.exec(stderr)?.[1]
    assert.is(advised, `chown -R ${NOBODY}:${NOBODY} ${folder}`)
    await type(advised)
  }
  const fixed = await listAsNobody(home)
  assert.is(fixed.exitCode, 0, fixed.stderr)
})

test('a greeting of the machine of the repository is not taken for the error', async () => {
  const host = await startRepositoryHost(sandbox)
  const env = { ...host.env('deploy'), BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' }
  const served = async (command: string): Promise<Output> => {
    await host.authorize(`command="${command}" DEPLOYS-PUBLIC-KEY`)
    return sandbox.script('restore.ts', ['--list'], { env })
  }
  try {
    const polite = await served('echo Welcome, 3 failed logins >&2; borg serve')
    assert.equal([polite.exitCode, polite.stderr], [0, ''])

    // Borg does not read what comes together with the end: on a busy machine that needs a moment between them.
    const later = (command: string): Promise<Output> => served(`${command}; status=$?; sleep 1; exit $status`)
    const noBorg = await later('echo Welcome >&2; no-borg serve')
    assert.match(noBorg.stderr, /can't be reached: .*no-borg: (command )?not found; Connection closed/)
    assert.not.match(noBorg.stderr, /Welcome/)

    const elsewhere = await later('echo Welcome >&2; borg serve --restrict-to-path /nowhere')
    assert.match(elsewhere.stderr, /This key may not use that repository: .*not allowed/)

    const ended = await later('echo Welcome >&2; (exit 3)')
    assert.match(
      ended.stderr,
      /can't be reached: Connection closed by remote host\..*\(that machine printed: Welcome\)/,
    )

    const loud = await served('echo Welcome to backup-host; borg serve')
    assert.match(loud.stderr, /prints something where Borg has to speak: Welcome to backup-host/)
    const [advised = ''] = /\(set -a.*\)$/m.exec(loud.stderr) ?? []
    const shown = await sandbox.launch('sh', ['-c', advised], { env }).ended
    assert.match(shown.stdout, /^Welcome to backup-host\n/)
  } finally {
    host.stop()
  }
})

test.run()
