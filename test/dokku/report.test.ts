import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseManifest } from '../../lib/dokku/manifest.ts'
import { readAnswers, readVariables } from '../../lib/dokku/report.ts'

const test = suite('how an app stands')

test('the reports of Dokku 0.36 are read, where plugins come as a table', () => {
  const facts = readAnswers({
    plugins: `plugn: dev
  00_dokku-standard    0.36.10 enabled    dokku core standard plugin
  letsencrypt          0.22.0 enabled    Automated installation of let's encrypt TLS certificates
  postgres             1.41.0 enabled    dokku postgres service plugin
`,
    service: `       Config dir:          /var/lib/dokku/services/postgres/db/data
       Config options:
       Dsn:                 postgres://postgres:SECRET@dokku-postgres-db:5432/db
       Links:               book-corners
       Version:             imresamu/postgis:17-3.6-bookworm
`,
    domains: `       Domains app enabled:           true
       Domains app vhosts:            bookcorners.org www.bookcorners.org
       Domains global enabled:        false
       Domains global vhosts:
`,
    ports:
      '       Ports map:                     http:80:8000 https:443:8000\n       Ports map detected:            http:80:5000\n',
    mounts: '/var/lib/dokku/data/storage/media:/app/media\n       data:/data:ro\n',
    scale: 'web:  1\nworker: 2\n',
    checks: '       Checks disabled list:          worker,cron\n       Checks skipped list:           none\n',
    git: '       Git deploy branch:             main\n       Git global deploy branch:      master\n',
    letsencrypt:
      '       Letsencrypt active:            true                     \n       Letsencrypt computed email:    ops@bookcorners.org\n',
    cron: '[{"id":"x","app":"book-corners","command":"python manage.py clear","schedule":"@daily"}]\n',
  })
  assert.equal(facts, {
    dokkuVersion: '0.36.10',
    plugins: [
      { name: 'letsencrypt', version: '0.22.0' },
      { name: 'postgres', version: '1.41.0' },
    ],
    image: 'imresamu/postgis:17-3.6-bookworm',
    serviceOptions: undefined,
    links: ['book-corners'],
    domains: ['bookcorners.org', 'www.bookcorners.org'],
    ports: ['http:80:8000', 'https:443:8000'],
    mounts: [
      { host: '/var/lib/dokku/data/storage/media', container: '/app/media' },
      { host: 'data', container: '/data', options: 'ro' },
    ],
    scale: { web: 1, worker: 2 },
    checks: { disabled: ['worker', 'cron'], skipped: [] },
    deployBranch: 'main',
    cron: [{ schedule: '@daily', command: 'python manage.py clear' }],
    letsencryptEmail: 'ops@bookcorners.org',
  })
  assert.not.match(JSON.stringify(facts), 'SECRET')
})

test('what was not answered, or in other words, is not known', () => {
  assert.equal(
    Object.values(readAnswers({ cron: 'no JSON', domains: '', ports: 'nothing' })).filter(
      (value) => value !== undefined,
    ),
    [],
  )
})

test('of the variables those stay that neither Dokku nor the link of a service sets', () => {
  const values = { SECRET_KEY: "a'b\n", PORT: '5000', DOKKU_LETSENCRYPT_EMAIL: 'a@b' }
  const own = { GIT_REV: 'abc', DOKKU_APP_TYPE: 'dockerfile', DOKKU_PROXY_PORT: '80' }
  const linked = {
    DATABASE_URL: 'postgres://postgres:x@dokku-postgres-db:5432/db',
    CACHE_URL: 'redis://:x@dokku-redis-my-cache:6379',
  }
  const far = { REPLICA_URL: 'postgres://u:p@db.example.org/x' }
  assert.equal(readVariables(JSON.stringify({ ...values, ...own, ...linked, ...far })), {
    values: { ...values, ...far },
    linked: { DATABASE_URL: 'postgres db', CACHE_URL: 'redis my-cache' },
  })
  assert.is(readVariables('SECRET'), undefined)
})

test('what would be a command of another meaning is not taken out of a manifest', () => {
  const good = { format: '1', app: 'book-corners', service: 'db', sha: 'a'.repeat(40) }
  assert.equal(parseManifest(JSON.stringify(good)), good)
  for (const [key, value] of Object.entries({
    sha: '$(id)',
    image: 'a:b; id',
    domains: ['a.org', '`id`'],
    ports: ['http:80:5000 x'],
    letsencryptEmail: "a@b'$(id)",
    deployBranch: '--force',
    scale: { web: '1; id' },
    serviceOptions: 'a\n```\nid',
    plugins: [{ name: '-x', version: '1' }],
    mounts: [{ host: '/a\n', container: '/b' }],
  }))
    assert.is(parseManifest(JSON.stringify({ ...good, [key]: value }))?.[key as 'sha'], undefined, key)
  for (const bad of [{ ...good, app: 'a; id' }, { ...good, format: '2' }, 'x', null])
    assert.is(parseManifest(JSON.stringify(bad)), undefined)
  const { plugins } = parseManifest(
    JSON.stringify({ ...good, plugins: [{ name: 'p', version: '1', source: 'https://user:token@git.example.org/p' }] }),
  ) as { plugins?: unknown }
  assert.equal(plugins, [{ name: 'p', version: '1' }])
})

test.run()
