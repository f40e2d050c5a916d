/**
 * An error an operator can act on: what failed and why, and the next command to type.
 * Only `main` in cli.ts prints it and sets the exit status. Anything else that is thrown is a bug.
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

/** The operator's Ctrl-C, or a TERM from the system: everything is cleaned up, then the shell's status for it is used. */
export class Interrupted extends Failure {
  override name = 'Interrupted'

  constructor(readonly signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP') {
    super(`Interrupted by ${signal}.`, '', { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal])
  }
}

/** The text of anything thrown, for a sentence that goes on: no stack, no prefix. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
