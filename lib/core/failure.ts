// The errors that an operator can do something about, and the exit statuses.
/**
 * An error an operator can act on: what failed and why, and the next command to type.
 * Only `main` in lib/cli prints it and sets the exit status. Anything else that is thrown is a bug.
 */
export class Failure extends Error {
  override name = 'Failure'

  constructor(
    message: string,
    /** The fix: what to check, or the next command to type. */
    readonly hint = '',
    readonly exitCode: number = EXIT.failed,
  ) {
    super(message)
  }
}

export const EXIT = {
  done: 0,
  failed: 1,
  /** Usage or configuration error: nothing was touched. */
  usage: 2,
  /** Another run holds the lock (EX_TEMPFAIL of sysexits.h). */
  locked: 75,
} as const satisfies Record<string, number>

/** The operator's Ctrl-C, or the system's SIGTERM. Everything is cleaned up; then the process ends with the shell's exit status for that signal. */
export class Interrupted extends Failure {
  override name = 'Interrupted'

  constructor(readonly signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super(`Interrupted by ${signal}.`, '', { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal])
  }
}

/** What was thrown, as text for the middle of a sentence: no stack, no prefix. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/**
 * The same for what `fetch` throws: its own message says only that it failed. The reason is its cause, or, where a host
 * has several addresses, the code of a cause without a message.
 */
export function fetchReason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return reason(cause) || ((cause as NodeJS.ErrnoException).code ?? '')
}
