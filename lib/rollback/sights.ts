// Which way back when: what somebody sees, and what is typed then. The page on rollback has the same rows.

/** One row each, in words of what is seen. */
export const SIGHTS: readonly (readonly [seen: string, type: string])[] = [
  ['The site is wrong since the last deploy', 'rollback --revert --now'],
  ['The same, but it can wait for the tests', 'rollback --revert'],
  ['A revert says conflict, or is refused', 'rollback --to SHA'],
  ['It was not the last deploy', 'rollback --to SHA'],
  ['A process hangs or died, the code is right', 'rollback --rebuild'],
  ['The deploy failed, the site is fine', 'nothing: the old release runs'],
  ['The deploy failed, and the site since then', 'what the failed deploy said'],
  ['The data is wrong, the code is right', 'restore, on the server'],
]
