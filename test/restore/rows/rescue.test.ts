import { spawn } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createLog } from '../../../lib/core/log.ts'
import { findWayBacks } from '../../../lib/postgres/way-backs.ts'
import { type Accident, accident, restoreIn } from '../../support/rescue.ts'
import { type Sandbox, startSandbox } from '../../support/sandbox.ts'
import { until } from '../../support/until.ts'

const test = suite('rows that were lost')
let sandbox: Sandbox

test.before(async () => {
  sandbox = await startSandbox()
})
test.after(() => sandbox.stop())

/** A small Book Corners: 20 libraries of 5 users, two reviews each, tags by way of a table between. */
const CORNERS = `
  CREATE TABLE users_user (id serial PRIMARY KEY, name text NOT NULL);
  CREATE TABLE libraries_library (id serial PRIMARY KEY, slug text NOT NULL UNIQUE, city text NOT NULL DEFAULT 'Lyon',
    owner_id int NOT NULL REFERENCES users_user DEFERRABLE INITIALLY DEFERRED, near_id int REFERENCES libraries_library);
  CREATE TABLE libraries_review (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library ON DELETE CASCADE,
    user_id int REFERENCES users_user ON DELETE SET NULL, body text);
  CREATE TABLE tags_tag (id serial PRIMARY KEY, name text UNIQUE);
  CREATE TABLE libraries_library_tags (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library ON DELETE CASCADE,
    tag_id int NOT NULL REFERENCES tags_tag, UNIQUE (library_id, tag_id));
  CREATE TABLE django_migrations (id serial PRIMARY KEY, app text);
  INSERT INTO users_user (name) SELECT 'user ' || n FROM generate_series(1, 5) n;
  INSERT INTO libraries_library (slug, owner_id) SELECT 'corner-' || n, 1 + n % 5 FROM generate_series(1, 20) n;
  INSERT INTO libraries_review (library_id, user_id, body) SELECT 1 + n % 20, 1 + n % 5, 'review ' || n FROM generate_series(1, 40) n;
  INSERT INTO tags_tag (name) VALUES ('novels'), ('maps');
  INSERT INTO libraries_library_tags (library_id, tag_id) SELECT n, 1 + n % 2 FROM generate_series(1, 20) n;`

const COUNTS = `SELECT (SELECT count(*) FROM libraries_library), (SELECT count(*) FROM libraries_review),
  (SELECT count(*) FROM libraries_library_tags), (SELECT count(*) FROM users_user);`

test('lost rows come back with what a cascade took, through every level; rows that exist are not changed', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    CORNERS,
    `DELETE FROM libraries_library WHERE id <= 4;
     UPDATE libraries_library SET city = 'Graz' WHERE id IN (7, 8, 9);
     INSERT INTO libraries_library (slug, owner_id) VALUES ('new', 1);`,
  )
  const { exitCode, stdout, stderr } = await rescue('libraries_library')
  assert.is(exitCode, 0, stderr)
  assert.is(await sql(COUNTS), '21|40|20|5')
  assert.is(await sql("SELECT count(*) FROM libraries_library WHERE city = 'Graz';"), '3')
  assert.match(stderr, /libraries_library +4 +4 +3$/m)
  assert.match(stderr, /libraries_review +8 +8$/m)
  assert.match(stderr, /libraries_library_tags +4 +4$/m)
  assert.match(stdout, /4 rows of public\.libraries_library\n/)
  assert.match(stdout, /8 rows of public\.libraries_review\n/)
  assert.match(stdout, /restore --media-only book-corners-2026-02-28T03:00:01/)
})

test('what is lost is said, and nothing is changed, with --dry-run, or without an agreement; --json has tables, counts and keys', async () => {
  const { sql, rescue } = await accident(sandbox, CORNERS, 'DELETE FROM libraries_library WHERE id IN (3, 11);')
  const before = await sql(COUNTS)
  const text = await rescue('libraries_library', { flags: ['dry-run'] })
  assert.is(text.exitCode, 0, text.stderr)
  assert.match(text.stdout, /^Nothing is changed\. Rows of book-corners-2026-02-28T03:00:01 that production lacks:\n/)
  assert.match(text.stdout, /public\.libraries_library \(id\): 3, 11\n/)
  assert.match(
    text.stdout,
    /To bring them back:\n {2}restore book-corners-2026-02-28T03:00:01 --rows libraries_library\n$/,
  )
  const { stdout } = await rescue('libraries_library', { flags: ['dry-run', 'json'] })
  const { tables, file, archive } = JSON.parse(stdout)
  assert.is(archive, 'book-corners-2026-02-28T03:00:01')
  assert.is(file, null)
  assert.equal(
    tables.map(({ table, asked, lost, takenAlong, keys }: Record<string, unknown>) => [
      table,
      asked,
      lost,
      takenAlong,
      keys,
    ]),
    [
      ['public.libraries_library', true, 2, 0, [['3'], ['11']]],
      ['public.libraries_review', false, 0, 4, [['2'], ['10'], ['22'], ['30']]],
      ['public.libraries_library_tags', false, 0, 2, [['3'], ['11']]],
    ],
  )
  assert.is((await rescue('libraries_library', { flags: [] })).exitCode, 2)
  assert.is(await sql(COUNTS), before)
  const none = await rescue('users_user,tags_tag', { flags: [] })
  assert.is(none.exitCode, 0)
  assert.is(none.stdout, 'Nothing comes back.\n', 'nothing is asked when nothing was lost')
  await conditions(rescue)
})

/** A condition that no row meets is told apart from one whose rows production has. */
async function conditions(rescue: Accident['rescue']): Promise<void> {
  const dry = async (where: string): Promise<string> =>
    (await rescue('libraries_library', { where, flags: ['dry-run'] })).stdout
  assert.is(
    await dry("slug = 'corner-3x'"),
    'Nothing is changed. No row of public.libraries_library in book-corners-2026-02-28T03:00:01 meets this condition.\n',
  )
  const all = await dry('id IN (4, 5)')
  assert.match(all, /2 rows of public\.libraries_library in \S+ meet this condition, and production has them all:\n/)
  assert.not.match(all, /lacks|To bring them back/)
  assert.match(await dry('id = 4'), '1 row of public.libraries_library')
  const lost = await dry("slug = 'corner-3'")
  assert.match(lost, /that production lacks:\n/)
  assert.match(
    lost,
    "  restore book-corners-2026-02-28T03:00:01 --rows libraries_library --where 'slug = '\\''corner-3'\\'''\n",
  )
}

test('--where narrows what comes back, and what is counted as different', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} UPDATE libraries_library SET city = 'Porto; DROP' WHERE id IN (1, 2, 9);`,
    `DELETE FROM libraries_library WHERE id <= 8; UPDATE libraries_library SET slug = slug || 'x';`,
  )
  const where = `"city" = E'Porto\\x3b DROP' AND libraries_library.id IN (SELECT library_id FROM libraries_review WHERE body ~ '^review' OR body = $x$;$x$)`
  const { exitCode, stderr } = await rescue('libraries_library', { where })
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /libraries_library +2 +2 +1$/m)
  assert.is(await sql('SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM libraries_library WHERE id < 9;'), '1,2')
})

test('--where sees every row, also those that a policy keeps from other roles', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} ALTER TABLE libraries_library ENABLE ROW LEVEL SECURITY;`,
    'DELETE FROM libraries_library WHERE id = 3;',
  )
  const { exitCode, stderr } = await rescue('libraries_library', { where: 'id = 3' })
  assert.is(exitCode, 0, stderr)
  assert.is(await sql(COUNTS), '20|40|20|5')
})

test('--where can do nothing but compare', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} CREATE TABLE secret AS SELECT 1 AS x;
     CREATE FUNCTION harm() RETURNS bool LANGUAGE plpgsql AS 'BEGIN DELETE FROM tags_tag; RETURN true; END';`,
    'DELETE FROM libraries_library WHERE id = 3;',
  )
  const before = await sql(COUNTS)
  const refused: [where: string, says: RegExp, status: number][] = [
    ['true) OR (true', /a \) closes what was not opened/, 2],
    ['true; DROP TABLE libraries_library', /semicolon/, 2],
    ['true -- ', /comment/, 2],
    ['true /* ', /comment/, 2],
    ["city = 'Lyon", /a quote stays open/, 2],
    ['(true', /a \) is missing/, 2],
    ['true \\! touch /tmp/x', /backslash/, 2],
    [' ', /empty|needs a value/, 2],
    ['nocity = 1', /column "nocity" does not exist/, 1],
    ['id', /must be type boolean/, 1],
    ['true UNION SELECT 1', /syntax error/, 1],
    ["pg_read_file('/etc/passwd') IS NULL", /permission denied/, 1],
    ["lo_export(1, '/tmp/x') = 1", /permission denied/, 1],
    ['harm()', /read-only transaction|non-volatile|permission denied/, 1],
    ["set_config('role', 'postgres', false) = ''", /security-definer|cannot set parameter/, 1],
    [
      "set_config('session_authorization', 'postgres', false) = ''",
      /security-definer|cannot set parameter|permission denied/,
      1,
    ],
    ["set_config('transaction_read_only', 'off', false) = ''", /must be set before any query/, 1],
    [
      "query_to_xml('DELETE FROM tags_tag', true, true, '') IS NULL",
      /read-only|non-volatile|not allowed|permission/,
      1,
    ],
    ['pg_terminate_backend(pg_backend_pid() + 1) AND pg_reload_conf()', /permission denied/, 1],
  ]
  for (const [where, says, status] of refused) {
    const { exitCode, stderr } = await rescue('libraries_library', { where })
    assert.match(stderr, says, `${where}: ${stderr}`)
    assert.is(exitCode, status, where)
  }
  assert.is(await sql(COUNTS), before)
  assert.is(await sql('SELECT count(*) FROM tags_tag;', 'restoring'), '2')
})

test('a row that references what production lacks stops it, and says what to add', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    CORNERS,
    'DELETE FROM libraries_library WHERE id <= 8; DELETE FROM libraries_library WHERE owner_id = 3; DELETE FROM users_user WHERE id = 3;',
  )
  const before = await sql(COUNTS)
  const { exitCode, stderr, hint } = await rescue('libraries_library', { where: 'id <= 8' })
  assert.is(exitCode, 1)
  assert.match(stderr, /lean on rows that production lacks/)
  assert.match(stderr, /2 rows of public\.libraries_library \(2, 7\) reference 1 row of public\.users_user: 3$/m)
  assert.match(stderr, /rows of public\.libraries_review .* reference 1 row of public\.users_user: 3$/m)
  assert.match(hint, /--rows public\.libraries_library,public\.users_user/)
  assert.match(hint, /--where/)
  assert.is(await sql(COUNTS), before)
  const added = await rescue('public.libraries_library,public.users_user')
  assert.is(added.exitCode, 0, added.stderr)
  assert.is(await sql(COUNTS), '20|40|20|5')
})

test('a user that comes back brings what referenced it, over three levels', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    CORNERS,
    'DELETE FROM libraries_library WHERE owner_id = 3; DELETE FROM libraries_library WHERE id = 20; DELETE FROM users_user WHERE id = 3;',
  )
  const { exitCode, stderr } = await rescue('users_user')
  assert.is(exitCode, 0, stderr)
  assert.is(await sql(COUNTS), '19|38|19|5')
  assert.match(
    stderr,
    /8 rows of public\.libraries_review referenced such rows in the archive and don't any more \(ON DELETE SET NULL\): /,
  )
  assert.is(await sql('SELECT count(*) FROM libraries_library WHERE id = 20;'), '0', 'it did not lean on the user')
})

test('a unique value that is taken keeps the row away, and what references it; the rest comes back, exit 1', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} CREATE UNIQUE INDEX ON libraries_library (lower(slug)) WHERE city = 'Lyon';
     UPDATE libraries_library SET near_id = 2 WHERE id = 3; UPDATE libraries_library SET near_id = 3 WHERE id = 4;`,
    `DELETE FROM libraries_library WHERE id <= 6;
     INSERT INTO libraries_library (slug, owner_id) VALUES ('CORNER-6', 1);
     INSERT INTO libraries_library (slug, owner_id, city) VALUES ('corner-2', 1, 'Graz');`,
  )
  const dry = await rescue('libraries_library', { flags: ['dry-run'] })
  assert.is(dry.exitCode, 0)
  assert.match(dry.stdout, /libraries_library +6 +4 +2 /)
  const { exitCode, stdout, stderr } = await rescue('libraries_library')
  assert.is(exitCode, 1)
  assert.match(stderr, /public\.libraries_library 2: its slug is taken \(libraries_library_slug_key\)/)
  assert.match(stderr, /public\.libraries_library 6: its lower\(slug\) is taken \(libraries_library_lower_idx\)/)
  assert.match(stderr, /public\.libraries_library 3: it references a row of public\.libraries_library that stays away/)
  assert.match(stderr, /public\.libraries_library 4: it references a row/)
  assert.match(stderr, /public\.libraries_review \d+: it references a row of public\.libraries_library that stays away/)
  assert.is(await sql('SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM libraries_library WHERE id < 7;'), '1,5')
  assert.match(stdout, /2 rows of public\.libraries_library\n/)
  const again = await rescue('libraries_library')
  assert.is(again.exitCode, 1)
  assert.match(again.stdout, /^Nothing comes back\./)
})

test('keys of several columns, quoted names, other schemas, many-to-many and circles of references', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE SCHEMA "Other App";
     CREATE TABLE "Other App"."Shelf, ""A""" ("Room" int, "no" text COLLATE "C", "select" text, PRIMARY KEY ("Room", "no"));
     CREATE TABLE book (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "Room" int, "no" text, best_page int,
       FOREIGN KEY ("Room", "no") REFERENCES "Other App"."Shelf, ""A""" ON DELETE CASCADE);
     CREATE TABLE page (id int PRIMARY KEY, book_id uuid NOT NULL REFERENCES book ON DELETE CASCADE, next_id int REFERENCES page);
     ALTER TABLE book ADD FOREIGN KEY (best_page) REFERENCES page ON DELETE SET NULL;
     INSERT INTO "Other App"."Shelf, ""A""" SELECT n % 3, n::text, 'x' FROM generate_series(1, 9) n;
     INSERT INTO book ("Room", "no") SELECT "Room", "no" FROM "Other App"."Shelf, ""A""";
     INSERT INTO page SELECT row_number() OVER (), id FROM book, generate_series(1, 3);
     UPDATE page SET next_id = 1 + id % 27; UPDATE book SET best_page = (SELECT min(p.id) FROM page p WHERE p.book_id = book.id);`,
    `UPDATE page SET next_id = NULL; UPDATE book SET best_page = NULL; DELETE FROM "Other App"."Shelf, ""A""" WHERE "Room" = 1;`,
  )
  const { exitCode, stderr } = await rescue('"Other App"."Shelf, ""A"""')
  assert.is(exitCode, 0, stderr)
  assert.is(
    await sql(`SELECT (SELECT count(*) FROM "Other App"."Shelf, ""A"""), (SELECT count(*) FROM book), (SELECT count(*) FROM page),
      (SELECT count(*) FROM page WHERE next_id IS NOT NULL), (SELECT count(*) FROM book WHERE best_page IS NOT NULL);`),
    '9|9|27|9|3',
  )
})

test('a chain of rows that reference each other comes back as a whole', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE comment (id int PRIMARY KEY, parent_id int REFERENCES comment ON DELETE CASCADE);
     INSERT INTO comment SELECT n, nullif(n - 1, 0) FROM generate_series(1, 300) n;`,
    'DELETE FROM comment WHERE id = 2;',
  )
  const { exitCode, stderr } = await rescue('comment', { where: 'id = 2' })
  assert.is(exitCode, 0, stderr)
  assert.is(await sql('SELECT count(*), count(parent_id) FROM comment;'), '300|299')
})

test('columns of one side only are named; a new one that wants a value stops it', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} ALTER TABLE libraries_library ADD phone text, ADD fax text DEFAULT '0';`,
    `DELETE FROM libraries_library WHERE id = 3;
     ALTER TABLE libraries_library DROP phone, DROP fax, ALTER id TYPE bigint;
     ALTER TABLE libraries_library ADD rating int NOT NULL DEFAULT 7, ADD twice bigint GENERATED ALWAYS AS (id * 2) STORED; ALTER TABLE libraries_library_tags RENAME TO tags_of_libraries;`,
  )
  const { exitCode, stderr } = await rescue('libraries_library')
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /public\.libraries_library has no phone, fax any more/)
  assert.match(stderr, /public\.libraries_library has rating only since the archive/)
  assert.match(
    stderr,
    /1 row of public\.libraries_library_tags referenced such rows and can't come back: production has no such table any more/,
  )
  assert.is(await sql('SELECT rating, twice FROM libraries_library WHERE id = 3;'), '7|6')

  await sql(
    'DELETE FROM libraries_library WHERE id = 3; ALTER TABLE libraries_library ADD motto text NOT NULL DEFAULT 1; ALTER TABLE libraries_library ALTER motto DROP DEFAULT;',
  )
  const wanting = await rescue('libraries_library')
  assert.is(wanting.exitCode, 1)
  assert.match(
    wanting.stderr,
    /public\.libraries_library can't be brought back: its column motto is newer than the archive/,
  )
})

test('geometries, jsonb, arrays, bytea, enums, domains, identities and generated columns come back as they were', async () => {
  // Not every server that the tests run on has it.
  const postgis = await sandbox.sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis';")
  const [extension, type, value] =
    postgis === '1'
      ? ['CREATE EXTENSION postgis;', 'geometry(Point, 4326)', 'ST_SetSRID(ST_MakePoint(n / 7.0, 45), 4326)']
      : ['', 'text', 'n::text']
  const { sql, rescue } = await accident(
    sandbox,
    `${extension} CREATE EXTENSION citext; CREATE EXTENSION btree_gist;
     CREATE TYPE mood AS ENUM ('ok', 'it''s, bad'); CREATE DOMAIN slug AS text CHECK (value ~ '^[a-z0-9-]+$');
     CREATE TYPE pair AS (a int, b text);
     CREATE TABLE place (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, slug slug NOT NULL UNIQUE, at ${type}, mood mood,
       moods mood[], tags text[], raw bytea, data jsonb, half float8, price numeric(20, 10), length int GENERATED ALWAYS AS (char_length(slug)) STORED,
       during tstzrange, every interval, mail citext UNIQUE, pair pair, doc xml, flags bit(5), host inet, words tsvector, EXCLUDE USING gist (price WITH =, during WITH &&));
     INSERT INTO place (slug, at, mood, moods, tags, raw, data, half, price, during, every, mail, pair, doc, flags, host, words)
       SELECT 'place-' || n, ${value}, 'it''s, bad', '{ok,"it''s, bad"}', ARRAY['a,b', E'c\\\\d\\n\\t', NULL, '"'],
         decode(md5(n::text) || '00ff', 'hex'), jsonb_build_object('n', n, 't', E'\\u2028 \\\\ "x"'), n / 3.0::float8, n / 3.0,
         tstzrange(timestamptz '2024-01-01' + n * interval '1 day', timestamptz '2024-01-01' + n * interval '2 day'), make_interval(months => n, secs => -n),
         'Mail' || n || '@x', ('(' || n || ',"a,b")')::pair, '<a>&amp;</a>', n::bit(5), '10.0.0.1', to_tsvector('one two') FROM generate_series(1, 30) n;
     ALTER DATABASE :DBNAME SET datestyle = 'German'; ALTER DATABASE :DBNAME SET timezone = 'Asia/Tokyo';
     CREATE TABLE was AS SELECT md5(p::text) AS sum, id FROM place p;`,
    `DELETE FROM place WHERE id % 3 = 0; INSERT INTO place (slug) OVERRIDING SYSTEM VALUE VALUES ('new');
     ALTER TABLE place DROP COLUMN flags, ADD COLUMN flags bit(5); UPDATE place SET flags = id::bit(5) WHERE id <= 30;
     INSERT INTO place (slug, mail) VALUES ('other', 'MAIL3@X');`,
  )
  const { exitCode, stderr } = await rescue('place')
  assert.is(exitCode, 1, stderr)
  assert.match(stderr, /public\.place 3: its mail is taken \(place_mail_key\)/)
  assert.match(stderr, /place +10 +1 +9 +0$/m, 'rows that are the same are not different')
  const columns =
    'id, slug, at, mood, moods, tags, raw, data, half, price, length, during, every, mail, pair, doc::text, flags, host, words'
  const text = (side?: 'restoring'): Promise<string> =>
    sql(
      `SET datestyle = 'ISO'; SET timezone = 'UTC'; SELECT ${columns} FROM place WHERE id <= 30 AND id <> 3 ORDER BY id;`,
      side,
    )
  assert.is(await text(), await text('restoring'))
  assert.is(await sql("INSERT INTO place (slug) VALUES ('later') RETURNING id;"), '33')
})

test('triggers fire, sequences are not behind, deferred constraints hold', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE a (id serial PRIMARY KEY, b_id int NOT NULL, no bigint NOT NULL DEFAULT 0);
     CREATE TABLE b (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a_id int NOT NULL REFERENCES a DEFERRABLE, place int, UNIQUE (place) DEFERRABLE);
     ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b DEFERRABLE INITIALLY DEFERRED;
     CREATE SEQUENCE numbers; ALTER TABLE a ALTER no SET DEFAULT nextval('numbers');
     CREATE TABLE journal (id serial, what text);
     BEGIN; INSERT INTO a (b_id) SELECT n FROM generate_series(1, 9) n; INSERT INTO b (a_id, place) SELECT n, n FROM generate_series(1, 9) n; COMMIT;
     CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO journal (what) VALUES (TG_TABLE_NAME || NEW.id); RETURN NULL; END';
     CREATE TRIGGER note AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION note();`,
    `BEGIN; SET CONSTRAINTS ALL DEFERRED; TRUNCATE a, b RESTART IDENTITY; ALTER SEQUENCE numbers RESTART; COMMIT;
     ALTER DATABASE :DBNAME SET default_transaction_read_only = on; ALTER DATABASE :DBNAME SET statement_timeout = '10ms';`,
  )
  const { exitCode, stderr } = await rescue('a')
  assert.is(exitCode, 0, stderr)
  await sql('SET default_transaction_read_only = off; SET statement_timeout = 0; ALTER DATABASE :DBNAME RESET ALL;')
  assert.is(await sql('SELECT count(*) FROM journal;'), '9')
  assert.is(
    await sql(`SELECT nextval('a_id_seq'), nextval('b_id_seq'), nextval('numbers'), (SELECT count(*) FROM b);`),
    '10|10|10|9',
  )
})

test('a trigger that refuses a row ends it with nothing done, in the words of the trigger', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not on Sundays''; END';
     CREATE TRIGGER refuse BEFORE INSERT ON libraries_review FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION refuse();`,
    'DELETE FROM libraries_library WHERE id = 3;',
  )
  const before = await sql(COUNTS)
  const { exitCode, stderr, hint } = await rescue('libraries_library')
  assert.is(exitCode, 1)
  assert.match(stderr, /PostgreSQL refused the rows: not on Sundays/)
  assert.match(hint, /restore --db-only book-corners-2026/)
  assert.is(await sql(COUNTS), before)
})

test('partitioned tables come back; a partition, a view and a table without a key are refused in clear words', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE visit (id int, day date, parent_id int, parent_day date, PRIMARY KEY (id, day), FOREIGN KEY (parent_id, parent_day) REFERENCES visit)
       PARTITION BY RANGE (day);
     CREATE TABLE visit_2024 PARTITION OF visit FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
     CREATE TABLE visit_2025 PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
     CREATE TABLE only_2025 (id int PRIMARY KEY, visit_id int, visit_day date, FOREIGN KEY (visit_id, visit_day) REFERENCES visit_2025 ON DELETE CASCADE);
     CREATE VIEW visits AS SELECT * FROM visit; CREATE TABLE log (what text); CREATE MATERIALIZED VIEW seen AS SELECT 1;
     INSERT INTO visit SELECT n, date '2024-06-01' + n * 30 FROM generate_series(1, 18) n;
     UPDATE visit SET parent_id = 1, parent_day = '2024-07-01' WHERE id > 10;
     INSERT INTO only_2025 SELECT id, id, day FROM visit_2025;`,
    `DELETE FROM visit WHERE id > 5;`,
  )
  const { exitCode, stderr } = await rescue('visit')
  assert.is(exitCode, 0, stderr)
  assert.is(
    await sql(
      'SELECT (SELECT count(*) FROM visit), (SELECT count(*) FROM only_2025), (SELECT count(*) FROM visit_2024);',
    ),
    '18|11|7',
  )
  for (const [table, says] of [
    ['visit_2025', /it is a partition\. Name the partitioned table: --rows public\.visit/],
    ['visits', /it is a view/],
    ['seen', /it is a materialized view/],
    ['log', /it has no primary key/],
  ] as const) {
    const refused = await rescue(table)
    assert.is(refused.exitCode, 1)
    assert.match(refused.stderr, says)
  }
})

test('a table is found by its name however it is written; an unknown one is told its nearest', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} CREATE SCHEMA old; CREATE TABLE old.tags_tag (id int PRIMARY KEY); CREATE TABLE "Big" (id int PRIMARY KEY); INSERT INTO "Big" VALUES (1);`,
    'DELETE FROM "Big";',
  )
  assert.is((await rescue('Big')).exitCode, 0)
  assert.is(await sql('SELECT count(*) FROM "Big";'), '1')
  assert.is((await rescue('LIBRARIES_library, public.Libraries_Review', { flags: ['dry-run'] })).exitCode, 0)
  const unknown = await rescue('libraries_libary')
  assert.match(unknown.stderr, /Production has no table libraries_libary\./)
  assert.match(unknown.hint, /^Did you mean libraries_library/)
  const twice = await rescue('tags_tag')
  assert.match(twice.hint, /Name one: old\.tags_tag, public\.tags_tag/)
  for (const table of [
    'pg_catalog.pg_class',
    'pg_class',
    'information_schema.tables',
    'django_migrations',
    'public.django_migrations',
    '"django_migrations"',
    'a.b.c',
    'a,,b',
    ',',
  ]) {
    const { exitCode } = await rescue(table)
    assert.is(exitCode, 2, table)
  }
})

test('a row that was inserted meanwhile under a lost key stays, and what referenced the lost one stays away', async () => {
  const { sql, rescue } = await accident(sandbox, CORNERS, 'DELETE FROM libraries_library WHERE id <= 3;')
  let others: Promise<string> | undefined
  const { exitCode, stderr } = await rescue('libraries_library', {
    // Before the comparison it is begun, and it ends when the rows are about to be inserted.
    meanwhile: async () => {
      others = sql(`BEGIN; INSERT INTO libraries_library (id, slug, owner_id) VALUES (2, 'mine', 1); \\echo begun
        SELECT pg_sleep(2); COMMIT;`)
      while (
        (await sql(
          "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' AND datname = current_database();",
        )) !== '2'
      );
    },
  })
  await others
  assert.is(exitCode, 1, stderr)
  assert.match(stderr, /public\.libraries_library 2: a row with its key has been inserted since/)
  assert.is(await sql('SELECT slug FROM libraries_library WHERE id = 2;'), 'mine')
  assert.is(await sql(COUNTS), '20|38|19|5')
})

test('the way back finds the same rows when the database has another DateStyle by then', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE visit (day date PRIMARY KEY, fee money);
     INSERT INTO visit VALUES ('2026-04-03', 1); ALTER DATABASE :DBNAME SET datestyle = 'SQL, DMY';`,
    `DELETE FROM visit; INSERT INTO visit VALUES ('2026-03-04', 2);`,
  )
  const { exitCode, stdout, stderr } = await rescue('visit', { flags: ['yes', 'json'] })
  assert.is(exitCode, 0, stderr)
  await sql('ALTER DATABASE :DBNAME RESET datestyle;')
  const script = await readFile(JSON.parse(stdout).file, 'utf8')
  const said = await sql(`SET datestyle = 'SQL, MDY';\n${script}`)
  assert.match(said, '1 row of public.visit taken out')
  assert.is(await sql("SELECT to_char(day, 'YYYY-MM-DD') FROM visit;"), '2026-03-04')
})

test('a file of the way back says at its end what it took out; from then on it has no row in production', async () => {
  const { sql, rescue, production } = await accident(
    sandbox,
    `CREATE TABLE "Odd ""one" ("the ""key" text, at timestamptz, n int, PRIMARY KEY ("the ""key", at));
     CREATE TABLE "Odd heir" () INHERITS ("Odd ""one");
     INSERT INTO "Odd ""one" VALUES (E'it''s\\\\ \t"\n', '2026-02-28 03:00+02', 1), ('', '2026-02-28', 2), ('stays', '2026-02-28', 3);
     CREATE TABLE plain (id serial PRIMARY KEY); INSERT INTO plain SELECT generate_series(1, 3);
     CREATE TABLE dropped (id serial PRIMARY KEY); INSERT INTO dropped SELECT generate_series(1, 3);`,
    `DELETE FROM "Odd ""one" WHERE n < 3; DELETE FROM plain WHERE id = 2; DELETE FROM dropped;`,
  )
  const restore = restoreIn(sandbox, { flags: [], log: createLog(process.stderr) })
  const states = async (): Promise<string[]> =>
    (await findWayBacks(restore.context.shell.env, restore.dokku, production)).map(({ state }) => state)
  const back = async (table: string): Promise<string> =>
    JSON.parse((await rescue(table, { flags: ['yes', 'json'] })).stdout).file
  const first = await back('"Odd ""one",plain')
  assert.equal(await states(), ['usable'])
  assert.is(
    await sql(await readFile(first, 'utf8')),
    '2 rows of public.Odd "one, 1 row of public.plain taken out; production is otherwise unchanged.',
  )
  assert.equal(await states(), ['gone'])
  // An heir's row with the same key is not one of these.
  await sql(`INSERT INTO "Odd heir" VALUES ('', '2026-02-28', 2);`)
  assert.equal(await states(), ['gone'])
  await sql(`INSERT INTO "Odd ""one" VALUES (E'it''s\\\\ \t"\n', '2026-02-28 03:00+02', 1);`)
  assert.equal(await states(), ['usable'])
  await sql(`DELETE FROM "Odd ""one" WHERE n = 1;`)
  assert.is(await sql(await readFile(first, 'utf8')), 'Nothing was there to take out: production is unchanged.')
  // A file that can't be asked for, since its table is no more, keeps nobody from hearing of the others.
  await back('dropped')
  await sql('DROP TABLE dropped;')
  assert.equal((await states()).sort(), ['gone', 'usable'])
})

/** Runs a file of the way back in production. @returns what PostgreSQL refused; empty when the rows are out */
async function refusalOf(sql: Accident['sql'], file: string): Promise<string> {
  const script = await readFile(file, 'utf8')
  return sql(script).then(
    () => '',
    (error: Error) => error.message,
  )
}

const REFERENCES = `${COUNTS} SELECT (SELECT count(*) FROM emptied WHERE library_id IS NOT NULL), (SELECT string_agg(library_id::text, ',') FROM defaulted);`

test('the way back takes nothing out while a row of since references one of its rows by a foreign key of any kind', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} ALTER TABLE libraries_library ADD UNIQUE (id, slug);
     CREATE TABLE libraries_reply (id int PRIMARY KEY, review_id int REFERENCES libraries_review ON DELETE CASCADE);
     CREATE TABLE emptied (id int PRIMARY KEY, library_id int REFERENCES libraries_library ON DELETE SET NULL);
     CREATE TABLE defaulted (id int PRIMARY KEY, library_id int DEFAULT 20 REFERENCES libraries_library ON DELETE SET DEFAULT);
     CREATE TABLE restricted (id int PRIMARY KEY, library_id int REFERENCES libraries_library ON DELETE RESTRICT);
     CREATE TABLE "No ""Action" ("the id" int PRIMARY KEY, "Library" int REFERENCES libraries_library DEFERRABLE INITIALLY DEFERRED);
     CREATE TABLE by_slug (id int PRIMARY KEY, slug text REFERENCES libraries_library (slug) ON DELETE CASCADE);
     CREATE TABLE by_both (a int, b text, slug text, library_id int, PRIMARY KEY (a, b),
       FOREIGN KEY (slug, library_id) REFERENCES libraries_library (slug, id) ON DELETE CASCADE);
     CREATE TABLE keyless (library_id int REFERENCES libraries_library ON DELETE CASCADE, body text);
     CREATE TABLE parted (day date, library_id int REFERENCES libraries_library ON DELETE CASCADE, PRIMARY KEY (day, library_id)) PARTITION BY RANGE (day);
     CREATE TABLE parted_2026 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
     INSERT INTO emptied VALUES (1, 20), (2, NULL);`,
    'DELETE FROM libraries_library WHERE id <= 3;',
  )
  const before = await sql(COUNTS)
  const { file } = JSON.parse((await rescue('libraries_library', { flags: ['yes', 'json'] })).stdout)
  // What did not exist when the file was written counts as well.
  await sql('CREATE TABLE newer (id int PRIMARY KEY, library_id int REFERENCES libraries_library ON DELETE CASCADE);')
  const review = (await sql('SELECT min(id) FROM libraries_review WHERE library_id = 2;')).trim()
  const used: [insert: string, says: string, undo: string][] = [
    [
      'libraries_review (id, library_id) VALUES (901, 2)',
      'public.libraries_review (id): 901: 1 row',
      'libraries_review WHERE id = 901',
    ],
    [`libraries_reply VALUES (1, ${review})`, 'public.libraries_reply (id): 1: 1 row', 'libraries_reply'],
    ['emptied VALUES (7, 2), (8, 3)', 'public.emptied (id): 7, 8: 2 rows', 'emptied WHERE id > 2'],
    ['defaulted VALUES (7, 2)', 'public.defaulted (id): 7: 1 row', 'defaulted'],
    ['restricted VALUES (7, 2)', 'public.restricted (id): 7: 1 row', 'restricted'],
    [`"No ""Action" VALUES (7, 2)`, 'public.No "Action (the id): 7: 1 row', '"No ""Action"'],
    ["by_slug VALUES (7, 'corner-2')", 'public.by_slug (id): 7: 1 row', 'by_slug'],
    ["by_both VALUES (7, E'x\\n', 'corner-2', 2)", 'public.by_both (a, b): 7, x?: 1 row', 'by_both'],
    [
      "keyless SELECT 2, 'x' FROM generate_series(1, 12)",
      'public.keyless (library_id): 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, …: 12 rows',
      'keyless',
    ],
    ["parted VALUES ('2026-02-28', 2)", 'public.parted (day, library_id): 2026-02-28, 2: 1 row', 'parted'],
    [
      "libraries_library (id, slug, owner_id, near_id) VALUES (77, 'x', 1, 2)",
      'public.libraries_library (id): 77: 1 row',
      'libraries_library WHERE id = 77',
    ],
    ['newer VALUES (7, 2)', 'public.newer (id): 7: 1 row', 'newer'],
  ]
  for (const [insert, says, undo] of used) {
    await sql(`INSERT INTO ${insert};`)
    const counted = await sql(REFERENCES)
    const refused = await refusalOf(sql, file)
    for (const words of ['Nothing was taken out: rows that are not in this file', says]) assert.match(refused, words)
    assert.is(await sql(REFERENCES), counted, insert)
    await sql(`DELETE FROM ${undo};`)
  }
  assert.is(await refusalOf(sql, file), '')
  assert.is(await sql(COUNTS), before)
})

test('the way back of a partitioned table sees what references one of its partitions alone', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE visit (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
     CREATE TABLE visit_2025 PARTITION OF visit FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
     CREATE TABLE note (id int PRIMARY KEY, visit_id int, day date, FOREIGN KEY (visit_id, day) REFERENCES visit ON DELETE CASCADE);
     CREATE TABLE part_note (id int PRIMARY KEY, visit_id int, day date, FOREIGN KEY (visit_id, day) REFERENCES visit_2025 ON DELETE CASCADE);
     INSERT INTO visit SELECT n, '2025-05-05' FROM generate_series(1, 5) n;
     INSERT INTO note SELECT n, n, '2025-05-05' FROM generate_series(1, 3) n;`,
    'DELETE FROM visit WHERE id <= 2;',
  )
  const { exitCode, stdout, stderr } = await rescue('visit', { flags: ['yes', 'json'] })
  assert.is(exitCode, 0, stderr)
  const { file } = JSON.parse(stdout)
  for (const table of ['note', 'part_note']) {
    await sql(`INSERT INTO ${table} VALUES (50, 1, '2025-05-05');`)
    assert.match(await refusalOf(sql, file), new RegExp(`public\\.${table} \\(id\\): 50: 1 row of`))
    await sql(`DELETE FROM ${table} WHERE id = 50;`)
  }
  assert.is(await refusalOf(sql, file), '')
  assert.is(await sql('SELECT (SELECT count(*) FROM visit), (SELECT count(*) FROM note);'), '3|1')
})

test('the way back is in a file of this user alone: it waits for a row that is just being inserted, and then takes nothing out, nor out of a database that was swapped in since; else it takes out what was brought back', async () => {
  const { sql, rescue, production } = await accident(sandbox, CORNERS, 'DELETE FROM libraries_library WHERE id <= 3;')
  const before = await sql(COUNTS)
  const { stdout } = await rescue('libraries_library', { flags: ['yes', 'json'] })
  const { file, tables } = JSON.parse(stdout)
  assert.is((await stat(file)).mode & 0o777, 0o600)
  assert.is(tables[0].broughtBack, 3)
  const script = await readFile(file, 'utf8')
  assert.match(script, /sudo dokku postgres:connect book-corners-db < /)
  const client = spawn(join(sandbox.dir, 'bin/dokku'), ['postgres:connect', sandbox.service])
  client.stdin.write(
    `\\c ${production.database}\nBEGIN;\nINSERT INTO libraries_review (id, library_id) VALUES (901, 2) RETURNING id;\n\\echo inserted\n`,
  )
  for await (const piece of client.stdout) if (String(piece).includes('inserted')) break
  const refused = refusalOf(sql, file)
  await until(
    async () =>
      (await sandbox.sql(
        `SELECT count(*) FROM pg_stat_activity WHERE datname = '${production.database}' AND wait_event_type = 'Lock';`,
      )) === '1',
  )
  client.stdin.end('COMMIT;\n')
  assert.match(await refused, 'public.libraries_review (id): 901: 1 row')
  assert.is(
    await sql('SELECT count(*) FROM libraries_review WHERE id = 901; DELETE FROM libraries_review WHERE id = 901;'),
    '1',
  )
  await swappedSince(sql, file, production.database)
  assert.match(await sql(script), '3 rows of public.libraries_library, ')
  assert.is(await sql(COUNTS), before)
  assert.is(production.database.startsWith('case_'), true)
})

/** Another database is production for a while. */
async function swappedSince(sql: Accident['sql'], file: string, database: string): Promise<void> {
  await sandbox.sql(
    `ALTER DATABASE ${database} RENAME TO ${database}_kept; CREATE DATABASE ${database} TEMPLATE ${database}_restoring;`,
  )
  const before = await sql(COUNTS)
  assert.match(await refusalOf(sql, file), 'another database, which is not production now. Nothing was')
  assert.is(await sql(COUNTS), before)
  await sandbox.sql(`DROP DATABASE ${database}; ALTER DATABASE ${database}_kept RENAME TO ${database};`)
}

test('rows that a trigger leaves out without a word are named at the end, exit 1', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE note (id int PRIMARY KEY, body text); INSERT INTO note SELECT n, 'x' FROM generate_series(1, 9) n;
     CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN NEW.id > 6 THEN NULL ELSE NEW END; END';
     CREATE TRIGGER quiet BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION swallow();`,
    'DELETE FROM note WHERE id BETWEEN 5 AND 8;',
  )
  const { exitCode, stdout, stderr } = await rescue('note')
  assert.is(exitCode, 1)
  assert.match(stdout, /2 rows of public\.note\n/)
  assert.match(
    stderr,
    /Not brought back:\n {2}public\.note 7: PostgreSQL left it out .*: see the trigger quiet\n {2}public\.note 8: /,
  )
  assert.is(await sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM note;"), '1,2,3,4,5,6,9')
  const none = await rescue('note')
  assert.is(none.exitCode, 1)
  assert.match(none.stderr, /public\.note 8: PostgreSQL left it out/)
})

test('rows whose reference a deletion emptied are named without being asked for, and how to set one', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 4);
     CREATE TABLE setn (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE SET NULL);
     INSERT INTO setn VALUES (1, 1), (2, 2), (3, 3), (4, 2), (5, 2);`,
    'DELETE FROM setn WHERE id = 5; DELETE FROM parent WHERE id = 2;',
  )
  const { exitCode, stderr } = await rescue('parent')
  assert.is(exitCode, 0, stderr)
  assert.match(
    stderr,
    /2 rows of public\.setn referenced such rows in the archive and don't any more \(ON DELETE SET NULL\): 2, 4\n/,
  )
  const [statement = ''] = /UPDATE .*;/.exec(stderr) ?? []
  await sql(statement)
  assert.is(
    await sql('SELECT id FROM setn WHERE parent_id = 2 ORDER BY id;'),
    '2\n5',
    'a row of the table that was lost comes along',
  )
})

test('a row that PostgreSQL refuses is told with its table, its column or constraint, and the next command', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `${CORNERS} ALTER TABLE libraries_review ALTER body TYPE varchar(40);`,
    `DELETE FROM libraries_library WHERE id = 3; ALTER TABLE libraries_review ALTER body TYPE varchar(5) USING left(body, 5);`,
  )
  const long = await rescue('libraries_library')
  assert.is(long.exitCode, 1)
  assert.match(long.stderr, /PostgreSQL refused the rows of public\.libraries_review \(column body\): value too long/)
  assert.match(long.hint, /--where/)
  await sql(
    'ALTER TABLE libraries_review ALTER body TYPE text, ALTER user_id SET NOT NULL, ADD CONSTRAINT short CHECK (char_length(body) < 6);',
  )
  const check = await rescue('libraries_library')
  assert.match(check.stderr, /PostgreSQL refused the rows of public\.libraries_review \(constraint short\): new row/)
  assert.match(check.hint, /--where/)
  await sql('UPDATE libraries_review SET user_id = NULL;', 'restoring')
  const empty = await rescue('libraries_library')
  assert.match(empty.stderr, /PostgreSQL refused the rows of public\.libraries_review \(column user_id\): null value/)
})

test('the rows of tables that inherit are not looked at, and that is said', async () => {
  const { sql, rescue } = await accident(
    sandbox,
    `CREATE TABLE place (id int PRIMARY KEY); CREATE TABLE cafe (PRIMARY KEY (id)) INHERITS (place);
     INSERT INTO place VALUES (1); INSERT INTO cafe VALUES (2), (3);`,
    'DELETE FROM place;',
  )
  const { exitCode, stderr } = await rescue('place')
  assert.is(exitCode, 0, stderr)
  assert.match(stderr, /Only public\.place's own rows are looked at.* Name those as well: --rows public\.cafe$/m)
  assert.is((await rescue('place,cafe')).exitCode, 0)
  assert.is(await sql('SELECT count(*) FROM place;'), '3')
})

test.run()
