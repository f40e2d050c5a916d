// The comparison of production with the database beside it, into which the archive was imported: what was lost, and what would
// become of it in production.

import { Failure } from '../../core/failure.ts'
import { aCount } from '../../core/outside.ts'
import type { Service } from '../../dokku/dokku.ts'
import { type Catalog, readCatalog, type TableName } from '../../postgres/catalog.ts'
import { adoptSettings } from '../../postgres/scratch.ts'
import { COMPARE_SESSION, openSession, Refused, type Session } from '../../postgres/session.ts'
import { restoringOf } from '../../postgres/swap.ts'
import type { ChosenArchive, Restore } from '../restore.ts'
import { type Family, findFamily, type Member, parentsFirst, requireDefaults } from './family.ts'
import type { Insertion } from './insertion.ts'
import {
  aFinding,
  analyzeKeys,
  countDiffering,
  type Found,
  type FoundEmptied,
  type FoundLeftOut,
  findLost,
  type KeyTransfer,
  keyTransfer,
  sendKeys,
} from './lost.ts'
import { type Rescue, requireSupport } from './tell.ts'
import { type Attempt, type Begun, type Judged, openAttempt, refusal } from './transaction.ts'
import { findTables, type Wish } from './wanted.ts'

/** What is compared. */
export interface Comparison {
  production: Service
  restoring: Service
  /** Production's tables. */
  now: Catalog
  asked: readonly TableName[]
  where: string | undefined
  /** Production's keys that can be sent over before the archive's tables are known: mostly they are the same. */
  early: readonly KeyTransfer[]
}

/** @throws Failure when a table is not there, or its rows can't be told apart */
export async function prepareComparison(restore: Restore, production: Service, wish: Wish): Promise<Comparison> {
  const now = await readCatalog(restore.dokku, production)
  const asked = findTables(wish.tables, now)
  const early = findFamily(asked, now, now).members.map(keyTransfer)
  return {
    production,
    restoring: restoringOf(production),
    now,
    asked,
    where: wish.where,
    early: early.filter(({ isEarly }) => isEarly),
  }
}

/**
 * Sends production's keys to the database beside it. That may be done while the archive is imported: what production lacks now
 * is lost, and before anything is inserted it is looked at again.
 */
export function sendEarly(restore: Restore, comparison: Comparison): Promise<void> {
  return send(restore, comparison, comparison.early)
}

async function send(
  restore: Restore,
  { production, restoring }: Comparison,
  transfers: readonly KeyTransfer[],
): Promise<void> {
  if (transfers.length === 0) return
  await within(restore, restoring, async (there) => {
    await there.run(transfers.map(({ table }) => table).join('\n'))
    await within(restore, production, (here) => here.run(sendKeys(transfers, restoring.database)))
    await there.run(analyzeKeys(transfers))
  })
}

/** Works with a session of its own in the database beside production, or in production. */
async function within<T>({ dokku }: Restore, database: Service, work: (session: Session) => Promise<T>): Promise<T> {
  const session = openSession(dokku, database, COMPARE_SESSION)
  try {
    return await work(session)
  } finally {
    await session.end()
  }
}

/** What was found, and what is to be done about it. */
export interface Compared {
  rescue: Rescue
  insertion: Insertion
  /** The transaction that has judged the rows, and can insert them; undefined where it only looked, or where there are none. */
  begun: Begun | undefined
}

/**
 * Finds what was lost, what would happen to it in production, and how many rows differ.
 * @param isAgreed nobody is asked before the rows are inserted: then the transaction that judges them can be the one that
 *   does it. An operator's answer may take hours, and no transaction may stay open for that
 * @throws Failure when rows can't be inserted as they are
 */
export async function compareWith<T>(
  restore: Restore,
  comparison: Comparison,
  { archive, isAgreed }: { archive: ChosenArchive; isAgreed: boolean },
  then: (compared: Compared) => Promise<T>,
): Promise<T> {
  const { dokku } = restore
  const { production, restoring, now } = comparison
  const [theirs] = await Promise.all([readCatalog(dokku, restoring), adoptSettings(dokku, production)])
  const family = findFamily(comparison.asked, now, theirs)
  await sendLate(restore, comparison, family)
  // Needed last, and started first: each start is a call of Dokku.
  const attempt = openAttempt(restore, production)
  try {
    const compared = await compareFamily(restore, comparison, family, { archive, attempt, isAgreed })
    if (compared.begun === undefined) await attempt.end()
    return await then(compared)
  } finally {
    await attempt.end()
  }
}

async function compareFamily(
  restore: Restore,
  comparison: Comparison,
  family: Family,
  { archive, attempt, isAgreed }: { archive: ChosenArchive; attempt: Attempt; isAgreed: boolean },
): Promise<Compared> {
  const { restoring, now, where } = comparison
  // It needs none of the other steps, where there is no condition.
  const counting = where === undefined ? countAll(restore, comparison, family) : undefined
  counting?.catch(() => {})
  const all = await findAll(restore, comparison, family)
  const found = new Map(
    family.members.flatMap((member) => {
      const one = all.find((other): other is Found => 'number' in other && other.number === member.number)
      return one ? [[member, one] as const] : []
    }),
  )
  const coming = family.members.filter((member) => (found.get(member)?.lost ?? 0) > 0)
  coming.forEach(requireDefaults)
  const links = family.links.filter(({ child, parent }) => coming.includes(child) && coming.includes(parent))
  const insertion = { members: parentsFirst(coming, links), links, now, restoring: restoring.database }
  const judging = async (): Promise<{ judged: Judged; begun?: Begun }> => {
    if (coming.length === 0) return { judged: { away: [], leaning: [] } }
    if (!isAgreed) return { judged: await attempt.rehearse(insertion) }
    const begun = await attempt.begin(insertion)
    return { judged: begun.judged, begun }
  }
  const [{ judged, begun }, differing] = await Promise.all([
    judging().catch((error: unknown) => {
      throw refusal(error, insertion, archive.name)
    }),
    counting ?? countAll(restore, comparison, family),
  ])
  requireSupport(family.members, judged)
  const leftOut = family.leftOut.flatMap((table) => {
    const one = all.find((other): other is FoundLeftOut => 'leftOut' in other && other.leftOut === table.name)
    return one && one.rows > 0 ? [{ table, rows: one.rows }] : []
  })
  const emptied = family.links.flatMap((link, i) => {
    const one = all.find((other): other is FoundEmptied => 'emptied' in other && other.emptied === i)
    return one && one.rows > 0 ? [{ link, ...one }] : []
  })
  const members = family.members.filter((member) => member.isAsked || coming.includes(member))
  return { rescue: { ...judged, archive, members, found, differing, leftOut, emptied }, insertion, begun }
}

/** Where the archive's tables are not what production's are. */
function sendLate(restore: Restore, comparison: Comparison, { members }: Family): Promise<void> {
  const isSent = ({ table, query }: KeyTransfer): boolean =>
    comparison.early.some((other) => other.table === table && other.query === query)
  return send(
    restore,
    comparison,
    members.map(keyTransfer).filter((transfer) => !isSent(transfer)),
  )
}

async function findAll(
  restore: Restore,
  comparison: Comparison,
  family: Family,
): Promise<readonly (Found | FoundLeftOut | FoundEmptied)[]> {
  const { restoring, where, asked } = comparison
  try {
    return await within(restore, restoring, (session) => session.values(findLost(family, where), aFinding))
  } catch (error) {
    if (!(error instanceof Refused) || where === undefined) throw error
    throw new Failure(
      `--where can't be evaluated on the archive's ${asked[0]}: ${error.message}`,
      'A condition is about the columns of that table, for example: --where "id = 42"',
    )
  }
}

async function countAll(
  restore: Restore,
  { restoring, where }: Comparison,
  { members }: Family,
): Promise<Map<Member, number>> {
  const asked = members.filter(({ isAsked }) => isAsked)
  const script = asked.map((member) => countDiffering(member, where)).join('\n')
  const counts = await within(restore, restoring, (session) => session.values(script, aCount))
  return new Map(asked.map((member, i) => [member, counts[i] ?? 0]))
}
