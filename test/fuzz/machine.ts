// Fuzz cases of the machine: names on the disk, repositories, terminals, and whole scripts.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HeldLock, lockFolder, lockHolder, takeLock } from '../../lib/cli/lock.ts'
import { oneLine, printable } from '../../lib/core/format.ts'
import { createShell } from '../../lib/core/shell.ts'
import { age, isoLocal } from '../../lib/core/times.ts'
import { VERSION } from '../../lib/core/version.ts'
import { commitsBetween, openCheckout, requireClean } from '../../lib/git/checkout.ts'
import { changedPackages } from '../../lib/git/packages.ts'
import { createMediaComparison } from '../../lib/media/compare.ts'
import { measureMedia } from '../../lib/media/folder.ts'
import { LOADER } from '../support/loader.ts'
import { atClosedWindow, CLOSE_WINDOW, runAtTerminal } from '../support/terminal.ts'
import { inFolder } from './folder.ts'
import { hostileName, hostileText, oddAnswer, secretOf } from './hostile.ts'
import { type Case, judged, ODD_NAME, whyNotShown } from './judge.ts'
import { inTurn, type Random } from './random.ts'

const ENV = { PATH: '/usr/bin:/bin' }

function nameOnDisk(random: Random): Buffer {
  const name = hostileName(random).replaceAll('/', '_').replaceAll('\0', '_') || 'photo'
  const bytes = Buffer.from(
    name === '.' || name === '..' ? 'dots' : name,
    random.chance(0.3) ? 'latin1' : 'utf8',
  ).subarray(0, 200)
  // A byte that begins no character of UTF-8.
  return random.chance(0.3) ? Buffer.concat([bytes, Buffer.from([0xe9])]) : bytes
}

interface Planned {
  kind: 'file' | 'folder' | 'closed' | 'link' | 'pipe'
  name: Buffer
  into: number
}

/** Folders that can't be listed, pipes, links, names in other letters: each file is counted, each closed folder named, and nothing is a bug. */
export function disk(random: Random): Case {
  const planned = Array.from(
    { length: 2 + random.below(8) },
    (): Planned => ({
      kind: random.pick(['file', 'file', 'folder', 'folder', 'closed', 'link', 'pipe'] as const),
      name: nameOnDisk(random),
      into: random.below(8),
    }),
  )
  const archived = random.list(4, () => ({
    type: random.pick(['-', 'd', 'l', 'h', 'p']),
    path: `srv/${hostileName(random)}`,
    sizeBytes: 5,
    mtimeMs: 0,
    target: hostileName(random),
  }))
  return {
    input: planned.map(({ kind, name }) => `${kind} ${JSON.stringify(name.toString('latin1'))}`).join(', '),
    run: () =>
      judged((log) =>
        inFolder(async (root) => {
          const { files, closed } = build(root, planned)
          try {
            if (process.getuid?.() === 0) process.seteuid?.(NOBODY)
            const size = await measureMedia(root)
            log.info(printable([...size.unreadable, ...size.leadingOut.map(({ path }) => path)].join()))
            const comparison = await createMediaComparison(root)
            for (const item of archived) comparison.add({ ...item, path: `${root.slice(1)}/${item.path}` })
            const plan = comparison.plan()
            log.info(printable([...plan.refused, ...plan.unlisted, ...plan.onDisk.first].join()))
            if (size.files !== files) return `${size.files} files are counted, not ${files}`
            if (size.unreadable.length !== closed.length) return `not the unreadable: ${size.unreadable.join()}`
            return plan.unlisted.length === new Set(size.unreadable).size
              ? undefined
              : `not the unlisted: ${plan.unlisted.join()}`
          } finally {
            if (process.getuid?.() === 0) process.seteuid?.(0)
            for (const folder of closed) chmodSync(folder, 0o700)
          }
        }),
      ),
  }
}

/** Nobody can't list what only root may; root can list anything. */
const NOBODY = 65534

/** @returns how many files can be found, and the folders that can be found, and not be looked into */
function build(root: string, planned: readonly Planned[]): { files: number; closed: Buffer[] } {
  chmodSync(root, 0o755)
  const folders = [{ path: Buffer.from(root), isHidden: false }]
  const built = { files: 0, closed: [] as Buffer[] }
  for (const { kind, name, into } of planned) {
    const parent = folders[into % folders.length] as (typeof folders)[number]
    const path = Buffer.concat([parent.path, Buffer.from('/'), name])
    try {
      if (kind === 'file') writeFileSync(path, 'x', { flag: 'wx' })
      else if (kind === 'link') symlinkSync('../../..', path)
      else if (kind === 'pipe') execFileSync('mkfifo', ['pipe'], { cwd: root, stdio: 'ignore' })
      else {
        mkdirSync(path)
        folders.push({ path, isHidden: parent.isHidden || kind === 'closed' })
      }
    } catch {
      // The name is taken.
      continue
    }
    if (kind === 'file' && !parent.isHidden) built.files++
    if (kind === 'closed' && !parent.isHidden) built.closed.push(path)
  }
  for (const folder of built.closed) chmodSync(folder, 0)
  return built
}

const LOCKED = { DB_SERVICE: 'db', MEDIA_DIR: '/media' }

/** One run has the lock: a second one does not get it, whatever stands where the first one's record is. */
export function lockRecord(random: Random, turn: number): Case {
  const what = inTurn(['text', 'pipe', 'endless', 'huge'] as const, turn)
  const text = oddAnswer(random, {
    script: 'backup.ts',
    pid: process.pid,
    user: 'deploy',
    since: '2026-02-28T03:00:00+01:00',
  })
  return {
    input: `the lock's record: ${what} ${oneLine(text, 300)}`,
    run: () =>
      judged((log) =>
        inFolder(async (folder) => {
          const shell = createShell({ ...ENV, HOME: folder, XDG_STATE_HOME: folder }, new AbortController().signal)
          const nowhere = join(folder, 'none')
          const release = await takeLock({ shell }, 'backup.ts', LOCKED, nowhere)
          try {
            const second = await takeLock({ shell }, 'restore.ts', LOCKED, nowhere).catch((error: unknown) => error)
            if (!(second instanceof HeldLock)) return 'two runs have the lock at the same time'
            const state = await lockFolder(shell, nowhere)
            const record = join(state, (await readdir(state)).find((name) => name.endsWith('.json')) ?? '')
            rmSync(record)
            if (what === 'pipe') execFileSync('mkfifo', [record])
            else if (what === 'endless') symlinkSync('/dev/zero', record)
            else writeFileSync(record, text)
            if (what === 'huge') truncateSync(record, 1e9)
            const held = await lockHolder(shell, LOCKED, nowhere)
            if (held) log.info(`${held.message} ${held.hint}`)
            return undefined
          } finally {
            await release()
          }
        }),
      ),
  }
}

/** A history with names, dates and people that git takes. */
export function repository(random: Random): Case {
  const clean = (text: string): string => text.replaceAll('\0', '').replaceAll('\n', ' ').slice(0, 2000)
  const person = clean(hostileName(random)).replace(/[<>]/g, '')
  const seconds = random.pick(['0', '1772247600', '99999999999', '8640000000001', '253402300800'])
  const subject = clean(hostileText(random))
  const path =
    clean(hostileName(random))
      .replaceAll('\\', '')
      .replaceAll('"', '')
      .replace(/^\/+|\/+$|\.\.?(\/|$)|\/\/+/g, '') || 'file'
  const commit = (mark: number, content: string): string =>
    `commit refs/heads/main\nmark :${mark}\ncommitter ${person} <a@b> ${seconds} +0100\ndata ${Buffer.byteLength(subject)}\n${subject}\n${mark > 1 ? `from :${mark - 1}\n` : ''}M 644 inline requirements.txt\ndata ${Buffer.byteLength(content)}\n${content}\nM 644 inline "x${[...Buffer.from(path)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}"\ndata 1\nx\n\n`
  const history = commit(1, clean(hostileText(random))) + commit(2, 'django==5.0')
  return {
    input: `a history: ${oneLine(JSON.stringify(history), 400)}`,
    run: () =>
      judged((log) =>
        inFolder(async (folder) => {
          execFileSync('git', ['init', '-q', '-b', 'main', folder], { env: ENV })
          try {
            execFileSync('git', ['fast-import', '--quiet'], {
              cwd: folder,
              input: history,
              env: ENV,
              stdio: ['pipe', 'ignore', 'ignore'],
            })
          } catch {
            // Git refuses it: then nobody can push it either.
            return undefined
          }
          const shell = createShell({ ...ENV, HOME: folder }, new AbortController().signal)
          const checkout = await openCheckout(shell, folder)
          const commits = await commitsBetween(checkout, undefined, 'main')
          for (const { at, author, subject, added } of commits)
            log.info(`${isoLocal(at)} ${age(at)} ${author} ${subject} ${added.join()}`)
          if (commits.length !== 2) return `${commits.length} commits are read, not 2`
          log.info((await changedPackages(checkout, 'main~1', 'main')).join())
          await requireClean(checkout)
          return undefined
        }),
      ),
  }
}

const STATUSES = [0, 1, 2, 75, 129, 130, 143]

/** What is typed at a question: answers, Ctrl-C, Ctrl-D, Ctrl-Z, nonsense; or the window is closed. */
export function terminal(random: Random, turn: number): Case {
  const nonsense = `${hostileName(random).replace(/[\u0000-\u001f]/g, '')}\n`
  const keys = inTurn(['\u001a', '', '\u0003', '\u0004', 'yes\n', '', nonsense], turn)
  const closes = keys === ''
  return {
    input: closes ? 'the window is closed at a question' : `${JSON.stringify(keys)} at a question`,
    run: () => inFolder((folder) => atQuestion(folder, keys, closes)),
  }
}

async function atQuestion(folder: string, keys: string, closes: boolean): Promise<string | undefined> {
  const file = join(folder, 'asks.mts')
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  await writeFile(
    file,
    `import { main } from ${JSON.stringify(main)}
import { writeFileSync } from 'node:fs'
await main({ name: 'asks', help: '', switches: [] }, async ({ ask }) => {
  try {
    await ask.confirm('Sure?', 'yes')
  } finally {
    writeFileSync(${JSON.stringify(join(folder, 'cleaned'))}, '')
  }
  return 0
})
`,
  )
  const node = `'${process.execPath}' --import '${LOADER}' '${file}'`
  // Where nobody is at the shell, Ctrl-Z has no one to give the terminal back to.
  await writeFile(
    join(folder, 'jobs.sh'),
    `set -m\n${node}\nstatus=$?\n[ $status = 148 ] && { fg >/dev/null; status=$?; }\nexit $status\n`,
  )
  const answers = keys === '\u001a' ? [keys, 'yes\n'] : [keys]
  const terminal = {
    env: { ...ENV, OPS_ENV_FILE: '' },
    prompt: /go on: /,
    answer: () => (closes ? CLOSE_WINDOW : (answers.shift() ?? keys)),
  }
  const { status, output } = closes
    ? await atClosedWindow(node, terminal)
    : await runAtTerminal(`bash ${folder}/jobs.sh`, terminal)
  if (status === null || !STATUSES.includes(status)) return `ended with status ${status}: ${JSON.stringify(output)}`
  if (!(await readdir(folder)).includes('cleaned')) return `nothing was cleaned up: ${JSON.stringify(output)}`
  if (closes && status !== 129) return `a closed window is status ${status}`
  if (keys === '\u001a' && status !== 0)
    return `after Ctrl-Z and fg the answer does not count: status ${status}, ${JSON.stringify(output)}`
  if (/go on: (\^[CD])?[^\r\n]*(SIGINT|No answer)/.test(output))
    return `what is said after Ctrl-C or Ctrl-D is on the prompt's line: ${JSON.stringify(output)}`
  return undefined
}

const SCRIPTS = ['backup', 'restore', 'deploy', 'rollback', 'verify'] as const
const FLAGS = [
  '--help',
  '--version',
  '--check',
  '--dry-run',
  '--json',
  '--list',
  '--status',
  '--yes',
  '--to',
  '--url',
  '--timeout',
  '--repo',
  '--env-file',
  '--restore-point',
  '--drill',
  '--gate',
]

/** A whole script, far from any server: what it is given decides how soon it gives up. */
export function script(random: Random, turn: number): Case {
  const secret = secretOf(random)
  const name = inTurn(SCRIPTS, turn)
  const args = [
    // The real site is asked for a minute.
    ...(name === 'verify' ? ['--timeout', '1', '--url', 'http://127.0.0.1:1'] : []),
    ...random.list(4, () => random.pick([...FLAGS, hostileName(random).replaceAll('\0', '')])),
  ]
  const lines = random.list(4, () =>
    random.pick([
      'BORG_REPO=/nowhere',
      `BORG_PASSPHRASE='${secret.halves.join('')}'`,
      'DOKKU_HOST=127.0.0.1:1',
      'SITE_URL=http://127.0.0.1:1',
      `MEDIA_DIR='/tmp/${hostileName(random).replace(/['\0\n\r]/g, '')}'`,
      `HEALTHCHECK_URL=http://${secret.halves[0]}@127.0.0.1:1/`,
      hostileName(random).replaceAll('\0', ''),
    ]),
  )
  const extra = {
    ...(random.chance(0.3) ? { HOME: random.pick(['', '/proc', '/proc/none']) } : {}),
    ...(random.chance(0.3) ? { TZ: 'Nowhere/X', LANG: 'xx_YY' } : {}),
  }
  const limited = random.chance(0.3) ? ['sh', '-c', 'ulimit -n 64; exec "$0" "$@"'] : []
  return {
    input: `${name} ${args.map((word) => JSON.stringify(word)).join(' ')} with ${JSON.stringify(lines)} ${JSON.stringify(extra)}`,
    run: () =>
      inFolder(async (root) => {
        const folder = join(root, ODD_NAME)
        mkdirSync(folder)
        const envFile = join(folder, '.env')
        await writeFile(envFile, `${lines.join('\n')}\n`)
        await chmod(envFile, 0o600)
        const file = fileURLToPath(new URL(`../../scripts/${name}.ts`, import.meta.url))
        const [program = '', ...words] = [...limited, process.execPath, '--import', LOADER, '--', file, ...args]
        const child = spawn(program, words, {
          cwd: folder,
          env: { ...ENV, HOME: folder, OPS_ENV_FILE: envFile, ...extra },
          stdio: ['ignore', 'pipe', 'pipe'],
        })
        let output = ''
        for (const stream of [child.stdout, child.stderr])
          stream.setEncoding('utf8').on('data', (text: string) => {
            output += text
          })
        const status = await new Promise<number | null>((resolve) => child.on('close', resolve))
        if (status === null || !STATUSES.includes(status)) return `ended with status ${status}: ${output}`
        if (/A bug in|^\s+at .*:\d+:\d+/m.test(output)) return `a bug: ${output}`
        return whyNotShown(output, secret)
      }),
  }
}

const CHECKOUTS = ['ops #1', ODD_NAME, 'a%20b', 'ops?', '50%', 'a"b$c'] as const
const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** A checkout in a folder of any name: each command starts, or says why it can't. */
export function checkout(random: Random, turn: number): Case {
  const name = inTurn(CHECKOUTS, turn)
  const command = random.pick(SCRIPTS)
  return {
    input: `${JSON.stringify(name)}/bin/${command} --version`,
    run: () =>
      inFolder(async (root) => {
        const folder = join(root, name)
        for (const part of ['bin', 'scripts', 'lib', 'package.json', 'tsconfig.json'])
          cpSync(join(PROJECT, part), join(folder, part), { recursive: true, verbatimSymlinks: true })
        symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
        const env = { ...ENV, PATH: `${dirname(process.execPath)}:${ENV.PATH}` }
        const { status, stdout, stderr } = spawnSync(join(folder, 'bin', command), ['--version'], {
          env,
          encoding: 'utf8',
        })
        if (status === 0 && stdout === `${VERSION}\n`) return undefined
        return name.includes('?') && /^[^\n]*can't be in a folder with \?[^\n]*\n$/.test(stderr)
          ? undefined
          : `ended with status ${status}: ${stdout}${stderr}`
      }),
  }
}
