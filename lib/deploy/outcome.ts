// What became of a push or a rebuild, by what git and Dokku said of it.

import type { Output } from '../core/shell.ts'
import type { SshTrouble } from '../server/ssh-errors.ts'

/**
 * What became of a push. `skipped`: Dokku built it and started nothing (its setting `skip-deploy`). `postdeploy-failed`: what follows
 * the switch failed. `stale`: somebody deployed since this run looked. `elsewhere`: it went to a branch that Dokku does not deploy.
 * `refused`: for a reason not known here.
 */
export type Outcome =
  | 'deployed'
  | 'unchanged'
  | 'skipped'
  | 'locked'
  | 'build-failed'
  | 'predeploy-failed'
  | 'health-failed'
  | 'postdeploy-failed'
  | 'stale'
  | 'elsewhere'
  | 'no-connection'
  | 'lost'
  | 'refused'

export interface PushResult {
  outcome: Outcome
  /** The lines that say why, as they came. */
  cause: string[]
}

/** A line of a push. */
interface Line {
  text: string
  /** Git and ssh on this machine say it, and not the server, which passes on what a build prints. */
  isOurs: boolean
}

/** A line as it should be shown: without git's `remote: `, Dokku's way of erasing it, colours and other control characters. */
export function cleanLine(line: string): string {
  // Git ends a line of the server's at each of \r and \n, and begins the next one with its word.
  const parts = line.split('\r').map((part) => part.replace(/^remote: ?/, ''))
  return (parts.filter((part) => part.trim() !== '').at(-1) ?? '')
    .replace(/\u001b\[[0-9;?]*[A-Za-z]/g, '')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
    .trimEnd()
}

/** Keeps the lines of a push or a build as they should be shown, and passes each on. */
export function collectLines(
  onLine: (line: string) => void = () => {},
  isOurs: (raw: string) => boolean = (raw) => !raw.startsWith('remote:'),
): { lines: readonly Line[]; take(raw: string): void } {
  const lines: Line[] = []
  return {
    lines,
    take: (raw) => {
      const text = cleanLine(raw)
      lines.push({ text, isOurs: isOurs(raw) })
      onLine(text)
    },
  }
}

/** How Dokku begins a line of its own that tells of a failure, and a header. What it runs is indented. */
const [FAILURE, HEADER] = [/^ ! {5}/, /^(-----|=====)> /]
const BLOCK = /^=====> (Start|End) of (.*) output/

/** Only Dokku's own lines: not what is between `Start of …` and `End of …`, where the app's programs speak. */
function dokkusOwn(lines: readonly Line[]): Line[] {
  let isInside = false
  return lines.filter((line) => {
    const edge = line.isOurs ? undefined : BLOCK.exec(line.text)?.[1]
    if (edge !== undefined) isInside = edge === 'Start'
    return !line.isOurs && !isInside && (FAILURE.test(line.text) || HEADER.test(line.text))
  })
}

/** Dokku's verdicts, in the words of 0.30 to 0.38. It gives no more than one; a build may print another before. */
const VERDICTS: { outcome: Outcome; sign: RegExp; cause: (lines: readonly string[], at: number) => string[] }[] = [
  {
    outcome: 'predeploy-failed',
    sign: /^ ! {5}Execution of (predeploy|release|heroku\.postdeploy) task failed/,
    cause: (lines, at) => block(lines, at, /(deploy|release) task/),
  },
  {
    outcome: 'postdeploy-failed',
    sign: /^ ! {5}Execution of postdeploy task failed/,
    cause: (lines, at) => block(lines, at, /postdeploy task/),
  },
  {
    outcome: 'health-failed',
    sign: /^ ! {5}Could not start due to \d+ failed checks/,
    cause: (lines) => [
      ...lines.filter((line) => /^ {7}Failure in name=/.test(line)),
      ...block(lines, lines.length, /container/),
    ],
  },
  { outcome: 'build-failed', sign: /^ ! {5}App build failed/, cause: failedStep },
]
const BEGUN = /^-----> (Cleaning up|Building|Releasing|Deploying)/
const LOCKED = /^ ! {5}\S+ currently has a deploy lock in place/
const SKIPPED = /^-----> Skipping deployment/
const ELSEWHERE = /^-----> WARNING: deploy did not complete, you must push to/
const STALE =
  /^ ! \[(remote )?rejected\] .*\((stale info|remote ref updated since checkout|fetch first|non-fast-forward|cannot lock ref.*)\)$/
const MOVED = /^error: cannot lock ref /

/** Lines of the last block before `end` that is named so, without its header and its end. */
function block(lines: readonly string[], end: number, what: RegExp): string[] {
  const isEdge = (line: string, edge: string): boolean => {
    const [, kind, name = ''] = BLOCK.exec(line) ?? []
    return kind === edge && what.test(name)
  }
  const start = lines.slice(0, end).findLastIndex((line) => isEdge(line, 'Start'))
  if (start < 0) return []
  const length = lines.slice(start + 1).findIndex((line) => isEdge(line, 'End'))
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length)
}

/** What BuildKit shows of the step that failed; without it the last lines before Dokku's verdict. */
function failedStep(lines: readonly string[], at: number): string[] {
  const before = lines.slice(0, at)
  const step = before.findLastIndex((line) => /^ > \[/.test(line))
  return before.slice(step < 0 || at - step > MOST_CAUSE ? -12 : step)
}

const MOST_CAUSE = 20

/** A cause that can be read at a glance: no header of Dokku's, no ruler, and no line twice. A crash is printed as often as it happened. */
function shorten(lines: readonly string[]): string[] {
  const told = lines.filter((line) => line.trim() !== '' && !HEADER.test(line) && !/^-+$/.test(line))
  return [...new Map(told.map((line) => [line.trim(), line])).values()].slice(-MOST_CAUSE)
}

/**
 * What became of a push, by what git and Dokku said: the exit status is 1 for every failure, and 0 for a push that deployed nothing.
 * Pure.
 */
export function classifyPush(
  { exitCode, signal }: Pick<Output, 'exitCode' | 'signal'>,
  lines: readonly Line[],
  trouble?: SshTrouble,
): PushResult {
  const own = dokkusOwn(lines)
  const [ours, begun] = [lines.filter(({ isOurs }) => isOurs), own.some(({ text }) => BEGUN.test(text))]
  const saying = (some: readonly Line[], sign: RegExp): string[] =>
    some.filter(({ text }) => sign.test(text)).map(({ text }) => text)
  const elsewhere = saying(own, ELSEWHERE)
  if (elsewhere.length > 0) return { outcome: 'elsewhere', cause: elsewhere }
  if (exitCode === 0) return { outcome: outcomeOfSuccess(ours, own), cause: [] }
  // Before a build begins nothing but git and Dokku has spoken.
  for (const [outcome, some, sign] of [
    ['locked', own, LOCKED],
    ['stale', ours, STALE],
    ['stale', lines, MOVED],
  ] as const)
    if (!begun && saying(some, sign).length > 0) return { outcome, cause: saying(some, sign) }
  // The connection may have broken after the reason was said, before git could report it: the reason stands.
  const verdict = verdictOf(own, lines)
  return verdict ?? outcomeOfEnd({ signal }, lines, trouble)
}

function outcomeOfSuccess(ours: readonly Line[], own: readonly Line[]): Outcome {
  if (ours.some(({ text }) => /^Everything up-to-date/.test(text))) return 'unchanged'
  return own.some(({ text }) => SKIPPED.test(text)) ? 'skipped' : 'deployed'
}

function verdictOf(own: readonly Line[], lines: readonly Line[]): PushResult | undefined {
  for (const line of own.toReversed()) {
    const verdict = VERDICTS.find(({ sign }) => sign.test(line.text))
    if (!verdict) continue
    const texts = lines.filter(({ isOurs }) => !isOurs).map(({ text }) => text)
    const at = texts.lastIndexOf(line.text)
    return { outcome: verdict.outcome, cause: [...shorten(verdict.cause(texts, at)), line.text] }
  }
  return
}

/** A push that ended without a verdict of Dokku's. */
function outcomeOfEnd({ signal }: Pick<Output, 'signal'>, lines: readonly Line[], trouble?: SshTrouble): PushResult {
  const texts = lines.map(({ text }) => text)
  const ours = lines.filter(({ isOurs }) => isOurs)
  const complaints = texts.filter((text) => /^(error|fatal|ssh|client_loop|mux_client)\b|^ ! +\S|^ ! \[/i.test(text))
  if (trouble && trouble !== 'lost') return { outcome: 'no-connection', cause: complaints }
  const isRejected = ours.some(({ text }) => /^ ! \[(remote )?rejected\]/.test(text))
  const isCut = ours.some(({ text }) => /hung up unexpectedly|unexpected disconnect|early EOF|Broken pipe/i.test(text))
  if (!isRejected && (trouble === 'lost' || isCut || signal !== null)) return { outcome: 'lost', cause: complaints }
  return { outcome: 'refused', cause: (complaints.length > 0 ? complaints : texts).slice(-MOST_CAUSE) }
}
