// Writes a tar, piece by piece: as pax knows it (POSIX.1-2001), with names of any length and times to the microsecond.

/** A file, or a link, of a tar. */
export interface Member {
  name: string | Buffer
  /** Of a link 0: what it holds is where it leads. */
  sizeBytes: number
  mtimeMs: number
  /** The permissions, e.g. 0o640. */
  mode: number
  /** Where a link leads. */
  target?: string
}

const BLOCK = 512
const FILE = '0'
const LINK = '2'
const EXTENDED = 'x'

/** What ends a tar. */
export const END = Buffer.alloc(2 * BLOCK)

/** What stands before a member's content. */
export function header({ name, sizeBytes, mtimeMs, mode, target }: Member): Buffer {
  // The old header's fields are too short for some of this: here stands all of it.
  const records = Buffer.concat([
    record('path', name),
    record('mtime', (mtimeMs / 1000).toFixed(6)),
    record('size', String(sizeBytes)),
    ...(target === undefined ? [] : [record('linkpath', target)]),
  ])
  return Buffer.concat([
    block({ type: EXTENDED, mode: 0o600, sizeBytes: records.length }),
    records,
    padding(records.length),
    block({ type: target === undefined ? FILE : LINK, mode, sizeBytes: 0 }),
  ])
}

/** What fills up the last block of a content. */
export function padding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK - (sizeBytes % BLOCK)) % BLOCK)
}

/** `LENGTH KEY=VALUE` and a newline, where LENGTH counts itself. */
function record(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat(
    [` ${key}=`, value, '\n'].map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
  )
  let length = rest.length
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** A header block as it has been since 1988 (ustar); what it can't say well stands in the records before it. */
function block({ type, mode, sizeBytes }: { type: string; mode: number; sizeBytes: number }): Buffer {
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`
  const fields: [offset: number, text: string][] = [
    [0, 'see-the-records-before'],
    [100, octal(mode, 7)],
    [108, octal(0, 7)],
    [116, octal(0, 7)],
    [124, octal(sizeBytes, 11)],
    [136, octal(0, 11)],
    // The checksum is of a block that has spaces in its place.
    [148, ' '.repeat(8)],
    [156, type],
    [257, 'ustar\x0000'],
  ]
  const bytes = Buffer.alloc(BLOCK)
  for (const [offset, text] of fields) bytes.write(text, offset, 'latin1')
  let sum = 0
  for (const byte of bytes) sum += byte
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return bytes
}
