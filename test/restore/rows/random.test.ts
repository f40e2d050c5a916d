import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Accident, accident } from '../../support/rescue.ts'
import { type Sandbox, startSandbox } from '../../support/sandbox.ts'

// A dozen related tables, random deletions, then what a day brings; and a model, in a few lines, of what must come back.
// To replay one: ROWS_SEED=123 npm test -- rows/random

const test = suite('rows of random tables')
let sandbox: Sandbox

test.before(async () => {
  sandbox = await startSandbox()
})
test.after(() => sandbox.stop())

const SEEDS = process.env.ROWS_SEED ? [Number(process.env.ROWS_SEED)] : [...Array(4).keys(), Date.now() % 1e9]

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Link {
  /** Columns of the table, `r0` or `r0a` and `r0b`. */
  columns: string[]
  to: number
  onDelete: 'CASCADE' | 'SET NULL'
  isDeferrable: boolean
}

interface Table {
  name: string
  /** `id`, or `a` and `b`. */
  key: string[]
  identity: boolean
  links: Link[]
}

const TABLES = 12
const ROWS = 25

/** Two keys of ten are of two columns; a table references some before it, itself, or one after it. */
function makeTables(random: () => number): Table[] {
  const keys = Array.from({ length: TABLES }, () => (random() < 0.2 ? ['a', 'b'] : ['id']))
  return keys.map((key, i) => ({
    name: `${random() < 0.2 ? '"Table ' : '"t'}${i}"`,
    key,
    identity: key.length === 1 && random() < 0.3,
    links: Array.from({ length: Math.floor(random() * 4) }, (_, n) => {
      const to =
        random() < 0.15 ? i : random() < 0.15 ? Math.floor(random() * TABLES) : Math.floor(random() * Math.max(i, 1))
      const columns = keys[to]?.length === 2 ? [`r${n}a`, `r${n}b`] : [`r${n}`]
      return { columns, to, onDelete: random() < 0.7 ? 'CASCADE' : 'SET NULL', isDeferrable: random() < 0.3 } as const
    }),
  }))
}

function schemaOf(tables: Table[]): string {
  const created = tables.map(({ name, key, identity, links }) => {
    const columns = [
      ...key.map((column) => `${column} int NOT NULL${identity ? ' GENERATED ALWAYS AS IDENTITY' : ''}`),
      ...links.flatMap(({ columns }) => columns.map((column) => `${column} int`)),
      ...['value text', 'u text UNIQUE', 'twice int GENERATED ALWAYS AS (length(value) * 2) STORED'],
    ]
    return `CREATE TABLE ${name} (${columns.join(', ')}, PRIMARY KEY (${key.join(', ')}));`
  })
  const referenced = tables.flatMap(({ name, links }) =>
    links.map(
      ({ columns, to, onDelete, isDeferrable }) =>
        `ALTER TABLE ${name} ADD FOREIGN KEY (${columns.join(', ')}) REFERENCES ${tables[to]?.name} ON DELETE ${onDelete}${isDeferrable ? ' DEFERRABLE INITIALLY DEFERRED' : ''};`,
    ),
  )
  return [...created, ...rowsOf(tables, 1, ROWS, "'u' || n"), ...referenced].join('\n')
}

function keyValues(key: readonly string[]): string[] {
  return key.length === 2 ? ['n % 5', 'n'] : ['n']
}

/** References are filled at random among the first rows of the table they lead to. */
function rowsOf(tables: Table[], first: number, last: number, u: string): string[] {
  return tables.flatMap(({ name, key, links }, i) => {
    const filled = links.map(({ columns, to }, l) => {
      const parent = tables[to]
      const chosen = `1 + (hashint4(n * 31 + ${i * 7 + l}) & 65535) % ${ROWS}`
      const keys = keyValues(parent?.key ?? []).map((value) => value.replaceAll('n', `(${chosen})`))
      return { columns, keys: keys.map((value) => `CASE WHEN (n + ${l}) % 4 > 0 THEN ${value} END`) }
    })
    const columns = [...key, ...filled.flatMap((link) => link.columns), 'value', 'u']
    const values = [...keyValues(key), ...filled.flatMap((link) => link.keys), `'value ' || n`, u]
    return [
      `INSERT INTO ${name} (${columns.join(', ')}) OVERRIDING SYSTEM VALUE SELECT ${values.join(', ')} FROM generate_series(${first}, ${last}) n;`,
    ]
  })
}

/** Deletes here and there, changes what is left, and adds rows; some take the unique values of rows that are gone. */
function dayOf(tables: Table[], random: () => number): string {
  const some = (): Table => tables[Math.floor(random() * TABLES)] as Table
  const one = (): number => 1 + Math.floor(random() * ROWS)
  const statements: string[] = []
  const gone: { table: Table; n: number }[] = []
  for (let i = 0; i < 3; i++) {
    const table = some()
    const numbers = [one(), one()]
    statements.push(`DELETE FROM ${table.name} WHERE ${table.key.at(-1)} IN (${numbers.join(', ')});`)
    gone.push(...numbers.map((n) => ({ table, n })))
  }
  for (const { name, key } of tables)
    statements.push(`UPDATE ${name} SET value = 'changed' WHERE ${key.at(-1)} % 9 = ${one() % 9};`)
  for (let i = 0; i < 6; i++) {
    const taken = random() < 0.3 ? gone[i] : undefined
    const { name, key } = taken?.table ?? some()
    const values = key.length === 2 ? [`${i}`, `${1000 + i}`] : [`${1000 + i}`]
    const u = taken ? `u${taken.n}` : `new ${i}`
    statements.push(
      `INSERT INTO ${name} (${key.join(', ')}, value, u) OVERRIDING SYSTEM VALUE VALUES (${values.join(', ')}, 'new', '${u}') ON CONFLICT DO NOTHING;`,
    )
  }
  return statements.join('\n')
}

type Row = Record<string, unknown>
/** The rows of each table, by key. */
type Content = Map<string, Row>[]

async function contentOf({ sql }: Accident, tables: Table[], side?: 'restoring'): Promise<Content> {
  const text = await sql(
    tables.map(({ name }, i) => `SELECT json_build_array(${i}, to_json(t)) FROM ${name} t;`).join('\n'),
    side,
  )
  const content: Content = tables.map(() => new Map())
  for (const line of text.split('\n').filter(Boolean)) {
    const [i, row] = JSON.parse(line) as [number, Row]
    content[i]?.set(keyOf(row, tables[i]?.key ?? []), row)
  }
  return content
}

function keyOf(row: Row, columns: readonly string[]): string {
  return columns.map((column) => row[column]).join('/')
}

interface Expected {
  leans: boolean
  isAway: boolean
  content: Content
}

/** What the rescue must do, told in the simplest way. */
function model(tables: Table[], asked: number[], then: Content, now: Content): Expected {
  const coming: Set<string>[] = tables.map((_, i) =>
    asked.includes(i) ? new Set([...(then[i]?.keys() ?? [])].filter((key) => !now[i]?.has(key))) : new Set(),
  )
  /** Calls `each` for every reference of a row of a table. */
  const references = (row: Row, i: number, each: (to: number, key: string) => void): void => {
    for (const { columns, to } of tables[i]?.links ?? [])
      if (columns.every((column) => row[column] !== null)) each(to, keyOf(row, columns))
  }
  const untilNothingChanges = (mark: (i: number, key: string, row: Row) => boolean): void => {
    for (let changed = true; changed; ) {
      changed = false
      for (const [i, rows] of then.entries()) for (const [key, row] of rows) changed = mark(i, key, row) || changed
    }
  }
  untilNothingChanges((i, key, row) => {
    if (coming[i]?.has(key) || now[i]?.has(key)) return false
    let isTaken = false
    references(row, i, (to, parent) => {
      isTaken ||= coming[to]?.has(parent) === true
    })
    if (isTaken) coming[i]?.add(key)
    return isTaken
  })
  const away: Set<string>[] = tables.map((_, i) => {
    const taken = new Set<unknown>([...(now[i]?.values() ?? [])].map((row) => row.u).filter((u) => u !== null))
    return new Set([...(coming[i] ?? [])].filter((key) => taken.has(then[i]?.get(key)?.u ?? null)))
  })
  untilNothingChanges((i, key, row) => {
    if (!coming[i]?.has(key) || away[i]?.has(key)) return false
    let isKept = false
    references(row, i, (to, parent) => {
      isKept ||= away[to]?.has(parent) === true
    })
    if (isKept) away[i]?.add(key)
    return isKept
  })
  let leans = false
  const content = now.map((rows) => new Map(rows))
  for (const [i, keys] of coming.entries())
    for (const key of keys) {
      const row = then[i]?.get(key) as Row
      if (away[i]?.has(key)) continue
      content[i]?.set(key, row)
      references(row, i, (to, parent) => {
        leans ||= !now[to]?.has(parent) && !coming[to]?.has(parent)
      })
    }
  return { leans, isAway: away.some(({ size }) => size > 0), content: leans ? now : content }
}

for (const seed of SEEDS)
  test(`seed ${seed}`, async () => {
    const random = randomOf(seed)
    const tables = makeTables(random)
    const made = await accident(sandbox, schemaOf(tables), dayOf(tables, random))
    const then = await contentOf(made, tables, 'restoring')
    for (let round = 0; round < 4; round++) {
      const asked = [
        ...new Set([Math.floor(random() * TABLES), ...(random() < 0.4 ? [Math.floor(random() * TABLES)] : [])]),
      ]
      const expected = model(tables, asked, then, await contentOf(made, tables))
      const { exitCode, stderr } = await made.rescue(asked.map((i) => tables[i]?.name).join(','))
      const what = `seed ${seed}, round ${round}, ${asked.map((i) => tables[i]?.name)}: ${stderr}`
      assert.is(exitCode, expected.leans || expected.isAway ? 1 : 0, what)
      assert.is(/lean on rows/.test(stderr), expected.leans, what)
      const found = await contentOf(made, tables)
      for (const [i, rows] of expected.content.entries())
        assert.equal([...(found[i]?.entries() ?? [])].sort(), [...rows.entries()].sort(), `${tables[i]?.name}, ${what}`)
    }
    // All references hold: PostgreSQL looks at them anew.
    await made.sql(
      `UPDATE pg_constraint SET convalidated = false WHERE contype = 'f';
      SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint WHERE contype = 'f' \\gexec`,
    )
  })

test.run()
