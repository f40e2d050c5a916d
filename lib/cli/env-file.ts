// The env file: the settings and secrets of a machine, as KEY=value lines that bash reads the same way.
import { isUtf8 } from 'node:buffer'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { parse } from 'dotenv'
import { quote } from '../core/quote.ts'
import type { Env } from '../core/shell.ts'

export interface EnvFile {
  path: string
  /** False when there is nothing of that name; then `values` is empty. */
  exists: boolean
  /** This user may not read it; then `values` is empty. */
  denied?: boolean
  values: Env
  /** Why the file can't be used, one sentence each, never with a value. */
  problems: string[]
  /** Permission bits, e.g. 0o600. */
  mode?: number
}

export const DEFAULT_ENV_FILE = '/home/deploy/.env.backup'

/** More than any real one has. */
const LARGEST_BYTES = 64 * 1024
const MOST_PROBLEMS = 20
const BYTE_ORDER_MARK = '\ufeff'

/**
 * Reads the env file.
 * @param named whether the path was asked for: then the file must exist; at the default path it need not
 */
export async function readEnvFile(path: string, named: boolean): Promise<EnvFile> {
  const empty = { path, exists: false, values: {}, problems: [] }
  let file: FileHandle
  try {
    // Without waiting: nobody may ever write into a pipe of that name.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR')
      return named ? { ...empty, problems: [`The env file ${path} does not exist.`] } : empty
    return unusable(path, named, `can't be read (${code}).`)
  }
  try {
    const found = await file.stat()
    if (!found.isFile()) return { ...empty, exists: true, problems: [`The env file ${path} is not a file.`] }
    // Its owner chooses commands that run here: BORG_PASSCOMMAND, BORG_RSH.
    if (found.uid !== 0 && found.uid !== process.getuid?.())
      return unusable(path, named, `belongs to another user (UID ${found.uid}): run this as that user.`)
    if (found.size > LARGEST_BYTES)
      return { ...empty, exists: true, problems: [`The env file ${path} is larger than ${LARGEST_BYTES / 1024} kB.`] }
    const mode = found.mode & 0o777
    const raw = await file.readFile()
    // Each line end and the mark are told once; what else is wrong with the lines, besides.
    const { values, problems } = parseEnvFile(
      raw
        .toString()
        .replace(/^\ufeff/, '')
        .replaceAll('\r\n', '\n'),
      isUtf8(raw),
    )
    const known = [...modeProblems(path, mode), ...editorProblems(path, raw), ...shorten(path, problems)]
    return { path, exists: true, values, problems: known, mode }
  } finally {
    await file.close()
  }
}

/** Someone without a right to the deploy user's file may run a script that needs no secret: that alone is no problem. */
function unusable(path: string, named: boolean, why: string): EnvFile {
  return { path, exists: true, denied: true, values: {}, problems: named ? [`The env file ${path} ${why}`] : [] }
}

function modeProblems(path: string, mode: number): string[] {
  const fix = `Type: chmod 600 ${quote(path)}`
  if (mode & 0o007) return [`${path} can be read by everybody on this machine. ${fix}`]
  return mode & 0o020 ? [`${path} can be changed by its group. ${fix}`] : []
}

/** What some editors put into a file unseen. bash takes it for a part of the values, or of a command's name. */
function editorProblems(path: string, raw: Buffer): string[] {
  return [
    ...(raw.indexOf(BYTE_ORDER_MARK) === 0
      ? [
          `${path} begins with a byte order mark, and bash does not read its first line. Type: sed -i '1s/^\\xEF\\xBB\\xBF//' ${quote(path)}`,
        ]
      : []),
    ...(raw.includes('\r\n')
      ? [
          `${path} has the line ends of Windows, and bash reads a carriage return into each value. Type: sed -i 's/\\r$//' ${quote(path)}`,
        ]
      : []),
  ]
}

function shorten(path: string, problems: readonly string[]): string[] {
  const more = problems.length - MOST_PROBLEMS
  return [
    ...problems.slice(0, MOST_PROBLEMS).map((problem) => `${path}, ${problem}`),
    ...(more > 0 ? [`${path} has ${more} more problems.`] : []),
  ]
}

/** The values of the lines that bash would read alike, and what is wrong with the others. */
function parseEnvFile(text: string, isText: boolean): { values: Env; problems: string[] } {
  const good = text.split('\n').filter((line) => !lineProblem(line, isText))
  return { values: Object.assign({}, ...good.map((line) => parse(line))), problems: bashisms(text, isText) }
}

/**
 * Lines that bash's `source` and dotenv read differently, so that a passphrase would silently be another one.
 * Pure; every problem names its line and the fix, never the value.
 * @param isText false when the file holds bytes that are not UTF-8
 */
export function bashisms(text: string, isText = true): string[] {
  return text.split('\n').flatMap((line, index) => {
    const problem = lineProblem(line, isText)
    return problem ? [`line ${index + 1}: ${problem}`] : []
  })
}

function lineProblem(line: string, isText: boolean): string | undefined {
  if (line.includes('\0')) return 'it holds a NUL, which no program can be given: remove it.'
  if (/^[ \t]*(#|$)/.test(line)) return
  if (!isText && line.includes('\ufffd')) return 'it holds bytes that are not UTF-8: save the file as UTF-8.'
  if (/[^\S \t]/.test(line.replace(/'[^'\r]*'|"[^"\r]*"/g, '')))
    return 'it holds a blank that bash takes for a letter (a carriage return, a no-break space): type a space, or nothing.'
  const assignment = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(line)
  if (!assignment) {
    return /^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s+=/.test(line)
      ? 'a space before = is a command to bash: write KEY=value.'
      : 'not KEY=value: remove it, these scripts run no commands from this file.'
  }
  const [, key = '', raw = ''] = assignment
  const found = bashValue(key, raw)
  if (typeof found === 'object') return found.problem
  // dotenv looks for the end of a quoted value in what follows it, too.
  return parse(line)[key] === found ? undefined : `a comment behind ${key}'s value is read into it: remove the comment.`
}

/** What bash makes of the text after `KEY=`, or why it is not what stands there. */
function bashValue(key: string, raw: string): string | { problem: string } {
  const value = raw.trimEnd()
  const quote = `write ${key}='…' with single quotes`
  if (/^\s+[^\s#]/.test(value))
    return { problem: `a space after = ends the value for bash: ${quote}, without the space.` }

  if (value.startsWith("'")) {
    const [, inner] = /^'([^']*)'(\s+#.*)?$/s.exec(value) ?? []
    const problem = `${key} has a single quote inside its single quotes, or does not end on this line: choose a value without it.`
    return inner ?? { problem }
  }
  if (value.startsWith('"')) {
    if (!/^"([^"\\]|\\.)*"(\s+#.*)?$/s.test(value))
      return {
        problem: `${key} has text outside its double quotes, or does not end on this line: ${quote} on one line.`,
      }
    const inner = /^"((?:[^"\\]|\\.)*)"/s.exec(value)?.[1] ?? ''
    if (/[$`]/.test(inner))
      return { problem: `$ or a backtick in double quotes is expanded by bash but not here: ${quote}.` }
    if (inner.includes('\\')) return { problem: `a backslash in double quotes is read differently by bash: ${quote}.` }
    return inner
  }
  const comment = value.search(/\s#/)
  const bare = (comment < 0 ? value : value.slice(0, comment)).trim()
  if (bare.includes('#')) return { problem: `an unquoted # starts a comment here, but not in bash: ${quote}.` }
  if (/[$`]/.test(bare))
    return { problem: `an unquoted $ or backtick is expanded by bash but not here: ${quote}, or the plain value.` }
  if (/[\s'"\\;&|<>()]/.test(bare) || /(^|:)~/.test(bare))
    return { problem: `an unquoted space, quote, ~ or other sign that bash treats specially: ${quote}.` }
  return bare
}
