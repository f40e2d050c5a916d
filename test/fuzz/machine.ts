// Fuzz cases of the machine: names on the disk, repositories, terminals, and whole scripts.
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { age, isoLocal, oneLine } from '../../lib/core/format.ts'
import { createShell } from '../../lib/core/shell.ts'
import { commitsBetween, openCheckout, requireClean } from '../../lib/git/checkout.ts'
import { changedPackages } from '../../lib/git/packages.ts'
import { createMediaComparison } from '../../lib/media/compare.ts'
import { measureMedia } from '../../lib/media/folder.ts'
import { LOADER } from '../support/loader.ts'
import { runAtTerminal } from '../support/terminal.ts'
import { inFolder } from './folder.ts'
import { hostileName, hostileText, secretOf } from './hostile.ts'
import { type Case, judged, whyNotShown } from './judge.ts'
import type { Random } from './random.ts'

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
  kind: 'file' | 'folder' | 'link' | 'pipe'
  name: Buffer
  into: number
}

/** Folders that can't be listed, pipes, links, names in other letters: all of it is named, and nothing is a bug. */
export function disk(random: Random): Case {
  const planned = Array.from(
    { length: 1 + random.below(8) },
    (): Planned => ({
      kind: random.pick(['file', 'folder', 'folder', 'link', 'pipe'] as const),
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
          build(root, planned)
          const size = await measureMedia(root)
          log.info(`${size.files} ${size.unreadable.join()} ${size.leadingOut.map(({ path }) => path).join()}`)
          const comparison = createMediaComparison(root)
          for (const item of archived) comparison.add({ ...item, path: `${root.slice(1)}/${item.path}` })
          const plan = await comparison.plan()
          log.info([...plan.refused, ...plan.unlisted, ...plan.onDisk.first].join('\n'))
          const lost =
            planned.filter(({ kind }) => kind === 'file').length > 0 &&
            size.files === 0 &&
            size.unreadable.length === 0 &&
            plan.unlisted.length === 0
          return lost ? 'a file is neither counted nor named' : undefined
        }),
      ),
  }
}

function build(root: string, planned: readonly Planned[]): void {
  const folders = [Buffer.from(root)]
  for (const { kind, name, into } of planned) {
    const parent = folders[into % folders.length] ?? Buffer.from(root)
    const path = Buffer.concat([parent, Buffer.from('/'), name])
    try {
      if (kind === 'file') writeFileSync(path, 'x')
      if (kind === 'link') symlinkSync('../../..', path)
      if (kind === 'pipe')
        execFileSync('mkfifo', ['--', Buffer.from('pipe').toString()], { cwd: root, stdio: 'ignore' })
      if (kind !== 'folder') continue
      mkdirSync(path)
      folders.push(path)
    } catch {
      // The name is taken.
    }
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

/** What is typed at a question: answers, Ctrl-C, Ctrl-D, nonsense, or the window is closed. */
export function terminal(random: Random): Case {
  const keys = random.pick([
    '\u0003',
    '\u0004',
    'yes\n',
    'no\n',
    '\u001a',
    `${hostileName(random).replace(/[\u0000-\u001f]/g, '')}\n`,
    '',
  ])
  const closes = keys === '' || random.chance(0.2)
  return {
    input: `${JSON.stringify(keys)} at a question${closes ? ', and the window is closed' : ''}`,
    run: () => inFolder((folder) => atQuestion(folder, keys, closes)),
  }
}

async function atQuestion(folder: string, keys: string, closes: boolean): Promise<string | undefined> {
  const file = join(folder, 'asks.mts')
  const ended = join(folder, 'ended')
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  await writeFile(
    file,
    `import { main } from ${JSON.stringify(main)}
await main({ name: 'asks', help: '', switches: [] }, async ({ ask }) => {
  await ask.confirm('Sure?', 'yes')
  return 0
})
`,
  )
  const node = `'${process.execPath}' --import '${LOADER}' '${file}'`
  await writeFile(
    join(folder, 'window.sh'),
    `exec 3<&0
trap 'kill -HUP $pid' HUP
${node} <&3 & pid=$!
while kill -0 $pid 2>/dev/null; do wait $pid; status=$?; done
echo $status >'${ended}.new'
mv '${ended}.new' '${ended}'
`,
  )
  // Where nobody is at the shell, Ctrl-Z has no one to give the terminal back to.
  await writeFile(
    join(folder, 'jobs.sh'),
    `set -m\n${node}\nstatus=$?\n[ $status = 148 ] && { fg >/dev/null; status=$?; }\necho $status >'${ended}'\n`,
  )
  const answers = keys === '\u001a' ? [keys, 'yes\n'] : [keys]
  const { output } = await runAtTerminal(closes ? `sh ${folder}/window.sh` : `bash ${folder}/jobs.sh`, {
    env: { ...ENV, OPS_ENV_FILE: '' },
    prompt: /go on: /,
    answer: () => (closes ? 'the window is closed' : (answers.shift() ?? keys)),
  })
  const startedMs = performance.now()
  while (!(await readdir(folder)).includes('ended')) {
    if (performance.now() - startedMs > 20_000) return `did not end: ${JSON.stringify(output)}`
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const status = Number(execFileSync('cat', [ended], { encoding: 'utf8' }))
  if (!STATUSES.includes(status) && status !== 128 + 20) return `ended with status ${status}: ${JSON.stringify(output)}`
  if (closes && status !== 129) return `a closed window is status ${status}`
  if (keys === '\u001a' && !closes && status !== 0)
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
export function script(random: Random): Case {
  const secret = secretOf(random)
  const name = random.pick(SCRIPTS)
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
  return {
    input: `${name} ${args.map((word) => JSON.stringify(word)).join(' ')} with ${JSON.stringify(lines)} ${JSON.stringify(extra)}`,
    run: () =>
      inFolder(async (folder) => {
        const envFile = join(folder, '.env')
        await writeFile(envFile, `${lines.join('\n')}\n`)
        await chmod(envFile, 0o600)
        const file = fileURLToPath(new URL(`../../scripts/${name}.ts`, import.meta.url))
        const limited = random.chance(0.3) ? ['sh', '-c', 'ulimit -n 64; exec "$0" "$@"'] : []
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
