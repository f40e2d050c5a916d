import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { explain, isWarningOnly, sortWarnings, Unavailable } from '../../lib/borg/errors.ts'
import { type Message, parseMessages } from '../../lib/borg/output.ts'

const test = suite('borg errors')
const output = { exitCode: 2, signal: null, stdout: '', stderr: '' }

/** As Borg 1.2 tells of an error that it does not know: the error, then its machine. */
const TRACEBACK = `Traceback (most recent call last):

  File "/usr/lib/python3/dist-packages/borg/repository.py", line 1327, in segment_iterator
    dirs = os.listdir(data_path)
           ^^^^^^^^^^^^^^^^^^^^^

NotADirectoryError: [Errno 20] Not a directory: '/srv/borg/data'
`
/** A connection that is cut while an archive is stored: Borg fails once more while it ends. */
const CUT = `Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/borg/remote.py", line 828, in call_many
    raise ConnectionClosed()
borg.remote.ConnectionClosed: Connection closed by remote host

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/borg/remote.py", line 417, in write
    written = os.write(fd, to_send)
BrokenPipeError: [Errno 32] Broken pipe
`
const MACHINE = `Platform: Linux vm 6.1 x86_64
Borg: 1.2.4  Python: CPython 3.11.2 msgpack: 1.0.3 fuse: None [pyfuse3,llfuse]
SSH_ORIGINAL_COMMAND: None
`

const CAUSES: [msgid: string, message: string, says: RegExp, next: RegExp][] = [
  ['Repository.DoesNotExist', 'Repository /r does not exist.', /does not exist/, /^Check BORG_REPO for a typo\.$/],
  ['DoesNotExist', 'Repository /r does not exist.', /repository does not exist/i, /^Check BORG_REPO for a typo\.$/],
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
  ['PathNotAllowed', 'Repository path not allowed: /r', /may not use that repository/, /authorized_keys/],
  ['NotADirectoryError', TRACEBACK, /exit status 2: NotADirectoryError: .*'\/srv\/borg\/data'$/, /borg info/],
  ['', `${TRACEBACK}\n${MACHINE}`, /exit status 2: NotADirectoryError: .*'\/srv\/borg\/data'$/, /borg info/],
  ['', `${CUT}\n${MACHINE}`, /can't be reached: ConnectionClosed: Connection closed by remote host/, /borg info/],
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

/** Whether it may go by itself. */
for (const [msgid, message, remote, passes] of [
  ['LockTimeout', 'Failed to create/acquire the lock /r/lock (timeout).', '', true],
  ['ConnectionClosedWithHint', 'Connection closed by remote host.', '', true],
  ['ConnectionClosedWithHint', 'Connection closed', 'ssh: connect to host h port 22: Connection refused', true],
  ['ConnectionClosedWithHint', 'Connection closed', 'ssh: Could not resolve hostname h: Temporary failure', true],
  ['ConnectionClosedWithHint', 'Connection closed', 'Timeout, server h not responding.', true],
  ['ConnectionClosedWithHint', 'Connection closed', 'x1@h: Permission denied (publickey).', false],
  ['ConnectionClosedWithHint', 'Connection closed', 'bash: borg: command not found', false],
  ['ConnectionClosedWithHint', 'Connection closed', 'Host key verification failed.', false],
  ['PassphraseWrong', 'passphrase supplied in … is incorrect.', '', false],
  ['StorageQuotaExceeded', 'The storage quota (1 MB) has been exceeded.', '', false],
  ['Repository.DoesNotExist', 'Repository /r does not exist.', '', false],
] as const)
  test(`${msgid}, ${remote || message} ${passes ? 'may go by itself' : 'stays'}`, () => {
    const messages = [
      ...(remote ? [{ message: `Remote: ${remote}` }] : []),
      { type: 'log_message', levelname: 'ERROR', msgid, message },
    ]
    assert.is(explain(output, messages, '/r', '/x/.env') instanceof Unavailable, passes)
  })

for (const [said, repository, says, next] of [
  [
    'Remote: Host key verification failed.',
    'ssh://x1@x1.repo.borgbase.com/./repo',
    /is not known to this user/,
    /this user: ssh x1@x1\.repo\.borgbase\.com\. Compare/,
  ],
  [
    'Remote: No ED25519 host key is known for h and you have requested strict checking.',
    'ssh://h:2222/r',
    /is not known/,
    /ssh -p 2222 h\. /,
  ],
  [
    'Remote: @ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nRemote: Host key verification failed.',
    'x1@h:r',
    /not the one that is known/,
    /ssh x1@h\. Only if/,
  ],
] as const)
  test(`explained: a host key, ${repository}`, () => {
    const messages = [
      ...parseMessages(said),
      {
        type: 'log_message',
        levelname: 'ERROR',
        msgid: 'ConnectionClosedWithHint',
        message: 'Connection closed by remote host.',
      },
    ]
    const failure = explain(output, messages, repository, '/home/deploy/.env.backup')
    assert.match(failure.message, says)
    assert.match(failure.hint, next)
  })

test("an error's own words are told, not those around it", () => {
  const error = (message: string, msgid?: string): Message => ({
    levelname: 'ERROR',
    message,
    ...(msgid ? { msgid } : {}),
  })
  const messages = [error('Local Exception', 'Exception'), error(TRACEBACK), error(`Borg server: ${MACHINE}${MACHINE}`)]
  assert.match(explain(output, messages, '/r', '/env').message, /exit status 2: NotADirectoryError/)
})

test('a file that changed is harmless, one that cannot be read is a hole, and one that was deleted is not', () => {
  const warning = (message: string, msgid?: string): Message => ({
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
  assert.is(isWarningOnly(parseMessages('Traceback (most recent call last):\n  …\nValueError: x')), false)
  assert.is(isWarningOnly(parseMessages('{"type":"log_message","levelname":"WARNING","message":"x"}')), true)
})

test.run()
