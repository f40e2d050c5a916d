// Streams bytes from one program into another, so that a part of them is never taken for the whole.
import type { Readable } from 'node:stream'
import { Failure } from './failure.ts'
import { settlesWithin, startPatience } from './patience.ts'
import type { Child } from './shell.ts'

/** For too long no byte came from one program, or went into the other. */
export class Stalled extends Failure {
  constructor(
    /** Which one, as it is called in a sentence. */
    readonly idle: string,
    verb: 'gave' | 'took',
    stallMs: number,
  ) {
    super(
      `Stalled: ${idle} ${verb} no data for ${stallMs / 1000} s.`,
      `If that is only slow, give it longer: DUMP_STALL_SECONDS`,
    )
  }
}

/** What is read from: a program, or something that ends one in its own way. */
interface Source {
  readonly stdout: Readable
  stop(): Promise<unknown>
}

interface PumpOptions {
  /** What the two are called in a sentence, e.g. `the dump` and `Borg`. */
  names: readonly [source: string, target: string]
  /** When no byte moves for this long, the transfer has stalled. */
  stallMs: number
  /** Told the count so far, ten times a second: a terminal far away would hold up the bytes. */
  onBytes?: (count: number) => void
}

export interface TransferOptions<T> extends PumpOptions {
  /**
   * Waits for the source's own end, and judges it. Until this has resolved the target sees no end of its input.
   * @throws when the bytes are not all there were
   */
  whole(count: number): Promise<unknown>
  /** Waits for the target's end, and judges it. */
  result(): Promise<T>
}

/**
 * Streams what one program prints into another, and waits for both. The target's input is ended only when what came is
 * known to be whole: most programs take the end of their input for the end of the data, whatever became of the source.
 * When either fails, both are stopped.
 *
 * @throws what `whole` or `result` throws, whichever comes first; Failure on a stall
 */
export async function transfer<T>(source: Source, target: Child, options: TransferOptions<T>): Promise<T> {
  const { names, whole } = options
  try {
    const result = options.result()
    const feed = async (): Promise<void> => {
      const count = await pump(source, target, options)
      if (!source.stdout.readableEnded) {
        // The target has ended, or takes no more: why, its own result says.
        await source.stop()
        await result
        throw new Failure(`Stopped half-way: ${names[1]} ended before it had read all of ${names[0]}.`)
      }
      await whole(count)
      target.stdin.end()
    }
    const [done] = await Promise.all([result, feed()])
    return done
  } catch (error) {
    await Promise.all([source.stop(), target.stop()])
    throw error
  }
}

/**
 * Carries bytes from one program to another with backpressure; memory does not grow with the data.
 * Does not end `target`'s stdin: that is for `transfer`, which knows whether the source ended well.
 *
 * @returns the number of bytes carried, when the source's output or the target has ended
 * @throws Failure on a stall
 */
async function pump(source: Source, target: Child, { names, stallMs, onBytes }: PumpOptions): Promise<number> {
  let count = 0
  let toldMs = 0
  let idle: [string, 'gave' | 'took'] = [names[0], 'gave']
  const stalled = new AbortController()
  const patience = startPatience(stallMs, () => {
    stalled.abort()
    source.stdout.destroy()
  })
  // One listener of each kind for the whole transfer: a new Promise.race for each chunk would leak a little every time.
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
      patience.refresh()
      count += chunk.length
      if (performance.now() - toldMs >= 100) {
        toldMs = performance.now()
        onBytes?.(count)
      }
      if (target.stdin.write(chunk)) continue
      idle = [names[1], 'took']
      // A broken pipe does not end this wait: why the target gave up is known only when it has ended.
      if (!targetEnded)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      stalled.signal.throwIfAborted()
      idle = [names[0], 'gave']
      if (target.stdin.destroyed) break
    }
    stalled.signal.throwIfAborted()
    return count
  } catch (error) {
    if (!stalled.signal.aborted) throw error
    throw new Stalled(...idle, stallMs)
  } finally {
    patience.stop()
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
