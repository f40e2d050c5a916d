// Fuzz cases of answers: what Borg, Dokku, PostgreSQL, git and files of ours say, in another shape than expected.
import { archiveJson, archiveListing, listAll } from '../../lib/borg/archives.ts'
import { createBorg } from '../../lib/borg/borg.ts'
import { parseComment } from '../../lib/borg/comment.ts'
import { sortWarnings } from '../../lib/borg/errors.ts'
import { parseCreated, parseItem, parseMessages } from '../../lib/borg/output.ts'
import { HeldLock, parseHolder } from '../../lib/cli/lock.ts'
import { bytes, oneLine, printable } from '../../lib/core/format.ts'
import { listing } from '../../lib/core/layout.ts'
import type { Output, Shell } from '../../lib/core/shell.ts'
import { age, isoLocal } from '../../lib/core/times.ts'
import { judgeAppJson } from '../../lib/deploy/preflight.ts'
import { parseBackupReport } from '../../lib/deploy/status.ts'
import { createDokku, type Dokku, parseProcesses } from '../../lib/dokku/dokku.ts'
import { describeCommit } from '../../lib/git/checkout.ts'
import { parsePackages } from '../../lib/git/packages.ts'
import { countRows, databaseBytes } from '../../lib/postgres/sql.ts'
import { listKept } from '../../lib/postgres/swap.ts'
import { surveyTables } from '../../lib/postgres/tables.ts'
import { parseLedger } from '../../lib/server/ledger.ts'
import { judgeCertificate } from '../../lib/verify/tls.ts'
import { hostileName, hostileText, longText, oddAnswer, otherShape, secretOf } from './hostile.ts'
import { type Case, judged, ODD_NAME } from './judge.ts'
import { inTurn, type Random } from './random.ts'

/** Programs that all say the same; a psql says the mark before it, behind which an answer begins. */
function shellSaying(output: Partial<Output>): Shell {
  const whole: Output = { exitCode: 0, signal: null, stdout: '', stderr: '', ...output }
  return {
    env: {},
    signal: new AbortController().signal,
    run: async (_, { input = '' } = {}) => {
      const mark = /^\\echo (\S+)$/m.exec(input)?.[1]
      return mark === undefined ? whole : { ...whole, stdout: `${mark}\n${whole.stdout}` }
    },
    start: () => {
      throw new Error('Nothing is started here.')
    },
  }
}

function dokkuSaying(output: Partial<Output>): Dokku {
  const shell = shellSaying(output)
  return createDokku({ shell, cleanup: shell }, ['dokku'])
}

const NIGHT = 'book-corners-2026-02-28T03:00:00'
const COMMENT = {
  sha: null,
  dumpMode: 'dedup',
  version: '1',
  mediaFiles: 1,
  mediaBytes: 5,
  lacks: ['a'],
  unreadable: 0,
}

export function borgList(random: Random): Case {
  const secret = secretOf(random)
  // One of the two: most other answers have no comment that is read.
  const isCommentOdd = random.chance(0.5)
  const changes = Array.from({ length: isCommentOdd ? 3 : 0 })
  const comment = JSON.stringify(changes.reduce((about) => otherShape(random, about), COMMENT))
  const archives = [
    { name: NIGHT, start: '2026-02-28T03:00:00.000000', comment },
    {
      name: random.pick([`book-corners-2026-02-27T03:00:00`, hostileName(random)]),
      start: '2026-02-27T03:00:00',
    },
  ]
  const said = isCommentOdd ? JSON.stringify({ archives }) : oddAnswer(random, { archives }, secret)
  return {
    input: `borg list --json: ${oneLine(said, 300)}`,
    run: () =>
      judged(async (log) => {
        const borg = createBorg(shellSaying({ stdout: said }), {}, '/repo', '/env')
        const archives = await listAll(borg, 'book-corners')
        const { rows, notes = [], head } = archiveListing(archives, 'name')
        const text = listing({ rows, notes, head })
        log.print(text)
        const values = archives.map(archiveJson)
        log.printJson(values)
        log.info(printable(parseComment(comment).lacks?.join() ?? ''))
        if (values.some(({ mediaFiles, mediaBytes }) => ![mediaFiles, mediaBytes].every(isCountOrNull)))
          return 'a count in the JSON is none'
        if (archives.some(({ start }) => Number.isNaN(start.getTime()))) return 'an archive has no time'
        return text.split('\n').length > 1 + archives.length + notes.filter(Boolean).length
          ? 'a cell makes a line of its own'
          : undefined
      }, secret),
  }
}

function isCountOrNull(value: unknown): boolean {
  return value === null || (Number.isSafeInteger(value) && Number(value) >= 0)
}

export function borgCreated(random: Random): Case {
  const secret = secretOf(random)
  const right = {
    archive: { name: NIGHT, stats: { original_size: 5, deduplicated_size: 3, nfiles: 1 } },
    cache: { stats: { unique_csize: 7 } },
  }
  const said = oddAnswer(random, right, secret)
  return {
    input: `borg create --json: ${oneLine(said, 300)}`,
    run: () =>
      judged((log) => {
        const { originalBytes, newBytes, repositoryBytes } = parseCreated(said)
        for (const count of [originalBytes, newBytes, repositoryBytes]) log.info(bytes(count))
        return undefined
      }, secret),
  }
}

export function borgMessages(random: Random): Case {
  const secret = secretOf(random)
  const line = (): string =>
    random.chance(0.8)
      ? oddAnswer(random, {
          type: 'log_message',
          levelname: random.pick(['ERROR', 'ERROR', 'WARNING', 'INFO', 'CRITICAL']),
          msgid: random.pick(['LockTimeout', 'Repository.DoesNotExist', 'BackupFileNotFoundError', 'x']),
          message: hostileText(random, secret),
          name: 'borg.archiver',
        })
      : hostileText(random, secret)
  const stderr = [line(), ...random.list(4, line)].join('\n')
  const exitCode = random.pick([0, 1, 2, 2, 2, 127, null])
  return {
    input: `borg, exit status ${exitCode}: ${oneLine(stderr, 300)}`,
    run: () =>
      judged(async (log) => {
        const repository = `ssh://${hostileName(random)}/./repo`
        const borg = createBorg(shellSaying({ stderr, exitCode }), {}, repository, `/srv/${ODD_NAME}/.env`)
        const { messages } = await borg.call(['info'])
        for (const warning of Object.values(sortWarnings(messages)).flat()) log.warn(warning)
        log.info(
          parseMessages(stderr)
            .map(({ message }) => message)
            .join('\n'),
        )
        return undefined
      }, secret),
  }
}

export function borgItem(random: Random): Case {
  const fields = ['-rw-r--r--', '5', '2026-02-28T03:00:00.123456', 'srv/a', '=', ''].map((field) =>
    random.chance(0.25) ? hostileName(random).replaceAll('\0', '') : field,
  )
  return {
    input: `an item of borg list: ${JSON.stringify(fields)}`,
    run: () =>
      judged((log) => {
        const { sizeBytes, mtimeMs, path } = parseItem(fields.join('\0'))
        if (!Number.isSafeInteger(sizeBytes) || Number.isNaN(mtimeMs)) return 'an item has no size or no time'
        log.info(`${path} ${bytes(sizeBytes)} ${isoLocal(new Date(mtimeMs))}`)
        return undefined
      }),
  }
}

export function dokkuReport(random: Random): Case {
  const secret = secretOf(random)
  const processes = { deployed: 'true', running: 'mixed', 'status-web.1': 'running (CID: 0123456789a)' }
  const report = oddAnswer(random, processes, secret)
  const dsn = random.pick([
    'postgres://postgres:x@dokku-postgres-db:5432/book_corners_db',
    'postgres://postgres:x@dokku-postgres-db:5432/book_corners_db',
    'postgres://postgres:x@dokku-postgres-db:5432/book_corners_db',
    `postgres://postgres:${secret.halves[0]}@dokku-postgres-db:5432/book_corners_db`,
    `postgres://postgres:${secret.halves[0]}@host:5432`,
    `postgres:${secret.halves[0]}@host:5432`,
    `postgres://${secret.halves[0]}/`,
    hostileName(random),
    `${secret.halves[0]}\n`,
  ])
  return {
    input: `ps:report: ${oneLine(report, 200)}; --dsn: ${JSON.stringify(dsn)}`,
    run: () =>
      judged(async (log) => {
        const { name, database } = await dokkuSaying({ stdout: dsn }).service('db')
        log.info(`${name} ${database}`)
        const { statuses, isDeployed } = parseProcesses(report)
        for (const [key, status] of statuses) log.info(`${isDeployed} ${key.slice(0, 50)} ${status.slice(0, 50)}`)
        return undefined
      }, secret),
  }
}

export function dokkuError(random: Random, turn: number): Case {
  const secret = secretOf(random)
  const stderr = ` !     ${turn % 2 === 0 ? longText(turn / 2) : hostileText(random, secret)}`
  return {
    input: `dokku, exit status 1: ${oneLine(stderr, 300)}`,
    run: () =>
      judged(async () => {
        await dokkuSaying({ exitCode: random.pick([1, 20, 255, null]), stderr }).must(['postgres:info', 'db'])
        return undefined
      }, secret),
  }
}

export function psqlRows(random: Random): Case {
  const secret = secretOf(random)
  const row = random.pick<unknown>([
    ['public.a', 5],
    { name: 'db_before_20260228T030000', bytes: 7 },
    12345,
    ['public.a'],
    { filled: 'public.a' },
  ])
  const stdout = [...random.list(2, () => oddAnswer(random, row, secret)), JSON.stringify(row)].join('\n')
  return {
    input: `psql: ${oneLine(stdout, 300)}`,
    run: async () => {
      const dokku = dokkuSaying({ stdout })
      const service = { name: 'db', database: 'db' }
      return (
        (await judged(async (log) => {
          for (const [name, count] of (await countRows(dokku, service)).counts)
            log.info(`${name.slice(0, 50)} ${count.toFixed()}`)
          return undefined
        }, secret)) ??
        (await judged(async (log) => {
          for (const kept of await listKept(dokku, service)) log.info(`${kept.name.slice(0, 50)} ${bytes(kept.bytes)}`)
          return undefined
        }, secret)) ??
        (await judged(async (log) => {
          const { filled, unread } = await surveyTables(dokku, service)
          log.info([...filled, ...unread].map((name) => name.slice(0, 50)).join())
          return undefined
        })) ??
        judged(async () =>
          Number.isSafeInteger(await databaseBytes(dokku, service)) ? undefined : 'a size is no number',
        )
      )
    },
  }
}

/** Files of ours, and of the app's: anybody may have edited them. */
export function editedFile(random: Random, turn: number): Case {
  const sha = 'a'.repeat(40)
  const entry = {
    at: '2026-02-28T03:00:00Z',
    kind: 'deploy',
    who: 'x',
    from: null,
    to: sha,
    subject: 's',
    outcome: 'deployed',
    seconds: 5,
    verified: true,
    restorePoint: NIGHT,
  }
  const app = {
    scripts: { dokku: { predeploy: 'python manage.py migrate' } },
    healthchecks: { web: [{ type: 'startup', path: '/health/' }] },
  }
  const pipfile = { default: { django: { version: '==5.0' }, allauth: { ref: 'abc' } } }
  const report = { checks: [{ name: 'newest archive', verdict: 'pass', detail: 'x, 5 hours ago' }] }
  const readers: [string, unknown, (text: string) => unknown][] = [
    [
      'ledger',
      entry,
      (text) =>
        parseLedger(text).map(
          (one) =>
            `${[one.who, one.kind, one.to, one.subject, one.outcome].map((part) => part.trim()).join()} ${age(new Date(one.at))} ${one.seconds.toFixed()} ${one.from?.slice(0, 8)} ${one.restorePoint?.trim()}`,
        ),
    ],
    ['app.json', app, (text) => judgeAppJson(text, hostileText(random)).problems],
    ['app.json', { healthchecks: app.healthchecks }, (text) => judgeAppJson(text).problems],
    ['Pipfile.lock', pipfile, (text) => [...parsePackages('Pipfile.lock', text)].flat().map((part) => part.trim())],
    ['requirements.txt', '', () => [...parsePackages('requirements.txt', hostileText(random))]],
    ['pyproject.toml', '', () => [...parsePackages('pyproject.toml', hostileText(random))]],
    [
      'backup --check --json',
      report,
      (text) => parseBackupReport({ stdout: text, stderr: hostileText(random) }, 'book-corners'),
    ],
  ]
  const [name, right, read] = inTurn(readers, turn)
  const text = random.chance(0.5) ? JSON.stringify(otherShape(random, right)) : oddAnswer(random, right)
  return {
    input: `${name}: ${oneLine(text, 300)}`,
    run: () =>
      judged((log) => {
        log.info(JSON.stringify(read(text)))
        return undefined
      }),
  }
}

/** What the lock's holder says of itself becomes a command to type. */
export function holder(random: Random): Case {
  const text = oddAnswer(random, {
    script: 'backup.ts',
    pid: 7,
    user: 'deploy',
    since: '2026-02-28T03:00:00+01:00',
    ...(random.chance(0.3) ? { pid: '1; touch X' } : {}),
  })
  return {
    input: `the lock's record: ${oneLine(text, 300)}`,
    run: () =>
      judged((log) => {
        const lock = new HeldLock(parseHolder(text))
        log.info(`${lock.message} ${lock.hint}`)
        const isWhole = /^(Wait for it, or look: ps -fp [1-9]\d{0,15}|Look: pgrep -af "backup\.ts\|restore\.ts")$/.test(
          lock.hint,
        )
        return isWhole ? undefined : `a command to type is ${oneLine(lock.hint)}`
      }),
  }
}

export function certificate(random: Random): Case {
  const date = (): string =>
    random.pick(['Mar  1 12:00:00 2026 GMT', 'Bad time value', '', '999999-01-01', hostileName(random)])
  const seen = {
    certificate: random.chance(0.9)
      ? { validFrom: date(), validTo: date(), subjectAltName: hostileText(random) }
      : undefined,
    refusal: random.pick([undefined, 'CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID', hostileText(random)]),
  }
  return {
    input: oneLine(JSON.stringify(seen), 300),
    run: () =>
      judged((log) => {
        log.info(judgeCertificate(seen, new URL('https://site.example'), new Date('2026-02-28T03:00:00Z')).seen)
        return undefined
      }),
  }
}

/** What `git log` prints: anybody may commit. */
export function gitLog(random: Random): Case {
  const sha = 'b'.repeat(40)
  const date = random.pick([
    '2026-02-28T03:00:00+01:00',
    '',
    '+275760-09-13T00:00:00Z',
    '292277026596-12-04T15:30:07+00:00',
    hostileName(random),
  ])
  const said = `\u001e${[sha, hostileName(random), date, hostileText(random).replaceAll('\n', ' ')].join('\u001f')}\nA\t${hostileName(random)}`
  const checkout = {
    dir: '/',
    prePushHook: undefined,
    isShallow: false,
    git: async () => ({ exitCode: 0, signal: null, stdout: said, stderr: '' }),
    once: async () => ({ exitCode: 0, signal: null, stdout: said, stderr: '' }),
    ask: async () => said,
    askOnce: async () => said,
  }
  return {
    input: `git log: ${oneLine(JSON.stringify(said), 300)}`,
    run: () =>
      judged(async (log) => {
        const commit = await describeCommit(checkout, sha)
        log.info(`${isoLocal(commit.at)} ${age(commit.at)} ${commit.subject} ${commit.added.join()}`)
        return undefined
      }),
  }
}
