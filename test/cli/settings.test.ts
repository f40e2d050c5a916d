import { readFileSync } from 'node:fs'
import { parse } from 'dotenv'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RETENTION_SETTINGS } from '../../lib/borg/retention.ts'
import { bashisms, type EnvFile } from '../../lib/cli/env-file.ts'
import { checkSettings, readSettings, SETTINGS, type SettingName, secretValues } from '../../lib/cli/settings.ts'
import { Failure } from '../../lib/core/failure.ts'

const test = suite('settings')
const ALL = Object.keys(SETTINGS) as SettingName[]

function file(values: Record<string, string> = {}): EnvFile {
  return { path: '/x/.env', exists: true, values, problems: [] }
}

const REQUIRED = { BORG_REPO: '/repo', BORG_PASSPHRASE: 'p', DOKKU_HOST: 'vps.example.org' }

test('the environment comes before the env file, the file before the default, and empty is unset', () => {
  const names = ['DOKKU_APP', 'DB_SERVICE', 'SITE_URL', 'KEEP_DAILY'] as const
  const settings = readSettings(
    names,
    { DOKKU_APP: 'from-env', DB_SERVICE: '' },
    file({ DOKKU_APP: 'from-file', DB_SERVICE: 'from-file', SITE_URL: 'http://127.0.0.1:8000/' }),
  )
  assert.equal(settings, {
    DOKKU_APP: 'from-env',
    DB_SERVICE: 'from-file',
    SITE_URL: 'http://127.0.0.1:8000',
    KEEP_DAILY: 7,
  })
})

test('all problems are reported at once, with exit status 2, and without a value', () => {
  try {
    readSettings(ALL, { KEEP_DAILY: 'hunter2', DUMP_MODE: 'hunter2', CLOUDFLARE_API_TOKEN: 'hunter2' }, file())
    assert.unreachable()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    assert.is(error.exitCode, 2)
    for (const key of ['BORG_REPO', 'BORG_PASSPHRASE', 'KEEP_DAILY', 'DUMP_MODE', 'DOKKU_HOST', 'CLOUDFLARE_API_TOKEN'])
      assert.match(error.message, key)
    assert.not.match(error.message, 'hunter2')
  }
})

for (const [key, value, says] of [
  ['DOKKU_HOST', 'vps.example.org', undefined],
  ['DOKKU_HOST', 'vps.example.org:2222', undefined],
  ['DOKKU_HOST', 'vps.example.org:0', /must be a host name, or HOST:PORT/],
  ['DOKKU_HOST', 'vps.example.org:65536', /HOST:PORT/],
  ['DOKKU_HOST', 'vps.example.org:', /HOST:PORT/],
  ['DOKKU_HOST', '-oProxyCommand=x', /HOST:PORT/],
  ['DOKKU_HOST', 'dokku@vps.example.org', /HOST:PORT/],
  ['CLOUDFLARE_API_TOKEN', 'abc_DEF-123', undefined],
  ['CLOUDFLARE_API_TOKEN', 'abc\n', undefined],
  ['CLOUDFLARE_API_TOKEN', 'abc\u200b', /a character \(U\+200B\)/],
  ['CLOUDFLARE_API_TOKEN', '\ufeffabc\u200b', /a character \(U\+200B\)/],
  ['CLOUDFLARE_API_TOKEN', 'abc\ndef', /a blank or a line break \(U\+000A\)/],
  ['CLOUDFLARE_API_TOKEN', 'Bearer abc', /a blank or a line break \(U\+0020\)/],
  ['CLOUDFLARE_API_TOKEN', 'abc\u00a0def', /\(U\+00A0\)/],
] as const)
  test(`${key} ${JSON.stringify(value)} is ${says ? 'refused' : 'taken'}`, () => {
    const { problems } = checkSettings([key], { [key]: value, CLOUDFLARE_ZONE_ID: 'zone' }, file())
    if (!says) return assert.equal(problems, [])
    assert.is(problems.length, 1)
    assert.match(problems[0] ?? '', says)
    assert.not.ok((problems[0] ?? '').includes('abc'))
  })

test('where to fix it: in the environment, in the file, or as another user', () => {
  const hintOf = (environment: Record<string, string>, more: Partial<EnvFile>): string => {
    try {
      readSettings(['BORG_REPO', 'KEEP_DAILY'], environment, { ...file(), ...more })
    } catch (error) {
      if (error instanceof Failure) return `${error.message}\n${error.hint}`
    }
    throw new Error('It was accepted.')
  }
  assert.match(hintOf({ KEEP_DAILY: 'x' }, {}), /KEEP_DAILY must be .* \(it is set in the environment\)\./)
  assert.match(hintOf({}, { values: { KEEP_DAILY: 'x' } }), /KEEP_DAILY must be [^(]*\.\nFix them in \/x\/\.env\./)
  assert.match(hintOf({}, { exists: false }), /copy \.env\.backup\.example to \/x\/\.env/)
  assert.match(hintOf({}, { denied: true }), /\/x\/\.env can't be read by this user: run this as its owner/)
})

test('a script is not asked for the settings of another', () => {
  assert.equal(checkSettings(['SITE_URL'], { KEEP_DAILY: 'x' }, file()).problems, [])
})

const BAD: [key: SettingName, value: string][] = [
  ['KEEP_DAILY', '-1'],
  ['KEEP_DAILY', '1.5'],
  ['KEEP_WITHIN', '2'],
  ['KEEP_WITHIN', '0d'],
  ['KEEP_WITHIN', '2h'],
  ['CHECK_EVERY_DAYS', 'weekly'],
  ['PRUNE', 'never'],
  ['MEDIA_DIR', 'media'],
  ['MEDIA_DIR', '/var/../etc'],
  ['MEDIA_OWNER', 'www-data'],
  ['OPS_DIR', 'ops'],
  ['OPS_DIR', '/srv/ops#1'],
  ['OPS_DIR', '/srv/ops?'],
  ['OPS_DIR', '/srv/50%'],
  ['ARCHIVE_PREFIX', 'book corners'],
  ['ARCHIVE_PREFIX', 'book*'],
  ['COMPRESSION', 'fast'],
  ['CHUNKER_PARAMS', '10,23'],
  ['SITE_URL', 'bookcorners.org'],
  ['SITE_URL', 'https://bookcorners.org/map/'],
  ['SITE_URL', 'https://me:secret@bookcorners.org'],
  ['HEALTHCHECK_URL', 'ftp://x'],
  ['HEALTHCHECK_URL', 'https://user:pw@hc-ping.com/uuid'],
  ['DRILL_HEALTHCHECK_URL', 'https://user@hc-ping.com/uuid'],
  ['CLOUDFLARE_API_URL', 'https://user:pw@api.cloudflare.com/client/v4'],
  ['DOKKU_APP', '--app'],
  ['DB_SERVICE', '-x'],
  ['DOKKU_HOST', '-oProxyCommand=x'],
  ['DEPLOY_BRANCH', '-f'],
  ['BORG_REPO', '/repo::archive'],
  ['DUMP_STALL_SECONDS', '0'],
]
for (const [key, value] of BAD)
  test(`${key}=${value} is refused`, () => {
    assert.is(checkSettings([key], { [key]: value }, file()).problems.length, 1)
  })

test('keeping nothing at all is refused', () => {
  const keep = { KEEP_DAILY: '0', KEEP_WEEKLY: '0', KEEP_MONTHLY: '0' }
  assert.match(
    checkSettings(['KEEP_DAILY', 'KEEP_WEEKLY', 'KEEP_MONTHLY'], keep, file()).problems.join(),
    /every archive/,
  )
  const all = [...RETENTION_SETTINGS, 'PRUNE'] as const
  assert.match(checkSettings(all, keep, file()).problems.join(), /KEEP_HOURLY.*every archive/)
  for (const more of [{ PRUNE: 'no' }, { KEEP_WITHIN: '2d' }, { KEEP_HOURLY: '1' }, { KEEP_YEARLY: '1' }])
    assert.equal(checkSettings(all, { ...keep, ...more }, file()).problems, [])
})

test('an interval is read as Borg reads it', () => {
  for (const [text, hours] of [
    ['36H', 36],
    ['2d', 48],
    ['1w', 168],
    ['1m', 744],
    ['2y', 17_520],
  ] as const)
    assert.is(readSettings(['KEEP_WITHIN'], { KEEP_WITHIN: text }, file()).KEEP_WITHIN, hours)
})

test('one of the two Cloudflare settings alone is an error', () => {
  const names = ['CLOUDFLARE_ZONE_ID', 'CLOUDFLARE_API_TOKEN'] as const
  assert.is(checkSettings(names, {}, file()).problems.length, 0)
  assert.match(
    checkSettings(names, { CLOUDFLARE_ZONE_ID: 'abc' }, file()).problems.join(),
    /without CLOUDFLARE_API_TOKEN/,
  )
})

test('DATABASE_URL stands in place of DB_SERVICE, gives it its name, and is a secret', () => {
  const DATABASE_URL = 'postgres://app:p%40ssw0rd@db.example.com:5433/books'
  const names = ['DB_SERVICE', 'DATABASE_URL'] as const
  const read = (values: Record<string, string>) => checkSettings(names, {}, file(values))
  const { settings, problems } = read({ DATABASE_URL })
  assert.equal([settings.DB_SERVICE, problems], ['db.example.com:5433/books', []])
  assert.is(read({}).settings.DB_SERVICE, 'book-corners-db')
  assert.match(read({ DATABASE_URL, DB_SERVICE: 'book-corners-db' }).problems.join(), /are both set/)
  // A wrong one must not lead to the default's database.
  const wrong = read({ DATABASE_URL: 'db.example.com' })
  assert.equal([wrong.problems.length, wrong.settings.DB_SERVICE], [1, undefined])
  assert.equal(
    [...new Set(secretValues({}, file({ DATABASE_URL })))].sort(),
    [DATABASE_URL, 'p%40ssw0rd', 'p@ssw0rd'].sort(),
  )
})

test('.env.backup.example shows every setting with its default, and is read alike by bash', () => {
  const text = readFileSync(new URL('../../.env.backup.example', import.meta.url), 'utf8')
  assert.equal(bashisms(text), [])
  const shown = parse(text.replace(/^# ?([A-Z_]+=)/gm, '$1'))
  assert.equal(Object.keys(shown).sort(), [...ALL].sort())
  for (const key of ALL) {
    const setting = SETTINGS[key]
    if ('default' in setting) assert.is(shown[key], setting.default, key)
  }
  assert.equal(checkSettings(ALL, REQUIRED, file(parse(text))).problems, [])
  // Copied unchanged, it is refused: everybody knows that passphrase.
  assert.equal(checkSettings(ALL, { DOKKU_HOST: REQUIRED.DOKKU_HOST }, file(parse(text))).problems, [
    'BORG_REPO is still the example of .env.backup.example: replace it.',
    'BORG_PASSPHRASE is still the example of .env.backup.example: replace it.',
  ])
})

test('what no log may show: passphrases, the token, and the addresses of the monitor, wherever they are set', () => {
  const environment = { BORG_NEW_PASSPHRASE: 'n', HEALTHCHECK_URL: 'https://hc-ping.com/uuid', BORG_REPO: '/repo' }
  const values = { BORG_PASSPHRASE: 'p', CLOUDFLARE_API_TOKEN: 't', DRILL_HEALTHCHECK_URL: 'https://x/y' }
  assert.equal([...new Set(secretValues(environment, file(values)))].sort(), [
    'https://hc-ping.com/uuid',
    'https://x/y',
    'n',
    'p',
    't',
  ])
})

test('without an env file the hint is for the machine at hand: an engineer has no env file of the server', () => {
  const none = { ...file(), exists: false, path: '/home/deploy/.env.backup' }
  const hintFor = (name: 'DOKKU_HOST' | 'BORG_REPO'): string => {
    try {
      readSettings([name], {}, none)
    } catch (error) {
      return (error as Failure).hint
    }
    return ''
  }
  assert.match(hintFor('DOKKU_HOST'), /export DOKKU_HOST=HOST/)
  assert.not.match(hintFor('DOKKU_HOST'), /\/home\/deploy/)
  assert.match(hintFor('BORG_REPO'), /copy \.env\.backup\.example to \/home\/deploy\/\.env\.backup/)
})

test.run()
