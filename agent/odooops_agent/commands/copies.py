"""The statements around a copy for another environment; see `database_copy`."""

from __future__ import annotations

from psycopg2.sql import SQL, Composable, Identifier, Literal

INSTALLED = SQL("SELECT name FROM public.ir_module_module WHERE state NOT IN ('uninstalled', 'uninstallable')")
COLUMNS = SQL("""
    SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
""")
KINDS = SQL("""
    SELECT c.relname, a.attname, t.typname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
""")
SCHEMAS = SQL("""
    SELECT DISTINCT n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND (n.nspname = 'public' OR n.nspowner = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
           OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid
                      AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = %(role)s)))
""")
# Indexes, and sequences of a column, go with their table; array and row types with theirs.
OWNED = SQL("""
    WITH role AS (SELECT oid FROM pg_roles WHERE rolname = %(role)s)
    SELECT format('ALTER SCHEMA %%I OWNER TO %%I', nspname, %(owner)s) FROM pg_namespace, role WHERE nspowner = role.oid
    UNION ALL
    SELECT format('ALTER %%s %%s OWNER TO %%I', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                  WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::regclass, %(owner)s)
    FROM pg_class c, role WHERE relowner = role.oid AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
               AND d.objid = c.oid AND d.refobjsubid <> 0 AND d.deptype IN ('a', 'i')))
    UNION ALL
    SELECT format('ALTER ROUTINE %%s OWNER TO %%I', p.oid::regprocedure, %(owner)s) FROM pg_proc p, role
    WHERE proowner = role.oid
    UNION ALL
    SELECT format('ALTER TYPE %%s OWNER TO %%I', t.oid::regtype, %(owner)s) FROM pg_type t, role
    WHERE typowner = role.oid AND typtype IN ('e', 'd', 'r', 'c') AND (typrelid = 0 OR EXISTS (
        SELECT FROM pg_class c WHERE c.oid = typrelid AND c.relkind = 'c'))
    UNION ALL
    SELECT format('ALTER LARGE OBJECT %%s OWNER TO %%I', l.oid, %(owner)s) FROM pg_largeobject_metadata l, role
    WHERE lomowner = role.oid
""")


def give_database(database: str, owner: str) -> Composable:
    return SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(database), Identifier(owner))


def noise(column: str, kind: str, salt: str) -> Composable:
    """Return what makes a column unreadable: the same value becomes the same noise, an address stays one."""
    name = Identifier(column)
    value: Composable
    if kind == "jsonb":
        value = SQL(
            "(SELECT jsonb_object_agg(lang, left(md5({salt} || text), 12)) FROM jsonb_each_text({name}) e (lang, text))"
        )
        value = value.format(name=name, salt=Literal(salt))
    else:
        shown = SQL("left(md5({salt} || {name}), 12)").format(name=name, salt=Literal(salt))
        value = SQL("CASE WHEN {name} LIKE {at} THEN {shown} || '@example.invalid' ELSE {shown} END").format(
            name=name, at=Literal("%@%"), shown=shown
        )
    return SQL("{name} = CASE WHEN {name} IS NULL THEN NULL ELSE {value} END").format(name=name, value=value)
