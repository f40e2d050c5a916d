// What `backup --check` says of the archives: their age, their dates, and who may delete them.
import { explainFuture, isFuture, isStale, newestOf } from '../borg/archives.ts'
import type { Borg } from '../borg/borg.ts'
import { holesOf } from '../borg/comment.ts'
import type { Archive } from '../borg/output.ts'
import { describeProof } from '../borg/proof.ts'
import { askRights, type Rights } from '../borg/rights.ts'
import { type JournalEntry, journalPath, readJournal } from '../cli/journal.ts'
import type { Context } from '../cli/main.ts'
import type { Settings } from '../cli/settings.ts'
import { readState, statePath } from '../cli/state.ts'
import { age } from '../core/times.ts'
import { A_NIGHT, type CheckLine, fail, pass, warn } from './check-line.ts'

export async function archiveChecks(
  { envFile, shell }: Context,
  borg: Borg,
  archives: readonly Archive[],
  { PRUNE = true, DB_SERVICE, DATABASE_URL }: Partial<Settings<'PRUNE' | 'DB_SERVICE' | 'DATABASE_URL'>>,
): Promise<CheckLine[]> {
  const path = statePath(shell.env, borg.repository, DB_SERVICE ?? '')
  const [runs, { damaged = {} }, rights] = await Promise.all([
    readJournal(journalPath(path)),
    readState(path),
    askRights(borg),
  ])
  const newest = newestOf(archives)
  const age = ageCheck(newest && { ...newest, damaged: damaged[newest.name] ?? [] }, runs, DATABASE_URL === undefined)
  return [age, clockCheck(archives, envFile.path), rightsCheck(rights, PRUNE)]
}

/**
 * How old the newest archive is, whether it is complete, and whether it was proved.
 * @param runs of this machine
 * @param isDrillable whether there can be a drill
 */
export function ageCheck(
  newest: Archive | undefined,
  runs: readonly JournalEntry[] = [],
  isDrillable = true,
): CheckLine {
  const name = 'newest archive'
  if (!newest) return warn(name, 'there is none yet', 'Make the first one: backup')
  const holes = holesOf(newest)
  const { text, isProved } = describeProof(newest, runs)
  const detail = [`${newest.name}, ${age(newest.start)}`, ...holes, text].join('; ')
  if (isStale(newest)) return warn(name, detail, `A nightly run was missed: look at its log, then ${A_NIGHT}`)
  return holes.length > 0
    ? warn(name, detail, `What it lacks is in older ones: restore --list. When the cause is gone, ${A_NIGHT}`)
    : { ...pass(name, detail), ...(isProved || !isDrillable ? {} : { fix: 'To prove it: restore --drill' }) }
}

/** Whether an archive is dated in the future: it would be taken for the newest, for years. */
export function clockCheck(archives: readonly Archive[], envFile: string): CheckLine {
  const future = archives.filter((archive) => isFuture(archive))
  if (future.length === 0) return pass('clock', 'no archive is dated in the future')
  const { message, hint } = explainFuture(future, envFile)
  return fail('clock', message, hint)
}

const RIGHTS: Record<Exclude<Rights, 'append'>, string> = {
  delete: 'this key may delete archives, and so may whoever takes this machine over',
  shell:
    'this key opens a shell on the machine of the repository: whoever takes this machine over can delete all of it',
  folder: 'the repository is a folder here: whoever takes this machine over can delete it',
  untold: "whether this key may delete archives can't be told from here",
}

/** Whether what is stored outlives whoever takes this machine over, and whether PRUNE says the same. */
export function rightsCheck(rights: Rights, prunes: boolean): CheckLine {
  const name = 'deletion'
  if (rights === 'append')
    return prunes
      ? warn(
          name,
          'this key may only append, but PRUNE=yes: what a night prunes is hidden, and its room is not freed',
          'Set PRUNE=no, and prune once a month from another machine: docs/ransomware.md',
        )
      : pass(name, 'this key may only append: what is stored can be brought back, whoever takes this machine over')
  if (prunes) return pass(name, `${RIGHTS[rights]} (docs/ransomware.md)`)
  return warn(
    name,
    `PRUNE=no, but ${RIGHTS[rights]}`,
    rights === 'untold'
      ? 'See it at the provider, or in authorized_keys on the machine of the repository: docs/ransomware.md'
      : 'Let the machine of the repository restrict this key: docs/ransomware.md',
  )
}
