// Whether a fuzz case is bad: what it threw, what it showed, how long it took.
import { Failure } from '../../lib/core/failure.ts'
import { createLog, type Log } from '../../lib/core/log.ts'
import { Unexpected } from '../../lib/verify/run-check.ts'
import { processorMs } from '../support/processor-time.ts'
import type { Secret } from './hostile.ts'

/** A case that is made, and not run yet. */
export interface Case {
  /** For a reader. */
  input: string
  /** @returns why it is bad; undefined when it is not */
  run(): Promise<string | undefined>
}

/** Of the processor, on a busy machine: a case computes for some milliseconds, one with very long lines for some hundred. */
const MOST_MS = 1500

/** Longer than any line is shown: it is cut, and said how long it was. */
const LONGEST_LINE = 4100

/** All that leaves the program by its one door. */
interface Heard {
  log: Log
  text(): string
  /** What is wrong with the lines of the log. */
  whyNotLogged(): string | undefined
}

export function hear(): Heard {
  const [stderr, stdout] = [createTarget(), createTarget()]
  return {
    log: createLog(stderr as unknown as NodeJS.WriteStream, { stdout }),
    text: () => stdout.text() + stderr.text(),
    whyNotLogged: () => {
      const lines = stderr.text().split('\n')
      const long = lines.find((line) => line.length > LONGEST_LINE)
      if (long !== undefined) return `shows a line of ${long.length} characters`
      // The last one has no end: it is a question.
      const forged = lines.slice(0, -1).find((line) => !/^(\d{4}-\d\d-\d\dT\S+ | {2})/.test(line))
      return forged === undefined ? undefined : `shows a line that is none of the log's: ${JSON.stringify(forged)}`
    },
  }
}

function createTarget(): { write(more: string): void; text(): string } {
  let text = ''
  return {
    write: (more) => {
      text += more
    },
    text: () => text,
  }
}

/** A folder's name that a shell takes apart, unless it is quoted. */
export const ODD_NAME = "it's a b;c"
const COMMAND_UNQUOTED = new RegExp(`(Type|Look[^:\\n]*|Try[^:\\n]*|set -a; \\.)[: ][^\\n]*/${ODD_NAME}`)

/** @returns what of a text must not be shown */
export function whyNotShown(text: string, secret?: Secret): string | undefined {
  const [sign] = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/.exec(text) ?? []
  if (sign !== undefined) return `shows the control character U+${sign.charCodeAt(0).toString(16).padStart(4, '0')}`
  const [unquoted] = COMMAND_UNQUOTED.exec(text) ?? []
  if (unquoted !== undefined) return `shows a command with a path that is not quoted: ${unquoted}`
  const [bug] = /Cannot read propert(y|ies)|is not a function|is not iterable/.exec(text) ?? []
  if (bug !== undefined) return `shows a bug as if somebody else had said it: ${bug}`
  const shown = secret?.halves.find((half) => text.includes(half))
  return shown === undefined ? undefined : `shows ${shown} of the secret ${JSON.stringify(secret?.text)}`
}

/**
 * Runs something that may end with a failure, and says what becomes of it as a script would.
 * @param body gets the log, and returns what else is wrong
 */
export async function judged(
  body: (log: Log) => string | undefined | Promise<string | undefined>,
  secret?: Secret,
): Promise<string | undefined> {
  const heard = hear()
  if (secret) heard.log.addSecrets([secret.text])
  const startedMs = processorMs()
  let why: string | undefined
  try {
    why = await body(heard.log)
  } catch (error) {
    if (error instanceof Failure) {
      heard.log.error(error.message)
      if (error.hint) heard.log.info(error.hint)
    } else if (error instanceof Unexpected) heard.log.error(error.message)
    else return `a bug: ${error instanceof Error ? error.stack : String(error)}`
  }
  const tookMs = processorMs() - startedMs
  if (tookMs > MOST_MS) return `computed for ${Math.round(tookMs)} ms`
  return why ?? whyNotShown(heard.text(), secret) ?? heard.whyNotLogged()
}
