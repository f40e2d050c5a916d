// Fuzz cases of text: what is shown, command lines, settings and env files.
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, parse } from '../../lib/cli/arguments.ts'
import { readEnvFile } from '../../lib/cli/env-file.ts'
import { checkSettings, SETTINGS, type SettingName } from '../../lib/cli/settings.ts'
import { Failure } from '../../lib/core/failure.ts'
import { oneLine } from '../../lib/core/format.ts'
import { inFolder } from './folder.ts'
import { hostileName, hostileText, secretOf } from './hostile.ts'
import { type Case, hear, judged, whyNotShown } from './judge.ts'
import type { Random } from './random.ts'

/** By every door of the log. */
export function shownText(random: Random): Case {
  const secret = secretOf(random)
  const text = hostileText(random, secret)
  const door = random.pick(['info', 'warn', 'error', 'raw', 'print', 'question', 'command'] as const)
  return {
    input: `log.${door}(${JSON.stringify(oneLine(text, 300))})`,
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

const LINES = [
  'BORG_REPO=/repo',
  "BORG_PASSPHRASE='correct horse 7'",
  'KEY="a b"',
  'export KEY=value',
  'KEY=value # comment',
  '# comment',
  '',
  'KEY=a b',
  'KEY = a',
  'KEY=$HOME',
  "KEY='a'b",
  'KEY="a\\"b"',
  'KEY=~/x',
  'KEY=a#b',
  'KEY',
  'KEY=ä',
  'KEY= ',
  'KEY=:~',
  'KEY=a\u00a0b',
  `KEY=a${' '.repeat(60_000)}b`,
]

/** A file that is read without a problem is read as bash reads it. */
export function envFile(random: Random): Case {
  const line = (): string =>
    random.pick(LINES) +
    (random.chance(0.2) ? random.pick(['\r', ' ', '\t', '\0', '\f', '\u2028', ' # x', '"', "'"]) : '')
  const lines = random.chance(0.1) ? Array.from({ length: 2000 }, () => 'not a line') : random.list(6, line)
  const end = random.pick(['\n', '\n', '\n', '\r\n'])
  const text = `${random.chance(0.1) ? '\ufeff' : ''}${lines.join(end)}${end}`
  const bytes = Buffer.from(text, random.chance(0.1) ? 'latin1' : 'utf8')
  const isPipe = random.chance(0.05)
  return {
    input: isPipe ? 'a named pipe that nobody writes to' : oneLine(JSON.stringify(bytes.toString('latin1')), 300),
    run: () => judged(() => inFolder((folder) => readAsBash(join(folder, '.env'), isPipe ? undefined : bytes))),
  }
}

/** @returns what bash reads otherwise */
async function readAsBash(path: string, bytes: Buffer | undefined): Promise<string | undefined> {
  if (bytes) await writeFile(path, bytes, { mode: 0o600 })
  else execFileSync('mkfifo', ['-m', '600', path])
  const { values, problems } = await readEnvFile(path, true)
  if (problems.length > 30) return `${problems.length} problems are told`
  for (const problem of problems) if (/correct horse|\/repo/.test(problem)) return `a problem shows a value: ${problem}`
  if (problems.length > 0) return undefined
  if (!bytes) return 'a named pipe is read without a problem'
  // No program is found, and nothing can be written.
  const script = 'set -a; . ./.env >/dev/null; unset PWD SHLVL OLDPWD _; exec /usr/bin/env -0'
  const printed = execFileSync('/bin/bash', ['--noprofile', '--norc', '-c', script], {
    cwd: join(path, '..'),
    env: {},
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const inBash = Object.fromEntries(
    printed
      .split('\0')
      .filter(Boolean)
      .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  )
  for (const key of ['PWD', 'SHLVL', 'OLDPWD', '_']) delete inBash[key]
  for (const key of new Set([...Object.keys(values), ...Object.keys(inBash)]))
    if (values[key] !== inBash[key])
      return `bash reads ${key} as ${JSON.stringify(inBash[key])}, not ${JSON.stringify(values[key])}`
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
