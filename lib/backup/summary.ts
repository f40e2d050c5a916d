// What a night says at its end: one line for people and for the monitor, one object for machines.

import type { Context } from '../cli/main.ts'
import { bytes, duration, printable } from '../core/format.ts'
import { wrap } from '../core/layout.ts'
import { isoLocal } from '../core/times.ts'
import type { JudgedArchive, Pruned } from './steps.ts'

export interface BackupSummary {
  app: string
  archive: JudgedArchive
  /** Undefined when nothing is ever pruned from here. */
  pruned: Pruned | undefined
  /** `borg check` ran, and passed. */
  checked: boolean
  /** More than one, when the repository was unavailable for a while. */
  tries: number
  /** The deployed commit. */
  sha: string | undefined
  tookMs: number
}

/** Prints the summary, and returns the line for the monitor. */
export function report({ flags, log, print, printJson }: Context, summary: BackupSummary): string {
  // A warning may hold the name of a file, and that a newline.
  const line = printable(summaryLine(summary, log.warnings))
  if (flags.has('json')) printJson(summaryJson(summary, log.warnings))
  else print(log.isTerminal ? wrap(line, log.resultColumns) : `${isoLocal(new Date())} ${line}`)
  return line
}

export function summaryLine(summary: BackupSummary, warnings: readonly string[]): string {
  const { archive, pruned, checked, tries, tookMs } = summary
  const size = (count: number | undefined): string => (count === undefined ? 'unknown' : bytes(count))
  return [
    `${archive.name}: ${archive.comment.noMedia ? 'the database alone (MEDIA_DIR=none), ' : ''}${size(archive.originalBytes)} original`,
    `${size(archive.newBytes)} new data`,
    `took ${duration(tookMs)}`,
    ...(pruned
      ? [`pruned ${pruned.names.length}`, `repository ${size(repositoryBytes(archive, pruned))}`]
      : ['nothing pruned (PRUNE=no)']),
    ...(checked ? ['repository checked'] : []),
    ...(tries > 1 ? [`${tries} tries`] : []),
    ...warnings.map((warning) => `WARNING: ${warning}`),
  ].join(', ')
}

function summaryJson(summary: BackupSummary, warnings: readonly string[]) {
  const { app, archive, pruned, checked, tries, sha, tookMs } = summary
  return {
    app,
    archive: archive.name,
    originalBytes: archive.originalBytes ?? null,
    newBytes: archive.newBytes ?? null,
    dumpBytes: archive.dumpBytes,
    mediaBytes: archive.mediaBytes ?? null,
    // Over a key that may only append it never becomes smaller: it tells nothing.
    repositoryBytes: (pruned && repositoryBytes(archive, pruned)) ?? null,
    seconds: Math.round(tookMs) / 1000,
    pruned: pruned?.names ?? [],
    checked,
    tries,
    dumpMode: archive.comment.dumpMode,
    sha: sha ?? null,
    unreadable: archive.unreadable,
    lacks: archive.lacks,
    warnings,
  }
}

/** Borg told the size before anything was pruned. */
export function repositoryBytes({ repositoryBytes }: JudgedArchive, { deletedBytes }: Pruned): number | undefined {
  return repositoryBytes === undefined ? undefined : repositoryBytes - deletedBytes
}
