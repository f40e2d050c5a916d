import { Failure } from './failure.ts'
import type { Child } from './shell.ts'

/**
 * Carries bytes from one program to another with backpressure; memory does not grow with the data.
 * Does not end `target`'s stdin: that is for the caller, who knows whether the source ended well.
 *
 * @param names what the two are called in a sentence, e.g. `the dump` and `Borg`
 * @param stallMs no byte moves for this long: the transfer has stalled
 * @param onBytes told the count so far, ten times a second: a terminal far away would hold up the bytes
 * @returns the number of bytes carried, when the source's output or the target has ended
 * @throws Failure on a stall
 */
export async function pump(
  source: Child,
  target: Child,
  names: readonly [source: string, target: string],
  stallMs: number,
  onBytes: (count: number) => void = () => {},
): Promise<number> {
  let count = 0
  let toldMs = 0
  let idle = `${names[0]} gave`
  const stalled = new AbortController()
  const watch = setTimeout(() => {
    stalled.abort()
    source.stdout.destroy()
  }, stallMs)
  // One listener of each for the whole transfer: a promise raced anew for each chunk would keep something of every one.
  let wake = (): void => {}
  let targetEnded = false
  target.stdin.on('drain', () => wake())
  stalled.signal.addEventListener('abort', () => wake())
  void target.ended.then(() => {
    targetEnded = true
    wake()
  })
  try {
    for await (const chunk of source.stdout as AsyncIterable<Buffer>) {
      watch.refresh()
      count += chunk.length
      if (performance.now() - toldMs >= 100) {
        toldMs = performance.now()
        onBytes(count)
      }
      if (target.stdin.write(chunk)) continue
      idle = `${names[1]} took`
      // A pipe that breaks does not wake it: why a target gave up is known only when it has ended.
      if (!targetEnded)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      stalled.signal.throwIfAborted()
      idle = `${names[0]} gave`
      if (target.stdin.destroyed) break
    }
    stalled.signal.throwIfAborted()
    return count
  } catch (error) {
    if (!stalled.signal.aborted) throw error
    throw new Failure(
      `Stalled: ${idle} no data for ${stallMs / 1000} s.`,
      `If that is only slow, give it longer: DUMP_STALL_SECONDS`,
    )
  } finally {
    clearTimeout(watch)
  }
}

/**
 * The first bytes of a program's output, left in it to be read again. From then on it must be read to its end, or stopped.
 * @returns what there is when the output ends earlier; `stalled` when nothing came for `stallMs`
 */
export async function peek(child: Child, length: number, stallMs: number): Promise<Buffer | 'stalled'> {
  // Node throws away what is left of a program's output when the program has ended and nobody listens (child_process, flushStdio).
  child.stdout.on('readable', () => {})
  let head = Buffer.alloc(0)
  while (head.length < length && !child.stdout.readableEnded && !child.stdout.destroyed) {
    const chunk: Buffer | null = child.stdout.read()
    if (chunk) {
      head = Buffer.concat([head, chunk])
      continue
    }
    const more = await settlesWithin(
      new Promise<void>((resolve) => {
        for (const event of ['readable', 'end', 'close']) child.stdout.once(event, resolve)
      }),
      stallMs,
    )
    if (!more) return 'stalled'
  }
  if (head.length >= length) child.stdout.unshift(head)
  return head
}

/** Whether a promise settles in time. */
export async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  try {
    return await Promise.race([promise.then(() => true as const), late])
  } finally {
    clearTimeout(timer)
  }
}
