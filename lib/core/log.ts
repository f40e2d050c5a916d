// The log: what a run tells while it goes on.
import { chalk } from 'zx/core'
import { isoLocal } from './format.ts'

/**
 * The one logger. Everything it writes goes to stderr: stdout is for results. At a terminal lines are short and
 * coloured and `status` keeps one live line; in a log each line starts with an ISO time with zone, and `status` is silent.
 */
export interface Log {
  /** A step begins or ended. */
  info(message: string): void
  /** Something the operator should know although the run goes on; kept for the summary. */
  warn(message: string): void
  error(message: string): void
  /** Lines of another program, passed on as they are (a build's output). */
  raw(text: string): void
  /** The live line of a long step at a terminal; replaced by the next, cleared by `info`, `warn` and `error`. */
  status(message: string): void
  /** Every warning so far, in order. */
  readonly warnings: readonly string[]
  readonly isTerminal: boolean
  /** Replaces every known secret, and the password of any URL, by `***`. */
  redact(text: string): string
  /** Makes `redact` know these values, too. */
  addSecrets(values: readonly string[]): void
}

export function createLog(stream: NodeJS.WriteStream): Log {
  const isTerminal = Boolean(stream.isTTY)
  const warnings: string[] = []
  const secrets: string[] = []
  let live = false

  const redact = (text: string): string =>
    secrets
      .reduce((clean, secret) => clean.split(secret).join('***'), text)
      .replace(/(\w+:\/\/[^\s:/@]*):[^\s@]+@/g, '$1:***@')

  const write = (message: string, paint: (text: string) => string): void => {
    clear()
    for (const line of redact(message).split('\n')) {
      stream.write(isTerminal ? `${paint(line)}\n` : `${isoLocal(new Date())} ${line}\n`)
    }
  }
  const clear = (): void => {
    if (live) stream.write('\r\u001b[K')
    live = false
  }

  return {
    info: (message) => write(message, (text) => text),
    warn: (message) => {
      warnings.push(redact(message))
      write(`Warning: ${message}`, chalk.yellow)
    },
    error: (message) => write(message, chalk.red),
    raw: (text) => {
      clear()
      stream.write(redact(text))
    },
    status: (message) => {
      if (!isTerminal) return
      stream.write(`\r\u001b[K${chalk.dim(redact(message).slice(0, (stream.columns ?? 80) - 1))}`)
      live = true
    },
    warnings,
    isTerminal,
    redact,
    // A secret that is a plain word would be replaced wherever the word stands, and so show itself.
    addSecrets: (values) => secrets.push(...values.filter((value) => value.length >= 8 && !/^[a-z]+$/i.test(value))),
  }
}
