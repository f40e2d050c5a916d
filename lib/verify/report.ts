// Results for a terminal, a log and a program.

import { duration, plural, printable } from '../core/format.ts'
import { sshLine } from '../core/host.ts'
import { chalk } from '../core/zx.ts'
import { checksFor, failedChecks, isGreen, isOnlyBlocked, type VerifyOptions, verifySite } from './checks.ts'
import { USER_AGENT_NAME } from './request.ts'
import type { CheckResult, Verdict } from './run-check.ts'

const PAINT: Record<Verdict, (text: string) => string> = {
  pass: chalk.green,
  warn: chalk.yellow,
  fail: chalk.red,
  skip: chalk.dim,
}
const NAME_WIDTH = 'homepage with styles'.length

/** One check as one line: verdict, name, time, tries, what was seen. */
export function resultLine({ name, verdict, seen, tookMs, tries }: CheckResult, colour = false): string {
  const cost = verdict === 'skip' ? '' : `${duration(tookMs)}${tries > 1 ? `, ${plural(tries, 'try', 'tries')}` : ''}`
  return `${colour ? PAINT[verdict](verdict) : verdict}  ${name.padEnd(NAME_WIDTH)}  ${cost.padEnd(15)}  ${printable(seen)}`.trimEnd()
}

/** `7 passed, 1 skipped`. */
export function countsOf(results: readonly CheckResult[]): string {
  const count = (verdict: Verdict): number => results.filter((result) => result.verdict === verdict).length
  return [
    `${count('pass')} passed`,
    ...(count('warn') ? [plural(count('warn'), 'warning')] : []),
    ...(count('fail') ? [`${count('fail')} failed`] : []),
    ...(count('skip') ? [`${count('skip')} skipped`] : []),
  ].join(', ')
}

/** The outcome as one sentence. */
export function summaryLine(url: string, results: readonly CheckResult[], tookMs: number): string {
  return `${url} is ${isGreen(results) ? '' : 'NOT '}verified: ${countsOf(results)}, in ${duration(tookMs)}`
}

/** `verify --json`: one object, times in seconds. */
export function resultsJson(url: string, results: readonly CheckResult[], tookMs: number): unknown {
  const seconds = (ms: number): number => Math.round(ms) / 1000
  const checks = results.map(({ name, verdict, seen, tookMs: ms, tries, blocked }) => ({
    name,
    verdict,
    seen,
    seconds: seconds(ms),
    tries,
    blocked,
  }))
  return { url, verified: isGreen(results), checks, seconds: seconds(tookMs) }
}

/** What failed, as one line each. */
export function failureList(results: readonly CheckResult[]): string {
  return results.length === 0
    ? 'no check ran'
    : failedChecks(results)
        .map(({ name, seen }) => `  - ${name}: ${seen}`)
        .join('\n') || 'every check was skipped'
}

/** How to let these checks in, where something before the site did not. */
export const LET_IN = [
  'Nothing is known about the site itself: Cloudflare, before it, did not let these checks in.',
  `In Cloudflare, Security → Security rules, add a rule that skips for a User Agent that contains ${USER_AGENT_NAME}.`,
  'Bot Fight Mode heeds no rule: if Security → Events names it, turn it off, or verify from another network.',
].join('\n')

/** The commands to type after a red. `host`: DOKKU_HOST, if it is known here. */
export function nextCommands(results: readonly CheckResult[], app: string, host = '$DOKKU_HOST'): string {
  const dokku = (command: string): string => `  ${sshLine('dokku', host)} ${command}`
  const blocked = results.some((result) => result.blocked)
  // Whoever was not let in has no reason to go back.
  if (isOnlyBlocked(results)) return LET_IN
  return [
    ...(blocked ? [LET_IN] : []),
    'To look further:',
    dokku(`logs ${app} --num 100`),
    dokku(`logs:failed ${app}`),
    dokku(`ps:report ${app}`),
    'To go back to an earlier release (it shows them, and asks first):',
    '  rollback',
  ].join('\n')
}

/** The part of a terminal that a live table needs. */
interface Screen {
  write(text: string): unknown
  columns?: number
  rows?: number
}

interface LiveTable {
  /** A check has its verdict. */
  settle(result: CheckResult): void
  /** An attempt failed; another one follows. */
  retry(result: CheckResult): void
  /** Draws the last state, uncut, and leaves the cursor below it. */
  finish(): void
  /** Stops drawing where it is. */
  stop(): void
}

const REDRAW_MS = 250

/** The checks as a table that is drawn over itself until each has its verdict. */
export function liveTable(names: readonly string[], screen: Screen): LiveTable {
  const settled = new Map<string, CheckResult>()
  const retried = new Map<string, CheckResult>()
  const startedMs = performance.now()
  // A table higher than the screen can't be drawn over: then it is drawn once.
  const fits = (screen.rows ?? 24) > names.length + 1
  let drawn = false

  const row = (name: string): string => {
    const result = settled.get(name)
    if (result) return resultLine(result, true)
    const { tries = 0, seen = '' } = retried.get(name) ?? {}
    const waited = `${Math.floor((performance.now() - startedMs) / 1000)} s`
    return chalk.dim(`  …   ${name.padEnd(NAME_WIDTH)}  ${waited.padEnd(15)}  ${tries ? `try ${tries}: ${seen}` : ''}`)
  }
  const draw = (cut: boolean): void => {
    const width = (screen.columns ?? 80) - 1
    const lines = names.map((name) => `\r\u001b[K${cut ? cutTo(row(name), width) : row(name)}\n`)
    // Uncut rows take more lines than those they are drawn over.
    const clear = cut ? '' : '\u001b[J'
    screen.write(`${drawn ? `\u001b[${names.length}A${clear}` : ''}${lines.join('')}`)
    drawn = true
  }
  const redraw = (): void => {
    if (fits) draw(true)
  }
  const timer = setInterval(redraw, REDRAW_MS)
  const stop = (): void => clearInterval(timer)
  redraw()
  return {
    settle: (result) => {
      settled.set(result.name, result)
      redraw()
    },
    retry: (result) => {
      retried.set(result.name, result)
    },
    finish: () => {
      stop()
      draw(false)
    },
    stop,
  }
}

/** Verifies, and shows how it goes on a terminal. */
export async function verifyLive(options: VerifyOptions, screen: Screen): Promise<CheckResult[]> {
  const table = liveTable(
    checksFor(options).map(({ name }) => name),
    screen,
  )
  try {
    const results = await verifySite({ ...options, onResult: table.settle, onRetry: table.retry })
    table.finish()
    return results
  } finally {
    table.stop()
  }
}

/** Cuts what is seen at a width; colour codes take none. */
function cutTo(line: string, width: number): string {
  let seen = 0
  let cut = ''
  for (const part of line.split(/(\u001b\[[\d;]*m)/)) {
    const isCode = part.startsWith('\u001b')
    cut += isCode ? part : part.slice(0, Math.max(0, width - seen))
    if (!isCode) seen += part.length
  }
  return cut
}
