// How restored files get to their places: as whom, by which command, and what could not be placed.

import { createReadStream, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import type { User } from '../cli/user.ts'
import { Failure } from '../core/failure.ts'
import { bar, lastLines, plural } from '../core/format.ts'
import { settlesWithin } from '../core/patience.ts'
import { quote, sudoersWord } from '../core/quote.ts'
import type { Child, Shell } from '../core/shell.ts'
import { transfer } from '../core/transfer.ts'
import { END, header, type Member, padding } from './tar.ts'

/** How restored files get to their places. */
export interface MediaPlacement {
  /** The command that runs place.sh, as the user whose files they are. */
  command: readonly string[]
  /** Why it takes sudo; undefined when it does not. */
  needsSudo?: string
  /** It will ask for the sudo password. */
  asks: boolean
}

export type PlaceSettings = Settings<'MEDIA_OWNER'> & { MEDIA_DIR: string }

/**
 * Finds out how files can be placed, before anything is asked or done.
 * @param count how many
 * @throws Failure when it takes sudo and nobody is there to type a password: with the exact sudoers line
 */
export async function planPlacement(
  { shell, interactive }: Pick<Context, 'shell' | 'interactive'>,
  settings: PlaceSettings,
  count: number,
  user: User,
): Promise<MediaPlacement> {
  if (count === 0) return { command: [], asks: false }
  const command = placeCommand(settings, user)
  const needsSudo = whySudo(settings, user)
  if (needsSudo === undefined) return { command, asks: false }
  const { allowed, said } = await tryPlacing(shell, settings, user)
  if (allowed) return { command: ['sudo', '-n', ...command], needsSudo, asks: false }
  if (interactive) return { command: ['sudo', ...command], needsSudo, asks: true }
  throw new Failure(
    `Restoring ${plural(count, 'media file')} takes sudo: ${needsSudo} (${said})`,
    `Run it at a terminal, where sudo can ask for the password, or allow it to do this one thing; as root type:\n  ${allowPlacing(settings, user)}`,
  )
}

/**
 * The command that runs place.sh as the files' owner, without sudo in front of it. The script comes on its stdin: the
 * owner may not look into the folder that these scripts are in.
 */
function placeCommand({ MEDIA_DIR, MEDIA_OWNER }: PlaceSettings, user: User): string[] {
  const { uid, gid } = ownerOf(MEDIA_OWNER)
  const script = ['/bin/bash', '-s', MEDIA_DIR]
  if (isOwner(MEDIA_OWNER, user)) return script
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
  return ['/usr/bin/setpriv', ...ids, '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', '--', ...script]
}

/** @throws Failure when it is root */
function ownerOf(owner: string): { uid: string; gid: string } {
  const [uid = '', gid = ''] = owner.split(':')
  if (Number(uid) !== 0) return { uid, gid }
  throw new Failure(
    `MEDIA_OWNER is ${owner}: these scripts are never root in a folder that the app can change.`,
    'Let the app run as a user of its own, or put its files back by hand: docs/without-these-scripts.md',
  )
}

function isOwner(owner: string, { uid, gid }: User): boolean {
  return owner === `${uid}:${gid}`
}

/**
 * Why placing files takes sudo, in the rest of a sentence; undefined when it does not.
 * @throws Failure when files can't be placed at all: their owner is root
 */
export function whySudo({ MEDIA_OWNER }: Settings<'MEDIA_OWNER'>, user: User): string | undefined {
  ownerOf(MEDIA_OWNER)
  return user.uid === 0 || isOwner(MEDIA_OWNER, user)
    ? undefined
    : `the files belong to ${MEDIA_OWNER} (MEDIA_OWNER), not to ${user.name}.`
}

/** Whether sudo lets the very command through without a password: with nothing to place, it changes nothing. */
export async function tryPlacing(
  shell: Shell,
  settings: PlaceSettings,
  user: User,
): Promise<{ allowed: boolean; said: string }> {
  const command = ['sudo', '-n', ...placeCommand(settings, user)]
  const { exitCode, stderr } = await shell.run(command, { input: await readFile(SCRIPT, 'utf8') })
  return { allowed: exitCode === 0, said: lastLines(stderr) }
}

/** What root types to let a user place files without a password. */
export function allowPlacing(settings: PlaceSettings, user: User): string {
  return `echo ${quote(sudoersLine(settings, user))} | install -m 440 /dev/stdin /etc/sudoers.d/${user.name}-media`
}

/** Lets a user place files: as their owner, not as root. */
function sudoersLine(settings: PlaceSettings, user: User): string {
  return `${user.name} ALL=(root) NOPASSWD: ${placeCommand(settings, user).map(sudoersWord).join(' ')}`
}

const SCRIPT = new URL('place.sh', import.meta.url)

/** A file or link to be placed. Of a link 0 bytes. */
export interface StagedFile extends Omit<Member, 'name'> {
  /** Below MEDIA_DIR, and below the staging folder. */
  path: string
  /** Its bytes, where they are not UTF-8. */
  raw?: Buffer
}

/** What is placed from where. */
interface Placing {
  /** The folder that the files were extracted to. */
  from: string
  /** Asked for one after the other, while others are placed already. */
  files: Iterable<StagedFile>
  /** Which files may come, for the progress. */
  planned: readonly Pick<StagedFile, 'sizeBytes'>[]
  /** Those that are made although nothing comes into them. */
  folders: readonly string[]
  /** When no byte moves for this long, it has stalled. */
  stallMs: number
}

/**
 * Places files: they replace what is under their names.
 * @returns what could not be placed: the paths, each with the reason
 * @throws Failure when it ended before it had tried all
 */
export async function place(
  { shell, log }: Pick<Context, 'shell' | 'log'>,
  { command, asks }: MediaPlacement,
  { from, files, planned, folders, stallMs }: Placing,
): Promise<Map<string, string>> {
  const script = await readFile(SCRIPT)
  const progress = { bytes: 0 }
  const stdout = Readable.from(inBlocks(streamOf(script, { files, folders, from }, progress)), { objectMode: false })
  const target = shell.start(command, { terminal: asks })
  const report = text(target.stdout)
  // Read when it has ended well.
  report.catch(() => {})
  const total = planned.reduce((sum, file) => sum + effort(file), 0)
  const given = new AbortController()
  await transfer({ stdout, stop: async () => stdout.destroy() }, target, {
    names: ['the staging folder', 'the media folder'],
    stallMs,
    // It would be written over the question for the password.
    ...(asks ? {} : { onBytes: () => log.status(`Placing ${bar(progress.bytes, total)}`) }),
    whole: async () => given.abort(),
    result: () => judge(target, given.signal, stallMs),
  })
  return failuresOf(await report)
}

/** Waits for the end of place.sh: until it has been given everything, and then so much longer. */
async function judge(target: Child, given: AbortSignal, stallMs: number): Promise<void> {
  await Promise.race([target.ended, new Promise((resolve) => given.addEventListener('abort', resolve))])
  if (!(await settlesWithin(target.ended, stallMs)))
    throw new Failure(`The last files were not placed within ${stallMs / 1000} s.`, KEPT)
  const { exitCode, stderr } = await target.ended
  if (exitCode !== 0)
    throw new Failure(`The files could not be placed: ${lastLines(stderr) || 'it does not say why'}.`, KEPT)
}

const KEPT = 'They are kept; run the same command again to go on.'

/** Files whose names differ, in one tar. */
interface Parcel {
  files: StagedFile[]
  /** What goes to which folder, each byte of a name a letter. */
  folders: Map<string, string[]>
  names: Set<string>
}

// Those of one folder are the arguments of one `mv`.
const FILES_A_PARCEL = 1000

function* parcelsOf(files: Iterable<StagedFile>): Generator<Parcel> {
  let parcel: Parcel = { files: [], folders: new Map(), names: new Set() }
  for (const file of files) {
    const letters = (file.raw ?? Buffer.from(file.path)).toString('latin1')
    const name = basename(letters)
    const folder = dirname(letters)
    if (parcel.files.length === FILES_A_PARCEL || parcel.names.has(name)) {
      yield parcel
      parcel = { files: [], folders: new Map(), names: new Set() }
    }
    parcel.files.push(file)
    const others = parcel.folders.get(folder)
    if (others) others.push(name)
    else parcel.folders.set(folder, [name])
    parcel.names.add(name)
  }
  yield parcel
}

/** What place.sh reads: itself, and for each parcel the tar, and then where its files belong. */
async function* streamOf(
  script: Buffer,
  { files, folders, from }: Pick<Placing, 'files' | 'folders' | 'from'>,
  progress: { bytes: number },
): AsyncGenerator<Buffer> {
  const words = (...all: readonly (string | number)[]): Buffer =>
    Buffer.from(all.map((word) => `${word}\0`).join(''), 'latin1')
  yield script
  for (const parcel of parcelsOf(files)) {
    const headers = parcel.files.map((file) => header({ ...file, name: nameOf(file) }))
    const padded = parcel.files.map(({ sizeBytes }) => sizeBytes + padding(sizeBytes).length)
    yield words(
      'unpack',
      [...headers.map(({ length }) => length), ...padded].reduce((sum, length) => sum + length, END.length),
    )
    for (const [i, file] of parcel.files.entries()) {
      yield headers[i] ?? END
      if (file.target === undefined) yield* contentOf(within(from, file), file.sizeBytes)
      yield padding(file.sizeBytes)
      progress.bytes += effort(file)
    }
    yield END
    for (const [folder, names] of parcel.folders)
      yield words('move', folder === '.' ? '' : folder, names.length, ...names)
  }
  for (const folder of folders) yield words('move', Buffer.from(folder).toString('latin1'), 0)
}

function nameOf({ path, raw }: StagedFile): string | Buffer {
  return raw ? raw.subarray(raw.lastIndexOf('/') + 1) : basename(path)
}

/** Where a file is below a folder. */
export function within(folder: string, { path, raw }: Pick<StagedFile, 'path' | 'raw'>): string | Buffer {
  return raw ? Buffer.concat([Buffer.from(`${folder}/`), raw]) : join(folder, path)
}

/** What a file counts in the progress: the smallest one costs about as much as so many bytes. */
function effort({ sizeBytes }: Pick<StagedFile, 'sizeBytes'>): number {
  return sizeBytes + 10_000
}

/** A small file is read at once: opening a stream for each of very many takes longer than all else. */
const SMALL_BYTES = 65_536

async function* contentOf(path: string | Buffer, sizeBytes: number): AsyncGenerator<Buffer> {
  let count = 0
  const chunks = sizeBytes <= SMALL_BYTES ? [readFileSync(path)] : (createReadStream(path) as AsyncIterable<Buffer>)
  for await (const chunk of chunks) {
    count += chunk.length
    yield chunk
  }
  // The tar would be out of step.
  if (count !== sizeBytes) throw new Failure(`${path} was changed while it was placed.`, KEPT)
}

const BLOCK_BYTES = 65_536

/** The same bytes in fewer pieces. */
async function* inBlocks(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let block: Buffer[] = []
  let length = 0
  for await (const piece of pieces) {
    block.push(piece)
    length += piece.length
    if (length < BLOCK_BYTES) continue
    yield Buffer.concat(block, length)
    block = []
    length = 0
  }
  yield Buffer.concat(block, length)
}

/** Reads what place.sh printed. */
function failuresOf(report: string): Map<string, string> {
  const words = report.split('\0')
  const failures = new Map<string, string>()
  for (let i = 0; i + 1 < words.length; i += 2) failures.set(words[i] ?? '', words[i + 1] ?? '')
  return failures
}
