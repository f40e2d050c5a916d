// A line of `backup --check`.

import { Failure } from '../core/failure.ts'
import { wrap } from '../core/layout.ts'

/** One line of `backup --check`. */
export interface CheckLine {
  name: string
  verdict: 'pass' | 'warn' | 'fail'
  detail: string
  /** What to type: because it did not pass, or when what it says is over. */
  fix?: string
  /** With --json: the names of the nights and restore points that are there, newest first. A way back asks for the one that it names. */
  archives?: string[]
}

/** Lines that are being found out, and what is asked for them, in words. */
export type Asked = readonly [what: string, lines: Promise<CheckLine | CheckLine[]>]

/** What a line ends with that asks for one more night. */
export const A_NIGHT = 'type: backup'

export function pass(name: string, detail: string): CheckLine {
  return { name, verdict: 'pass', detail }
}

export function warn(name: string, detail: string, fix: string): CheckLine {
  return { name, verdict: 'warn', detail, fix }
}

export function fail(name: string, detail: string, fix: string): CheckLine {
  return { name, verdict: 'fail', detail, fix }
}

/** A Failure is the line's verdict. */
export async function attempt<T extends CheckLine | undefined>(
  name: string,
  check: () => Promise<T>,
): Promise<CheckLine | T> {
  try {
    return await check()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return fail(name, error.message, error.hint)
  }
}

/** In columns, the fix below; where the terminal is narrow, below the name. */
export function formatLine({ name, verdict, detail, fix }: CheckLine, columns?: number): string {
  const isNarrow = columns !== undefined && columns < 80
  const indent = isNarrow ? 6 : verdict.length + NAME_WIDTH + 4
  const text = detail.replaceAll('\n', ' ')
  const first = `${verdict}  ${isNarrow ? name : name.padEnd(NAME_WIDTH)}`
  return [
    ...(isNarrow
      ? [first, wrap(`${' '.repeat(indent)}${text}`, columns, indent)]
      : [wrap(`${first}  ${text}`, columns, indent)]),
    ...(fix
      ? [wrap(`${' '.repeat(indent)}→ ${fix.replaceAll('\n', `\n${' '.repeat(indent + 2)}`)}`, columns, indent + 2)]
      : []),
  ].join('\n')
}

/** Of the longest one. */
const NAME_WIDTH = 'app configuration'.length
