// Output cut into its lines.
import type { Readable } from 'node:stream'

/**
 * The lines of a program's stdout as they come, without their newlines; memory does not grow with their number.
 * They end with the output, also when the program was stopped; `ended` tells which.
 */
export async function* lines(child: { stdout: Readable }): AsyncGenerator<string> {
  for await (const some of batches(child.stdout.setEncoding('utf8'), '\n')) yield* some
}

/**
 * The same, as many at a time as have come: to wait for each of very many takes longer than all else.
 * @param text comes in pieces
 * @param end what each ends with
 */
export async function* batches(text: AsyncIterable<string>, end: string): AsyncGenerator<string[]> {
  const ready: string[] = []
  const cutter = createCutter((line) => ready.push(line), end)
  try {
    for await (const piece of text) {
      cutter.add(piece)
      yield ready.splice(0)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  }
  cutter.end()
  yield ready
}

/** Each line of a stream as it comes. */
export function eachLine(stream: Readable, onLine: (line: string) => void): void {
  const cutter = createCutter(onLine)
  stream.setEncoding('utf8').on('data', cutter.add).on('end', cutter.end)
}

/** Cuts a text that comes in pieces into its lines. */
function createCutter(onLine: (line: string) => void, end = '\n'): { add(text: string): void; end(): void } {
  let rest = ''
  return {
    add: (text) => {
      const complete = (rest + text).split(end)
      rest = complete.pop() ?? ''
      complete.forEach(onLine)
    },
    end: () => {
      if (rest) onLine(rest)
      rest = ''
    },
  }
}
