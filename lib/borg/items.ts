// What is in an archive, item by item.
import { PassThrough, pipeline } from 'node:stream'
import { batches } from '../core/lines.ts'
import type { Borg } from './borg.ts'
import { ITEM_END, itemsArgs } from './commands.ts'
import { type Item, parseItem } from './output.ts'

// A piece is what one read of a pipe gives: 64 KiB at most.
const PIECES_AHEAD = 256

/**
 * Goes through an archive's items as Borg lists them; memory does not grow with their number.
 * @param paths only these, as arguments of Borg; without any of them all
 * @param onItem where it is not ready yet, Borg lists meanwhile, as far as 16 MiB reach
 */
export async function eachItem(
  borg: Borg,
  archive: string,
  paths: readonly string[],
  onItem: TakeItem | Promise<TakeItem>,
): Promise<void> {
  const listing = borg.stream(itemsArgs(archive, paths), { env: { TZ: 'UTC' } })
  listing.stdin.end()
  const text = new PassThrough({ objectMode: true, readableHighWaterMark: PIECES_AHEAD })
  // Where the listing is cut off, its end says so.
  pipeline(listing.stdout.setEncoding('utf8'), text, () => {})
  try {
    const take = await onItem
    for await (const items of batches(text, ITEM_END)) for (const item of items) take(parseItem(item))
  } catch (error) {
    await listing.stop()
    throw error
  }
  await listing.result()
}

type TakeItem = (item: Item) => void

/** A path as an archive has it: without the leading `/`. */
export function storedPath(path: string): string {
  return path.replace(/^\//, '')
}

/** Where the dump is in an archive: `db.dump`, or under the folder the bash scripts used. */
export function isDump({ type, path }: Item, mediaPath: string): boolean {
  return type === '-' && /(^|\/)db\.dump$/.test(path) && !path.startsWith(`${mediaPath}/`)
}
