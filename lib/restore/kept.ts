// The databases that earlier restores kept: what put each aside, and which one becomes production again.

import { type JournalEntry, journalPath, readJournal } from '../cli/journal.ts'
import { EXIT, Failure } from '../core/failure.ts'
import { bytes, plural } from '../core/format.ts'
import { type Listing, listing } from '../core/layout.ts'
import { agoInWords, momentAgo, moments } from '../core/times.ts'
import type { Service } from '../dokku/dokku.ts'
import { type KeptDatabase, listKept } from '../postgres/swap.ts'
import type { Restore } from './restore.ts'

/** When a swap kept it, in words. */
export function keptUntil(name: string): string {
  const at = keptAt(name)
  return at ? momentAgo(at) : 'an unknown time'
}

/** When a swap kept it, by its name. */
export function keptAt(name: string): Date | undefined {
  const [, date, hour, minute, second] = /(\d{4}-?\d\d-?\d\d)T(\d\d)(\d\d)(\d\d)$/.exec(name) ?? []
  if (!date) return undefined
  return new Date(`${date.replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3')}T${hour}:${minute}:${second}`)
}

/** What put a database aside. */
interface Cause {
  words: string
  /** An undo put it aside. */
  isUndo: boolean
}

export function restoreOf(archive: string): string {
  return `the restore of ${archive}`
}

export function undoTo(database: string): string {
  return `restore --undo to ${database}`
}

/** What put each kept database aside, as far as the journal of this machine tells. */
export async function readCauses({ statePath }: Pick<Restore, 'statePath'>): Promise<(kept: string) => Cause> {
  const journal = await readJournal(journalPath(statePath))
  return (kept) => causeOf(kept, journal)
}

function causeOf(kept: string, journal: readonly JournalEntry[]): Cause {
  const atMs = keptAt(kept)?.getTime() ?? Number.NaN
  // Older entries do not name it.
  const byTime = ({ kind, time, seconds, kept: named }: JournalEntry): boolean => {
    const sinceMs = atMs - Date.parse(time)
    // Both times are cut to the second.
    return (
      named === undefined &&
      /^restore( --(db-only|undo))?$/.test(kind) &&
      sinceMs >= -1000 &&
      sinceMs <= (seconds + 1) * 1000
    )
  }
  const run = journal.findLast((entry) => entry.kept === kept) ?? journal.findLast(byTime)
  if (run?.archive !== undefined) return { words: restoreOf(run.archive), isUndo: false }
  if (run?.database !== undefined) return { words: undoTo(run.database), isUndo: true }
  return { words: 'the restore that kept it', isUndo: false }
}

/**
 * The one that was named, or the only one, or the one that is picked.
 * @param hasFiles whether files of `restore --rows` are named above
 */
export async function chooseKept(restore: Restore, production: Service, hasFiles: boolean): Promise<KeptDatabase> {
  const { context, dokku } = restore
  const { argument, ask, flags } = context
  const kept = await listKept(dokku, production)
  if (kept.length === 0)
    throw new Failure(
      `No database of an earlier restore is kept in ${production.name}.`,
      hasFiles
        ? 'If it is about the rows that were brought back, type the command above.'
        : 'Restore an archive instead: restore --list',
    )
  const named = kept.find(({ name }) => name === argument)
  if (named) return named
  if (argument !== undefined)
    throw new Failure(
      `${argument} is not kept in ${production.name}.`,
      `Kept are: ${kept.map(({ name }) => name).join(', ')}`,
    )
  const [only] = kept
  if (kept.length === 1 && only) return only
  const choices = listingOf(kept, await readCauses(restore))
  if (flags.has('yes') || !context.interactive)
    throw new Failure(
      `${plural(kept.length, 'database')} of earlier restores are kept, and ${flags.has('yes') ? '--yes does not choose among them' : 'none was named'}.`,
      `${listing(choices)}\nName one: restore --undo DATABASE${flags.has('dry-run') ? ' --dry-run' : ''}${flags.has('yes') ? ' --yes' : ''}`,
      EXIT.usage,
    )
  const choice = kept[await ask.pick('Which one becomes production again?', choices)]
  if (!choice) throw new Failure('Nothing was picked.')
  return choice
}

function listingOf(kept: readonly KeptDatabase[], causeOf: (kept: string) => Cause): Listing {
  const dates = kept.map(({ name }) => keptAt(name) ?? new Date(Number.NaN))
  const times = moments(dates)
  return {
    head: ['database', 'production as of', 'before', 'size'],
    rows: kept.map(({ name, bytes: size }, i) => [
      name,
      `${times[i]}, ${agoInWords(dates[i] ?? new Date(Number.NaN))}`,
      causeOf(name).words,
      bytes(size),
    ]),
    notes: kept.map(({ name }) =>
      causeOf(name).isUndo ? 'takes that undo back: what it took out of production comes back' : '',
    ),
  }
}
