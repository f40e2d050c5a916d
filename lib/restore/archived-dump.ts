// An archive's dump: read out of it, and imported.

import type { BorgStream } from '../borg/borg.ts'
import { DUMP_NAME, extractFileArgs } from '../borg/commands.ts'
import { Unavailable } from '../borg/errors.ts'
import { Failure, reason } from '../core/failure.ts'
import { bar, bytes } from '../core/format.ts'
import { settlesWithin } from '../core/patience.ts'
import { peek, transfer } from '../core/transfer.ts'
import type { Service } from '../dokku/dokku.ts'
import { Lacking, type Opened, Unqualified } from '../postgres/import.ts'
import { orUnknown, readContents } from './choose.ts'
import type { ChosenArchive, Restore } from './restore.ts'

/** A dump that Borg has begun to give; nothing of it is taken yet. */
export interface OpenedDump {
  archive: ChosenArchive
  source: BorgStream
  sizeBytes: number
  /** Its tables' rows are compressed. */
  isCompressed: boolean
}

/** What of an archive's item is known beforehand. */
interface KnownItem {
  path: string
}

/**
 * Begins to read the dump of an archive, so far that it is known to be one.
 * @param known the item, where the archive was listed; else it is looked for only where it is not under its usual path, since
 *   each call of Borg takes a second where the repository is far away
 * @throws Failure when there is none, when it is not a custom-format dump, or does not come
 */
export async function openDump(restore: Restore, archive: ChosenArchive, known?: KnownItem): Promise<OpenedDump> {
  const usual = known ?? { path: DUMP_NAME }
  const opened = await orUnknown(restore, archive.name, read(restore, archive, usual.path))
  if (opened) return opened
  const { dump } = await readContents({ ...restore, media: null }, archive.name)
  const found = dump && (await read(restore, archive, dump.path))
  if (!found) throw new Failure(`The archive ${archive.name} holds no dump.`, 'See the archives: restore --list')
  return found
}

/** Undefined when the archive has nothing under this path. */
async function read(
  { borg, settings }: Restore,
  archive: ChosenArchive,
  path: string,
): Promise<OpenedDump | undefined> {
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  let tellSize: (sizeBytes: number) => void = () => {}
  const size = new Promise<number>((resolve) => {
    tellSize = resolve
  })
  const source = borg.stream(extractFileArgs(archive.name, path), {
    onProgress: ({ total }) => {
      if (total) tellSize(total)
    },
  })
  source.stdin.end()
  const head = await peek(source, HEADER_LENGTH, stallMs)
  if (head === 'stalled') {
    await source.stop()
    throw new Unavailable(
      `Borg gave no data of ${path} for ${stallMs / 1000} s.`,
      'If that is only slow, give it longer: DUMP_STALL_SECONDS',
    )
  }
  if (head.toString('latin1').startsWith(MAGIC)) {
    // It comes through another pipe than the bytes.
    const isTold = await settlesWithin(size, SIZE_MS)
    return { archive, source, sizeBytes: isTold ? await size : 0, isCompressed: isCompressed(head) }
  }
  // An output that has ended so early has a reason, which Borg tells.
  if (head.length < MAGIC.length && (await settlesWithin(source.ended, stallMs))) {
    const { messages } = await source.result()
    if (messages.some(({ message }) => message.endsWith('never matched.'))) return undefined
  }
  await source.stop()
  throw new Failure(`${path} of ${archive.name} is not a custom-format dump.`, 'Try an older archive: restore --list')
}

/** A custom-format dump begins with this (pg_dump, pg_backup_custom.c). */
const MAGIC = 'PGDMP'
const HEADER_LENGTH = 16
const SIZE_MS = 1000

/** By its header (pg_backup_archiver.c): since version 1.15 a number of the method, before a sign and a level. */
function isCompressed(head: Buffer): boolean {
  const [minor = 0, integerLength = 4] = [head[6], head[8]]
  return (minor >= 15 ? head.subarray(11, 12) : head.subarray(11, 12 + integerLength)).some((byte) => byte !== 0)
}

interface ImportSteps<T> {
  /** Makes the database, and starts what takes the dump. */
  open(stallMs: number): Promise<Opened>
  /** What else is wanted, done while the dump goes in. */
  meanwhile(): Promise<T>
}

/**
 * Imports a dump into an empty database, in one pass; nothing lands on disk.
 * @throws Failure when the dump is not whole: an empty database has no excuse for any error
 */
export async function importDump<T>(
  { context, settings }: Restore,
  { archive, source, sizeBytes }: OpenedDump,
  { open, meanwhile }: ImportSteps<T>,
): Promise<[Service, T]> {
  const stallMs = settings.DUMP_STALL_SECONDS * 1000
  const { into, target } = await open(stallMs)
  context.log.info(`Importing the dump of ${archive.name} (${bytes(sizeBytes)}) into ${into.database} of ${into.name}`)
  const other = meanwhile()
  // What it throws is thrown below, after the import.
  other.catch(() => {})
  await transfer(source, target, {
    names: ['Borg', 'the import'],
    stallMs,
    onBytes: (count) =>
      context.log.status(`Importing ${bar(count, sizeBytes)}  ${bytes(count)} of ${bytes(sizeBytes)}`),
    // Only what Borg read whole is a dump; the end of input would let pg_restore take the rest for good.
    whole: async () => {
      const { warned } = await source.result()
      if (warned)
        throw new Failure(
          `Borg could not read the dump of ${archive.name} without warnings.`,
          'Try: borg check --verify-data',
        )
    },
    result: () =>
      target.finish().catch((error: unknown) => {
        throw explain(error, archive.name, into)
      }),
  })
  return [into, await other]
}

/** An archive is to blame only for what is in it. */
function explain(error: unknown, archive: string, into: Service): Failure {
  if (error instanceof Lacking)
    return new Failure(
      `The import failed because of the server of ${into.name}, not because of the archive ${archive}. ${error.message}`,
      error.hint,
    )
  if (error instanceof Unqualified)
    return new Failure(
      `The dump of ${archive} does not import cleanly: a function in it names something without its schema, and an import looks only where a schema is written (its search_path is empty). ${error.message}`,
      `All archives since that function are alike. In production type for it: ALTER FUNCTION … SET search_path = public, pg_temp; then: backup. Of this archive the rest can be had by hand: docs/without-these-scripts.md`,
    )
  return new Failure(
    `The dump of ${archive} does not import cleanly. ${reason(error)}`,
    'Try an older archive: restore --list',
  )
}
