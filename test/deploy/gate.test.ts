// What the gate lets through, one command line at a time: under its own shell, with programs that only say that they were reached.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { quoteAll } from '../../lib/core/quote.ts'
import { VERSION } from '../../lib/core/version.ts'
import { gateScript } from '../../lib/deploy/gate.ts'
import { type Entry, entryLine } from '../../lib/server/ledger.ts'
import * as words from '../../lib/server/words.ts'

const test = suite('the gate')
const [OPS, RELEASE] = ['/home/deploy/ops', '0123456789abcdef'] as const
const folder = mkdtempSync(join(tmpdir(), 'bc-gate-'))
const gate = join(folder, 'gate')
writeFileSync(gate, gateScript({ DOKKU_APP: 'book-corners', DEPLOY_USER: 'deploy', OPS_DIR: OPS }))
// The shells that servers have as /bin/sh.
const SHELLS = ['dash', 'bash']
for (const name of ['dokku', 'sh'])
  writeFileSync(join(folder, name), `#!/bin/dash\nprintf '%s' "${name}" "$*"\n`, { mode: 0o755 })
for (const name of ['sha256sum', 'readlink']) symlinkSync(`/usr/bin/${name}`, join(folder, name))
test.after(() => rmSync(folder, { recursive: true }))

/** What was started by a key that may say `mode`, or the gate's refusal. */
function ask(mode: string, asked: string | undefined, shell = 'dash'): string {
  const env = { PATH: folder, ...(asked === undefined ? {} : { SSH_ORIGINAL_COMMAND: asked }) }
  const { status, stdout, stderr } = spawnSync(`/bin/${shell}`, [gate, mode], { env, encoding: 'utf8' })
  if (status === 0) return stdout
  assert.is(status, words.GATE_REFUSES, `${asked}: ${stderr}`)
  assert.match(stderr, /^The gate of book-corners does not let this key /)
  assert.is(stdout, '')
  return 'refused'
}

const entry: Entry = {
  at: '2026-02-28T10:00:00.000Z',
  kind: 'deploy',
  who: "O'Hara; id",
  from: null,
  to: 'a'.repeat(40),
  subject: `it's "quoted" \`id\` $(id) \\ {"at":"x"}`,
  outcome: 'deployed',
  seconds: 12,
  verified: true,
}
const MADE = [words.askRevision(1), words.askRevision(12), words.setRevision('a'.repeat(40))]
const DOKKU = [...words.DOKKU_WORDS, ...MADE, ...words.GIT_WORDS].map((line) => words.withApp(line, 'book-corners'))
const LEDGER = [
  words.readLedgerLines(OPS),
  words.appendToLedger(OPS, entryLine(entry)),
  words.currentRelease(OPS),
  words.checkBackup(OPS),
  words.takeRestorePoint(OPS, 'book-corners', '0123abcd'),
].map(quoteAll)
const SYNC = [words.sync(OPS, RELEASE, VERSION), words.upload(`${OPS}/releases/${RELEASE}.4711.partial/.`)].map(
  quoteAll,
)

for (const shell of SHELLS)
  test(`under ${shell} it lets through what the scripts say, unchanged`, () => {
    for (const line of DOKKU) assert.is(ask('dokku', line, shell), `dokku${line}`)
    for (const line of LEDGER) assert.is(ask('ledger', line, shell), `sh-c ${line}`)
    for (const line of [...LEDGER, ...SYNC]) assert.is(ask('sync', line, shell), `sh-c ${line}`)
  })

test('no key may say what is for another user, or for a key that may do more', () => {
  for (const line of [...LEDGER, ...SYNC]) assert.is(ask('dokku', line), 'refused')
  for (const line of DOKKU) for (const mode of ['ledger', 'sync']) assert.is(ask(mode, line), 'refused')
  for (const line of SYNC) assert.is(ask('ledger', line), 'refused')
  for (const line of DOKKU) for (const mode of ['', 'shell', 'DOKKU']) assert.is(ask(mode, line), 'refused')
})

/** Ways to say more than what is let through. */
function stretched(line: string): string[] {
  return [
    ...[
      '; id',
      ';id',
      ' && id',
      ' | sh',
      ' & id',
      '\nid',
      '\n',
      ' ',
      ' extra',
      ' -- extra',
      ' $(id)',
      '`id`',
      " 'x'",
      "'",
      '"',
    ].map((more) => line + more),
    ...['id; ', 'id\n', '\n', ' ', '-- ', '--trace ', 'env X=1 ', 'exec ', 'sudo '].map((more) => more + line),
    line.replace(' ', '  '),
    line.replace(' ', '\t'),
    line.replace(' ', '\n'),
    line.replaceAll('book-corners', 'other'),
    line.replaceAll('book-corners', 'book-corner?'),
    line.replaceAll('book-corners', '*'),
    line.replaceAll('/home/deploy', '/home/deploy/..'),
    line.toUpperCase(),
    line.slice(0, -6),
    line.slice(1),
    `sh -c '${line}'`,
  ].filter((changed) => changed !== line)
}

for (const shell of SHELLS)
  test(`under ${shell} nothing more can be said by what is added to it or changed in it`, () => {
    for (const line of DOKKU) for (const more of stretched(line)) assert.is(ask('dokku', more, shell), 'refused', more)
    for (const line of [...LEDGER, ...SYNC])
      for (const more of stretched(line)) assert.is(ask('sync', more, shell), 'refused', more)
  })

const HOSTILE_DOKKU = [
  undefined,
  '',
  'help',
  'config:show book-corners',
  'config:export book-corners',
  'config:get book-corners DATABASE_URL',
  'config:get book-corners GIT_REV DATABASE_URL',
  'config:set book-corners X=1',
  'run book-corners sh',
  'enter book-corners web sh',
  'enter book-corners web printenv',
  'enter book-corners worker printenv GIT_REV',
  'enter book-corners worker.1 printenv GIT_REV',
  'enter book-corners web. printenv GIT_REV',
  'enter book-corners web.1 sh -c id; printenv GIT_REV',
  'enter book-corners web.1 printenv DATABASE_URL',
  'enter other web.1 printenv GIT_REV',
  'config:set --no-restart book-corners GIT_REV=',
  'config:set --no-restart book-corners GIT_REV=HEAD',
  `config:set --no-restart book-corners GIT_REV=${'a'.repeat(40)} X=1`,
  `config:set --no-restart book-corners X=${'a'.repeat(40)}`,
  `config:set book-corners GIT_REV=${'a'.repeat(40)}`,
  'storage:mount book-corners /:/host',
  'docker-options:add book-corners deploy --privileged',
  'postgres:export book-corners-db',
  'apps:destroy book-corners --force',
  'ps:rebuild --all',
  'ssh-keys:add mine',
  '--app other ps:rebuild book-corners',
  "git-receive-pack 'other'",
  "git-receive-pack '../other'",
  "git-receive-pack 'book-corners' 'other'",
  'git-receive-pack book-corners',
  "git-upload-archive 'book-corners'",
  "git receive-pack 'book-corners'",
  'git:from-image book-corners evil/image',
]

const HOSTILE_OPS = [
  undefined,
  '',
  'sh',
  'bash -l',
  'cat /home/deploy/.env.backup',
  'sudo dokku run book-corners sh',
  '/usr/lib/openssh/sftp-server',
  'internal-sftp',
  '/home/deploy/backup',
  '/home/deploy/backup --check',
  '/home/deploy/backup --check --json --env-file /tmp/mine',
  '/home/deploy/restore --yes',
  '/home/deploy/backup --restore-point 0123abcd',
  ...['0123abc', '0123abcde', '0123ABCD', '0123abc;', '--accept', '../../xx', '$(id)   ', '*'].map((label) =>
    quoteAll(words.takeRestorePoint(OPS, 'book-corners', 'LABEL')).replace('LABEL', () => label),
  ),
  'rsync --server . /home/deploy',
  "git-receive-pack 'book-corners'",
  `scp -t ${OPS}/releases/${RELEASE}.1.partial/.`,
  `scp -r -d -f ${OPS}/releases/${RELEASE}.1.partial/.`,
  'scp -r -d -t /home/deploy/.ssh/.',
  `scp -r -d -t ${OPS}/releases/.`,
  `scp -r -d -t ${OPS}/releases/${RELEASE}/.`,
  `scp -r -d -t ${OPS}/releases/${RELEASE}.partial/.`,
  `scp -r -d -t ${OPS}/releases/1234567890123456.partial/.`,
  `scp -r -d -t ${OPS}/releases/${RELEASE}..partial/.`,
  `scp -r -d -t ${OPS}/releases/${RELEASE}.1.2.partial/.`,
  `scp -r -d -t ${OPS}/releases/../../.ssh.1.partial/.`,
  `scp -r -d -t ${OPS}/releases/${RELEASE}.1/../../../.ssh/x.partial/.`,
  `scp -r -d -t ${OPS}/releases/${RELEASE}.1.partial/. /home/deploy/.ssh/x.partial/.`,
  `scp -r -d -t ${OPS}/releases/${RELEASE}.$(id).partial/.`,
  ...[
    '{"at":"',
    '{"at":"x"}\' \'{"at":"y"}',
    '{"at":"x"}\'; id; echo \'"}',
    '{"at":"x\n"}',
    '{"other":"x"}',
    '',
    '$(id)',
  ].map((line) => quoteAll(words.appendToLedger(OPS, '{}')).replace('{}', () => line)),
  ...['0123456789abcde', '0123456789abcdeg', '0123456789ABCDEF', `${RELEASE}0`, '../../../../x/0000', '$(id)', '*'].map(
    (release) => quoteAll(words.sync(OPS, 'RELEASE', VERSION)).replace('RELEASE', () => release),
  ),
  ...['', '1.0.0;id', '$(id)', "'1.0.0'", '*'].map((version) =>
    quoteAll(words.sync(OPS, RELEASE, 'VERSION')).replace('VERSION', () => version),
  ),
  quoteAll(words.sync(OPS, RELEASE, VERSION)).replace('npm ci', 'npm  ci'),
  quoteAll(words.sync('/home/deploy/other', RELEASE, VERSION)),
  `${RELEASE} ${VERSION}`,
  ` ${RELEASE} ${VERSION}`,
]

test('it refuses what a thief would say', () => {
  for (const asked of HOSTILE_DOKKU) assert.is(ask('dokku', asked), 'refused', asked)
  for (const asked of HOSTILE_OPS) for (const mode of ['ledger', 'sync']) assert.is(ask(mode, asked), 'refused', asked)
})

test('OPS_DIR and the app may have any name that the settings take', () => {
  const odd = "/srv/it's $HOME `id`/ops *"
  writeFileSync(join(folder, 'odd'), gateScript({ DOKKU_APP: 'my.app', DEPLOY_USER: 'ops', OPS_DIR: odd }))
  for (const [mode, line] of [
    ['dokku', 'logs my.app --tail'],
    ['ledger', quoteAll(words.appendToLedger(odd, entryLine(entry)))],
    ['ledger', quoteAll(words.checkBackup(odd))],
    ['sync', quoteAll(words.sync(odd, RELEASE, VERSION))],
    ['sync', quoteAll(words.upload(`${odd}/releases/${RELEASE}.1.partial/.`))],
  ] as const) {
    const env = { PATH: folder, SSH_ORIGINAL_COMMAND: line }
    const { status, stderr } = spawnSync('/bin/dash', [join(folder, 'odd'), mode], { env, encoding: 'utf8' })
    assert.is(status, 0, stderr)
  }
})

test.run()
