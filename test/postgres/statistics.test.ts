import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku } from '../../lib/dokku/dokku.ts'
import { analyze, analyzeEarly } from '../../lib/postgres/statistics.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('statistics')
let sandbox: Sandbox
test.before(async () => {
  sandbox = await startSandbox()
})
test.after(() => sandbox.stop())

/** Somebody who has not committed yet. */
async function holding(statement: string): Promise<{ commit: () => Promise<unknown> }> {
  const client = spawn(join(sandbox.dir, 'bin/dokku'), ['postgres:connect', sandbox.service])
  client.stdin.write(`\\set QUIET on\nBEGIN;\n${statement};\n\\echo held\n`)
  await once(client.stdout, 'data')
  return {
    commit: () => {
      client.stdin.end('COMMIT;\n')
      return once(client, 'close')
    },
  }
}

async function known(): Promise<string[]> {
  return (await sandbox.sql("SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'public' ORDER BY 1;")).split(
    '\n',
  )
}

test('what is there early gets its statistics early, waits for nobody, and everything has them in the end', async () => {
  await sandbox.sql(`
    CREATE TABLE plain (id int, name text); INSERT INTO plain SELECT i, 'name ' || i FROM generate_series(1, 1000) i;
    CREATE TABLE "Odd ""Table" (id int); INSERT INTO "Odd ""Table" SELECT generate_series(1, 1000);
    CREATE TABLE copied (id int); CREATE TABLE locked (id int); INSERT INTO locked SELECT generate_series(1, 1000);
    CREATE TABLE empty (id int);
    CREATE TABLE expressed (name text); INSERT INTO expressed SELECT 'Name ' || i FROM generate_series(1, 1000) i;
    CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (2000);
    INSERT INTO parts SELECT generate_series(1, 1000);
    CREATE MATERIALIZED VIEW seen AS SELECT * FROM plain WITH NO DATA;`)
  const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
  const dokku = createDokku({ shell, cleanup: shell }, [join(sandbox.dir, 'bin/dokku')])
  const database = { name: sandbox.service, database: sandbox.database }
  const copying = await holding('INSERT INTO copied SELECT generate_series(1, 1000)')
  const locking = await holding('LOCK TABLE locked IN SHARE MODE')
  await analyzeEarly(dokku, database)
  assert.equal(await known(), ['Odd "Table', 'expressed', 'parts_1', 'plain'])
  await Promise.all([copying.commit(), locking.commit()])
  await sandbox.sql('CREATE INDEX by_expression ON expressed (lower(name)); REFRESH MATERIALIZED VIEW seen;')
  const early = await analyses('plain')
  await analyze(dokku, database)
  assert.equal(await known(), [
    'Odd "Table',
    'by_expression',
    'copied',
    'expressed',
    'locked',
    'parts',
    'parts_1',
    'plain',
    'seen',
  ])
  assert.is(await analyses('plain'), early, 'once is enough')
})

async function analyses(table: string): Promise<string> {
  return sandbox.sql(
    `SELECT pg_stat_force_next_flush(); SELECT pg_stat_clear_snapshot(); SELECT analyze_count FROM pg_stat_user_tables WHERE relname = '${table}';`,
  )
}

test.run()
