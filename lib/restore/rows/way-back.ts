// The file that takes rows out again which were brought back: their keys, and the statement.

import { open, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { stateFolder } from '../../cli/state.ts'
import { Failure, reason } from '../../core/failure.ts'
import { makeFolder } from '../../core/folder.ts'
import { localTimestamp } from '../../core/format.ts'
import { type Env, quote } from '../../core/shell.ts'
import { psqlLine } from '../../dokku/by-hand.ts'
import type { Service } from '../../dokku/dokku.ts'
import { ownRows, quotedName } from '../../postgres/catalog.ts'
import { FIXED_TEXT } from '../../postgres/session.ts'
import { identifier } from '../../postgres/sql.ts'
import type { Member } from './family.ts'
import { keyNames, sameKey } from './lost.ts'

/** What the file says of itself. */
interface About {
  archive: string
  production: Service
  /** The number of the transaction that inserted the rows. */
  transaction: string
}

export interface WayBackFile {
  readonly path: string
  /** @param lines the keys as COPY writes them */
  addKeys(member: Member, lines: AsyncIterable<string>): Promise<void>
  /** Everything is written, and on the disk. */
  finish(): Promise<void>
  /** Nothing was inserted. */
  remove(): Promise<void>
}

const PIECE = 64 * 1024

/**
 * Makes the file before the rows are there for good, so that there is no moment without it. If they never are, the file says
 * so when it is run.
 */
export async function openWayBack(env: Env, about: About): Promise<WayBackFile> {
  const stamp = localTimestamp(new Date()).replaceAll(':', '')
  const path = join(stateFolder(env), `rows-brought-back-${stamp}-${about.transaction}.sql`)
  await makeFolder(dirname(path))
  const file = await open(path, 'wx', 0o600)
  const members: Member[] = []
  const remove = async (): Promise<void> => {
    await file.close().catch(() => {})
    await rm(path, { force: true })
  }
  // A file that is open is not named by Node's error.
  const named = (done: Promise<void>): Promise<void> =>
    done.catch((error: unknown) => {
      const where = quote(dirname(path))
      throw new Failure(
        `${path}, the file that could take the rows out again, could not be written: ${reason(error)}`,
        `Look there, then type the command again: df -h ${where}; df -i ${where}`,
      )
    })
  const write: Write = (text) => named(file.appendFile(text))
  await write(head(about, path)).catch(async (error: unknown) => {
    await remove()
    throw error
  })
  return {
    path,
    addKeys: async (member, lines) => {
      members.push(member)
      const key = member.key.map((name, i) => `${identifier(name)} AS k${i + 1}`)
      await write(
        `CREATE TEMP TABLE keys_${member.number} ON COMMIT DROP AS SELECT ${key.join(', ')} FROM ${quotedName(member.now)} WITH NO DATA;\nCOPY keys_${member.number} FROM STDIN;\n`,
      )
      await append(write, lines)
      await write('\\.\n')
    },
    finish: async () => {
      await write(tail(members))
      await named(file.sync())
      await file.close()
    },
    remove,
  }
}

type Write = (text: string) => Promise<void>

async function append(write: Write, lines: AsyncIterable<string>): Promise<void> {
  let piece = ''
  for await (const line of lines) {
    piece += `${line}\n`
    if (piece.length < PIECE) continue
    await write(piece)
    piece = ''
  }
  await write(piece)
}

function head({ archive, production, transaction }: About, path: string): string {
  return `-- Rows that restore --rows brought back from ${archive} into ${production.database} of ${production.name}, by their keys.
-- To take them out again, all of them or, if one of them is in use, none:
--   ${psqlLine(production)} < ${quote(path)}
\\set ON_ERROR_STOP on
\\encoding UTF8
${FIXED_TEXT}
BEGIN;
DO $$ BEGIN
  IF txid_status(${transaction}) <> 'committed' THEN RAISE EXCEPTION 'These rows were never brought back: the restore was cut short.'; END IF;
END $$;
`
}

function tail(members: readonly Member[]): string {
  const deleted = members.map(
    (member) =>
      `d${member.number} AS (DELETE FROM ${ownRows(member.now)} r USING keys_${member.number} k WHERE ${sameKey(member, 'k', 'r')} RETURNING ${keyNames(member, 'k')})`,
  )
  const counts = members.map(
    ({ number, name }) =>
      `  SELECT '${name.replaceAll("'", "''")}' AS "table", count(*) AS "rows taken out" FROM d${number}`,
  )
  return `WITH ${deleted.join(',\n')}\n${counts.join('\n  UNION ALL\n')};\nCOMMIT;\n`
}
