// Fuzz cases of text: what is shown, command lines, settings and env files.
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, parse } from '../../lib/cli/arguments.ts'
import { readEnvFile } from '../../lib/cli/env-file.ts'
import { checkSettings, SETTINGS, type SettingName } from '../../lib/cli/settings.ts'
import { Failure } from '../../lib/core/failure.ts'
import { oneLine, printableLines } from '../../lib/core/format.ts'
import { listing, table } from '../../lib/core/layout.ts'
import type { Log } from '../../lib/core/log.ts'
import { inFolder } from './folder.ts'
import { FORMS, hostileName, hostileText, SIGNS, secretOf } from './hostile.ts'
import { type Case, hear, judged, ODD_NAME, whyNotShown } from './judge.ts'
import { inTurn, type Random } from './random.ts'

/** By every door of the log. */
export function shownText(random: Random, turn: number): Case {
  const secret = secretOf(random)
  const door = inTurn(['info', 'warn', 'error', 'raw', 'print', 'question', 'command'] as const, turn)
  const text = (inTurn(SIGNS, turn) + hostileText(random, secret)).replaceAll('\n', door === 'question' ? ' ' : '\n')
  return {
    input: `log.${door}(${JSON.stringify(oneLine(text, 300))})`,
    run: () =>
      judged((log) => {
        log[door](text)
        return undefined
      }, secret),
  }
}

/** A secret that is written otherwise in each of these, or of which a part is left. */
const ODD_SIGNS = '"\'\\\t  %ü'

/** Secrets in all the ways in which they come, one after the other. */
export function shownSecret(random: Random, turn: number): Case {
  const secret = secretOf(random, ODD_SIGNS)
  const [half] = secret.halves
  const cut = (text: string, most: number): string => oneLine(`${text} ${'x'.repeat(99)}`, most + random.below(5))
  const text = inTurn(
    [
      ...FORMS.map((form) => form(secret.text)),
      oneLine(secret.text),
      printableLines(secret.text),
      cut(secret.text, half.length + 1),
      cut(JSON.stringify(secret.text), half.length + 2),
      `postgres://app:${half}@db/books`,
      cut(`postgres://app:${half}-and-more@db/books`, 'postgres://app:'.length + half.length + 1),
    ],
    turn,
  )
  const door = random.pick(['info', 'warn', 'error', 'raw', 'print', 'command', 'printJson'] as const)
  return {
    input: `log.${door}(${JSON.stringify(text)})`,
    run: () =>
      judged((log) => {
        log[door](text)
        return undefined
      }, secret),
  }
}

export function shownJson(random: Random): Case {
  const secret = secretOf(random)
  const value = { name: hostileText(random, secret), list: random.list(3, () => hostileName(random)), count: 1 }
  return {
    input: `log.printJson(${oneLine(JSON.stringify(value), 300)})`,
    run: async () => {
      const heard = hear()
      heard.log.addSecrets([secret.text])
      const why = await judged(() => {
        heard.log.printJson(value)
        return undefined
      })
      const printed = JSON.parse(heard.text())
      // Where nothing was secret, the values are exact.
      if (JSON.stringify(printed.list) !== JSON.stringify(value.list)) return 'the JSON is not what was to be printed'
      return why ?? whyNotShown(heard.text(), secret)
    },
  }
}

/** What others wrote stands in the cells of a table, and in the notes below its rows. */
export function shownTable(random: Random): Case {
  const cells = (): string[] => Array.from({ length: 3 }, () => hostileName(random))
  const rows = [cells(), ...random.list(3, cells)]
  const notes = rows.map(() => `x${hostileName(random)}`)
  return {
    input: oneLine(JSON.stringify({ rows, notes }), 300),
    run: () =>
      judged((log) => {
        const texts = [table(rows), listing({ head: ['a', 'b', 'c'], rows, notes })]
        for (const text of texts) log.print(text)
        const [bare, noted] = texts.map((text) => text.split('\n').length)
        return bare === rows.length && noted === 1 + 2 * rows.length
          ? undefined
          : `what stands in ${rows.length} rows makes ${bare} lines, and ${noted} with a head and notes`
      }),
  }
}

const COMMAND: Command = {
  name: 'fuzz',
  help: '',
  switches: ['dry-run', 'json', 'yes'],
  options: ['url', 'to'],
  exclusive: [['dry-run', 'json']],
  argument: 'ARCHIVE',
}

export function commandLine(random: Random): Case {
  const flag = (): string =>
    `--${random.pick([...COMMAND.switches, ...(COMMAND.options ?? []), 'env-file', 'dryrun', 'URL'])}`
  const word = (): string =>
    random.pick([
      flag,
      () => `${flag()}=${hostileName(random)}`,
      () => hostileName(random),
      () => hostileText(random),
    ])()
  const words = random.list(5, word)
  return {
    input: words.map((word) => oneLine(JSON.stringify(word), 200)).join(' '),
    run: () =>
      judged(() => {
        const { flags, values, argument } = parse(COMMAND, words)
        const given = [...flags, ...Object.values(values), ...(argument === undefined ? [] : [argument])]
        return given.some((value) => value === undefined) ? 'a value is undefined' : undefined
      }),
  }
}

export function settings(random: Random): Case {
  const secret = secretOf(random)
  const value = (): string =>
    random.pick([
      () => hostileName(random),
      () => hostileText(random, secret),
      () =>
        `https://${random.pick(['', `u:${secret.halves[0]}@`, `${secret.halves[0]}@`])}hc-ping.com/${hostileName(random)}`,
      () => `/${hostileName(random)}`,
      () => String(random.below(2000) - 5),
    ])()
  const names = Object.keys(SETTINGS) as SettingName[]
  const environment = Object.fromEntries(random.list(8, () => [random.pick(names), value()]))
  return {
    input: oneLine(JSON.stringify(environment), 300),
    run: () =>
      judged((log) => {
        const file = { path: '/nowhere', exists: false, values: {}, problems: [] }
        const { settings, problems } = checkSettings(names, environment, file)
        log.error(problems.join('\n'))
        for (const key of ['HEALTHCHECK_URL', 'DRILL_HEALTHCHECK_URL', 'SITE_URL', 'CLOUDFLARE_API_URL'] as const) {
          const address = settings[key]
          if (address === undefined) continue
          const { username, password } = new URL(address)
          if (username || password) return `${key} is accepted with a user in it`
        }
        return undefined
      }, secret),
  }
}

const GOOD_LINES = [
  'BORG_REPO=/repo',
  "BORG_PASSPHRASE='correct horse 7'",
  'KEY="a b"',
  'export KEY=value',
  'KEY=value # comment',
  '# comment',
  '',
  'KEY=ä',
  'KEY= ',
]
const ODD_LINES = [
  'KEY=a b',
  'KEY = a',
  'KEY=$HOME',
  "KEY='a'b",
  'KEY="a\\"b"',
  'KEY=~/x',
  'KEY=a#b',
  'KEY',
  'KEY=:~',
  'KEY=a\u00a0b',
]
const FLAWS = ['lines', 'long', 'ends', 'mark', 'bytes', 'NUL', 'pipe', 'many', 'size', 'mode'] as const
/** Far more than an env file may have, and quick to write. */
const HUGE_BYTES = 10_000_000

/** A file that is read without a problem is read as bash reads it. One flaw at a time: another would hide it. */
export function envFile(random: Random, turn: number): Case {
  const flaw = inTurn(FLAWS, turn)
  const goodLines = ['KEY=ä', ...random.list(4, () => random.pick(GOOD_LINES))]
  const line = (): string =>
    random.pick(random.chance(0.3) ? ODD_LINES : GOOD_LINES) +
    (random.chance(0.2) ? random.pick(['\r', ' ', '\t', '\0', '\f', '\u2028', ' # x', '"', "'"]) : '')
  const lines = {
    lines: () => random.list(6, line),
    // Nearly as large as a file may be.
    long: () => [...goodLines, `OTHER=a${random.pick([' ', '\t']).repeat(60_000)}b`],
    NUL: () => [...goodLines, `OTHER=a${random.pick(['\0', '\0b'])}`],
    many: () => Array.from({ length: 2000 }, line).map((text) => text.slice(0, 20)),
    // All that is wrong with it is its size.
    size: () => [...goodLines, `# ${'x'.repeat(HUGE_BYTES)}`],
  }
  const text = `${flaw === 'mark' ? '\ufeff' : ''}${(lines[flaw as keyof typeof lines] ?? (() => goodLines))().join('\n')}\n`
  const bytes = Buffer.from(
    flaw === 'ends' ? text.replaceAll('\n', '\r\n') : text,
    flaw === 'bytes' ? 'latin1' : 'utf8',
  )
  return {
    input: `${flaw}: ${oneLine(JSON.stringify(bytes.toString('latin1', 0, 1000)), 300)}`,
    run: () =>
      judged((log) =>
        inFolder(async (folder) => {
          mkdirSync(join(folder, ODD_NAME))
          return readAsBash(join(folder, ODD_NAME, '.env'), bytes, flaw, log)
        }),
      ),
  }
}

/** @returns what bash reads otherwise */
async function readAsBash(
  path: string,
  bytes: Buffer,
  flaw: (typeof FLAWS)[number],
  log: Log,
): Promise<string | undefined> {
  if (flaw === 'pipe') execFileSync('mkfifo', ['-m', '600', path])
  else await writeFile(path, bytes, { mode: flaw === 'mode' ? 0o664 : 0o600 })
  const { values, problems } = await readEnvFile(path, true)
  log.error(problems.join('\n'))
  if (problems.length > 30) return `${problems.length} problems are told`
  for (const problem of problems) if (/correct horse|\/repo/.test(problem)) return `a problem shows a value: ${problem}`
  if (problems.length > 0) return undefined
  if (!['lines', 'long', 'ends', 'mark', 'bytes', 'NUL'].includes(flaw)) return `${flaw}: it is read without a problem`
  // No program is found, and nothing can be written.
  const script = 'set -a; . ./.env >/dev/null; unset PWD SHLVL OLDPWD _; exec /usr/bin/env -0'
  const printed = execFileSync('/bin/bash', ['--noprofile', '--norc', '-c', script], {
    cwd: join(path, '..'),
    env: {},
    // Bytes that are no text must not be taken for such that are.
    encoding: 'latin1',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const inBash = Object.fromEntries(
    printed
      .split('\0')
      .filter(Boolean)
      .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  )
  for (const key of ['PWD', 'SHLVL', 'OLDPWD', '_']) delete inBash[key]
  for (const key of new Set([...Object.keys(values), ...Object.keys(inBash)])) {
    const here = values[key] === undefined ? undefined : Buffer.from(values[key]).toString('latin1')
    if (here !== inBash[key]) return `bash reads ${key} as ${JSON.stringify(inBash[key])}, not ${JSON.stringify(here)}`
  }
  return undefined
}

/** A failure's own words go to the log as everything else; here they are made of others' words. */
export function toldFailure(random: Random): Case {
  const secret = secretOf(random)
  const [message, hint] = [hostileText(random, secret), hostileText(random, secret)]
  return {
    input: `new Failure(${oneLine(JSON.stringify(message), 150)}, ${oneLine(JSON.stringify(hint), 150)})`,
    run: () =>
      judged(() => {
        throw new Failure(message, hint)
      }, secret),
  }
}
