// What was written to a database between two moments, by PostgreSQL's own counters: they cost nothing to ask.

import { aWriteCounts, type WriteCounts } from '../cli/state.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { LASTING_TABLES, rows } from './sql.ts'

const COUNTERS = `
SELECT json_build_object(
  'of', (SELECT datid || ' ' || coalesce(stats_reset::text, '') FROM pg_stat_database WHERE datname = current_database()),
  'tables', coalesce(json_object_agg(schemaname || '.' || relname,
    json_build_object('inserted', n_tup_ins, 'updated', n_tup_upd, 'deleted', n_tup_del)), '{}'))
FROM pg_stat_user_tables WHERE ${LASTING_TABLES};`

/** @throws Failure with what PostgreSQL said */
export async function readWrites(dokku: Dokku, database: Service): Promise<WriteCounts> {
  const [counts = { of: '', tables: {} }] = await rows(dokku, database, COUNTERS, aWriteCounts)
  return counts
}

const NONE = { inserted: 0, updated: 0, deleted: 0 }

/**
 * Pure: what was written between two moments, a phrase for each table; undefined when it can't be told. A table that is gone is
 * passed over.
 */
export function writtenBetween(then: WriteCounts, now: WriteCounts): string[] | undefined {
  if (then.of !== now.of) return
  const written: string[] = []
  for (const [table, counts] of Object.entries(now.tables)) {
    const before = then.tables[table] ?? NONE
    const kinds: [number, string][] = [
      [counts.inserted - before.inserted, 'new'],
      [counts.updated - before.updated, 'changed'],
      [counts.deleted - before.deleted, 'deleted'],
    ]
    // After a crash they begin anew.
    if (kinds.some(([count]) => count < 0)) return
    const said = kinds.filter(([count]) => count > 0).map(([count, what]) => `${count.toLocaleString('en')} ${what}`)
    if (said.length > 0) written.push(`${table} ${said.join(', ')}`)
  }
  return written.sort()
}
