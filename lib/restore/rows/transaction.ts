// The one transaction that brings rows back: all of them are there afterwards, or none, and the file of the way back is there before.

import { SO } from '../../cli/closing.ts'
import { Failure, reason } from '../../core/failure.ts'
import { retry } from '../../core/retry.ts'
import type { Service } from '../../dokku/dokku.ts'
import { INSERT_SESSION, openSession, Refused, type Session } from '../../postgres/session.ts'
import { sql } from '../../postgres/sql.ts'
import { aPlace, type Place } from '../../postgres/way-backs.ts'
import type { Restore } from '../restore.ts'
import {
  type Away,
  aJudgement,
  anInserted,
  BEGIN,
  type Inserted,
  type Insertion,
  insert,
  insertedKeys,
  type Leaning,
  prepare,
  rehearse,
  reportMissing,
} from './insertion.ts'
import { openWayBack, type WayBackFile } from './way-back.ts'

/** What is found of rows that are fetched beside production's tables. */
export interface Judged {
  away: readonly Away[]
  leaning: readonly Leaning[]
}

interface Outcome extends Pick<Judged, 'away'> {
  inserted: readonly Inserted[]
  /** Of the way back; undefined when no row was inserted. */
  file: string | undefined
}

/** What one transaction works with. */
interface Inserting {
  production: Service
  insertion: Insertion
  place: Place
  archive: string
  /** From here on an interruption no longer ends the session. @throws when there was one */
  hold(): void
}

/** A unique value that was taken meanwhile, a parent that was deleted meanwhile, a deadlock: the next attempt sees it (SQLSTATE). */
const AGAIN = ['23505', '23503', '23P01', '40001', '40P01']
const ATTEMPTS = 4
const WAIT_MS = 200

function sorted(found: readonly (Away | Leaning)[]): Judged {
  return {
    away: found.filter((one): one is Away => 'away' in one && one.count > 0),
    leaning: found.filter((one): one is Leaning => 'leaning' in one),
  }
}

/** A transaction that has fetched the rows beside production's tables, and judged them. */
export interface Begun {
  judged: Judged
  /**
   * Inserts the rows that nothing keeps away, writes the file of the way back, and commits.
   * @throws Refused, or a Failure, when production has none of them
   */
  insert(archive: string): Promise<Outcome>
}

/** A session in production for one attempt; an interruption ends it, but not while it is being committed. */
export interface Attempt {
  /** Looks at what would happen now; changes nothing. */
  rehearse(insertion: Insertion): Promise<Judged>
  begin(insertion: Insertion): Promise<Begun>
  /** Whatever is not committed is rolled back. */
  end(): Promise<void>
}

export function openAttempt(restore: Restore, production: Service): Attempt {
  const { signal } = restore.context.shell
  signal.throwIfAborted()
  const session = openSession(restore.dokku.lasting, production, INSERT_SESSION)
  const stop = (): void => void session.end()
  signal.addEventListener('abort', stop, { once: true })
  const hold = (): void => {
    signal.throwIfAborted()
    signal.removeEventListener('abort', stop)
  }
  return {
    rehearse: async (insertion) => sorted(await session.values(rehearse(insertion), aJudgement)),
    begin: async (insertion) => {
      const [place] = await session.values(BEGIN, aPlace)
      if (!place) throw new Failure('PostgreSQL does not say in which transaction it is.')
      const judged = sorted(await session.values(prepare(insertion), aJudgement))
      const about = { production, insertion, place, hold }
      return { judged, insert: (archive) => insertAll(restore, session, { ...about, archive }) }
    },
    end: () => {
      signal.removeEventListener('abort', stop)
      return session.end()
    },
  }
}

/**
 * Brings the rows back that nothing keeps away.
 * @param judge what is thrown when rows lean on what production lacks
 * @param begun an attempt's transaction, where one is open
 * @throws Failure when production has none of them
 */
export async function bringBack(
  restore: Restore,
  production: Service,
  insertion: Insertion,
  about: { archive: string; requireSupport: (judged: Judged) => void; begun: Begun | undefined },
): Promise<Outcome> {
  const { archive, requireSupport } = about
  const anew = async (): Promise<Outcome> => {
    const attempt = openAttempt(restore, production)
    try {
      const { judged, insert: go } = await attempt.begin(insertion)
      requireSupport(judged)
      return await go(archive)
    } finally {
      await attempt.end()
    }
  }
  try {
    return await retry((number) => (number === 1 && about.begun ? about.begun.insert(archive) : anew()), {
      attempts: ATTEMPTS,
      waitMs: (error) => (error instanceof Refused && AGAIN.includes(error.state) ? WAIT_MS : undefined),
      signal: restore.context.shell.signal,
    })
  } catch (error) {
    throw refusal(error, insertion, archive)
  }
}

/** What an operator is told when PostgreSQL refused; any other error as it is. */
export function refusal(error: unknown, { members }: Insertion, archive: string): unknown {
  if (!(error instanceof Refused)) return error
  const { schema, table, column, constraint } = error.about
  const member = members.find(
    ({ number, now }) => table === `back_${number}` || (table === now.table && schema === now.schema),
  )
  const parts = [column && `column ${column}`, constraint && `constraint ${constraint}`].filter(Boolean)
  const of = member ? ` of ${member.name}${parts.length > 0 ? ` (${parts.join(', ')})` : ''}` : ''
  return new Failure(
    `PostgreSQL refused the rows${of}: ${error.message}`,
    `Leave them out by --where "CONDITION", or restore the whole database: restore --db-only ${archive}`,
  )
}

async function insertAll(
  { context, dokku }: Restore,
  session: Session,
  { production, insertion, place, hold, archive }: Inserting,
): Promise<Outcome> {
  let file: WayBackFile | undefined
  try {
    const counts = await session.values(insert(insertion), anInserted)
    const { away } = sorted(await session.values(reportMissing(insertion), aJudgement))
    if (counts.every(({ inserted }) => inserted === 0)) return { away, inserted: counts, file: undefined }
    file = await openWayBack(context.shell.env, { archive, production, place, inserted: rowsOf(insertion, counts) })
    for (const member of insertion.members) await file.addKeys(member, session.lines(insertedKeys(member)))
    await file.finish()
    hold()
    context.closing.so('production', SO.rowsComing(file.path))
    await commit(session, dokku.lasting, production, { transaction: place.transaction, path: file.path })
    context.closing.so('production', SO.rowsBack(file.path))
    return { away, inserted: counts, file: file.path }
  } catch (error) {
    if (error instanceof Unknown) throw error
    context.closing.so('production', SO.rowsFailed)
    await file?.remove()
    throw error
  }
}

function rowsOf({ members }: Insertion, counts: readonly Inserted[]): { name: string; rows: number }[] {
  return members.flatMap(({ number, name }) =>
    counts.filter((count) => count.number === number).map(({ inserted }) => ({ name, rows: inserted })),
  )
}

/** Nobody says whether the rows are there. */
class Unknown extends Failure {}

const ASK_WITHIN_MS = 30_000

/** When the connection breaks while it is committed, perhaps only the news of it is lost: then the server is asked. */
async function commit(
  session: Session,
  lasting: Restore['dokku'],
  production: Service,
  { transaction, path }: { transaction: number; path: string },
): Promise<void> {
  try {
    await session.run('COMMIT;')
  } catch (broken) {
    const ask = async (): Promise<string> => {
      const status = (await sql(lasting, production, `SELECT txid_status(${transaction});`)).trim()
      if (status === 'in progress') throw new Failure('the transaction has not ended')
      return status
    }
    const status = await retry(ask, { withinMs: ASK_WITHIN_MS, waitMs: 500 }).catch((error: unknown) => {
      throw new Unknown(
        `Whether the rows were brought back could not be found out: ${reason(broken)}; ${reason(error)}`,
        `All of them are there, or none. Their keys, and the way back: ${path}`,
      )
    })
    if (status !== 'committed') throw broken
  }
}
