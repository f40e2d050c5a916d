// What roles may do in a database: owners and grants, which a dump of these scripts does not hold.

import { aText } from '../core/outside.ts'
import type { Dokku, Service } from '../dokku/dokku.ts'
import { answering, rows } from './sql.ts'

/** Of pg_stat_activity: sessions that this role may end. One that may not end a session fails as a whole. */
export const MAY_END = `(current_setting('is_superuser') = 'on' OR usesysid IN (SELECT oid FROM pg_roles
  WHERE NOT rolsuper AND (pg_has_role(oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))))`

const OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
// What an extension brings is its own affair.
function notOfAnExtension(catalog: string, oid: string): string {
  return `NOT EXISTS (SELECT FROM pg_depend WHERE classid = '${catalog}'::regclass AND objid = ${oid} AND deptype = 'e')`
}
const RELATION = "CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END"
const ALTER =
  "CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END"
const RELATIONS = `pg_class c JOIN pg_namespace n ON n.oid = relnamespace`
const LASTING = `${OURS} AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't' AND ${notOfAnExtension('pg_class', 'c.oid')}`
const GRANTEE = "CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
const OPTION = "CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"

// A sequence of a column follows its table, and can't be given away alone.
const RIGHTS = `
SELECT to_json(format('ALTER SCHEMA %I OWNER TO %I;', nspname, pg_get_userbyid(nspowner))) FROM pg_namespace n WHERE ${OURS} AND ${notOfAnExtension('pg_namespace', 'n.oid')};
SELECT to_json(format('ALTER %s %I.%I OWNER TO %I;', ${ALTER}, nspname, relname, pg_get_userbyid(relowner))) FROM ${RELATIONS}
  WHERE ${LASTING} AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i')));
SELECT to_json(format('ALTER ROUTINE %s OWNER TO %I;', p.oid::regprocedure, pg_get_userbyid(proowner))) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
  WHERE ${OURS} AND ${notOfAnExtension('pg_proc', 'p.oid')};
SELECT to_json(format('GRANT %s ON SCHEMA %I TO %s%s;', privilege_type, nspname, ${GRANTEE}, ${OPTION})) FROM pg_namespace n, aclexplode(nspacl) WHERE ${OURS} AND grantee <> nspowner;
SELECT to_json(format('GRANT %s ON %s %I.%I TO %s%s;', privilege_type, ${RELATION}, nspname, relname, ${GRANTEE}, ${OPTION})) FROM ${RELATIONS}, aclexplode(relacl)
  WHERE ${LASTING} AND grantee <> relowner;
SELECT to_json(format('GRANT %s (%I) ON TABLE %I.%I TO %s%s;', privilege_type, attname, nspname, relname, ${GRANTEE}, ${OPTION}))
  FROM ${RELATIONS} JOIN pg_attribute ON attrelid = c.oid, aclexplode(attacl) WHERE ${LASTING} AND NOT attisdropped;
SELECT to_json(format('REVOKE ALL ON ROUTINE %s FROM PUBLIC;', p.oid::regprocedure)) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
  WHERE ${OURS} AND ${notOfAnExtension('pg_proc', 'p.oid')} AND proacl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0);
SELECT to_json(format('GRANT %s ON ROUTINE %s TO %s%s;', privilege_type, p.oid::regprocedure, ${GRANTEE}, ${OPTION})) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace, aclexplode(proacl)
  WHERE ${OURS} AND ${notOfAnExtension('pg_proc', 'p.oid')} AND grantee NOT IN (0, proowner);
SELECT to_json(format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s GRANT %s ON %s TO %s%s;', pg_get_userbyid(defaclrole), coalesce(' IN SCHEMA ' || quote_ident(nspname), ''), privilege_type,
  CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END, ${GRANTEE}, ${OPTION}))
  FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace, aclexplode(defaclacl) WHERE grantee <> defaclrole;`

/** The statements that make the owners and grants that a database has. @throws Failure when it does not answer */
export function readRights(dokku: Dokku, database: Service): Promise<string[]> {
  return rows(answering(dokku), database, RIGHTS, aText)
}
