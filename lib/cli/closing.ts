// What is so when a run ends early: for every way out, at every question and step, the sentences that `main` prints last.

/** What a run can change or leave behind. In this order it is told. */
const PARTS = ['production', 'steps', 'photos', 'beside', 'origin', 'archive'] as const
type Part = (typeof PARTS)[number]

export interface Closing {
  /** From now on this is so of that part, whichever way the run ends; an empty text: nothing is to be told of it. */
  so(part: Part, sentence: string): void
  /** Whether anything is told of that part. */
  tells(part: Part): boolean
  /** All that is so, on one line. */
  text(): string
}

export function createClosing(): Closing {
  const known: Partial<Record<Part, string>> = {}
  return {
    so: (part, sentence) => {
      known[part] = sentence
    },
    tells: (part) => Boolean(known[part]),
    text: () => PARTS.flatMap((part) => known[part] || []).join(' ') || 'Nothing was changed.',
  }
}

/** The sentences, each true from the moment at which it is told until the next one of its part. */
export const SO = {
  untouched: 'Production was not touched.',
  /** A swap is one transaction. */
  swapFailed: 'Production is as it was.',
  swapping: 'Whether production was replaced is not known. If it was, restore --undo names the database before.',
  swapped: (kept: string) =>
    `Production's database was replaced. The one before is kept as ${kept}; back to it: restore --undo`,
  rowsFailed: 'Production is as it was: it has none of the rows.',
  rowsComing: (file: string) =>
    `Whether the rows are in production is not known: all of them are, or none. Their keys, and the way back: ${file}`,
  rowsBack: (file: string) => `Production has the rows that came back. Their keys, and the way back: ${file}`,
  databaseUntouched: "Production's database was not touched.",
  photosBegun: 'Some photos may be back, each of them whole: the same command goes on with the others.',
  photosPlaced: (count: string, folder: string) => `${count} came back to ${folder}.`,
  besideBegun: (database: string) =>
    `The database ${database} may be left beside production: the next restore removes it.`,
  besideRemoved: (database: string) => `The database ${database} beside it was removed.`,
  testBegun: (service: string) => `The test service ${service} may be left: the next restore --test removes it.`,
  testRemoved: (service: string) => `The test service ${service} was removed.`,
  notStored: 'No archive was stored, and nothing was pruned. Production was only read.',
  notAccepted: 'Nothing was accepted: no archive was stored, and nothing was pruned. Production was only read.',
  stored: (archive: string) => `The archive ${archive} is stored, and nothing was pruned. Production was only read.`,
  pruned: (archive: string) =>
    `The archive ${archive} is stored, and older ones were pruned. Production was only read.`,
  pruning: (archive: string) =>
    `The archive ${archive} is stored; older ones may have been pruned. Production was only read.`,
  restorePointEnded: 'The backup on the server is ended, too.',
  restorePoint: (archive: string) => `The restore point of before the push: ${archive}.`,
  notPushed: 'Production runs what it ran: nothing was pushed to it.',
  pushing: 'Dokku may go on with the deployment. See what it does: deploy --status',
  runs: (release: string) => `The server runs ${release}.`,
  /** What follows when a release runs, each with its command. */
  notDone: (steps: readonly (readonly [step: string, command: string])[]) =>
    steps.length === 0 ? '' : `Not done: ${steps.map(([step, command]) => `${step} (${command})`).join(', ')}.`,
  originBegun: (branch: string) =>
    `Whether origin/${branch} has the revert is not known. Look before you go on: git fetch`,
  originHas: (branch: string, sha: string) => `origin/${branch} holds the revert ${sha}: CI deploys it.`,
  /** After a rollback: without it the next CI deploy would undo that. */
  originKeeps: (leftover: string, keep: string) => `${leftover} Now, before anybody pushes: ${keep}`,
  originHasNot: (branch: string) => `origin/${branch} does not have the revert.`,
} as const
