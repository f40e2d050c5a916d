// A sample of an archive's media against the disk, byte by byte.

import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Borg } from '../borg/borg.ts'
import { extractToStdoutArgs } from '../borg/commands.ts'
import { storedPath } from '../borg/items.ts'
import { Failure } from '../core/failure.ts'
import { printable } from '../core/format.ts'
import { isSame, type MediaFile } from './compare.ts'

/**
 * Reads files that are the same by size and time out of an archive, and compares their bytes with the disk's.
 * @param sample some of them, in the archive's order
 * @returns how many were compared
 * @throws Failure that names the first that differs
 */
export async function compareSample(
  borg: Borg,
  archive: string,
  mediaDir: string,
  sample: readonly MediaFile[],
): Promise<number> {
  if (sample.length === 0) return 0
  const paths = sample.map(({ path }) => storedPath(join(mediaDir, path)))
  const source = borg.stream(extractToStdoutArgs(archive, paths))
  source.stdin.end()
  let compared = 0
  try {
    // Borg prints the files one after the other, in the archive's order.
    const take = createTaker(source.stdout)
    for (const file of sample) {
      const stored = createHash('sha256')
      await take(file.sizeBytes, (chunk) => stored.update(chunk))
      const disk = await hashOf(join(mediaDir, file.path), file)
      if (disk === undefined) continue
      if (disk !== stored.digest('hex'))
        throw new Failure(
          `${printable(file.path)} is not on the disk as ${archive} has it, although size and time are the same.`,
          'One of the two is damaged. Look: borg check --verify-data, and the disk: dmesg',
        )
      compared++
    }
    await source.result()
  } catch (error) {
    await source.stop()
    throw error
  }
  return compared
}

/** Takes so many bytes off a stream, or what is left of it. */
function createTaker(stream: Readable): (length: number, onChunk: (chunk: Buffer) => void) => Promise<void> {
  const chunks: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  return async (length, onChunk) => {
    for (let left = length; left > 0; ) {
      if (rest.length === 0) {
        const { done, value } = await chunks.next()
        if (done) return
        rest = value
      }
      const chunk = rest.subarray(0, left)
      onChunk(chunk)
      left -= chunk.length
      rest = rest.subarray(chunk.length)
    }
  }
}

/**
 * SHA-256 of the file that is in an archive's file's place; undefined when that can't be read, or is another one: it was
 * replaced or deleted since it was listed, and there is nothing to compare.
 */
async function hashOf(path: string, file: MediaFile): Promise<string | undefined> {
  const hash = createHash('sha256')
  let found: FileHandle | undefined
  try {
    // The app may have put anything in its place by now. To open a pipe would wait for whoever writes to it.
    found = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    if (!(await isStill(file, found))) return
    const content = found.createReadStream({ end: file.sizeBytes - 1, autoClose: false })
    for await (const chunk of content as AsyncIterable<Buffer>) hash.update(chunk)
    return (await isStill(file, found)) ? hash.digest('hex') : undefined
  } catch {
    return
  } finally {
    await found?.close()
  }
}

async function isStill(file: MediaFile, found: FileHandle): Promise<boolean> {
  const info = await found.stat()
  return info.isFile() && isSame(file, info)
}
