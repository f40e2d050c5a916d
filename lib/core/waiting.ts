// Shows at a terminal what is waited for, and for how long already.

import { duration } from './format.ts'
import type { Log } from './log.ts'

interface Waiting {
  /** Something of it has come: the line is drawn anew. */
  show(): void
  stop(): void
}

const SHOW_EVERY_MS = 1000

/** @param open the names of what has not come yet; with none of them there is no line */
export function showWaiting(log: Pick<Log, 'status'>, open: () => readonly string[]): Waiting {
  const startedMs = performance.now()
  const show = (): void => {
    const names = [...new Set(open())]
    const waitedMs = performance.now() - startedMs
    const waited = waitedMs < 1000 ? '' : ` ${duration(waitedMs)}`
    if (names.length > 0) log.status(`Waiting${waited} for ${names.join(', ')} …`)
  }
  const timer = setInterval(show, SHOW_EVERY_MS)
  return { show, stop: () => clearInterval(timer) }
}
