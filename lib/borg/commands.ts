import { INBOX } from '../media/compare.ts'

// What Borg is called with: pure functions, each the arguments after `borg`.

/** Archives kept per period, as `borg prune --keep-*` counts them. */
export interface Retention {
  daily: number
  weekly: number
  monthly: number
}

// The default of one second fails a nightly run when somebody lists the archives just then.
const COMMON = ['--log-json', '--lock-wait', '10']

export function versionArgs(): string[] {
  return ['--version']
}

export function initArgs(): string[] {
  return ['init', ...COMMON, '--encryption', 'repokey-blake2']
}

export function checkArgs(): string[] {
  return ['check', ...COMMON]
}

export function compactArgs(): string[] {
  return ['compact', ...COMMON]
}

export interface CreateOptions {
  archive: string
  comment: string
  compression: string
  chunkerParams: string
  mediaDir: string
  progress: boolean
}

/** The dump on stdin as `db.dump`, then the media folder, in one archive. */
export function createArgs(options: CreateOptions): string[] {
  return [
    'create',
    ...COMMON,
    '--json',
    ...(options.progress ? ['--progress'] : []),
    '--comment',
    // Braces are placeholders to Borg.
    options.comment.replace(/[{}]/g, '$&$&'),
    '--compression',
    options.compression,
    '--chunker-params',
    options.chunkerParams,
    '--stdin-name',
    DUMP_NAME,
    '--stdin-mode',
    '0600',
    // What a restore that was killed has left there.
    '--exclude',
    `pp:${options.mediaDir}/${INBOX}`,
    `::${options.archive}`,
    '-',
    options.mediaDir,
  ]
}

/** The dump's path in an archive. It must be relative: an absolute one can't be extracted. */
export const DUMP_NAME = 'db.dump'

export function pruneArgs(prefix: string, keep: Retention): string[] {
  return [
    'prune',
    ...COMMON,
    '--list',
    '--stats',
    `--keep-daily=${keep.daily}`,
    `--keep-weekly=${keep.weekly}`,
    `--keep-monthly=${keep.monthly}`,
    '--glob-archives',
    archiveGlob(prefix),
  ]
}

/** Archives with their comments, oldest first. */
export function listArgs(prefix: string, last?: number): string[] {
  return [
    'list',
    ...COMMON,
    '--json',
    '--format',
    '{comment}',
    '--glob-archives',
    archiveGlob(prefix),
    ...(last === undefined ? [] : ['--last', String(last)]),
  ]
}

/** Everything in an archive, one JSON object a line. Times are local, without a zone: call it with TZ=UTC. */
export function itemsArgs(archive: string, paths: readonly string[] = []): string[] {
  return ['list', ...COMMON, '--json-lines', `::${archive}`, ...paths]
}

export function extractToStdoutArgs(archive: string, paths: readonly string[]): string[] {
  return ['extract', ...COMMON, '--stdout', `::${archive}`, ...paths]
}

/** Into the current directory, without the first `strip` folders of each path; prints each path as it begins with it. */
export function extractArgs(
  archive: string,
  strip: number,
  what: { patternsFrom: string } | { paths: readonly string[] },
): string[] {
  return [
    'extract',
    ...COMMON,
    '--list',
    `--strip-components=${strip}`,
    ...['--noacls', '--noxattrs', '--noflags'],
    ...('patternsFrom' in what
      ? ['--patterns-from', what.patternsFrom, `::${archive}`]
      : [`::${archive}`, ...what.paths]),
  ]
}

/** Exactly the names this tool gives: `PREFIX-staging-…` is another project's. */
export function archiveGlob(prefix: string): string {
  return `${prefix}-????-??-??T??:??:??`
}
