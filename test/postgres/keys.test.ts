import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createShell } from '../../lib/core/shell.ts'
import { createDokku } from '../../lib/dokku/dokku.ts'
import { comparable, compareKeys, readKeys } from '../../lib/postgres/keys.ts'
import { type Sandbox, startSandbox } from '../support/sandbox.ts'

const test = suite('which rows two databases have')
let sandbox: Sandbox
test.before(async () => {
  sandbox = await startSandbox()
})
test.after(() => sandbox.stop())

test('rows are told apart by their keys, of one column or several, whatever is in them', async () => {
  await sandbox.sql(`
    CREATE TABLE plain (id int PRIMARY KEY, note text);
    CREATE TABLE "Odd 'name" (b text, a int, "of" date, PRIMARY KEY (b, a));
    CREATE TABLE keyless (id int);
    INSERT INTO plain SELECT i, 'x' FROM generate_series(1, 300) i;
    INSERT INTO "Odd 'name" VALUES ('it''s, (1)', 1, now()), ('b', 2, now());
    INSERT INTO keyless VALUES (1);`)
  const shell = createShell({ PATH: '/usr/bin:/bin' }, new AbortController().signal)
  const dokku = createDokku({ shell, cleanup: shell }, [join(sandbox.dir, 'bin/dokku')])
  const database = { name: sandbox.service, database: sandbox.database }
  const tables = ['public.plain', "public.Odd 'name", 'public.keyless']
  const before = await readKeys(dokku, database, tables)
  assert.is(before.size, 2)
  assert.equal([before.get('public.plain')?.size, before.get("public.Odd 'name")?.size], [300, 2])
  await sandbox.sql(`
    DELETE FROM plain WHERE id <= 40; INSERT INTO plain SELECT i FROM generate_series(501, 537) i;
    UPDATE plain SET note = 'changed'; UPDATE "Odd 'name" SET a = 3 WHERE a = 2;`)
  const after = await readKeys(dokku, database, tables)
  assert.equal(compareKeys(after, before, 'public.plain'), { onlyProduction: 37, onlyRestored: 40 })
  assert.equal(compareKeys(after, before, "public.Odd 'name"), { onlyProduction: 1, onlyRestored: 1 })
  assert.is(compareKeys(after, before, 'public.keyless'), undefined)
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
