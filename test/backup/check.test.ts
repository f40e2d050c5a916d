import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  codeCacheCheck,
  envFileCheck,
  lockCheck,
  misspelledCheck,
  monitorChecks,
  nodeCheck,
  placingCheck,
  secretsCheck,
} from '../../lib/backup/check.ts'
import { ageCheck, clockCheck, rightsCheck } from '../../lib/backup/check-archives.ts'
import { crontabCheck } from '../../lib/backup/check-crontab.ts'
import type { CheckLine } from '../../lib/backup/check-line.ts'
import type { JournalEntry } from '../../lib/cli/journal.ts'
import { createShell } from '../../lib/core/shell.ts'

const test = suite('backup --check')
const FILE = { path: '/x/.env', exists: true, values: {}, problems: [], mode: 0o600 }

function archive(ageHours: number) {
  return { name: 'a', start: new Date(Date.now() - ageHours * 3_600_000), comment: '' }
}

function run(kind: JournalEntry['kind'], name: string, outcome: JournalEntry['outcome'] = 'done'): JournalEntry {
  return { time: '2026-02-28T05:00:00+00:00', kind, outcome, seconds: 5, warnings: 0, archive: name }
}

for (const [what, line, verdict, text] of [
  ['Node 20', nodeCheck('20.0.0'), 'pass', /20\.0\.0/],
  ['Node 18', nodeCheck('18.19.0'), 'fail', /Install Node 20/],
  ['an env file of its own', envFileCheck(FILE), 'pass', /mode 600/],
  ['an env file its group can read', envFileCheck({ ...FILE, mode: 0o640 }), 'warn', /mode 640.*chmod 600/],
  ['no env file', envFileCheck({ ...FILE, exists: false }), 'warn', /there is no .*Copy/],
  ['an env file of another user', envFileCheck({ ...FILE, denied: true }), 'fail', /can't be read by this user/],
  ['an env file with a mistake', envFileCheck({ ...FILE, problems: ['Line 3 is odd.'] }), 'fail', /Line 3.*Fix/],
  ['a passphrase of letters', secretsCheck({ BORG_PASSPHRASE: 'correcthorsebattery' })[0], 'fail', /letters alone/],
  ['a short passphrase', secretsCheck({ BORG_PASSPHRASE: 'horse-7' })[0], 'fail', /change-passphrase/],
  ['a good passphrase', secretsCheck({ BORG_PASSPHRASE: 'correct-horse-7' })[0], 'pass', /long enough/],
  ['no archive yet', ageCheck(undefined), 'warn', /Make the first one: backup/],
  [
    "last night's archive",
    ageCheck(archive(9)),
    'pass',
    /9 hours ago; stored whole, not proved yet To prove it: restore --drill$/,
  ],
  [
    "last night's archive, proved",
    ageCheck(archive(9), [run('drill', 'a'), run('night', 'b')]),
    'pass',
    /; stored whole, proved \w{3} 28 Feb[\d ]* \d\d:\d\d \S+, by a drill $/,
  ],
  [
    'an archive that came after the one that was proved',
    ageCheck(archive(9), [
      run('restore --db-only', 'b'),
      run('drill', 'a', 'failed'),
      run('restore --media-only', 'a'),
    ]),
    'pass',
    /; stored whole, not proved yet; proved last: b, .*, by restore --db-only To prove it: restore --drill$/,
  ],
  ['an archive where there is no drill', ageCheck(archive(9), [], false), 'pass', /not proved yet $/],
  [
    'an archive that lacks something',
    ageCheck({ ...archive(9), comment: '{"lacks":["no photos"]}' }),
    'warn',
    /no photos.*restore --list/,
  ],
  ['no archive of the future', clockCheck([archive(9)], '/x/.env'), 'pass', /no archive is dated in the future/],
  ['one that a server set right by minutes took', clockCheck([archive(-0.5)], '/x/.env'), 'pass', /no archive/],
  [
    'an archive of the future',
    clockCheck([archive(-9)], '/x/.env'),
    'fail',
    /a clock that was wrong: a.*\. \/x\/\.env; borg rename ::a wrong-clock-a/,
  ],
  ['a key that may only append', rightsCheck('append', false), 'pass', /may only append/],
  ['a key that may only append, and PRUNE=yes', rightsCheck('append', true), 'warn', /not freed.*Set PRUNE=no/],
  ['a key that may delete', rightsCheck('delete', true), 'pass', /may delete archives.*docs\/ransomware\.md/],
  ['a key that may delete, and PRUNE=no', rightsCheck('delete', false), 'warn', /PRUNE=no, but.*restrict this key/],
  [
    'a key that opens a shell, and PRUNE=no',
    rightsCheck('shell', false),
    'warn',
    /PRUNE=no, but this key opens a shell/,
  ],
  ['a key of which nothing is told', rightsCheck('untold', false), 'warn', /can't be told.*See it at the provider/],
  ['an archive of the night before', ageCheck(archive(33)), 'warn', /nightly run was missed/],
] as [string, CheckLine, string, RegExp][])
  test(`${what}: ${verdict}`, () => {
    assert.is(line.verdict, verdict)
    assert.match(`${line.detail} ${line.fix ?? ''}`, text)
  })

const BIN = fileURLToPath(new URL('../../bin', import.meta.url))
const BACKUP = `0 3 * * * ${BIN}/backup >> /dev/null 2>&1`
for (const [what, crontab, verdict, text] of [
  ['the backup', `echo '# m h'; echo '${BACKUP}'`, 'pass', /\/bin\/backup/],
  ['the backup by its script', `echo '0 3 * * * node scripts/backup.ts'`, 'pass', /backup\.ts/],
  ['a line that is commented out', `echo '# ${BACKUP}'`, 'warn', /no line of it runs the backup/],
  ['something else alone', `echo '0 4 * * * /home/deploy/backups-report'`, 'warn', /crontab -e/],
  [
    'a log in a folder that is not there',
    `echo '0 3 * * * ${BIN}/backup >>/nowhere/logs/backup.log 2>&1'`,
    'fail',
    /\/nowhere\/logs\/backup\.log can't be written.*install -d \/nowhere\/logs/,
  ],
  [
    "a drill's log in a folder that is not there",
    `echo '${BACKUP}'; echo '0 5 * * 0 ${BIN}/restore --drill >> /nowhere/logs/drill.log 2>&1'`,
    'fail',
    /\/nowhere\/logs\/drill\.log can't be written/,
  ],
  [
    'a backup that is not there',
    `echo '0 3 * * * /home/nobody/bakcups/backup >> /dev/null 2>&1'`,
    'fail',
    /bakcups\/backup is not there.*deploy --sync-only/,
  ],
  [
    'the backup and the drill',
    `echo '${BACKUP}'; echo '0 5 * * 0 ${BIN}/restore --drill'`,
    'pass',
    /backup .*; .*--drill/,
  ],
  ['the old script', `echo '0 3 * * * /home/deploy/backup.sh'`, 'fail', /old script.*Remove that line/],
  [
    'a passphrase',
    `echo "0 3 * * * BORG_PASSPHRASE='two words'x A=b\\\\ c ${BIN}/backup"`,
    'pass',
    /\* BORG_PASSPHRASE=\*\*\* A=\*\*\* \/.*\/bin\/backup/,
  ],
  ['nothing', 'echo "no crontab for deploy" >&2; exit 1', 'warn', /no line of it/],
  ['an error', 'echo "crontab: not allowed" >&2; exit 1', 'warn', /failed: crontab: not allowed/],
  ['no command', 'exit 127', 'warn', /apt-get install cron/],
] as const)
  test(`a crontab with ${what}: ${verdict}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bc-crontab-'))
    await writeFile(join(folder, 'crontab'), `#!/bin/sh\n${crontab}\n`, { mode: 0o755 })
    const line = await crontabCheck(createShell({ PATH: `${folder}:/usr/bin:/bin` }, new AbortController().signal))
    await rm(folder, { recursive: true })
    assert.is(line.verdict, verdict)
    assert.match(`${line.detail} ${line.fix ?? ''}`, text)
  })

test("tsx's cache of compiled code: gone or this user's own passes; another's, a link, or one that others write to fails", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-cache-'))
  const path = join(folder, 'tsx-0')
  const uid = process.getuid?.() ?? 0
  const verdict = async (owner = uid): Promise<string> => (await codeCacheCheck(path, owner)).verdict
  assert.is(await verdict(), 'pass')
  await symlink('/var', path)
  assert.is(await verdict(), 'fail')
  await rm(path)
  await mkdir(path, { mode: 0o755 })
  assert.is(await verdict(), 'pass')
  assert.is(await verdict(uid + 1), 'fail')
  for (const mode of [0o775, 0o757]) {
    await chmod(path, mode)
    assert.is(await verdict(), 'fail')
  }
  await rm(folder, { recursive: true })
})

test("the lock: shared with other users, this user's alone, or in a folder that others can enter", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-lock-'))
  const shared = join(folder, 'shared')
  const shell = createShell({ HOME: folder }, new AbortController().signal)
  const group = (await shell.run(['id', '-gn'])).stdout.trim()
  const own = await lockCheck(shell, shared)
  assert.is(own.verdict, 'warn')
  assert.match(own.fix ?? '', new RegExp(`^As root type: install -d -o root -g ${group} -m 770 \\S+/shared$`))
  await mkdir(shared, { mode: 0o770 })
  assert.is((await lockCheck(shell, shared)).verdict, 'pass')
  await chmod(shared, 0o775)
  assert.is((await lockCheck(shell, shared)).verdict, 'fail')
  await rm(folder, { recursive: true })
})

test('what is wrong with an env file goes before the arrow, the commands that fix it behind it', () => {
  const open = 'x can be read by everybody. Type: chmod 600 /x/.env'
  const lines = (problems: string[]) => envFileCheck({ ...FILE, problems })
  assert.is(lines([open]).detail, 'x can be read by everybody.')
  assert.is(lines([open]).fix, 'chmod 600 /x/.env')
  assert.is(lines([open, 'Line 3 is odd.']).fix, 'chmod 600 /x/.env; then: Fix /x/.env')
})

const DEPLOY = { uid: 1000, gid: 1000, name: 'deploy' }
const NEW_LINE =
  /As root type: echo 'deploy ALL=\(root\) NOPASSWD: \/usr\/bin\/setpriv .* -- \/bin\/bash -s \/srv\/media' \| install -m 440 /
for (const [what, sudo, user, owner, verdict, text] of [
  ['sudo lets the new line through', 'exit 0', DEPLOY, '32767:32767', 'pass', /as 32767:32767, through sudo/],
  ['sudo asks for a password', 'echo "a password is required" >&2; exit 1', DEPLOY, '32767:32767', 'warn', NEW_LINE],
  ['there is no sudo', 'exit 127', DEPLOY, '32767:32767', 'warn', NEW_LINE],
  [
    'sudo has the old line, which made root of this user',
    'echo "    (root) NOPASSWD: /bin/sh /home/deploy/ops/current/lib/place-media.sh /x /srv/media 32767 32767"',
    ...([DEPLOY, '32767:32767', 'warn', /place-media\.sh as root.*Remove its line.*bash -s \/srv\/media/] as const),
  ],
  ['the files are our own', 'exit 1', DEPLOY, '1000:1000', 'pass', /as 1000:1000, without sudo/],
  ["the files are root's", 'exit 0', DEPLOY, '0:0', 'warn', /never root in a folder that the app can change/],
] as const)
  test(`placing media, when ${what}: ${verdict}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bc-sudo-'))
    await writeFile(join(folder, 'sudo'), `#!/bin/sh\n${sudo}\n`, { mode: 0o755 })
    const shell = createShell({ PATH: `${folder}:/usr/bin:/bin` }, new AbortController().signal)
    const line = await placingCheck(shell, { MEDIA_DIR: '/srv/media', MEDIA_OWNER: owner }, user)
    await rm(folder, { recursive: true })
    assert.is(line.verdict, verdict, line.detail)
    assert.match(`${line.detail} ${line.fix ?? ''}`, text)
  })

test('a setting that is misspelled is named; what is no setting of ours may stand there', () => {
  const values = { KEEP_DALY: '7', DOKKU_AP: 'x', KEEP_DAILY: '7', BORG_RSH: 'ssh', EDITOR: 'vi', MY_OWN: '1' }
  const lines = misspelledCheck({ ...FILE, values })
  assert.equal(
    lines.map(({ verdict, detail, fix }) => [verdict, detail, fix]),
    [
      ['fail', '/x/.env sets KEEP_DALY, which nothing reads', 'If KEEP_DAILY is meant, write that.'],
      ['fail', '/x/.env sets DOKKU_AP, which nothing reads', 'If DOKKU_APP is meant, write that.'],
    ],
  )
})

test('what the monitors are taken for is said without their addresses; that there is none is a warning', () => {
  const [none] = monitorChecks({})
  assert.is(none?.verdict, 'warn')
  const lines = monitorChecks({
    HEALTHCHECK_URL: 'https://status.example.org/api/push/geheim?status=up',
    DRILL_HEALTHCHECK_URL: 'https://heartbeat.uptimerobot.com/geheim',
  })
  assert.equal(
    lines.map(({ name, detail }) => `${name}: ${detail}`),
    [
      'monitor: Uptime Kuma: it is told of success and failure',
      'drill monitor: UptimeRobot: it is told of success alone; it hears of a failure by silence',
    ],
  )
})

test.run()
