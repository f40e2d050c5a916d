import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku } from '../../lib/dokku/dokku.ts'
import {
  commonLayouts,
  comparable,
  compareRows,
  completeDigests,
  differingParts,
  LAYOUTS,
  layoutsIn,
  readRows,
} from '../../lib/postgres/keys.ts'
import { countRows } from '../../lib/postgres/sql.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('which rows two databases have')
let sandbox: Sandbox
test.before(async () => {
  sandbox = await startSandbox()
})
test.after(() => sandbox.stop())

test('rows are told apart by their keys, of one column or several, and changed ones are found, whatever is in them', async () => {
  await sandbox.sql(`
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE plain (id int PRIMARY KEY, note text, gone int DEFAULT 1);
    CREATE TABLE "Odd 'name" (b text, a int, "of" date, PRIMARY KEY (b, a));
    CREATE TABLE every_type (id uuid PRIMARY KEY, at timestamptz, how mood, doc json, p point, x xml, raw bytea, f float8, a text, b text);
    CREATE TABLE keyless (id int);
    CREATE TABLE same (id int PRIMARY KEY, note text); CREATE TABLE none (id int PRIMARY KEY);
    INSERT INTO same SELECT i, 'note ' || i FROM generate_series(1, 1000) i;
    INSERT INTO plain SELECT i, 'x' FROM generate_series(1, 300) i;
    INSERT INTO "Odd 'name" VALUES ('it''s, (1)', 1, now()), ('b', 2, now());
    INSERT INTO every_type SELECT md5(i::text)::uuid, now(), 'good', '{}', '(1,2)', '<a/>', '\\x00', 0.1, 'x', NULL FROM generate_series(1, 9) i;
    INSERT INTO keyless VALUES (1);`)
  const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
  const dokku = createDokku({ shell, cleanup: shell }, [join(sandbox.dir, 'bin/dokku')])
  const database = { name: sandbox.service, database: sandbox.database }
  const other = { ...database, database: 'other' }
  // As it was, also where it is set to write values in another way.
  await sandbox.sql(`\\c postgres
    CREATE DATABASE other TEMPLATE ${sandbox.database};
    ALTER DATABASE other SET DateStyle = 'German'; ALTER DATABASE other SET TimeZone = 'Asia/Tokyo'; ALTER DATABASE other SET bytea_output = 'escape';`)
  await sandbox.sql(`
    DELETE FROM plain WHERE id <= 40; INSERT INTO plain SELECT i FROM generate_series(501, 537) i;
    UPDATE plain SET note = 'changed' WHERE id < 100; ALTER TABLE plain DROP COLUMN gone; ALTER TABLE plain ADD later int DEFAULT 2;
    UPDATE "Odd 'name" SET a = 3 WHERE a = 2;
    UPDATE every_type SET a = NULL, b = 'x' WHERE id = md5('1')::uuid; UPDATE every_type SET how = 'bad' WHERE id = md5('2')::uuid;`)
  const both = [database, other]
  const [ours = [], theirs = []] = await Promise.all(
    both.map(async (it) => layoutsIn((await countRows(dokku, it, LAYOUTS)).lines)),
  )
  const layouts = commonLayouts(ours, theirs)
  const [production = new Map(), restored = new Map()] = await Promise.all(
    both.map((it) => completeDigests(dokku, it, layouts)),
  )
  const portions = layouts.map((layout) => ({ layout, parts: differingParts(production, restored, layout) }))
  const partsOf = (table: string): number =>
    portions.find(({ layout }) => layout.table === table)?.parts?.length ?? Number.NaN
  assert.is(partsOf('public.same'), 0)
  assert.is(partsOf('public.none'), 0)
  // Of 256 parts those of the rows that differ.
  assert.ok(partsOf('public.every_type') <= 2, String(partsOf('public.every_type')))
  assert.ok(partsOf('public.plain') > 50 && partsOf('public.plain') <= 136, String(partsOf('public.plain')))
  const [now = new Map(), then = new Map()] = await Promise.all(both.map((it) => readRows(dokku, it, portions)))
  assert.equal(compareRows(now, then, 'public.plain'), { onlyProduction: 37, onlyRestored: 40, changed: 59 })
  assert.equal(compareRows(now, then, "public.Odd 'name"), { onlyProduction: 1, onlyRestored: 1, changed: 0 })
  assert.equal(compareRows(now, then, 'public.every_type'), { onlyProduction: 0, onlyRestored: 0, changed: 2 })
  assert.is(compareRows(now, then, 'public.keyless'), undefined)
})

test('where whole rows can not be read, their keys still are, and changed rows are not counted', async () => {
  await sandbox.sql(`
    CREATE TABLE whole (id int PRIMARY KEY); INSERT INTO whole SELECT generate_series(1, 5);`)
  const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
  const dokku = createDokku({ shell, cleanup: shell }, [join(sandbox.dir, 'bin/dokku')])
  const database = { name: sandbox.service, database: sandbox.database }
  const { lines } = await countRows(dokku, database, LAYOUTS)
  const layout = layoutsIn(lines).find(({ table }) => table === 'public.whole')
  assert.ok(layout)
  const whole = await readRows(dokku, database, [{ layout }])
  // A column that is not there, as one that is damaged, fails the query alone.
  const broken = { ...layout, columns: [{ name: 'gone', notNull: true }] }
  const digests = await completeDigests(dokku, database, [broken])
  assert.is(differingParts(digests, digests, broken), undefined)
  const damaged = await readRows(dokku, database, [{ layout: broken }])
  assert.equal(compareRows(damaged, whole, 'public.whole'), { onlyProduction: 0, onlyRestored: 0, changed: undefined })
})

test('what would take long is left out: a large table, and all that is too much together', () => {
  const sizes = new Map([
    ['small', 10],
    ['large', 50_001],
    ['only in production', 5],
    ['empty', 0],
    ...Array.from({ length: 4 }, (_, i): [string, number] => [`medium ${i}`, 33_000]),
  ])
  const restored = new Map([...sizes].filter(([name]) => name !== 'only in production'))
  assert.equal(comparable(sizes, restored), ['small', 'medium 0', 'medium 1', 'medium 2'])
})

test.run()
