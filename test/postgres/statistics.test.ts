import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku } from '../../lib/dokku/dokku.ts'
import { analyze } from '../../lib/postgres/statistics.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('statistics')
let sandbox: Sandbox
test.before(async () => {
  sandbox = await startSandbox()
})
test.after(() => sandbox.stop())

test('every table gets its statistics, whatever it is, however many there are, and however large the dump was', async () => {
  await sandbox.sql(`
    CREATE TABLE plain (id int, name text); INSERT INTO plain SELECT i, 'name ' || i FROM generate_series(1, 1000) i;
    CREATE TABLE "Odd ""Table" (id int); INSERT INTO "Odd ""Table" SELECT generate_series(1, 100);
    CREATE TABLE empty (id int); CREATE SCHEMA other; CREATE TABLE other.small (id int); INSERT INTO other.small VALUES (1);
    CREATE TABLE expressed (name text); INSERT INTO expressed SELECT 'Name ' || i FROM generate_series(1, 100) i;
    CREATE INDEX by_expression ON expressed (lower(name));
    CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (2000);
    INSERT INTO parts SELECT generate_series(1, 100);
    CREATE MATERIALIZED VIEW seen AS SELECT * FROM plain;`)
  const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
  const dokku = createDokku({ shell, cleanup: shell }, [join(sandbox.dir, 'bin/dokku')])
  for (const dumpBytes of [1000, 1_000_000_000]) {
    await sandbox.sql('DELETE FROM pg_statistic WHERE starelid >= 16384;')
    await analyze(dokku, { name: sandbox.service, database: sandbox.database }, dumpBytes)
    const known = await sandbox.sql(
      "SELECT DISTINCT tablename FROM pg_stats WHERE schemaname IN ('public', 'other') ORDER BY 1;",
    )
    assert.equal(
      known.split('\n'),
      ['Odd "Table', 'by_expression', 'expressed', 'parts', 'parts_1', 'plain', 'seen', 'small'],
      `${dumpBytes}`,
    )
  }
})

test.run()
