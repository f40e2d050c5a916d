import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Kit } from '../../../lib/restore/kit/content.ts'
import { dotenvOf, envFileOf, takesImport } from '../../../lib/restore/kit/files.ts'
import { missingOf, runbook } from '../../../lib/restore/kit/runbook.ts'

const test = suite('the runbook')
const SHA = 'a'.repeat(40)
const KIT: Kit = {
  archive: { name: 'book-corners-2026-02-28T03:00:00', start: new Date('2026-02-28T03:00:00Z') },
  flaws: [],
  repository: 'ssh://x1@x1.repo.borgbase.com:2222/./repo',
  manifest: {
    format: '1',
    app: 'book-corners',
    service: 'book-corners-db',
    sha: SHA,
    dokkuVersion: '0.36.10',
    image: 'imresamu/postgis:17-3.6-bookworm',
    serviceOptions: "-c max_connections=100 -c x='1'",
    domains: ['bookcorners.org'],
    links: ['book-corners', 'staging'],
    cron: [{ schedule: '@daily', command: 'python manage.py clear' }],
    plugins: [{ name: 'postgres', version: '1', source: 'https://github.com/dokku/dokku-postgres.git', commit: SHA }],
    mounts: [
      { host: '/srv/it is/media', container: '/app/media', owner: '32767:32767' },
      { host: '/srv/other', container: '/x' },
    ],
    settings: { MEDIA_DIR: '/srv/it is/media', VERIFY_SQL: "SELECT 'x'" },
  },
  hasManifest: true,
  config: { SECRET_KEY: 'S3cret value' },
  dump: { path: 'db.dump', bytes: 5 },
  media: { folder: '/srv/it is/media', files: 1, bytes: 5 },
  noMedia: false,
  passphrase: 'a pass phrase',
}

function shellBlocks(page: string): string[] {
  return [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text)
}

test('its commands can be read by a shell, with the values of the archive in them and no secret', () => {
  const page = runbook(KIT, '/home/me/a kit')
  for (const text of shellBlocks(page)) {
    const { status, stderr } = spawnSync('bash', ['-n'], { input: text })
    assert.is(status, 0, `${text}: ${stderr}`)
  }
  for (const line of [
    'DOKKU_TAG=v0.36.10',
    `dokku plugin:install https://github.com/dokku/dokku-postgres.git --committish ${SHA} --name postgres`,
    'dokku postgres:create book-corners-db --image imresamu/postgis --image-version 17-3.6-bookworm --config-options ',
    // Before 0.37 there is no config:import.
    'install -o dokku -g dokku -m 600 /root/kit/config.env /home/dokku/book-corners/ENV',
    "install -d -o 32767 -g 32767 '/srv/it is/media'",
    "dokku storage:mount book-corners '/srv/it is/media:/app/media'",
    'ssh -p 2222 x1@x1.repo.borgbase.com true',
    '/home/deploy/restore book-corners-2026-02-28T03:00:00 --yes',
    `deploy ${SHA} --no-verify`,
    "scp -rp '/home/me/a kit' ",
  ])
    assert.ok(page.includes(`\n${line}`), line)
  assert.match(page, /come with app\.json: `@daily python manage\.py clear`/)
  assert.not.match(page, /S3cret|a pass phrase/)
  assert.equal(missingOf(KIT), [
    'what was in /srv/other, which the app had mounted: no archive holds it',
    'the app staging, which was linked to the same database: no archive of this app holds it',
    "the setting VERIFY_SQL: its value is in manifest.json, and can't stand in an env file",
  ])
})

test('it ends with a night and a drill that are typed, but with a database away from Dokku a drill is not possible as it is', () => {
  const commands = (kit: Kit): string => shellBlocks(runbook(kit, '/kit')).join('\n')
  const own = commands(KIT)
  assert.match(own, /\| crontab -\n.*--check\n\/home\/deploy\/backup\n\/home\/deploy\/restore --drill\n/)
  const { service, ...manifest } = KIT.manifest
  const away = { ...KIT, manifest: { ...manifest, database: 'db.example.com:5432' } }
  assert.not.match(commands(away), /--drill/)
  assert.match(runbook(away, '/kit'), /A drill .* docs\/growing\.md/)
})

test('a repository that is a folder has to be on the new server before Borg is asked', () => {
  const page = runbook({ ...KIT, repository: '/mnt/a disk/repo' }, '/kit')
  assert.match(
    page,
    /as root:\*\*\n```sh\nls '\/mnt\/a disk\/repo\/config' .*\nchown -R deploy: '\/mnt\/a disk\/repo'\n```/,
  )
  assert.ok(page.indexOf('chown -R deploy:') < page.indexOf('borg list'))
  assert.not.match(runbook(KIT, '/kit'), /chown/)
})

test('the copy of a repository that is a folder finds its place on a server that has nothing there yet', () => {
  const root = mkdtempSync(join(tmpdir(), 'bc-runbook-'))
  try {
    const repository = join(root, "old/a disk/it's/repo")
    mkdirSync(repository, { recursive: true })
    writeFileSync(join(repository, 'config'), '')
    const [, copy = ''] = /from the machine that has one, `([^`]+)`/.exec(runbook({ ...KIT, repository }, '/kit')) ?? []
    // The new server is a folder: what stands below `old` on the one stands below `new` on the other.
    const there = `sed 's:${root}/old:${root}/new:'`
    mkdirSync(join(root, 'bin'))
    writeFileSync(join(root, 'bin/ssh'), `#!/bin/sh\nshift\nsh -c "$(echo "$*" | ${there})"\n`, { mode: 0o755 })
    writeFileSync(join(root, 'bin/scp'), `#!/bin/sh\ncp -rp "$2" "$(echo "\${3#*:}" | ${there})"\n`, { mode: 0o755 })
    const { status, stderr } = spawnSync('bash', ['-c', copy], {
      env: { PATH: `${root}/bin:/usr/bin:/bin`, DOKKU_HOST: 'new' },
    })
    assert.is(status, 0, `${copy}: ${stderr}`)
    assert.ok(existsSync(join(root, "new/a disk/it's/repo/config")))
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('how to become deploy is said before it is needed, and the log is rotated as docs/setup.md has it', () => {
  const page = runbook(KIT, '/kit')
  assert.ok(page.indexOf('`su - deploy`') < page.indexOf('**On the new server, as deploy:**'))
  const rotation = /^cat > \/etc\/logrotate\.d\/[\s\S]*?^END$/m
  const setup = readFileSync(new URL('../../../docs/setup.md', import.meta.url), 'utf8')
  assert.is(rotation.exec(page)?.[0], rotation.exec(setup)?.[0])
  assert.match(rotation.exec(page)?.[0] ?? '', 'book-corners-backup.log {')
})

test('what the laptop needs is what the page of the setup has: the PATH line', () => {
  assert.match(runbook(KIT, '/kit'), /its `bin` folder on the PATH: docs\/setup\.md, “The laptop”/)
  assert.match(
    readFileSync(new URL('../../../docs/setup.md', import.meta.url), 'utf8'),
    /^## The laptop$[\s\S]*?^PATH=\$PATH:\S+\/bin$/m,
  )
})

test('of an archive that holds none of it, each step asks for what it needs', () => {
  const { app, service = '' } = KIT.manifest
  const kit: Kit = {
    ...KIT,
    manifest: { format: '1', app, service },
    hasManifest: false,
    config: undefined,
    passphrase: undefined,
    dump: undefined,
  }
  const page = runbook(kit, '/kit')
  const missing = missingOf(kit)
  assert.is(missing.length, 7, missing.join('\n'))
  for (const one of missing) {
    assert.ok(page.includes(`- ${one}\n`), one)
    const step = /step “(.*?)”/.exec(one)?.[1]
    if (step) assert.match(page, new RegExp(`^## \\d+\\. ${step}$`, 'm'))
  }
  for (const variable of ['DOKKU_TAG', 'IMAGE', 'TAG', 'DOMAINS', 'THERE', 'SHA'])
    assert.match(page, new RegExp(`\\$\\{${variable}:\\?`), variable)
  assert.match(page, /read -rsp "The repository's passphrase: "/)
  assert.match(page, /restore book-corners-2026-02-28T03:00:00 --media-only --yes/)
  for (const text of shellBlocks(page)) assert.is(spawnSync('bash', ['-n'], { input: text }).status, 0, text)
})

test("the configuration is written as Dokku's own file has it: double quotes, backslashes", () => {
  assert.is(
    dotenvOf({ A: 'plain', B: 'a"b\\c$d`e!\n\r\nf', C: '' }),
    'A="plain"\nB="a\\"b\\\\c\\$d\\`e\\!\\n\\r\\nf"\nC=""\n',
  )
  assert.equal(['0.36.10', '0.37.0', '0.38.27', '1.0', undefined].map(takesImport), [false, true, true, true, true])
})

test('the settings are those that bash reads alike; what it would not is left out', () => {
  assert.is(
    envFileOf(KIT),
    "BORG_REPO='ssh://x1@x1.repo.borgbase.com:2222/./repo'\nBORG_PASSPHRASE='a pass phrase'\nMEDIA_DIR='/srv/it is/media'\n",
  )
  assert.not.match(envFileOf({ ...KIT, passphrase: "it's" }), /PASSPHRASE/)
})

test.run()
