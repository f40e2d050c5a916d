// Whatever pg_dump can write comes back: on production's server, in a test service, in a drill.
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { databases } from '../support/damage.ts'
import { type Sandbox, seed, startSandbox } from '../support/sandbox.ts'

const test = suite('restore of any database')
let sandbox: Sandbox

const TEST_SERVICE = 'book-corners-db-test'

/** What lies outside the database, what pg_dump writes about it, and what an import with `-c` stumbles over. */
const EVERYTHING = `
  CREATE TYPE state AS ENUM ('open'); ALTER TABLE libraries_library ADD status state DEFAULT 'open';
  CREATE VIEW counted AS SELECT l.*, count(p.id) FROM libraries_library l LEFT JOIN libraries_photo p ON p.library_id = l.id GROUP BY l.id;
  CREATE DOMAIN positive AS int; CREATE TABLE old_values (x positive); INSERT INTO old_values VALUES (-1);
  ALTER DOMAIN positive ADD CHECK (VALUE > 0) NOT VALID;
  CREATE ROLE reporting LOGIN PASSWORD 'secret-of-reporting'; CREATE ROLE "Odd ""Role"" ;";
  ALTER TABLE libraries_library ENABLE ROW LEVEL SECURITY; ALTER TABLE libraries_library FORCE ROW LEVEL SECURITY;
  CREATE POLICY readers ON libraries_library TO reporting, "Odd ""Role"" ;" USING (id < 5);
  SET allow_in_place_tablespaces = on; CREATE TABLESPACE fast LOCATION '';
  CREATE TABLE in_tablespace (id int PRIMARY KEY USING INDEX TABLESPACE fast) TABLESPACE fast;
  CREATE SCHEMA app; CREATE TABLE app.visits (id int); INSERT INTO app.visits VALUES (1), (2);
  ALTER DATABASE book_corners_db SET search_path TO app, public;
  ALTER ROLE reporting IN DATABASE book_corners_db SET work_mem TO '9MB';
  CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION postgres_fdw;
  CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid');
  CREATE USER MAPPING FOR reporting SERVER elsewhere OPTIONS (user 'x', password 'y');
  CREATE FOREIGN TABLE far_away (id int) SERVER elsewhere;
  SELECT lo_from_bytea(4711, 'large');
  CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'noticed'; END $$;
  CREATE EVENT TRIGGER notices ON ddl_command_start EXECUTE FUNCTION noticed();
  CREATE PUBLICATION everything FOR ALL TABLES;
  CREATE SUBSCRIPTION from_elsewhere CONNECTION 'host=nowhere.invalid' PUBLICATION other WITH (connect = false, slot_name = 'theirs');
  CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
  CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); INSERT INTO parts VALUES (1, '2026-02-28');
  CREATE TABLE identities (id int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (1 + 1) STORED); INSERT INTO identities DEFAULT VALUES;
  CREATE MATERIALIZED VIEW counted_once AS SELECT count(*) FROM app.visits;
  CREATE TEXT SEARCH CONFIGURATION simpler (COPY = simple);
  CREATE COLLATION numbers (provider = icu, locale = 'en-u-kn');
  CREATE STATISTICS together ON library_id, path FROM libraries_photo;
  CREATE UNLOGGED TABLE fleeting (id int);
  CREATE TABLE "Quoted ""Table"" with ; and
newline" ("a b" int); INSERT INTO "Quoted ""Table"" with ; and
newline" VALUES (1);
  COMMENT ON DATABASE book_corners_db IS E'the site''s own: :database \\\\! touch x\\n\\\\q "; --';
  ALTER DATABASE book_corners_db SET "my.own" TO 'x y';`

async function lookBack(service?: string): Promise<string> {
  return sandbox.sql(
    `SELECT (SELECT count(*) FROM counted), (SELECT x FROM old_values), (SELECT count(*) FROM pg_policies),
       (SELECT count(*) FROM app.visits), (SELECT convert_from(lo_get(4711), 'UTF8')), (SELECT count(*) FROM pg_event_trigger),
       (SELECT count(*) FROM pg_publication), (SELECT tablespace FROM pg_tables WHERE tablename = 'in_tablespace'), current_setting('search_path');`,
    service,
  )
}
const WHOLE = '200|-1|1|2|large|1|1|fast|app, public'

test.before(async () => {
  sandbox = await startSandbox()
  await seed(sandbox)
  await sandbox.sql(EVERYTHING)
  if ((await sandbox.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis';")) === '1')
    await sandbox.sql(`CREATE EXTENSION postgis SCHEMA public; CREATE TABLE places (id int PRIMARY KEY, at public.geometry(Point, 4326));
      CREATE VIEW placed AS SELECT p.*, count(*) FROM places p GROUP BY p.id;`)
  await sandbox.configure({ CHECK_EVERY_DAYS: '0', VERIFY_SQL: 'SELECT count(*) FROM visits -- in app' })
  const { exitCode, stderr } = await sandbox.script('backup.ts')
  assert.is(exitCode, 0, stderr)
  await sandbox.sql("ALTER SYSTEM SET wal_level = 'logical'; ALTER SYSTEM SET max_prepared_transactions = 5;")
  await sandbox.dokku(['postgres:stop', sandbox.service])
  await sandbox.dokku(['postgres:start', sandbox.service])
})
test.after(() => sandbox.stop())

test('a test service gets what production has beside the database, roles without their passwords', async () => {
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--test', '--yes'])
  assert.is(exitCode, 0, stderr)
  assert.is(await lookBack(TEST_SERVICE), WHOLE)
  assert.match(stderr, /production: 2\n.*restored: +2/)
  assert.is(
    await sandbox.sql(
      "SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname = 'reporting';",
      TEST_SERVICE,
    ),
    '0',
  )
  assert.is(await sandbox.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'reporting';", TEST_SERVICE), 'f')
})

test('a drill proves it, and leaves nothing', async () => {
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['--drill'])
  assert.is(exitCode, 0, stderr)
  assert.is((await sandbox.dokku(['postgres:exists', TEST_SERVICE])).exitCode, 1)
})

test('a restore brings all of it back, and what a dump does not hold of the database comes along; what hangs on the kept one is named, with what lets go of it', async () => {
  await sandbox.sql("SELECT pg_create_logical_replication_slot('to_search', 'test_decoding');")
  await sandbox.sql(
    'REVOKE CONNECT ON DATABASE book_corners_db FROM PUBLIC; GRANT CONNECT ON DATABASE book_corners_db TO reporting WITH GRANT OPTION;',
  )
  await sandbox.sql(`ALTER TABLE app.visits OWNER TO reporting; GRANT SELECT, INSERT ON libraries_photo TO reporting;
    GRANT USAGE ON SCHEMA app TO reporting; GRANT UPDATE (name) ON libraries_library TO "Odd ""Role"" ;";`)
  const { exitCode, stdout, stderr } = await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  assert.is(exitCode, 0, stderr)
  assert.is(await lookBack(), WHOLE)
  const acl =
    "SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM pg_database, unnest(datacl) a WHERE datname = current_database();"
  assert.is(await sandbox.sql(acl), '=T/postgres postgres=CTc/postgres reporting=c*/postgres')
  assert.is(
    await sandbox.sql(
      "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database();",
    ),
    'the site\'s own: :database \\! touch x\n\\q "; --',
  )
  assert.is(await sandbox.sql('SHOW "my.own";'), 'x y')
  assert.match(stdout, /belong to postgres/)
  const rights = [...stdout.matchAll(/^((ALTER|GRANT) .*;)$/gm)].map(([, statement]) => statement)
  assert.ok(rights.length >= 4, stdout)
  // As they are shown, they can be typed.
  await sandbox.sql(rights.join('\n'))
  assert.is(await sandbox.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'visits';"), 'reporting')
  assert.is(await sandbox.sql("SELECT has_table_privilege('reporting', 'libraries_photo', 'SELECT, INSERT');"), 't')
  assert.is(
    await sandbox.sql("SELECT has_column_privilege('Odd \"Role\" ;', 'libraries_library', 'name', 'UPDATE');"),
    't',
  )
  assert.match(stdout, /subscription[^\n]*from_elsewhere[^\n]*ENABLE/)
  assert.match(stdout, /to_search/)
  await dropsKept(stdout)
})

/** Every command that drops a kept database, as it is shown: with its replication slots and its subscriptions. */
async function dropsKept(stdout: string): Promise<void> {
  const kept = (await databases(sandbox)).filter((name) => name !== sandbox.database)
  const typed = [...stdout.matchAll(/^ +((?:echo|printf) .*DROP DATABASE.*) \| sudo dokku postgres:connect \S+$/gm)]
  assert.is(typed.length, kept.length, stdout)
  // The check says the same when the closing lines are gone.
  const check = await sandbox.script('backup.ts', ['--check'])
  for (const [line] of typed) assert.ok(check.stdout.includes(line.trim()), check.stdout)
  for (const [, says = ''] of typed) {
    const script = await sandbox.launch('sh', ['-c', says]).ended
    const dropped = await sandbox.dokku(['postgres:connect', sandbox.service], script.stdout)
    assert.is(dropped.exitCode, 0, dropped.stderr)
  }
  assert.equal(await databases(sandbox), [sandbox.database])
}

test('a database with a subscription, left beside production by a killed run, is removed', async () => {
  await sandbox.containerProgram(
    'pg_restore',
    `${sandbox.postgresBin}/pg_restore "$@"; echo 'pg_restore: error: after all' >&2; exit 1`,
  )
  const failed = await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  await sandbox.containerProgram('pg_restore')
  assert.is(failed.exitCode, 1)
  assert.not.match(failed.stderr, /could not be removed/)
  assert.not.ok((await databases(sandbox)).includes('book_corners_db_restoring'))
})

test('a prepared transaction in production, which would stop the swap, is named before anything begins', async () => {
  await sandbox.sql("BEGIN; INSERT INTO app.visits VALUES (3); PREPARE TRANSACTION 'left behind';")
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  assert.is(exitCode, 1)
  assert.match(stderr, /prepared transaction/)
  assert.not.match(stderr, /Importing/)
  const [echo = ''] = /echo 'ROLLBACK PREPARED .*(?= \|)/.exec(stderr) ?? []
  const { stdout } = await sandbox.launch('sh', ['-c', echo]).ended
  assert.is(stdout, "ROLLBACK PREPARED 'left behind'\n")
  const typed = await sandbox.dokku(['postgres:connect', sandbox.service], stdout)
  assert.is(typed.exitCode, 0, typed.stderr)
})

test('what the archive needs of the server, and the server has not got, is told as such', async () => {
  await sandbox.sql(
    'DROP POLICY readers ON libraries_library; DROP USER MAPPING FOR reporting SERVER elsewhere; REVOKE ALL ON DATABASE book_corners_db FROM reporting; REASSIGN OWNED BY reporting TO postgres; DROP OWNED BY reporting; DROP ROLE reporting;',
  )
  const { exitCode, stderr } = await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  assert.is(exitCode, 1)
  assert.match(stderr, /role "reporting" does not exist/)
  assert.match(stderr, /not because of the archive/)
  assert.not.match(stderr, /older archive/)
  const [, statement = ''] = /echo '(CREATE ROLE .*)' \|/.exec(stderr) ?? []
  const typed = await sandbox.dokku(['postgres:connect', sandbox.service], `${statement}\n`)
  assert.is(typed.exitCode, 0, typed.stderr)
  const again = await sandbox.script('restore.ts', ['latest', '--db-only', '--yes'])
  assert.is(again.exitCode, 0, again.stderr)
})

test('a dump that can be imported nowhere is told with the first error and its details', async () => {
  await sandbox.sql(`CREATE FUNCTION inner_one(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
    CREATE FUNCTION outer_one(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT inner_one($1)';
    ALTER DATABASE book_corners_db RESET search_path; ALTER TABLE libraries_library ADD CHECK (outer_one(name) IS NOT NULL);`)
  const name = 'book-corners-2026-01-01T03:00:00'
  const dump = await sandbox.borgShell(
    `${join(sandbox.dir, 'bin/dokku')} postgres:export ${sandbox.service} | borg create --stdin-name db.dump ::${name} -`,
  )
  assert.is(dump.exitCode, 0, dump.stderr)
  const { exitCode, stderr } = await sandbox.script('restore.ts', [name, '--test', '--yes'])
  assert.is(exitCode, 1)
  assert.match(stderr, /inner_one\(text\) does not exist/)
  assert.match(stderr, /without its schema|search_path/)
})

test.run()
