// Questions to the operator at the terminal.
import { createInterface } from 'node:readline'
import { EXIT, Failure } from '../core/failure.ts'
import { printable } from '../core/format.ts'

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

/**
 * @param yes whether --yes was given
 * @param clean makes what is shown safe to show
 */
export function createAsk(
  yes: boolean,
  interactive: boolean,
  signal: AbortSignal,
  clean: (text: string) => string,
): Ask {
  const askClean = (prompt: string): Promise<string> => askLine(clean(prompt), interactive, signal)
  const insist: Ask['insist'] = async (prompt, word) => {
    const answer = await askClean(`${prompt}\nType ${word} to go on: `)
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
      const answer = await askClean(`${lines.join('\n')}\n${prompt} [${proposed + 1}] `)
      const number = answer === '' ? proposed + 1 : Number(answer)
      if (!Number.isInteger(number) || number < 1 || number > choices.length)
        throw new Failure(`${answer} is not a number from 1 to ${choices.length}: nothing was changed.`)
      return number - 1
    },
  }
}

// Not zx's `question`: at end of input or Ctrl-C it never resolves, and the process would end with status 0.
async function askLine(prompt: string, interactive: boolean, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted()
  if (!interactive)
    throw new Failure(
      'This needs an answer, and there is no terminal to ask at.',
      'Add --yes to agree beforehand.',
      EXIT.usage,
    )
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await new Promise<string>((resolve, reject) => {
      terminal.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
      terminal.on('close', () => reject(new Failure('No answer was given: nothing was changed.')))
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      terminal.question(prompt, (answer) => resolve(answer.trim()))
    })
  } finally {
    terminal.close()
  }
}
