// A line of `backup --check`.

import { Failure } from '../core/failure.ts'

/** One line of `backup --check`. */
export interface CheckLine {
  name: string
  verdict: 'pass' | 'warn' | 'fail'
  detail: string
  /** What to do about it, when it did not pass. */
  fix?: string
  /** With --json: the names of the nights and restore points that are there, newest first. A way back asks for the one that it names. */
  archives?: string[]
}

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
export async function attempt(name: string, check: () => Promise<CheckLine>): Promise<CheckLine> {
  try {
    return await check()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return fail(name, error.message, error.hint)
  }
}
