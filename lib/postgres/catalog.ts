// What a database is made of: its tables, their keys, unique values and references, read from PostgreSQL's catalog.

import { aBoolean, aText, listOf, oneOf, orNull, record } from '../core/outside.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { identifier, LASTING_TABLES, LOCK_MS, rows } from './sql.ts'

/** A table's name as a key for maps, and as people write it: `public.libraries_library`. */
export type TableName = string

const COLUMN = record({
  name: aText,
  /** As `format_type` gives it; with its schema, unless it is PostgreSQL's own. */
  type: aText,
  /** The quoted name of a collation that is not the type's own. */
  collation: orNull(aText),
  notNull: aBoolean,
  /** A default, an identity, or an expression gives it a value. */
  isFilled: aBoolean,
  isGenerated: aBoolean,
  /** The quoted name of the sequence that numbers it upwards. */
  sequence: orNull(aText),
})
export type Column = ReturnType<typeof COLUMN>

/** A unique index or an exclusion constraint: no two rows are alike in all that is compared. */
const UNIQUE = record({
  name: aText,
  isPrimary: aBoolean,
  /** Expressions over the table's columns, each with the operator that finds two values alike. */
  compared: listOf(record({ expression: aText, operator: aText })),
  /** Only rows that meet it count; null: all. */
  predicate: orNull(aText),
  /** Two NULLs are alike, too. */
  isNullAlike: aBoolean,
  /** The columns that expressions and predicate read. */
  columns: listOf(aText),
})
export type Unique = ReturnType<typeof UNIQUE>

/** A foreign key. */
const REFERENCE = record({
  /** The table, or one of its partitions. */
  from: aText,
  columns: listOf(aText),
  to: aText,
  toColumns: listOf(aText),
  /** Of each pair of columns, the referenced one on the left. */
  operators: listOf(aText),
  /** What a deletion does to it: `a` and `r` nothing, `c` deletes the row, `n` and `d` set NULL or the default. */
  onDelete: oneOf('a', 'r', 'c', 'n', 'd'),
})
export type Reference = ReturnType<typeof REFERENCE>

const TABLE = record({
  name: aText,
  schema: aText,
  table: aText,
  /** `r` a table, `p` a partitioned one, `v` a view, `m` a materialized view, `f` a foreign table. */
  kind: oneOf('r', 'p', 'v', 'm', 'f'),
  /** The partitioned table that this is a part of; null when it is none. */
  root: orNull(aText),
  /** Tables that inherit from it without being partitions. */
  heirs: listOf(aText),
  /** The extension that it belongs to. */
  extension: orNull(aText),
  columns: listOf(COLUMN),
  /** The primary key; null when it has none. */
  key: orNull(record({ columns: listOf(aText), operators: listOf(aText), isDeferrable: aBoolean })),
  /** The primary key is one of them. */
  uniques: listOf(UNIQUE),
  /** What its rows reference. */
  references: listOf(REFERENCE),
})
export type Table = ReturnType<typeof TABLE>

/** The tables of a database, by name. */
export type Catalog = ReadonlyMap<TableName, Table>

/** A table's quoted name. */
export function quotedName({ schema, table }: Pick<Table, 'schema' | 'table'>): string {
  return `${identifier(schema)}.${identifier(table)}`
}

/** What a query reads to get a table's own rows: a table's heirs have keys of their own, a partitioned one has no rows but its parts'. */
export function ownRows(table: Pick<Table, 'schema' | 'table' | 'kind'>): string {
  return table.kind === 'r' ? `ONLY ${quotedName(table)}` : quotedName(table)
}

/** Reads what the app's tables and views are. Expressions and types come with their schemas. */
export async function readCatalog(dokku: Dokku, database: Service): Promise<Catalog> {
  const tables = await rows(dokku, database, CATALOG, TABLE)
  return new Map(tables.map((table) => [table.name, table]))
}

function nameOf(relation: string): string {
  return `(SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = ${relation})`
}

/** The names of columns by their numbers, in that order. */
function columnNames(numbers: string, relation: string): string {
  return `(SELECT coalesce(json_agg(attname ORDER BY place), '[]') FROM unnest(${numbers}) WITH ORDINALITY number (attnum, place)
     JOIN pg_attribute USING (attnum) WHERE attrelid = ${relation})`
}

function operatorName(operator: string): string {
  return `(SELECT format('OPERATOR(%I.%s)', nspname, oprname) FROM pg_operator JOIN pg_namespace ON pg_namespace.oid = oprnamespace
     WHERE pg_operator.oid = ${operator})`
}

function operatorNames(operators: string): string {
  return `(SELECT json_agg(${operatorName('one.operator')} ORDER BY place) FROM unnest(${operators}) WITH ORDINALITY one (operator, place))`
}

/** How an index finds two values alike: by the constraint's own operator, else by the one that its operator class takes for equality (3 in a B-tree). */
const ALIKE = `coalesce(x.conexclop[place], (SELECT amopopr FROM pg_opclass JOIN pg_amop ON amopfamily = opcfamily
    AND amoplefttype = opcintype AND amoprighttype = opcintype AND amopstrategy = 3 AND amoppurpose = 's'
    WHERE pg_opclass.oid = i.indclass[place - 1]))`

const FILLED = "(a.atthasdef OR a.attidentity <> '')"

const SEQUENCE = `(SELECT min(format('%I.%I', nspname, relname)) FROM pg_sequence
     JOIN pg_class s ON s.oid = seqrelid JOIN pg_namespace sn ON sn.oid = s.relnamespace
     WHERE seqincrement > 0 AND seqrelid IN (
       SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
         AND refobjid = c.oid AND refobjsubid = a.attnum AND deptype IN ('a', 'i')
       UNION SELECT refobjid FROM pg_depend JOIN pg_attrdef d ON d.oid = objid WHERE classid = 'pg_attrdef'::regclass
         AND refclassid = 'pg_class'::regclass AND adrelid = c.oid AND adnum = a.attnum))`

const TABLE_COLUMNS = `(SELECT coalesce(json_agg(json_build_object(
      'name', attname, 'type', format_type(atttypid, atttypmod), 'notNull', attnotnull, 'isFilled', ${FILLED},
      'collation', (SELECT format('%I.%I', nspname, collname) FROM pg_collation JOIN pg_namespace ON pg_namespace.oid = collnamespace
        WHERE pg_collation.oid = attcollation AND attcollation <> typcollation),
      'isGenerated', attgenerated <> '', 'sequence', ${SEQUENCE}) ORDER BY attnum), '[]')
    FROM pg_attribute a JOIN pg_type y ON y.oid = atttypid WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)`

const KEY = `(SELECT json_build_object('columns', ${columnNames('i.indkey::int2[]', 'c.oid')}, 'isDeferrable', NOT indimmediate,
      'operators', (SELECT json_agg(${operatorName(ALIKE)} ORDER BY place) FROM generate_series(1, indnkeyatts) place))
    FROM pg_index i LEFT JOIN pg_constraint x ON x.conindid = i.indexrelid AND x.conrelid = c.oid AND x.contype IN ('p', 'u', 'x')
    WHERE indrelid = c.oid AND indisprimary)`

/** An index's columns are those of its constraint, which it depends on, or those that it depends on itself. */
const UNIQUES = `(SELECT coalesce(json_agg(json_build_object(
      'name', r.relname, 'isPrimary', indisprimary, 'predicate', pg_get_expr(indpred, c.oid),
      'isNullAlike', coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
      'compared', (SELECT json_agg(json_build_object('expression', pg_get_indexdef(indexrelid, place, true),
          'operator', ${operatorName(ALIKE)}) ORDER BY place) FROM generate_series(1, indnkeyatts) place),
      'columns', (SELECT json_agg(DISTINCT attname) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
        AND (attnum = ANY (indkey) OR attnum IN (SELECT refobjsubid FROM pg_depend WHERE classid = 'pg_class'::regclass
          AND objid = indexrelid AND refclassid = 'pg_class'::regclass AND refobjid = c.oid)))) ORDER BY NOT indisprimary, r.relname), '[]')
    FROM pg_index i JOIN pg_class r ON r.oid = indexrelid
    LEFT JOIN pg_constraint x ON x.conindid = i.indexrelid AND x.conrelid = c.oid AND x.contype IN ('p', 'u', 'x')
    WHERE indrelid = c.oid AND indisvalid AND (indisunique OR indisexclusion))`

/** Of a partitioned table there is one constraint for each of its parts, too. */
const REFERENCES = `(SELECT coalesce(json_agg(json_build_object(
      'from', ${nameOf('conrelid')}, 'columns', ${columnNames('conkey', 'conrelid')},
      'to', ${nameOf('confrelid')}, 'toColumns', ${columnNames('confkey', 'confrelid')},
      'operators', ${operatorNames('conpfeqop')}, 'onDelete', confdeltype) ORDER BY conname, conrelid), '[]')
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND coalesce(pg_partition_root(conrelid), conrelid) = c.oid)`

// Compiling a query of so many parts takes seconds.
const CATALOG = `SET search_path = pg_catalog;
SET jit = off;
SET lock_timeout = ${LOCK_MS};
SELECT json_build_object('name', n.nspname || '.' || c.relname, 'schema', n.nspname, 'table', c.relname, 'kind', c.relkind,
  'root', CASE WHEN c.relispartition THEN ${nameOf('pg_partition_root(c.oid)')} END,
  'heirs', (SELECT coalesce(json_agg(${nameOf('inhrelid')}), '[]') FROM pg_inherits WHERE inhparent = c.oid AND c.relkind = 'r'),
  'extension', (SELECT extname FROM pg_depend JOIN pg_extension e ON e.oid = refobjid
    WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e' LIMIT 1),
  'columns', ${TABLE_COLUMNS}, 'key', ${KEY}, 'uniques', ${UNIQUES}, 'references', ${REFERENCES})
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND ${LASTING_TABLES.replaceAll('schemaname', 'nspname')} ORDER BY 1 ::text;`
