import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Failure } from '../../lib/core/failure.ts'
import { createLog } from '../../lib/core/log.ts'
import { createShell } from '../../lib/core/shell.ts'
import {
  allowPlacing,
  type MediaPlacement,
  place,
  planPlacement,
  type StagedFile,
  whySudo,
} from '../../lib/media/place.ts'
import { type Attack, snapshot, underAttack } from '../support/attack.ts'
import { commandsUnder } from '../support/docs.ts'
import { OWNER } from '../support/sandbox.ts'

const test = suite('placing media')
const isRoot = process.getuid?.() === 0
const [uid = 0, gid = 0] = OWNER.split(':').map(Number)
const USER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, name: 'deploy' }
const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
const log = createLog(process.stderr)
const THEN = new Date('2026-01-02T03:04:05.678Z')
let dir: string
let media: string
let from: string
let outside: string

function settings(MEDIA_DIR = media) {
  return { MEDIA_DIR, MEDIA_OWNER: OWNER } as Parameters<typeof planPlacement>[1]
}

function plan(mediaDir?: string): Promise<MediaPlacement> {
  return planPlacement({ shell, interactive: false }, settings(mediaDir), 1, USER)
}

/** A file in the staging folder. */
function stage(path: string, content = `content of ${path}`, mode = 0o640): StagedFile {
  mkdirSync(dirname(join(from, path)), { recursive: true })
  writeFileSync(join(from, path), content)
  return { path, sizeBytes: Buffer.byteLength(content), mtimeMs: THEN.getTime(), mode }
}

async function placeAll(files: readonly StagedFile[], placement?: MediaPlacement): Promise<Map<string, string>> {
  return place({ shell, log }, placement ?? (await plan()), {
    from,
    files,
    planned: files,
    folders: [],
    stallMs: 60_000,
  })
}

/** A folder of the app's user. */
function folder(path: string): string {
  mkdirSync(path)
  chownSync(path, uid, gid)
  return path
}

test.before.each(() => {
  dir = mkdtempSync(join(tmpdir(), 'bc-place-'))
  chmodSync(dir, 0o755)
  from = join(dir, 'from')
  mkdirSync(from, { mode: 0o700 })
  media = folder(join(dir, 'media'))
  // Another app's storage: the same user's, as all of Dokku's are.
  outside = folder(join(dir, 'outside'))
})
test.after.each(() => rmSync(dir, { recursive: true }))

test('files appear with their content, time and permissions, as their owner’s, in folders that are made for them', async () => {
  const paths = [
    'top.jpg',
    '.dot',
    'photos/-x',
    'photos/new\nline\n',
    'a folder\n/größe 🙂',
    'photos/sub/1.jpg',
    'other/1.jpg',
  ]
  // More than our own umask would let through.
  chmodSync(media, 0o777)
  assert.equal([...(await placeAll(paths.map((path) => stage(path))))], [])
  for (const path of paths) {
    const info = lstatSync(join(media, path))
    assert.is(readFileSync(join(media, path), 'utf8'), `content of ${path}`)
    assert.equal([info.mode & 0o7777, info.mtimeMs, info.uid, info.gid], [0o640, THEN.getTime(), uid, gid], path)
  }
  for (const made of ['photos', 'photos/sub', 'a folder\n']) {
    const info = lstatSync(join(media, made))
    assert.equal([info.mode & 0o7777, info.uid, info.gid], [0o777, uid, gid], made)
  }
  assert.equal(
    readdirSync(media).sort(),
    ['.dot', 'a folder\n', 'other', 'photos', 'top.jpg'],
    'nothing is left beside',
  )
})

test('a thousand folders, and more files than one command takes', async () => {
  const files = Array.from({ length: 1200 }, (_, i) => stage(i < 1100 ? `many/${i}.jpg` : `${i}/photo.jpg`))
  assert.equal([...(await placeAll(files))], [])
  for (const { path } of files) assert.is(readFileSync(join(media, path), 'utf8'), `content of ${path}`)
})

test('a file takes the place of whatever file, link or pipe has its name', async () => {
  writeFileSync(join(media, 'file'), 'old')
  symlinkSync(outside, join(media, 'link'))
  execFileSync('mkfifo', [join(media, 'pipe')])
  const link = { path: 'new link', sizeBytes: 0, mtimeMs: THEN.getTime(), mode: 0o777, target: 'file' }
  assert.equal([...(await placeAll([...['file', 'link', 'pipe'].map((path) => stage(path)), link]))], [])
  for (const path of ['file', 'link', 'pipe']) assert.is(readFileSync(join(media, path), 'utf8'), `content of ${path}`)
  assert.is(readlinkSync(join(media, 'new link')), 'file')
})

test('what can’t be placed is told with the reason, and everything else is placed', async () => {
  symlinkSync(outside, join(media, 'linked'))
  writeFileSync(join(media, 'a file'), '')
  folder(join(media, 'is folder'))
  const paths = ['linked/1', 'a file/2', 'is folder', 'linked/deep/3', '4', 'fine/5']
  const failures = await placeAll(paths.map((path) => stage(path)))
  assert.equal([...failures.keys()].sort(), paths.slice(0, 4).sort())
  assert.match(failures.get('linked/1') ?? '', /linked is a link/)
  assert.match(failures.get('a file/2') ?? '', /File exists|can't be entered/)
  assert.match(failures.get('is folder') ?? '', /cannot overwrite directory/)
  for (const path of ['4', 'fine/5']) assert.ok(existsSync(join(media, path)))
  assert.equal(readdirSync(outside), [])
})

test('what runs that were killed have left is cleared, also where it is a link', async () => {
  folder(join(media, '.restoring.Ab1'))
  writeFileSync(join(media, '.restoring.Ab1/half'), 'half')
  symlinkSync(outside, join(media, '.restoring'))
  writeFileSync(join(outside, 'theirs'), 'theirs')
  assert.equal([...(await placeAll([stage('1.jpg')]))], [])
  assert.equal([readdirSync(media), readdirSync(outside)], [['1.jpg'], ['theirs']])
})

test('cut short at any moment, a file is whole or not there, and the next run goes on', async () => {
  const content = 'x'.repeat(300_000)
  const files = Array.from({ length: 60 }, (_, i) => stage(`photos/${i % 6}/${i}.jpg`, content))
  const placement = await plan()
  for (const afterMs of [60, 100, 140, 180]) {
    const interruption = new AbortController()
    const cut = createShell({ PATH: '/usr/bin:/bin' }, interruption.signal)
    setTimeout(() => interruption.abort(), afterMs)
    await place({ shell: cut, log }, placement, { from, files, planned: files, folders: [], stallMs: 60_000 }).catch(
      () => {},
    )
    const placed = readdirSync(media, { recursive: true, encoding: 'utf8' }).filter((path) =>
      /^photos\/.*jpg$/.test(path),
    )
    for (const path of placed) assert.is(lstatSync(join(media, path)).size, content.length, path)
  }
  assert.equal([...(await placeAll(files))], [])
  for (const { path } of files) assert.is(readFileSync(join(media, path), 'utf8'), content)
  assert.equal(readdirSync(media), ['photos'])
})

test('a media folder that is a link is refused; a link above it is the operator’s own', async () => {
  const real = folder(join(dir, 'real'))
  symlinkSync(real, join(dir, 'link'))
  const refused = (mediaDir: string): Promise<string> =>
    plan(mediaDir)
      .then((placement) => placeAll([stage('1.jpg')], placement))
      .then(() => 'was placed')
      .catch((error: Failure) => error.message)
  assert.match(await refused(join(dir, 'link')), /refused: .*link is a link/)
  assert.match(await refused(join(dir, 'nothing')), /refused: .*nothing is a link, or can't be entered/)
  assert.equal(readdirSync(real), [])
  folder(join(real, 'media'))
  await placeAll([stage('1.jpg')], await plan(join(dir, 'link/media')))
  assert.equal(readdirSync(join(real, 'media')), ['1.jpg'])
})

test('with nothing to place it only looks, and changes nothing', async () => {
  folder(join(media, '.restoring.Ab1'))
  const before = snapshot(media)
  const { command } = await plan()
  const input = readFileSync(new URL('../../lib/media/place.sh', import.meta.url), 'utf8')
  assert.is((await shell.run(command, { input })).exitCode, 0)
  chmodSync(media, 0o555)
  const denied = await shell.run(command, { input })
  chmodSync(media, 0o755)
  assert.match(denied.stderr, /refused: uid \d+ can't write to/)
  assert.equal(readdirSync(media), ['.restoring.Ab1'])
  assert.is(before.length, 2)
})

for (const [kind, rounds] of [
  ['the working folder becomes a link', 5],
  ['what is unpacked becomes links', 3],
  ['a folder that was just made becomes a link', 5],
  ['a folder becomes a link and a folder again', 10],
  ['the media folder becomes a link and a folder again', 3],
] as [Attack, number][])
  test(`attacked: ${kind}`, async () => {
    // What holds the media folder is the app's, too.
    if (kind.startsWith('the media folder')) chownSync(dir, uid, gid)
    const files = Array.from({ length: 300 }, (_, i) =>
      stage(i < 200 ? `photos/${i}.jpg` : `photos/${i % 20}/${i}.jpg`),
    )
    for (const name of ['1.jpg', 'theirs']) writeFileSync(join(outside, name), 'of another app')
    chownSync(join(outside, '1.jpg'), uid, gid)
    const before = snapshot(outside)
    const placement = await plan()
    for (let round = 0; round < rounds; round++) {
      // An attacker that was killed may just have had it under another name.
      for (const path of [media, join(dir, '.media-away')]) rmSync(path, { recursive: true, force: true })
      folder(media)
      if (kind === 'a folder becomes a link and a folder again') folder(join(media, 'photos'))
      await underAttack(kind, media, outside, () =>
        placeAll(files, placement).catch((error: unknown) => assert.instance(error, Failure)),
      )
      assert.equal(snapshot(outside), before)
    }
  })

test('nothing is ever placed as root', async () => {
  if (!isRoot) return console.log('Skipped: only root can try what root is refused.')
  const { exitCode, stderr } = await shell.run(['/bin/bash', '-s', media], {
    input: readFileSync(new URL('../../lib/media/place.sh', import.meta.url), 'utf8'),
  })
  assert.equal([exitCode, stderr], [1, 'refused: placing files takes the rights of their owner, and this is root\n'])
  await planPlacement({ shell, interactive: false }, { ...settings(), MEDIA_OWNER: '0:0' }, 1, USER).then(
    () => assert.unreachable(),
    (error) => assert.match(error.message, /never root in a folder that the app can change/),
  )
})

test('sudo is for those alone who are neither root nor the owner', () => {
  const owner = { MEDIA_OWNER: '32767:32767' }
  assert.is(whySudo(owner, { uid: 0, gid: 0, name: 'root' }), undefined)
  assert.is(whySudo(owner, { uid: 32767, gid: 32767, name: 'app' }), undefined)
  assert.match(whySudo(owner, { uid: 1000, gid: 1000, name: 'deploy' }) ?? '', /belong to 32767:32767 .* not to deploy/)
})

const ODD = '/srv/a b:c,d=e#f*[x]?(y)!^"\'z'
const LINE =
  'deploy ALL=(root) NOPASSWD: /usr/bin/setpriv --reuid\\=32767 --regid\\=32766 --clear-groups --no-new-privs ' +
  '--inh-caps\\=-all --bounding-set\\=-all -- /bin/bash -s /srv/a\\ b\\:c\\,d\\=e\\#f\\*\\[x\\]\\?(y)\\!\\^"\'z'

test('the sudoers line names the one command, and sudo can read it', () => {
  const deploy = { uid: 1000, gid: 1000, name: 'deploy' }
  const typed = allowPlacing({ MEDIA_DIR: ODD, MEDIA_OWNER: '32767:32766' }, deploy)
  assert.match(typed, / \/etc\/sudoers\.d\/deploy-media$/)
  const file = join(dir, 'sudoers')
  execFileSync('bash', ['-c', typed.replace('/etc/sudoers.d/deploy-media', file)])
  assert.is(readFileSync(file, 'utf8'), `${LINE}\n`)
  const visudo = ['/usr/sbin/visudo', '/usr/bin/visudo'].find((path) => existsSync(path))
  if (!visudo) return console.log('Skipped: there is no visudo.')
  const { status, stdout, stderr } = spawnSync(visudo, ['-cf', file], { encoding: 'utf8' })
  assert.is(status, 0, stdout + stderr)
})

test('where sudo would ask, it is left to a terminal; without one the exact line is printed', async () => {
  const deploy = { uid: 1000, gid: 1000, name: 'deploy' }
  folder(join(dir, 'bin'))
  const asked = createShell({ PATH: `${dir}/bin:/usr/bin:/bin` }, new AbortController().signal)
  const planned = (interactive: boolean): Promise<MediaPlacement> =>
    planPlacement({ shell: asked, interactive }, { MEDIA_DIR: media, MEDIA_OWNER: '32767:32766' }, 3, deploy)
  writeFileSync(join(dir, 'bin/sudo'), '#!/bin/sh\necho "sudo: a password is required" >&2\nexit 1\n', { mode: 0o755 })
  await planned(false).then(
    () => assert.unreachable(),
    ({ message, hint }: Failure) => {
      assert.match(message, 'Restoring 3 media files takes sudo: the files belong to 32767:32766 (MEDIA_OWNER), not to')
      assert.match(hint, allowPlacing({ MEDIA_DIR: media, MEDIA_OWNER: '32767:32766' }, deploy))
    },
  )
  const { asks, command } = await planned(true)
  assert.equal([asks, command.slice(0, 2)], [true, ['sudo', '/usr/bin/setpriv']])
  writeFileSync(join(dir, 'bin/sudo'), '#!/bin/sh\ncat > /dev/null\n', { mode: 0o755 })
  const allowed = await planned(false)
  assert.equal([allowed.asks, allowed.command.slice(0, 2)], [false, ['sudo', '-n']])
})

test('the line in the docs is that of the default settings', () => {
  const MEDIA_DIR = '/var/lib/dokku/data/storage/book-corners/media'
  const line = allowPlacing({ MEDIA_DIR, MEDIA_OWNER: '32767:32767' }, { uid: 1000, gid: 1000, name: 'deploy' })
  assert.match(commandsUnder('docs/setup.md', 'The server'), `\n${line}\n`)
})

test('the old script, which ran as root, only says which line takes the place of its own', () => {
  const old = fileURLToPath(new URL('../../lib/place-media.sh', import.meta.url))
  const { status, stdout, stderr } = spawnSync('sh', [old, from, ODD, '32767', '32766'], {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', SUDO_USER: 'deploy' },
  })
  assert.equal([status, stdout], [1, ''])
  assert.match(stderr, `\n  ${LINE}\n`)
})

test.run()
