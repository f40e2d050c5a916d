// A ledger in short, for tests of what follows from one.

import type { Entry } from '../../lib/server/ledger.ts'

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
