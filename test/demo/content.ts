// What is in a database and in a folder of photos, and whether two such contents are the same.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { table } from '../../lib/core/layout.ts'
import type { Sandbox } from '../support/sandbox.ts'

export interface Content {
  /** By table: how many rows, and a checksum over them. */
  tables: Map<string, { rows: number; checksum: string }>
  /** SHA-256 of each photo, by its path in the folder. */
  photos: Map<string, string>
}

export async function contentOf(sandbox: Pick<Sandbox, 'sql'>, service: string, mediaDir: string): Promise<Content> {
  return { tables: await readTables(sandbox, service), photos: readPhotos(mediaDir) }
}

/**
 * @param then one of the two, and what its column is called
 * @param now the other
 * @returns lines for the terminal, and the name of everything that differs
 */
export function compareContents(
  then: Content & { name: string },
  now: Content & { name: string },
): { lines: string[]; differences: string[] } {
  const tables = differing(then.tables, now.tables, (table) => `${table?.rows} ${table?.checksum}`)
  const photos = differing(then.photos, now.photos, String)
  const rows = [...union(then.tables, now.tables)].map((name) => [
    name,
    rowsOf(then, name),
    rowsOf(now, name),
    tables.includes(name) ? 'DIFFERENT' : 'same',
  ])
  const verdict = photos.length === 0 ? 'all SHA-256 checksums are the same' : `${photos.length} DIFFERENT`
  return {
    lines: [
      table([['table', then.name, now.name, 'content'], ...rows], [1, 2]),
      `Photos: ${then.photos.size} ${then.name}, ${now.photos.size} ${now.name}; ${verdict}`,
    ],
    differences: [
      ...tables.map((name) => `table ${name}, ${now.name}`),
      ...photos.map((path) => `photo ${path}, ${now.name}`),
      ...(rows.length === 0 || then.photos.size === 0 ? ['there was nothing to compare'] : []),
    ],
  }
}

async function readTables(sandbox: Pick<Sandbox, 'sql'>, service: string): Promise<Content['tables']> {
  const names = await sandbox.sql(
    `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1;`,
    service,
  )
  // All of them in one session.
  const questions = names
    .split('\n')
    .filter(Boolean)
    .map((name) => `SELECT '${name}', count(*), md5(string_agg(t::text, '' ORDER BY id)) FROM ${name} t;`)
  const answers = questions.length > 0 ? (await sandbox.sql(questions.join('\n'), service)).split('\n') : []
  return new Map(
    answers.map((answer) => {
      const [name = '', rows, checksum = ''] = answer.split('|')
      return [name, { rows: Number(rows), checksum }]
    }),
  )
}

function readPhotos(folder: string): Content['photos'] {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(folder, path)).isFile())
    .sort()
  const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')
  return new Map(paths.map((path) => [path, sha256(join(folder, path))]))
}

function union(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): Set<string> {
  return new Set([...a.keys(), ...b.keys()])
}

function differing<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>, text: (value?: T) => string): string[] {
  return [...union(a, b)].filter((name) => text(a.get(name)) !== text(b.get(name)))
}

function rowsOf({ tables }: Content, name: string): string {
  return tables.get(name)?.rows.toLocaleString('en') ?? 'missing'
}
