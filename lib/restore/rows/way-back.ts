// The file that takes rows out again which were brought back: their keys, and the statement.

import { open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Failure, reason } from '../../core/failure.ts'
import { makeFolder } from '../../core/folder.ts'
import { printable } from '../../core/format.ts'
import { quote } from '../../core/quote.ts'
import type { Env } from '../../core/shell.ts'
import { ownRows, quotedName } from '../../postgres/catalog.ts'
import { FIXED_TEXT } from '../../postgres/session.ts'
import { literal } from '../../postgres/sql.ts'
import { type About, headOf, isAnother, keysLine, wayBackPath } from '../../postgres/way-backs.ts'
import type { Member } from './family.ts'
import { block, keyNames, sameKey } from './lost.ts'

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
  const path = wayBackPath(env, about.place)
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
      const before = keysLine(member.number, member.key, ownRows(member.now))
      await write(`${before}\nCOPY keys_${member.number} FROM STDIN;\n`)
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

function head(about: About, path: string): string {
  const { place } = about
  return `${headOf(about, path)}\\set ON_ERROR_STOP on
\\set QUIET on
\\set SHOW_CONTEXT never
\\encoding UTF8
${FIXED_TEXT}
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
DO $$ BEGIN
  IF ${isAnother(place)} THEN RAISE EXCEPTION 'These rows were brought back into another database, which is not production now. Nothing was taken out.'; END IF;
  IF txid_status(${place.transaction}) <> 'committed' THEN RAISE EXCEPTION 'These rows were never brought back: the restore was cut short.'; END IF;
END $$;
`
}

function tail(members: readonly Member[]): string {
  const deleted = members.map(
    (member) =>
      `d${member.number} AS (DELETE FROM ${ownRows(member.now)} r USING ${keysOf(member)} k WHERE ${sameKey(member, 'k', 'r')} RETURNING ${keyNames(member, 'k')})`,
  )
  const counts = members.map(
    ({ number, name }, i) =>
      `  SELECT ${i} AS place, ${literal(printable(name))} AS name, count(*) AS rows FROM d${number}`,
  )
  return `${members.map((member) => `ANALYZE ${keysOf(member)};\n`).join('')}${requireUnused(members)}
WITH ${deleted.join(',\n')},
counts AS (\n${counts.join('\n  UNION ALL\n')}\n)
SELECT coalesce(string_agg(format('%s %s of %s', rows, CASE rows WHEN 1 THEN 'row' ELSE 'rows' END, name), ', ' ORDER BY place)
  || ' taken out; production is otherwise unchanged.', 'Nothing was there to take out: production is unchanged.') AS ops_ending
FROM counts WHERE rows > 0
\\gset
COMMIT;
\\echo :ops_ending
`
}

function keysOf({ number }: Member): string {
  return `pg_temp.keys_${number}`
}

/** Most keys of a table that are named. */
const MOST_USERS = 10

/** The table of a pg_class row and its schema, as a query reads its own rows. */
function readable(table: string, schema: string): string {
  return `format('%s%I.%I', CASE ${table}.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, ${schema}.nspname, ${table}.relname)`
}

/**
 * Raises an error when rows that are not in the file reference rows that are: a deletion would take them along, or change
 * them, without a word. The foreign keys are those of the moment at which the file is run. From then on nobody can
 * reference these rows: they are locked first, which also waits for whoever is about to.
 */
function requireUnused(members: readonly Member[]): string {
  const known = members.map(
    (member) =>
      `(${member.number}, ${literal(quotedName(member.now))}::regclass, ${literal(sameKey(member, 'k', 't'))}, ${literal(sameKey(member, 'k', 'r'))})`,
  )
  const locked = members.map(
    (member) =>
      `  PERFORM 1 FROM ${ownRows(member.now)} r, ${keysOf(member)} k WHERE ${sameKey(member, 'k', 'r')} FOR UPDATE OF r;`,
  )
  return block(
    "ops_one record; ops_rows bigint; ops_first text; ops_found text := '';",
    `${locked.join('\n')}
  FOR ops_one IN ${referencesTo(known)} LOOP
    EXECUTE format('SELECT count(*), string_agg(key, '', '' ORDER BY place) FILTER (WHERE place <= ${MOST_USERS}) FROM (
        SELECT left(regexp_replace(concat_ws('', '', %1$s), ''[[:cntrl:]]'', ''?'', ''g''), 80) AS key, row_number() OVER (ORDER BY %1$s) AS place
        FROM %2$s r, %3$s t, pg_temp.keys_%4$s k WHERE %5$s AND %6$s AND %7$s) found',
      ops_one.keys, ops_one.referencing, ops_one.referenced, ops_one.number, ops_one.pairs, ops_one.is_taken, ops_one.stays)
      INTO ops_rows, ops_first;
    IF ops_rows > 0 THEN
      ops_found := ops_found || format(E'\\n  %s (%s): %s%s: %s of %s, by %s', ops_one.name, ops_one.called, ops_first,
        CASE WHEN ops_rows > ${MOST_USERS} THEN ', …' ELSE '' END, ops_rows || CASE ops_rows WHEN 1 THEN ' row' ELSE ' rows' END,
        ops_one.name, ops_one.conname);
    END IF;
  END LOOP;
  IF ops_found <> '' THEN
    RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
      MESSAGE = 'Nothing was taken out: rows that are not in this file reference rows that are:' || ops_found,
      HINT = 'Delete those, or let them reference other rows; then type the command again.';
  END IF;`,
  )
}

/** The foreign keys that lead to tables of the file, with what a query on their rows is made of. */
function referencesTo(known: readonly string[]): string {
  const columns = (numbers: string, each: string): string =>
    `(SELECT string_agg(${each}, ', ' ORDER BY place) FROM unnest(${numbers}) WITH ORDINALITY one (attnum, place)
      JOIN pg_attribute a USING (attnum) WHERE a.attrelid = x.conrelid)`
  // A table without a primary key shows what it references.
  const shown = 'coalesce((i.indkey::int2[])[0:i.indnkeyatts - 1], x.conkey)'
  return `WITH known (number, relation, as_referenced, as_own) AS (VALUES ${known.join(',\n    ')})
    SELECT p.number, x.conname, fn.nspname || '.' || f.relname AS name, ${readable('f', 'fn')} AS referencing, ${readable('o', 'n')} AS referenced,
      p.as_referenced AS is_taken, ${columns(shown, "format('r.%I', attname)")} AS keys, ${columns(shown, 'attname')} AS called,
      coalesce('NOT EXISTS (SELECT FROM pg_temp.keys_' || c.number || ' k WHERE ' || c.as_own || ')', 'true') AS stays,
      (SELECT string_agg(format('t.%I OPERATOR(%I.%s) r.%I', a.attname, s.nspname, oprname, b.attname), ' AND ')
        FROM unnest(x.confkey, x.conkey, x.conpfeqop) pair (toward, own, operator)
        JOIN pg_attribute a ON a.attrelid = x.confrelid AND a.attnum = toward JOIN pg_attribute b ON b.attrelid = x.conrelid AND b.attnum = own
        JOIN pg_operator e ON e.oid = operator JOIN pg_namespace s ON s.oid = oprnamespace) AS pairs
    FROM pg_constraint x JOIN known p ON p.relation = coalesce(pg_partition_root(x.confrelid), x.confrelid)
    LEFT JOIN known c ON c.relation = coalesce(pg_partition_root(x.conrelid), x.conrelid)
    JOIN pg_class f ON f.oid = x.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
    JOIN pg_class o ON o.oid = x.confrelid JOIN pg_namespace n ON n.oid = o.relnamespace
    LEFT JOIN pg_index i ON i.indrelid = x.conrelid AND i.indisprimary
    WHERE x.contype = 'f' AND x.conparentid = 0 ORDER BY name, x.conname`
}
