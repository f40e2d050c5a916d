// `npm run demo`: backup, disaster, restore and verify on a small Book Corners, with everything compared at the end.
import { randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { chalk } from 'zx/core'
import { bytes, duration, plural } from '../../lib/core/format.ts'
import { table } from '../../lib/core/layout.ts'
import { aDayPasses, populate } from '../support/book-corners.ts'
import { programs } from '../support/borg.ts'
import { type EmptyServer, startEmptyServer } from '../support/empty-server.ts'
import { executable } from '../support/engineer.ts'
import { inSandbox } from '../support/in-sandbox.ts'
import type { Output } from '../support/launch.ts'
import { LEFT_OUT, runbookBlocks } from '../support/runbook.ts'
import { PASSPHRASE, type Sandbox } from '../support/sandbox.ts'
import { startSite } from '../support/site.ts'
import { type Content, compareContents, contentOf } from './content.ts'

/** What the steps share. */
interface Demo {
  sandbox: Sandbox
  /** What each night's run said about its archive. */
  nights: { archive: string; original: string; stored: string }[]
  /** Where the latest archive was extracted. */
  extracted: string
  /** Production as it was when the last backup was taken. */
  before: Content
  /** The server that comes after the old one. */
  far: EmptyServer
  /** What was found to differ from production. */
  differences: string[]
}

const SCRATCH = 'scratch'
const PHOTO_BYTES = 60_000
/** Reviews that people write after the accident. */
const SINCE = 20

/** The story, in order. A step throws when it can't go on; what it finds to be wrong it adds to `differences`. */
const steps: [heading: string, step: (demo: Demo) => Promise<void>][] = [
  ['A small Book Corners opens', seed],
  ['The first night: cron runs the backup', backup],
  ['A day passes', changes],
  ['The second night', backup],
  ['What the repository holds', archives],
  ['Is it any good? The latest archive is extracted', extract],
  ['Its dump is imported into a scratch service', importDump],
  ['Everything is compared with production', compare],
  ['A disaster: rows and photos are gone, and a new table stands in the way', disaster],
  ['What would a restore do?', preview],
  ['The restore: imported beside production, then swapped in', restore],
  ['Is everything back?', compareAfter],
  ['An accident: a DELETE that takes too much, noticed after people went on writing', accident],
  ['Only what was lost comes back', rescue],
  ['Is it all there, and what was written since?', compareRescued],
  ['Does the site work? What CI and a monitor ask', verify],
  ['The server is gone. The archive alone says how to make a new one', kit],
  ['The runbook is typed on an empty server', rebuild],
  ['Is the new server what the old one was?', compareServers],
]

await inSandbox(async (sandbox) => {
  const startedMs = Date.now()
  const demo: Demo = {
    sandbox,
    far: await startEmptyServer(),
    nights: [],
    extracted: join(sandbox.dir, 'extracted'),
    before: { tables: new Map(), photos: new Map() },
    differences: [],
  }
  try {
    for (const [i, [heading, step]] of steps.entries()) {
      console.log(chalk.bold(`${i === 0 ? '' : '\n'}${i + 1}. ${heading}`))
      await step(demo)
    }
  } finally {
    await demo.far.stop()
  }
  const took = duration(Date.now() - startedMs)
  for (const difference of demo.differences) console.log(chalk.red(`\nDIFFERENT: ${difference}`))
  console.log(
    demo.differences.length > 0
      ? chalk.red.bold(`\nThe backup is not what production is. (${took})`)
      : chalk.green.bold(`\nWhat was backed up is what came back: every row, every photo. (${took})`),
  )
  return demo.differences.length > 0 ? 1 : 0
})

async function seed({ sandbox, far }: Demo): Promise<void> {
  await likeAServer(sandbox, far.server.git('rev-parse', 'HEAD'))
  await populate(sandbox, { databaseBytes: 4_000_000, mediaBytes: 80 * PHOTO_BYTES, photos: 80 })
  say(`Production is a Dokku app with the Postgres service ${sandbox.service}, and a media folder.`)
  const { tables, photos } = await inProduction(sandbox)
  show(
    table(
      [...tables].map(([name, { rows }]) => [name, plural(rows, 'row')]),
      [1],
    ),
  )
  show(`${plural(photos.size, 'photo')}, such as ${[...photos.keys()][0]}`)
}

/** What a new server needs to know is as on a server: how Dokku is called, the deployed commit, the app's domain and secrets. */
async function likeAServer(sandbox: Sandbox, sha: string): Promise<void> {
  const app = join(sandbox.dir, 'apps/book-corners')
  for (const name of ['sha', 'GIT_REV', 'running']) writeFileSync(join(app, name), `${sha}\n`)
  writeFileSync(join(app, 'domains'), 'bookcorners.org www.bookcorners.org\n')
  writeFileSync(join(app, 'scale'), 'web=1\nworker=1\n')
  await sandbox.dokku([
    'config:set',
    '--no-restart',
    'book-corners',
    `DJANGO_SECRET_KEY=${randomBytes(24).toString('hex')}`,
  ])
  await executable(join(sandbox.dir, 'bin/sudo'), '#!/bin/sh\nwhile [ "$1" = -n ]; do shift; done\nexec "$@"\n')
  await sandbox.configure({ DOKKU_COMMAND: undefined })
}

async function backup({ sandbox, nights }: Demo): Promise<void> {
  // An archive's name is the second it was begun in.
  await sleep(1000 - (Date.now() % 1000))
  const { stdout } = await operate(sandbox, 'backup')
  const [, archive, original, stored] = /(\S+): (.+?) original, (.+?) new data/.exec(stdout) ?? []
  if (!archive || !original || !stored) throw new Error(`The backup's summary was not understood: ${stdout}`)
  nights.push({ archive, original, stored })
}

async function changes({ sandbox }: Demo): Promise<void> {
  const photos = await aDayPasses(sandbox, { updated: 5, added: 40, photos: 3 }, PHOTO_BYTES)
  say(`5 libraries are edited, 40 users, libraries and reviews are new, and so are ${photos.length} photos.`)
}

async function archives({ sandbox, nights }: Demo): Promise<void> {
  await type('borg list', sandbox.borg(['list']))
  say('Both are complete. The second took only what had changed:')
  show(
    table(
      [
        ['archive', 'original', 'new data'],
        ...nights.map(({ archive, original, stored }) => [archive, original, stored]),
      ],
      [1, 2],
    ),
  )
}

async function extract({ sandbox, nights, extracted }: Demo): Promise<void> {
  mkdirSync(extracted)
  const archive = `::${nights.at(-1)?.archive}`
  await type(`borg extract ${archive}`, sandbox.borg(['extract', archive], { cwd: extracted }))
  show(`db.dump, ${bytes(readFileSync(join(extracted, 'db.dump')).length)}`)
}

async function importDump({ sandbox, extracted }: Demo): Promise<void> {
  // Dokku prints the new password.
  const created = sandbox.dokku(['postgres:create', SCRATCH]).then((output) => ({ ...output, stdout: '' }))
  await type(`dokku postgres:create ${SCRATCH} > /dev/null`, created)
  const dump = readFileSync(join(extracted, 'db.dump'))
  await type(`dokku postgres:import ${SCRATCH} < db.dump`, sandbox.dokku(['postgres:import', SCRATCH], dump))
}

async function compare(demo: Demo): Promise<void> {
  const { sandbox, extracted } = demo
  const restored = await contentOf(sandbox, SCRATCH, join(extracted, sandbox.mediaDir))
  const production = await inProduction(sandbox)
  showComparison(demo, { name: 'production', ...production }, { name: 'restored', ...restored })
}

async function disaster(demo: Demo): Promise<void> {
  const { sandbox } = demo
  demo.before = await inProduction(sandbox)
  await sandbox.sql(`
    DELETE FROM libraries_review; DELETE FROM libraries_photo;
    DELETE FROM libraries_library WHERE id % 3 = 0;
    CREATE TABLE libraries_visit (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library);
    INSERT INTO libraries_visit (library_id) SELECT id FROM libraries_library;`)
  const lost = [...demo.before.photos.keys()].slice(0, 12)
  for (const path of lost) rmSync(join(sandbox.mediaDir, path))
  say(
    `Somebody deletes all reviews, a third of the libraries, and ${lost.length} photos. A migration has added a table`,
  )
  say('that references libraries: pg_restore over the live database would keep the damage, silently.')
}

async function preview({ sandbox }: Demo): Promise<void> {
  await operate(sandbox, 'restore', ['--dry-run'])
}

async function restore({ sandbox }: Demo): Promise<void> {
  say('An operator picks the archive and types the name of the app; here latest and --yes do.')
  await operate(sandbox, 'restore', ['latest', '--yes'])
}

async function compareAfter(demo: Demo): Promise<void> {
  showComparison(demo, { name: 'before', ...demo.before }, { name: 'now', ...(await inProduction(demo.sandbox)) })
}

async function accident({ sandbox }: Demo): Promise<void> {
  await sandbox.sql(`
    DELETE FROM libraries_review WHERE library_id % 7 = 0; DELETE FROM libraries_photo WHERE library_id % 7 = 0;
    DELETE FROM libraries_library WHERE id % 7 = 0;
    INSERT INTO libraries_review (library_id, user_id, rating, body)
      SELECT 1, id, 5, 'Written since.' FROM users_user ORDER BY id LIMIT ${SINCE};`)
  say(`Every seventh library is gone, with its reviews and photos; since then ${SINCE} reviews were written.`)
  say('A whole restore would bring back the ones, and lose the others.')
}

async function rescue({ sandbox }: Demo): Promise<void> {
  await operate(sandbox, 'restore', ['latest', '--rows', 'libraries_library', '--yes'])
}

async function compareRescued(demo: Demo): Promise<void> {
  const { sandbox, differences } = demo
  const since = await sandbox.sql(
    "WITH since AS (DELETE FROM libraries_review WHERE body = 'Written since.' RETURNING 1) SELECT count(*) FROM since;",
  )
  say(`${since} reviews written since are there. Without them production is as it was before:`)
  if (Number(since) !== SINCE) differences.push('the reviews written since')
  await compareAfter(demo)
}

async function verify({ sandbox }: Demo): Promise<void> {
  const site = await startSite()
  try {
    await operate(sandbox, 'verify', ['--url', site.url])
  } finally {
    await site.stop()
  }
}

async function kit({ sandbox, far }: Demo): Promise<void> {
  say('Only the repository, its key and its passphrase are left.')
  const dir = far.server.dir
  cpSync(sandbox.repository, join(dir, 'repository'), { recursive: true })
  renameSync(sandbox.mediaDir, `${sandbox.mediaDir}.gone`)
  const env = {
    HOME: join(dir, 'other'),
    BORG_REPO: join(dir, 'repository'),
    BORG_PASSPHRASE: PASSPHRASE,
    OPS_ENV_FILE: '',
  }
  await type(
    'restore --kit new-server',
    far.server.script('restore.ts', ['--kit', join(dir, 'other/new-server')], { env }),
  )
}

async function rebuild({ far }: Demo): Promise<void> {
  const site = await startSite()
  try {
    for (const { title, where, commands } of runbookBlocks(
      readFileSync(join(far.server.dir, 'other/new-server/RUNBOOK.md'), 'utf8'),
    )) {
      if (LEFT_OUT.includes(title)) continue
      show(`${title} (${where})`)
      const startedMs = Date.now()
      judge(title, await far.type(where, commands.replaceAll('https://bookcorners.org', site.url)))
      show(chalk.green(`  ${plural(commands.split('\n').length, 'line')}, ${duration(Date.now() - startedMs)}`))
    }
  } finally {
    await site.stop()
  }
  say(`Left out here: ${LEFT_OUT.join('; ')}.`)
}

async function compareServers(demo: Demo): Promise<void> {
  const { far, sandbox, before } = demo
  const now = await contentOf(far, sandbox.service, sandbox.mediaDir)
  showComparison(demo, { name: 'old server', ...before }, { name: 'new server', ...now })
}

function inProduction(sandbox: Sandbox): Promise<Content> {
  return contentOf(sandbox, sandbox.service, sandbox.mediaDir)
}

function showComparison({ differences }: Demo, ...contents: Parameters<typeof compareContents>): void {
  const found = compareContents(...contents)
  for (const line of found.lines) show(line)
  differences.push(...found.differences)
}

/** Runs a script as the operator would type it; its output is shown as it comes. */
async function operate(sandbox: Sandbox, name: string, args: readonly string[] = []): Promise<Output> {
  const line = [name, ...args].join(' ')
  show(chalk.cyan(`$ ${line}`))
  const { child, ended } = sandbox.start(`${name}.ts`, args, {
    env: { PATH: `${join(sandbox.dir, 'bin')}:${programs()}` },
  })
  for (const stream of [child.stdout, child.stderr])
    if (stream) createInterface({ input: stream }).on('line', (text) => show(text))
  return judge(line, await ended)
}

/** Shows another program's command line and output. */
async function type(line: string, running: Promise<Output>): Promise<Output> {
  show(chalk.cyan(`$ ${line}`))
  const output = await running
  show(output.stdout + output.stderr)
  return judge(line, output)
}

function judge(line: string, output: Output): Output {
  if (output.exitCode !== 0) throw new Error(`${line} failed: ${output.signal ?? `exit status ${output.exitCode}`}`)
  return output
}

function say(text: string): void {
  console.log(`   ${text}`)
}

function show(text: string): void {
  if (text.trim() !== '') console.log(text.trimEnd().replace(/^/gm, '     '))
}
