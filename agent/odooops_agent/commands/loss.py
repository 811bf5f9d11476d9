"""The statements that count what came and changed in an Odoo database. Pure."""

from __future__ import annotations

from collections.abc import Collection

from psycopg2.sql import SQL, Composable, Identifier

# Every table that Odoo keeps times in, with the model it is of; views, foreign tables and wizards' are none. A column
# of a customer's own type is left out: comparing it would run the customer's code.
TABLES = SQL("""
    SELECT c.relname, coalesce(m.model, c.relname), coalesce(m.name->>'en_US', c.relname), pg_relation_size(c.oid),
           ARRAY(SELECT a.attname || ':' || a.atttypid::regtype FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    FROM pg_class c
    LEFT JOIN public.ir_model m ON replace(m.model, '.', '_') = c.relname
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT coalesce(m.transient, false)
    ORDER BY 1
""")
NOW = SQL("SELECT now()")
TIMES = frozenset({"create_date:timestamp without time zone", "write_date:timestamp without time zone"})
NUMBERS = frozenset({"id:integer", "id:bigint"})
TEXTS = ("character varying", "text")
# What a person knows a record by, the best first.
NAMED_BY = ("name", "display_name", "reference", "subject", "record_name", "x_name")
NAME_LENGTH_MAX = 120
# States in which an entry or a payment stands in the books.
POSTED = {
    "account_move": ("posted",),
    "account_payment": ("posted", "in_process", "paid"),
}
# Odoo's own attachments (bundles, images of its data) come and go by themselves.
ONLY = {
    "ir_attachment": SQL("res_model IS NOT NULL AND res_model NOT LIKE 'ir.%%'"),
}


def has_times(columns: Collection[str]) -> bool:
    """Tell whether a table's `name:type` columns let its rows be counted."""
    return set(columns) >= TIMES and not NUMBERS.isdisjoint(columns)


def limit_statements(seconds: float) -> Composable:
    """Let no statement of the session take longer."""
    return SQL("SET statement_timeout = {}").format(SQL(str(max(1, round(seconds * 1000)))))


def count(table: str, columns: Collection[str]) -> Composable:
    """Count created, changed and posted in one pass; an index on either time is used where there is one."""
    return SQL("""
        SELECT count(*) FILTER (WHERE create_date > %(since)s),
               count(*) FILTER (WHERE create_date <= %(since)s OR create_date IS NULL),
               count(*) FILTER (WHERE {posted})
        FROM public.{table} WHERE (create_date > %(since)s OR write_date > %(since)s) AND {only}
    """).format(posted=_posted(table, columns), table=Identifier(table), only=_only(table))


def last_before(table: str) -> Composable:
    """Find the newest record of before, by the primary key from its end: what came later was numbered later."""
    return SQL("SELECT id FROM public.{} WHERE create_date <= %(since)s ORDER BY id DESC LIMIT 1").format(
        Identifier(table)
    )


def count_created(table: str, columns: Collection[str]) -> Composable:
    """Count created and posted alone, among the records after the last one of before.

    Its number is given as a value: of a sub-select's the planner would not know that few are greater.
    """
    return SQL("""
        SELECT count(*) FILTER (WHERE create_date > %(since)s),
               NULL,
               count(*) FILTER (WHERE create_date > %(since)s AND {posted})
        FROM public.{table} WHERE id > %(last)s AND {only}
    """).format(posted=_posted(table, columns), table=Identifier(table), only=_only(table))


def newest(table: str, columns: Collection[str]) -> Composable:
    """Show the newest records that came since, among those after the last one of before."""
    return SQL("""
        SELECT id, left({name}, {length}), create_date FROM public.{table}
        WHERE id > %(last)s AND create_date > %(since)s AND {only} ORDER BY id DESC LIMIT %(most)s
    """).format(name=_name(columns), length=SQL(str(NAME_LENGTH_MAX)), table=Identifier(table), only=_only(table))


def _posted(table: str, columns: Collection[str]) -> Composable:
    states = POSTED.get(table, ())
    if not states or not any(f"state:{kind}" in columns for kind in TEXTS):
        return SQL("false")
    return SQL("state IN ({})").format(SQL(", ").join(SQL(f"'{state}'") for state in states))


def _only(table: str) -> Composable:
    return ONLY.get(table, SQL("true"))


def _name(columns: Collection[str]) -> Composable:
    shown: list[Composable] = []
    for name in NAMED_BY:
        if any(f"{name}:{kind}" in columns for kind in TEXTS):
            shown.append(SQL("nullif(nullif({}, ''), '/')").format(Identifier(name)))
        elif f"{name}:jsonb" in columns:
            shown.append(SQL("{}->>'en_US'").format(Identifier(name)))
    return SQL("coalesce({})").format(SQL(", ").join([*shown, SQL("'#' || id")]))
