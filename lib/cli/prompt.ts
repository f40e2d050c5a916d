// Questions to the operator at the terminal.
import { createInterface } from 'node:readline'
import { isatty } from 'node:tty'
import { EXIT, Failure, Interrupted } from '../core/failure.ts'
import { printable } from '../core/format.ts'
import type { Log } from '../core/log.ts'

/** Questions at the terminal. Without one, and without --yes where that answers, each throws a Failure (exit status 2). */
export interface Ask {
  /**
   * The operator types `word` to agree; --yes agrees beforehand.
   * @throws Failure when anything else is typed: nothing was changed
   */
  confirm(prompt: string, word: string): Promise<void>
  /**
   * The same for what --yes does not agree to.
   * @throws Failure as `confirm` does
   */
  insist(prompt: string, word: string): Promise<void>
  /** One of a numbered list, by number; an empty answer, and --yes, take the proposed one. Its index is returned. */
  pick(prompt: string, choices: readonly string[], proposed?: number): Promise<number>
}

/** @param yes whether --yes was given */
export function createAsk(yes: boolean, interactive: boolean, signal: AbortSignal, log: Log): Ask {
  const ask = (prompt: string): Promise<string> => {
    signal.throwIfAborted()
    if (!interactive)
      throw new Failure(
        'This needs an answer, and there is no terminal to ask at.',
        'Add --yes to agree beforehand.',
        EXIT.usage,
      )
    return askLine(prompt, signal, log)
  }
  const insist: Ask['insist'] = async (prompt, word) => {
    const answer = await ask(`${prompt}\nType ${word} to go on: `)
    if (answer !== word) throw new Failure(`The answer was not ${word}: nothing was changed.`)
  }
  return {
    confirm: async (prompt, word) => {
      if (!yes) await insist(prompt, word)
    },
    insist,
    pick: async (prompt, choices, proposed = 0) => {
      if (yes) return proposed
      const lines = choices.map((choice, i) => `${String(i + 1).padStart(4)}  ${printable(choice)}`)
      const answer = await ask(`${lines.join('\n')}\n${prompt} [${proposed + 1}] `)
      const number = answer === '' ? proposed + 1 : Number(answer)
      if (!Number.isInteger(number) || number < 1 || number > choices.length)
        throw new Failure(`${answer} is not a number from 1 to ${choices.length}: nothing was changed.`)
      return number - 1
    },
  }
}

// Not zx's `question`: at end of input or Ctrl-C it never resolves, and the process would end with status 0. And the
// terminal stays as it is: it edits the line, and makes Ctrl-C and Ctrl-Z signals, as for every other program. Where a
// program does that itself, Node ends by SIGABRT when the window is closed, and gives up at Ctrl-Z (20.20).
async function askLine(prompt: string, signal: AbortSignal, log: Pick<Log, 'question' | 'answered'>): Promise<string> {
  const { stdin } = process
  const lines = createInterface({ input: stdin, terminal: false })
  const show = (): void => log.question(prompt)
  let listeners = (): void => {}
  try {
    return await new Promise<string>((resolve, reject) => {
      // A window that is closed ends the input a moment before the signal comes, if it comes.
      const giveUp = (): void =>
        reject(isatty(stdin.fd) ? new Failure('No answer was given: nothing was changed.') : new Interrupted('SIGHUP'))
      const onAbort = (): void => reject(signal.reason)
      const onLine = (answer: string): void => {
        log.answered()
        resolve(answer.trim())
      }
      lines.on('line', onLine).on('close', giveUp)
      stdin.on('error', giveUp)
      signal.addEventListener('abort', onAbort)
      // Back from Ctrl-Z.
      process.on('SIGCONT', show)
      listeners = () => {
        lines.off('line', onLine).off('close', giveUp)
        stdin.off('error', giveUp)
        signal.removeEventListener('abort', onAbort)
        process.off('SIGCONT', show)
      }
      show()
    })
  } finally {
    listeners()
    lines.close()
  }
}
