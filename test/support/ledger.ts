// A ledger in short, for tests of what follows from one.

import type { Entry } from '../../lib/server/ledger.ts'

/** Entries a day apart, each from a line like `deploy A B` or `deploy A B build-failed`; `-` is nothing. */
export function ledgerOf(...lines: string[]): Entry[] {
  return lines.map((line, i) => {
    const [kind = '', from = '', to = '', outcome = 'deployed'] = line.split(' ')
    return {
      at: new Date(Date.UTC(2026, 1, i + 1)).toISOString(),
      kind: kind as Entry['kind'],
      who: 'Engineer',
      from: from === '-' ? null : from,
      to,
      subject: `Subject of ${to}`,
      outcome,
      seconds: 60,
      verified: null,
    }
  })
}
