// A Book Corners of any size, for the demo and the benchmarks.
import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Sandbox } from './sandbox.ts'

// One big table, some smaller ones that reference it, and photos. The text is phrases that repeat and hex digits that don't: pg_dump compresses it about 2.7:1.
// Rows and changes are the same in every run, the photos are random: like JPEG, they neither compress nor repeat.

interface Size {
  /** Of an uncompressed dump, about. */
  databaseBytes: number
  mediaBytes: number
  photos: number
}

/** What a day changes: rows anywhere in the big table, new rows in every table, new photos. */
interface Changes {
  updated: number
  added: number
  photos: number
}

const PHRASES = [
  'A little free library at the corner of the park.',
  'Painted by the children of the school next door.',
  'Two shelves, one of them low enough for small readers.',
  'Mostly novels, some cookery, a row of travel guides.',
  'The door sticks when it rains: lift it, then pull.',
  'Bring a book, take a book, and please close the door.',
  'Looked after by the neighbours since the first summer.',
  'There is a bench in the shade, and a tap for the dog.',
  'Near the tram stop, behind the bicycle stands.',
  'Open day and night, lit by the lamp of the bakery.',
  'Many books in English, a few in Italian and Arabic.',
  'It was an old telephone box; the number still hangs there.',
  'Children’s books are on the lower shelf, to the left.',
  'No encyclopedias or schoolbooks, there is no room.',
  'The roof was mended in spring and keeps dry now.',
  'Ask for the key at the library if it is locked.',
]
const CITIES = ['Bologna', 'Lyon', 'Graz', 'Utrecht', 'Porto', 'Aarhus', 'Leeds', 'Brno']

function sqlArray(texts: readonly string[]): string {
  return `(ARRAY[${texts.map((text) => `'${text}'`).join(',')}])`
}

function pick(texts: readonly string[], row: string, salt: string): string {
  return `${sqlArray(texts)}[1 + (hashint4extended(${row}, ${salt}) & ${texts.length - 1})::int]`
}

/** A text of so many sentences, about 115 bytes each, that is this row's own. */
function prose(row: string, sentences: string): string {
  return `(SELECT string_agg(${pick(PHRASES, row, 'k')} || ' ' || md5(${row} || '-' || k) || md5(${row} || '+' || k), ' ') FROM generate_series(1, ${sentences}) k)`
}

function someId(table: string, salt: number): string {
  return `1 + (hashint4extended(n::int, ${salt}) & 2147483647) % (SELECT max(id) FROM ${table})`
}

const SCHEMA = `
  CREATE TABLE users_user (id serial PRIMARY KEY, username text NOT NULL UNIQUE, email text NOT NULL,
    password text NOT NULL, date_joined timestamptz NOT NULL);
  CREATE TABLE libraries_library (id serial PRIMARY KEY, name text NOT NULL, description text NOT NULL, city text NOT NULL,
    latitude float8 NOT NULL, longitude float8 NOT NULL, created_by_id int NOT NULL REFERENCES users_user, updated_at timestamptz NOT NULL);
  CREATE INDEX ON libraries_library (city);
  CREATE TABLE libraries_photo (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library, image text NOT NULL);
  CREATE TABLE libraries_review (id serial PRIMARY KEY, library_id int NOT NULL REFERENCES libraries_library,
    user_id int NOT NULL REFERENCES users_user, rating int NOT NULL, body text NOT NULL);
  CREATE TABLE django_migrations (id serial PRIMARY KEY, app text NOT NULL, name text NOT NULL);
  INSERT INTO django_migrations (app, name) SELECT 'libraries', to_char(n, 'FM0000') || '_step' FROM generate_series(1, 24) n;`

interface Rows {
  users: number
  libraries: number
  reviews: number
}

function rows(table: string, count: number): string {
  return `generate_series((SELECT coalesce(max(id), 0) + 1 FROM ${table}), (SELECT coalesce(max(id), 0) + ${count} FROM ${table})) n`
}

function insert({ users, libraries, reviews }: Rows): string {
  return `
  INSERT INTO users_user (username, email, password, date_joined)
    SELECT 'reader' || n, 'reader' || n || '@example.org', 'pbkdf2_sha256$' || md5(n || 'salt') || md5(n || 'key'),
      timestamptz '2024-01-01 00:00Z' + n * interval '7 minutes' FROM ${rows('users_user', users)};
  INSERT INTO libraries_library (name, description, city, latitude, longitude, created_by_id, updated_at)
    SELECT 'Book corner ' || n, ${prose('n', '3 + n * 7 % 11')}, ${pick(CITIES, 'n', '1')},
      45 + n % 1000 / 100.0, 5 + n % 1700 / 100.0, ${someId('users_user', 2)},
      timestamptz '2024-01-01 00:00Z' + n * interval '5 minutes' FROM ${rows('libraries_library', libraries)};
  INSERT INTO libraries_review (library_id, user_id, rating, body)
    SELECT ${someId('libraries_library', 3)}, ${someId('users_user', 4)}, 1 + n % 5, ${prose('n', '1 + n % 4')}
      FROM ${rows('libraries_review', reviews)};`
}

/** Rows for so many bytes of an uncompressed dump: three quarters of them in the big table. */
function rowsFor(bytes: number): Rows {
  return {
    users: Math.ceil((bytes * 0.07) / 135),
    libraries: Math.ceil((bytes * 0.76) / 985),
    reviews: Math.ceil((bytes * 0.17) / 325),
  }
}

export function addRows(sandbox: Sandbox, databaseBytes: number): Promise<string> {
  return sandbox.sql(`${insert(rowsFor(databaseBytes))}\nVACUUM ANALYZE;`)
}

async function addPhotos(sandbox: Sandbox, count: number, photoBytes: number): Promise<string[]> {
  const first = Number(await sandbox.sql('SELECT coalesce(max(id), 0) + 1 FROM libraries_photo;'))
  const paths: string[] = []
  for (let i = first; i < first + count; i++) {
    const path = `photos/${String(i % 100).padStart(2, '0')}/corner-${i}.jpg`
    await mkdir(dirname(join(sandbox.mediaDir, path)), { recursive: true })
    // Between half and one and a half times the size asked for.
    await writeFile(join(sandbox.mediaDir, path), randomBytes(Math.ceil(photoBytes * (0.5 + ((i * 37) % 101) / 100))))
    paths.push(path)
  }
  sandbox.ownMedia()
  await sandbox.sql(
    `INSERT INTO libraries_photo (library_id, image)
      SELECT ${someId('libraries_library', 5)}, path FROM unnest(ARRAY[${paths.map((path) => `'${path}'`).join(',')}]::text[])
        WITH ORDINALITY AS new (path, n);`,
  )
  return paths
}

/** Fills an empty sandbox. */
export async function populate(sandbox: Sandbox, { databaseBytes, mediaBytes, photos }: Size): Promise<void> {
  await sandbox.sql(SCHEMA)
  await addRows(sandbox, databaseBytes)
  await addPhotos(sandbox, photos, mediaBytes / photos)
}

/** A day in the life of the site. Returns the new photos' paths. */
export async function aDayPasses(
  sandbox: Sandbox,
  { updated, added, photos }: Changes,
  photoBytes: number,
): Promise<string[]> {
  const [users, libraries] = [Math.round(added * 0.1), Math.round(added * 0.2)]
  await sandbox.sql(`
    UPDATE libraries_library SET description = description || ' Seen again: ' || md5(id::text || updated_at), updated_at = now()
      WHERE id IN (SELECT id FROM libraries_library
        ORDER BY hashint4extended(id, (SELECT max(id) FROM libraries_photo)) LIMIT ${updated});
    ${insert({ users, libraries, reviews: added - users - libraries })}`)
  return addPhotos(sandbox, photos, photoBytes)
}
