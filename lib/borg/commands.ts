// What Borg is called with: pure functions, each the arguments after `borg`.

import type { Retention } from './retention.ts'

// The default of one second fails a nightly run when somebody lists the archives just then.
const COMMON = ['--log-json', '--lock-wait', '10']

export function versionArgs(): string[] {
  return ['--version']
}

/** The same call, which says Borg's version first (Borg 1.1 and later). */
export function withVersion([verb = '', ...words]: readonly string[]): string[] {
  return [verb, '--show-version', ...words]
}

export function initArgs(): string[] {
  return ['init', ...COMMON, '--encryption', 'repokey-blake2']
}

/** With --info it also names the files that an earlier repair has filled with zeros: then nothing else is wrong any more. */
export function checkArgs(): string[] {
  return ['check', ...COMMON, '--info']
}

export function compactArgs(): string[] {
  return ['compact', ...COMMON]
}

/** The quota of a repository on this machine, in bytes. */
export function quotaArgs(): string[] {
  return ['config', ...COMMON, '::', 'storage_quota']
}

/** The dump's path in an archive. It must be relative: an absolute one can't be extracted. */
export const DUMP_NAME = 'db.dump'

export interface CreateOptions {
  archive: string
  comment: string
  compression: string
  chunkerParams: string
  /** Null when there is none. */
  mediaDir: string | null
  /** A folder in Borg's working directory that goes into the archive, too. */
  folder?: string | undefined
  /** Borg's patterns of what is left out. */
  without: readonly string[]
  progress: boolean
}

/** The dump on stdin as `db.dump`, then the media folder, if there is one, in one archive. */
export function createArgs(options: CreateOptions): string[] {
  return [
    'create',
    ...COMMON,
    '--json',
    ...(options.progress ? ['--progress'] : []),
    ...commentArgs(options.comment),
    '--compression',
    options.compression,
    '--chunker-params',
    options.chunkerParams,
    '--stdin-name',
    DUMP_NAME,
    '--stdin-mode',
    '0600',
    ...options.without.flatMap((pattern) => ['--exclude', pattern]),
    `::${options.archive}`,
    '-',
    ...(options.mediaDir === null ? [] : [options.mediaDir]),
    ...(options.folder === undefined ? [] : [options.folder]),
  ]
}

/** Braces are placeholders to Borg. */
function commentArgs(comment: string): string[] {
  return ['--comment', comment.replace(/[{}]/g, '$&$&')]
}

/** Another comment for an archive. Borg writes the archive's list anew, not what is in it (1.2.4: 50,000 files take a second). */
export function amendArgs(archive: string, comment: string): string[] {
  return ['recreate', ...COMMON, ...commentArgs(comment), `::${archive}`]
}

/**
 * The pattern of what is below a folder under certain names.
 * @param names of the paths relative to it; it begins with `^`
 */
export function patternBelow(folder: string, names: RegExp): string {
  // Borg's are Python's, and of paths without the leading `/`.
  const literal = folder.slice(1).replace(/[^\w/\u0080-\uffff]/g, '\\$&')
  return `re:^${literal}/${names.source.slice(1)}`
}

/** Prunes the prefix's archives, and says which, and how much that took. */
export function pruneArgs(prefix: string, keep: Retention): string[] {
  return [
    'prune',
    ...COMMON,
    '--list',
    '--stats',
    `--keep-within=${keep.withinHours}H`,
    `--keep-hourly=${keep.hourly}`,
    `--keep-daily=${keep.daily}`,
    `--keep-weekly=${keep.weekly}`,
    `--keep-monthly=${keep.monthly}`,
    `--keep-yearly=${keep.yearly}`,
    '--glob-archives',
    archiveGlob(prefix),
  ]
}

/** Archives with their comments, oldest first: nights, restore points, and what else begins with the prefix. */
export function listArgs(prefix: string): string[] {
  return ['list', ...COMMON, '--json', '--format', '{comment}', '--glob-archives', `${prefix}-*`]
}

/** All archives of the repository with their comments, and the commands that made them, oldest first. */
export function listEveryArgs(): string[] {
  return ['list', ...COMMON, '--json', '--format', '{comment}{command_line}']
}

/** Deletes archives, and says how much that took. @param names at least one */
export function deleteArgs([first = '', ...others]: readonly string[]): string[] {
  return ['delete', ...COMMON, '--stats', `::${first}`, ...others]
}

/** The names of checkpoints: what Borg left of an archive that was cut off. Pruning takes them, too. */
export function checkpointArgs(prefix: string): string[] {
  return [
    'list',
    ...COMMON,
    '--short',
    '--consider-checkpoints',
    '--glob-archives',
    `${archiveGlob(prefix)}.checkpoint*`,
  ]
}

// Longer than any file system takes a name.
const IMPOSSIBLE_NAME = 'x'.repeat(300)

/** Opens what can't be there, below the repository, and locks nothing: it only fails. */
export function failingArgs(repository: string): string[] {
  return ['list', ...COMMON, '--bypass-lock', `${repository.replace(/(?<!\/)\/+$/, '')}/${IMPOSSIBLE_NAME}`]
}

/**
 * What is in an archive, or only the paths of it, as `parseItem` reads it: fields that each end with a NUL, none of them
 * empty, and another NUL. JSON would cost Borg twice the time (1.2.4). Times are local, without a zone: call it with TZ=UTC.
 */
export function itemsArgs(archive: string, paths: readonly string[]): string[] {
  const fields = ['{mode}', '{size}', '{isomtime}', '{path}', '={source}', '{health}'].map((field) => `${field}{NUL}`)
  return ['list', ...COMMON, '--format', `${fields.join('')}{NUL}`, `::${archive}`, ...paths]
}

/** What the items of that list end with: no other two NULs stand together. */
export const ITEM_END = '\0\0'

/** The paths' contents, one after the other in the archive's order. */
export function extractToStdoutArgs(archive: string, paths: readonly string[]): string[] {
  return ['extract', ...COMMON, '--stdout', `::${archive}`, ...paths]
}

/** One file to stdout; its size is told as progress before its first byte (Borg 1.2.4). */
export function extractFileArgs(archive: string, path: string): string[] {
  return ['extract', ...COMMON, '--progress', '--stdout', `::${archive}`, path]
}

/** What of an archive is extracted: the paths, or what the patterns in a file let through. */
export type Selection = { patternsFrom: string } | { paths: readonly string[] }

interface ExtractOptions {
  /** So many of the first folders of each path are left out. */
  strip: number
  /** Tells the bytes so far. For that Borg reads the archive's whole list once more (1.2.4). */
  progress: boolean
}

/** Into the current directory. Its progress counts bytes: to list each file would take a third longer. */
export function extractArgs(archive: string, what: Selection, { strip, progress }: ExtractOptions): string[] {
  return [
    'extract',
    ...COMMON,
    ...(progress ? ['--progress'] : []),
    `--strip-components=${strip}`,
    ...['--noacls', '--noxattrs', '--noflags'],
    ...('patternsFrom' in what
      ? ['--patterns-from', what.patternsFrom, `::${archive}`]
      : [`::${archive}`, ...what.paths]),
  ]
}

/** Exactly the names that nights have: `PREFIX-staging-…` is another project's. */
function archiveGlob(prefix: string): string {
  return `${prefix}-????-??-??T??:??:??`
}
