// What a process of the tests leaves behind nowhere, however it ends: by itself, by Ctrl-C, or by its runner.

/** What ends a program from outside, and the exit status that a shell gives it then. */
export const SIGNALS = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const

/**
 * Runs `clear` when this process ends, also by a signal that nothing else here listens to.
 * @returns takes that back
 */
export function whenEnding(clear: () => void): () => void {
  process.on('exit', clear)
  for (const [signal, status] of SIGNALS)
    if (process.listenerCount(signal) === 0) process.on(signal, () => process.exit(status))
  return () => void process.off('exit', clear)
}
