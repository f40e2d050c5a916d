// A ledger in short, for tests of what follows from one.

import type { Entry } from '../../lib/server/ledger.ts'

export const [OLD, NEW] = ['a'.repeat(40), 'b'.repeat(40)] as const

/** A whole entry: NEW was deployed where OLD ran. */
export const ENTRY: Entry = {
  at: '2026-02-28T10:00:00.000Z',
  kind: 'deploy',
  who: 'Engineer',
  from: OLD,
  to: NEW,
  subject: 'Two\nlines "quoted"',
  outcome: 'deployed',
  seconds: 12,
  verified: true,
}

/** Entries a day apart, each from a line like `deploy A B`, `deploy A B build-failed` or `deploy A B lost B`, with what ran then; `-` is nothing. */
export function ledgerOf(...lines: string[]): Entry[] {
  return lines.map((line, i) => {
    const [kind = '', from = '', to = '', outcome = 'deployed', runs] = line.split(' ')
    return {
      at: new Date(Date.UTC(2026, 1, i + 1)).toISOString(),
      kind: kind as Entry['kind'],
      who: 'Engineer',
      from: from === '-' ? null : from,
      to,
      subject: `Subject of ${to}`,
      outcome,
      ...(runs === undefined ? {} : { runs: runs === '-' ? null : runs }),
      seconds: 60,
      verified: null,
    }
  })
}
