// The env file: the settings and secrets of a machine, as KEY=value lines that bash reads the same way.
import { readFile, stat } from 'node:fs/promises'
import { parse } from 'dotenv'
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

/**
 * Reads the env file.
 * @param named whether the path was asked for: then the file must exist; at the default path it need not
 */
export async function readEnvFile(path: string, named: boolean): Promise<EnvFile> {
  const empty = { path, exists: false, values: {}, problems: [] }
  try {
    const { mode } = await stat(path)
    const permissions = mode & 0o777
    const text = await readFile(path, 'utf8')
    const problems = bashisms(text).map((problem) => `${path}, ${problem}`)
    if (permissions & 0o007)
      problems.unshift(`${path} can be read by everybody on this machine. Type: chmod 600 ${path}`)
    return { path, exists: true, values: parse(text), problems, mode: permissions }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR')
      return named ? { ...empty, problems: [`The env file ${path} does not exist.`] } : empty
    const there = { ...empty, exists: true }
    if (code === 'EISDIR') return { ...there, problems: [`The env file ${path} is a directory.`] }
    // Someone without access to the deploy user's home may run a script that needs no secret: that alone is no problem.
    if (code === 'EACCES' && !named) return { ...there, denied: true }
    return { ...there, denied: true, problems: [`The env file ${path} can't be read (${code}).`] }
  }
}

/**
 * Lines that bash's `source` and dotenv read differently, so that a passphrase would silently be another one.
 * Pure; every problem names its line and the fix, never the value.
 */
export function bashisms(text: string): string[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    const problem = lineProblem(line)
    return problem ? [`line ${index + 1}: ${problem}`] : []
  })
}

function lineProblem(line: string): string | undefined {
  if (/^\s*(#|$)/.test(line)) return
  const assignment = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line)
  if (!assignment) {
    return /^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s+=/.test(line)
      ? 'a space before = is a command to bash: write KEY=value.'
      : 'not KEY=value: remove it, these scripts run no commands from this file.'
  }
  const [, key, raw = ''] = assignment
  const value = raw.trimEnd()
  const quote = `write ${key}='…' with single quotes`
  if (/^\s+[^\s#]/.test(value)) return `a space after = ends the value for bash: ${quote}, without the space.`

  if (value.startsWith("'")) {
    const closed = /^'[^']*'(\s+#.*)?$/.test(value)
    return closed
      ? undefined
      : `${key} has a single quote inside its single quotes, or does not end on this line: choose a value without it.`
  }
  if (value.startsWith('"')) {
    const inner = /^"([^"\\]|\\.)*"(\s+#.*)?$/.exec(value)
    if (!inner) return `${key} has text outside its double quotes, or does not end on this line: ${quote} on one line.`
    const found = /["](.*)["]/.exec(value)?.[1] ?? ''
    if (/[$`]/.test(found)) return `$ or a backtick in double quotes is expanded by bash but not here: ${quote}.`
    if (found.includes('\\')) return `a backslash in double quotes is read differently by bash: ${quote}.`
    return
  }
  const bare = value.replace(/\s+#.*$/, '')
  if (bare.includes('#')) return `an unquoted # starts a comment here, but not in bash: ${quote}.`
  if (/[$`]/.test(bare))
    return `an unquoted $ or backtick is expanded by bash but not here: ${quote}, or the plain value.`
  if (/[\s'"\\;&|<>()]/.test(bare) || bare.startsWith('~'))
    return `an unquoted space, quote, ~ or other sign that bash treats specially: ${quote}.`
  return
}
