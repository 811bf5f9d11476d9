"""What PostgreSQL itself refuses, whoever asks."""

from odoo.tools import SQL

_FUNCTIONS = {
    "odooops_refuse_change": """
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END
    """,
    "odooops_refuse_other_release": """
        BEGIN
            IF (OLD.project_id, OLD.commit_sha, OLD.image, OLD.digest, OLD.manifest)
                    IS DISTINCT FROM (NEW.project_id, NEW.commit_sha, NEW.image, NEW.digest, NEW.manifest) THEN
                RAISE EXCEPTION 'a release never changes' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END
    """,
    "odooops_refuse_smaller_token": """
        BEGIN
            IF NEW.token < OLD.token THEN
                RAISE EXCEPTION 'a fencing token only grows' USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END
    """,
}


def guard(cr, table, function, events, each=SQL("ROW")):  # noqa: B008  an SQL never changes
    """Have ``function`` run before changes of ``table``.

    :param events: an ``SQL`` such as ``UPDATE OR DELETE``
    :param each: an ``SQL``: ``ROW`` or ``STATEMENT``
    """
    name = f"{table}_{function}_{each.code.lower()}"
    cr.execute(
        SQL(
            "CREATE OR REPLACE FUNCTION %(function)s() RETURNS trigger LANGUAGE plpgsql AS %(body)s",
            function=SQL.identifier(function),
            body=_FUNCTIONS[function],
        )
    )
    cr.execute(SQL("DROP TRIGGER IF EXISTS %s ON %s", SQL.identifier(name), SQL.identifier(table)))
    cr.execute(
        SQL(
            "CREATE TRIGGER %(name)s BEFORE %(events)s ON %(table)s FOR EACH %(each)s EXECUTE FUNCTION %(function)s()",
            name=SQL.identifier(name),
            events=events,
            table=SQL.identifier(table),
            each=each,
            function=SQL.identifier(function),
        )
    )


def drop_triggers(cr):
    """Drop the guards with their functions."""
    for function in _FUNCTIONS:
        cr.execute(SQL("DROP FUNCTION IF EXISTS %s() CASCADE", SQL.identifier(function)))
