// Whether an archive was proved: its dump was imported to the end, by a drill or by a restore that went well.

import type { JournalEntry } from '../cli/journal.ts'
import { moment } from '../core/times.ts'
import { flawsOf } from './archives.ts'
import type { Archive } from './output.ts'

/** What imports the whole dump of an archive. */
const PROOFS: readonly JournalEntry['kind'][] = ['drill', 'restore', 'restore --db-only', 'restore --rows']

/** The last time each that went well is told of, as far as the journal of this machine goes back. */
export function describeProof(archive: Archive, runs: readonly JournalEntry[]): { text: string; isProved: boolean } {
  const proofs = runs.filter((run) => PROOFS.includes(run.kind) && run.outcome === 'done' && run.archive !== undefined)
  const told = ({ kind, time }: JournalEntry): string =>
    `${moment(new Date(time))}, by ${kind === 'drill' ? 'a drill' : kind}`
  const stored = flawsOf(archive).length === 0 ? 'stored whole, ' : ''
  const proof = proofs.findLast((run) => run.archive === archive.name)
  if (proof) return { text: `${stored}proved ${told(proof)}`, isProved: true }
  const last = proofs.at(-1)
  const before = last ? `; proved last: ${last.archive}, ${told(last)}` : ''
  return { text: `${stored}not proved yet${before}`, isProved: false }
}
