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

/** Of the processor: a case computes for some milliseconds. */
const MOST_MS = 1000

/** All that leaves the program by its one door. */
interface Heard {
  log: Log
  text(): string
}

export function hear(): Heard {
  let text = ''
  const stream = {
    write: (more: string) => {
      text += more
    },
  }
  return { log: createLog(stream as unknown as NodeJS.WriteStream, { stdout: stream }), text: () => text }
}

/** @returns what of a text must not be shown */
export function whyNotShown(text: string, secret?: Secret): string | undefined {
  const [sign] = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.exec(text) ?? []
  if (sign !== undefined) return `shows the control character U+${sign.charCodeAt(0).toString(16).padStart(4, '0')}`
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
  return why ?? whyNotShown(heard.text(), secret)
}
