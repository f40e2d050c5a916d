// Questions to the operator at the terminal.
import { setImmediate as turn } from 'node:timers/promises'
import { isatty } from 'node:tty'
import { EXIT, Failure, Interrupted } from '../core/failure.ts'
import { type Listing, listing } from '../core/layout.ts'
import type { Log } from '../core/log.ts'
import { quote } from '../core/quote.ts'

/**
 * Questions at the terminal; only what is typed once one is shown answers it. Without a terminal, and without --yes where
 * that answers, each throws a Failure (exit status 2).
 */
export interface Ask {
  /**
   * The operator types `word` to agree; --yes agrees beforehand. A word that is mistyped is asked for once more.
   * @throws Failure when it is mistyped again, or nothing is typed
   */
  confirm(prompt: string, word: string): Promise<void>
  /**
   * The same for what --yes does not agree to.
   * @throws Failure as `confirm` does
   */
  insist(prompt: string, word: string): Promise<void>
  /**
   * One of a list by its number; no number is proposed, and --yes takes none. A wrong answer is asked for again. Its index is
   * returned.
   * @param prompt its last line is asked again
   * @param find the index of what another word means, -1 for none; a Failure says why not
   */
  pick(prompt: string, choices: Listing, find?: (word: string) => number): Promise<number>
  /** The last question was not answered as it had to be: by another word, by Ctrl-C, or not at all. */
  readonly declined: boolean
  /** How long they have waited for answers so far. */
  readonly waitedMs: number
  /** Tells, instead of any other, when a question is asked, and when it is no longer. */
  watch(tell: (asks: boolean) => void): void
}

/** Whether somebody can be asked. */
export interface Terminal {
  /** Both ends are a terminal: questions can be asked. */
  interactive: boolean
  /** What was typed, where somebody is there but would not see a question in time: `… 2>&1 | tee FILE`. */
  redirected?: string | undefined
}

/**
 * Why nobody can be asked.
 * @param what needs an answer
 * @param hint what to do where there is no terminal at all
 */
export function nobodyToAsk({ redirected }: Terminal, what: string, hint: string): Failure {
  if (redirected === undefined) return new Failure(`${what}, and there is no terminal to ask at.`, hint, EXIT.usage)
  return new Failure(
    `${what}, and the output is redirected: the question would not be seen.`,
    `To keep a log, too: script -c ${quote(redirected)} FILE`,
    EXIT.usage,
  )
}

/** @param yes whether --yes was given */
export function createAsk(yes: boolean, terminal: Terminal, signal: AbortSignal, log: Log): Ask {
  let waitedMs = 0
  let declined = false
  let tell = (_: boolean): void => {}
  const ask = async (prompt: string): Promise<string> => {
    signal.throwIfAborted()
    if (!terminal.interactive) throw nobodyToAsk(terminal, 'This needs an answer', 'Add --yes to agree beforehand.')
    const askedMs = performance.now()
    declined = true
    tell(true)
    try {
      if (await discardTyped()) log.info('What was typed before this question was not taken.')
      return await askLine(prompt, signal, log)
    } finally {
      tell(false)
      waitedMs += performance.now() - askedMs
    }
  }
  const insist: Ask['insist'] = async (prompt, word) => {
    const answer = await ask(`${prompt}\nType ${word} to go on: `)
    declined =
      answer !== word &&
      (answer === '' || (await ask(`That is not ${word}.\nOnce more, type ${word} to go on: `)) !== word)
    if (declined) throw new Failure(`The answer was not ${word}.`)
  }
  return {
    confirm: async (prompt, word) => {
      if (!yes) await insist(prompt, word)
    },
    insist,
    get declined() {
      return declined
    },
    get waitedMs() {
      return waitedMs
    },
    watch: (watcher) => {
      tell = watcher
    },
    pick: async (prompt, choices, find = () => -1) => {
      const shown = `${listing(choices, log.columns, true)}\n${prompt}`
      const index = await pickByAsking(ask, shown, choices.rows.length, find)
      declined = false
      return index
    },
  }
}

/** @param shown its last line is asked again */
async function pickByAsking(
  ask: (prompt: string) => Promise<string>,
  shown: string,
  count: number,
  find: (word: string) => number,
): Promise<number> {
  const question = `${shown.split('\n').at(-1)} (1-${count}): `
  let answer = await ask(`${shown} (1-${count}): `)
  for (;;) {
    const number = /^\d+$/.test(answer) ? Number(answer) : 0
    const found = number >= 1 && number <= count ? number - 1 : meant(answer, find)
    if (typeof found === 'number') return found
    answer = await ask(`${found}${found.includes('\n') ? '\n' : ' '}${question}`)
  }
}

/** The index of what a word means, or why it means nothing. */
function meant(word: string, find: (word: string) => number): number | string {
  try {
    const index = word === '' ? -1 : find(word)
    return index === -1 ? `${word || 'Nothing'} is no number of the list.` : index
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return `${error.message} ${error.hint}`.trim()
  }
}

/**
 * Throws away what was typed before a question is shown: lines, and a half one. Nobody answers what they have not read.
 * @returns whether there was any
 */
async function discardTyped(): Promise<boolean> {
  const { stdin } = process
  if (stdin.destroyed) return false
  let typed = ''
  const take = (piece: Buffer): void => {
    typed += piece.toString('latin1')
  }
  // In the other mode the terminal keeps a line that has no end yet.
  stdin.setRawMode(true)
  stdin.on('data', take).resume()
  try {
    // It flows in the first turn, and what is there is read by the end of the second.
    for (let turns = 0, before = ''; turns < 3 || typed !== before; turns++) {
      before = typed
      await turn()
    }
  } finally {
    stdin.off('data', take).pause()
    stdin.setRawMode(false)
  }
  // In raw mode Ctrl-C is a character.
  if (typed.includes('\u0003')) process.kill(process.pid, 'SIGINT')
  return typed !== ''
}

// Not zx's `question`: at end of input or Ctrl-C it never resolves, and the process would end with status 0. And the
// terminal stays as it is: it edits the line, and makes Ctrl-C and Ctrl-Z signals, as for every other program. Where a
// program does that itself, Node ends by SIGABRT when the window is closed, and gives up at Ctrl-Z (20.20).
async function askLine(prompt: string, signal: AbortSignal, log: Pick<Log, 'question' | 'answered'>): Promise<string> {
  const { stdin } = process
  const show = (): void => log.question(prompt)
  let listeners = (): void => {}
  try {
    return await new Promise<string>((resolve, reject) => {
      // A window that is closed ends the input a moment before the signal comes, if it comes.
      const giveUp = (): void =>
        reject(isatty(stdin.fd) ? new Failure('No answer was given.') : new Interrupted('SIGHUP'))
      const onAbort = (): void => reject(signal.reason)
      const pieces: Buffer[] = []
      const onData = (piece: Buffer): void => {
        pieces.push(piece)
        const [line = '', ...more] = Buffer.concat(pieces).toString().split('\n')
        if (more.length === 0) return
        log.answered()
        resolve(line.trim())
      }
      // Either may have come a moment before.
      if (signal.aborted) return onAbort()
      if (stdin.readableEnded || stdin.destroyed) return giveUp()
      stdin.on('data', onData).on('end', giveUp).on('error', giveUp)
      signal.addEventListener('abort', onAbort)
      // Back from Ctrl-Z.
      process.on('SIGCONT', show)
      listeners = () => {
        stdin.off('data', onData).off('end', giveUp).off('error', giveUp)
        signal.removeEventListener('abort', onAbort)
        process.off('SIGCONT', show)
      }
      show()
      stdin.resume()
    })
  } finally {
    listeners()
    stdin.pause()
  }
}
