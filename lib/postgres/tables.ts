// Which tables have rows, asked of a database in any state: a damaged or locked table holds up nobody for long.

import { Failure } from '../core/failure.ts'
import { lastLines } from '../core/format.ts'
import { aText, listOf, optional, record, tryJson } from '../core/outside.ts'
import { connectArgs, type Dokku, explainCommand, type Service } from '../dokku/dokku.ts'
import { BARE } from './sql.ts'

/** Tables by `schema.table`, in the order of their names. */
export interface TableSurvey {
  /** Those that have rows. */
  filled: string[]
  /** Those that did not answer: locked, damaged, or slow. */
  unread: string[]
}

const TIMEOUT_MS = 60_000

// Partitions come and go with their data, and what a crash may empty at any time (UNLOGGED) nobody counts on. A parent tells
// of all its partitions. The catalog is asked once for the names, then each table whether it has a row, with an error for
// itself alone: statistics (reltuples, n_live_tup) are unknown after an import and wrong after a crash.
const TABLES = `FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE relkind IN ('r', 'p') AND relpersistence = 'p' AND NOT relispartition AND nspname !~ '^pg_' AND nspname <> 'information_schema'`
const QUESTIONS = [
  '\\set ON_ERROR_STOP off',
  // Whatever the image's psqlrc says; other lines than answers are passed over.
  '\\set AUTOCOMMIT on',
  '\\pset expanded off',
  "SET lock_timeout = '1s';",
  "SET statement_timeout = '2s';",
  `SELECT coalesce(json_agg(nspname || '.' || relname), '[]') ${TABLES};`,
  `SELECT format('SELECT json_build_object(''filled'', %L) WHERE EXISTS (SELECT FROM %I.%I)', nspname || '.' || relname, nspname, relname) ||
  format(' UNION ALL SELECT json_build_object(''read'', %L)', nspname || '.' || relname) ${TABLES}`,
  '\\gexec',
]

/** @throws Failure when the server does not say which tables there are */
export async function surveyTables(dokku: Dokku, service: Service): Promise<TableSurvey> {
  const input = [...BARE, ...QUESTIONS, ''].join('\n')
  const output = await dokku.run(connectArgs(service.name), { input, timeoutMs: TIMEOUT_MS })
  const answers = output.stdout.split('\n').flatMap(parseLine)
  const all = answers.find((answer) => Array.isArray(answer))
  if (!all) {
    if (output.exitCode !== 0) throw explainCommand(output, service, connectArgs(service.name))
    throw new Failure(`PostgreSQL does not say which tables it has: ${lastLines(output.stderr)}`)
  }
  const answered = (word: 'filled' | 'read'): Set<string> =>
    new Set(answers.flatMap((answer) => (Array.isArray(answer) ? [] : (answer[word] ?? []))))
  const [filled, read] = [answered('filled'), answered('read')]
  return {
    filled: all.filter((table) => filled.has(table)).sort(),
    unread: all.filter((table) => !read.has(table)).sort(),
  }
}

const ANSWER = record({ filled: optional(aText), read: optional(aText) })

function parseLine(line: string): (string[] | ReturnType<typeof ANSWER>)[] {
  return [tryJson(line, listOf(aText)) ?? tryJson(line, ANSWER)].filter((answer) => answer !== undefined)
}
