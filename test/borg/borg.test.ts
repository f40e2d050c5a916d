import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import * as borg from '../../lib/borg/borg.ts'
import * as commands from '../../lib/borg/commands.ts'
import { explain, isWarningOnly, sortWarnings } from '../../lib/borg/errors.ts'
import { prunable } from '../../lib/borg/retention.ts'
import { createShell } from '../../lib/core/shell.ts'

const test = suite('borg')
const output = { exitCode: 2, signal: null, stdout: '', stderr: '' }

test('create reads the dump from stdin under a relative name, beside the media folder', () => {
  assert.equal(
    commands.createArgs({
      archive: 'book-corners-2026-02-28T03:00:00',
      comment: '{"sha":"abc"}',
      compression: 'zstd,3',
      chunkerParams: 'buzhash,10,23,16,4095',
      mediaDir: '/srv/media',
      progress: false,
    }),
    [
      ...[
        'create',
        '--log-json',
        '--lock-wait',
        '10',
        '--json',
        '--comment',
        '{{"sha":"abc"}}',
        '--compression',
        'zstd,3',
      ],
      ...[
        '--chunker-params',
        'buzhash,10,23,16,4095',
        '--stdin-name',
        'db.dump',
        '--stdin-mode',
        '0600',
        '--exclude',
        'pp:/srv/media/.restoring',
      ],
      ...['::book-corners-2026-02-28T03:00:00', '-', '/srv/media'],
    ],
  )
})

test('prune and list keep to the names this tool gives', () => {
  const glob = 'book-corners-????-??-??T??:??:??'
  assert.ok(
    commands
      .pruneArgs('book-corners', { daily: 7, weekly: 4, monthly: 6 })
      .join(' ')
      .endsWith(`--keep-daily=7 --keep-weekly=4 --keep-monthly=6 --glob-archives ${glob}`),
  )
  assert.ok(commands.listArgs('book-corners', 1).includes(glob))
})

for (const [line, version] of [
  ['borg 1.2.4', [1, 2, 4]],
  ['borg 1.4.0\n', [1, 4, 0]],
  ['borg 2.0.0b14', [2, 0, 0]],
  ['bash: borg: command not found', undefined],
] as const)
  test(`version of: ${line.trim()}`, () => assert.equal(borg.parseVersion(line), version))

test('pruned names and bytes are read from the lines of --list and --stats', () => {
  const messages = [
    { message: 'Keeping archive (rule: daily #1):        a-2026-03-01T03:00:00     Sun, 2026-03-01 03:00:00 [79]' },
    { message: 'Pruning archive (1/1):                   a-2026-01-01T03:00:00     Thu, 2026-01-01 03:00:00 [fa]' },
    { message: 'Deleted data:              -43.50 MB            -20.10 MB             -1.25 MB' },
  ]
  assert.equal(borg.parsePruned(messages), ['a-2026-01-01T03:00:00'])
  assert.is(borg.parseDeletedBytes(messages), 1_250_000)
  assert.is(borg.parseDeletedBytes([]), 0)
})

const CAUSES: [msgid: string, message: string, says: RegExp, next: RegExp][] = [
  ['Repository.DoesNotExist', 'Repository /r does not exist.', /does not exist/, /backup --init/],
  ['DoesNotExist', 'Repository /r does not exist.', /repository does not exist/i, /backup --init/],
  ['Archive.DoesNotExist', 'Archive x does not exist', /Archive x/, /restore --list/],
  ['PassphraseWrong', 'passphrase supplied in … is incorrect.', /passphrase .* wrong/, /BORG_PASSPHRASE/],
  ['ConnectionClosedWithHint', 'Connection closed by remote host.', /can't be reached/, /borg info/],
  ['LockTimeout', 'Failed to create/acquire the lock /r/lock (timeout).', /locked/, /borg break-lock/],
  ['StorageQuotaExceeded', 'The storage quota (1 MB) has been exceeded.', /quota/, /borg compact/],
  ['Repository.StorageQuotaExceeded', 'The storage quota …', /quota/, /Raise the quota/],
  ['Repository.InsufficientFreeSpaceError', 'Insufficient free space', /disk is full/, /df -h/],
  ['Exception', 'Local Exception\nOSError: [Errno 28] No space left on device', /disk is full/, /df -h/],
  ['Cache.RepositoryAccessAborted', 'Repository access aborted', /moved/, /BORG_RELOCATED_REPO_ACCESS_IS_OK=yes/],
  ['PasscommandFailure', 'passcommand supplied in BORG_PASSCOMMAND failed', /BORG_PASSCOMMAND failed/, /by hand/],
  ['Repository.AlreadyExists', 'A repository already exists at /r.', /already exists/, /--check/],
  ['IntegrityError', 'Data integrity error: …', /damaged/, /borg check/],
  ['Something.New', 'What nobody has seen', /exit status 2: What nobody has seen/, /borg info/],
]
for (const [msgid, message, says, next] of CAUSES)
  test(`explained: ${msgid}`, () => {
    const failure = explain(
      output,
      [{ type: 'log_message', levelname: 'ERROR', msgid, message }],
      '/r',
      '/home/deploy/.env.backup',
    )
    assert.match(failure.message, says)
    assert.match(failure.hint, next)
  })

test('a file that changed is harmless, one that cannot be read is a hole, and one that was deleted is not', () => {
  const warning = (message: string, msgid?: string): borg.Message => ({
    levelname: 'WARNING',
    message,
    ...(msgid ? { msgid } : {}),
  })
  assert.equal(
    sortWarnings([
      warning('/m/a.jpg: file changed while we backed it up'),
      warning("/m/b.jpg: open: [Errno 13] Permission denied: 'b.jpg'"),
      warning("/m/c.jpg: stat: [Errno 2] No such file or directory: 'c.jpg'"),
      warning('/m/d.jpg: read: [Errno 5] Input/output error', 'BackupIOError'),
      warning('Remote: Warning: Permanently added …'),
    ]),
    {
      unreadable: [
        "/m/b.jpg: open: [Errno 13] Permission denied: 'b.jpg'",
        '/m/d.jpg: read: [Errno 5] Input/output error',
      ],
      harmless: [
        '/m/a.jpg: file changed while we backed it up',
        "/m/c.jpg: stat: [Errno 2] No such file or directory: 'c.jpg'",
      ],
    },
  )
})

test("Borg's exit 1 after a traceback is no warning", () => {
  assert.is(isWarningOnly(borg.parseMessages('Traceback (most recent call last):\n  …\nValueError: x')), false)
  assert.is(isWarningOnly(borg.parseMessages('{"type":"log_message","levelname":"WARNING","message":"x"}')), true)
})

test('a Borg that writes tests itself until that has gone well once, and not again in the same run', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-selftest-'))
  const program = `#!/bin/sh\necho "\${BORG_SELFTEST:-all}" >>'${folder}/log'\nexec /usr/bin/borg "$@"\n`
  await writeFile(join(folder, 'borg'), program, { mode: 0o755 })
  const shell = createShell({ PATH: `${folder}:/usr/bin:/bin`, HOME: folder }, new AbortController().signal)
  const env = { BORG_PASSPHRASE: 'x' }
  const real = borg.createBorg(shell, env, join(folder, 'repo'), '/x/.env')
  await real.call(commands.listArgs('a')).then(
    () => assert.unreachable('there was no repository yet'),
    () => {},
  )
  await real.call(commands.compactArgs()).then(
    () => assert.unreachable('nor is there now'),
    () => {},
  )
  await real.call(commands.initArgs())
  await real.call(commands.compactArgs())
  const asked = (await readFile(join(folder, 'log'), 'utf8')).trim().split('\n')
  assert.equal(asked, ['disabled', 'all', 'all', 'disabled'])
  await rm(folder, { recursive: true })
})

test('the preview of pruning agrees with what Borg does', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bc-prune-'))
  const env = {
    PATH: '/usr/bin:/bin',
    HOME: folder,
    BORG_REPO: join(folder, 'repo'),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
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
  const { stdout } = await shell.run(['borg', ...commands.listArgs('a')])
  const archives = borg.parseList(stdout)
  for (const keep of [
    { daily: 7, weekly: 4, monthly: 6 },
    { daily: 1, weekly: 0, monthly: 0 },
    { daily: 2, weekly: 3, monthly: 2 },
    { daily: 0, weekly: 5, monthly: 0 },
    { daily: 3, weekly: 1, monthly: 20 },
  ]) {
    const [command = '', ...args] = commands.pruneArgs('a', keep).filter((arg) => arg !== '--stats')
    const { stderr } = await shell.run(['borg', command, '--dry-run', ...args])
    const expected = borg.parsePruned(borg.parseMessages(stderr)).sort()
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
