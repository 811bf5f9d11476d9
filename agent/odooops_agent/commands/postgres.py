"""The statements for PostgreSQL, as composed SQL: names are quoted as names and values as values, never as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg2.sql import SQL, Composable, Identifier, Literal

from ..errors import Refused
from ..facts import KeptSet, OwnerTag, Session
from ..names import DIGEST

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
PROTECTED = frozenset({"postgres", "template0", "template1"})
UNSUITABLE = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
WAL_LOG_BYTES_MAX = 200 << 20  # crossover as measured: 72 MB 0.3 s against 0.9 s, 1 GB 7 s against 2 s
STRATEGIES_SINCE = 150000
CLONE_SINCE = 180000
SET_OPTION_SINCE = 160000

# Settings that are lists of names: their stored value has each name quoted for itself.
QUOTED_LISTS = frozenset({"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"})

DATABASE = SQL("""
    SELECT pg_get_userbyid(datdba), datallowconn, shobj_description(oid, 'pg_database'),
           CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                THEN pg_database_size(oid) ELSE 0 END
    FROM pg_database WHERE datname = %s
""")
EXISTING = SQL("SELECT datname FROM pg_database WHERE datname = ANY(%s)")
ASIDES = SQL("SELECT datname FROM pg_database WHERE datname ~ %s ORDER BY 1")
COPIES = SQL("""
    SELECT (regexp_match(datname, %s))[1], shobj_description(oid, 'pg_database') FROM pg_database WHERE datname ~ %s
""")
NOW = SQL("SELECT now()")
READ_ONLY = SQL("SET default_transaction_read_only = on")
SIZES = SQL("""
    SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database
    WHERE has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
""")
# Ending a session takes USAGE of its role (pg_signal_backend does for all but superusers').
# The server's own workers have no role; an autovacuum worker gives way by itself to whoever copies or renames.
# Their kind is hidden from a role that is no member of pg_monitor, so it can't be asked for.
SESSIONS = SQL("""
    SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''),
           coalesce(pg_has_role(a.usesysid, 'USAGE'), false)
           OR (pg_has_role('pg_signal_backend', 'USAGE') AND NOT coalesce(r.rolsuper, true))
    FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
    WHERE a.datname = %s AND a.pid <> pg_backend_pid() AND coalesce(a.backend_type, '') <> 'parallel worker'
    ORDER BY a.pid
""")
END_SESSION = SQL("SELECT pg_terminate_backend(%s)")
LOCK = SQL("SELECT pg_try_advisory_lock(hashtextextended('odooops:' || %s, 0))")

# Whatever a customer's code made of these tables, reading them runs little of it: no view, no policy, no operator of
# the same name. What may still run, such as a cast of a column's own type, has the environment's rights only.
GUARDS = SQL("""
    SELECT set_config('search_path', 'pg_catalog', false), set_config('row_security', 'off', false),
           (SELECT set_config(known, 'view, foreign-table', false)
            FROM (VALUES ('restrict_nonsystem_relation_kind')) names (known)
            WHERE current_setting(known, true) IS NOT NULL)
""")
ODOO_TABLE = SQL("SELECT to_regclass('public.ir_module_module') IS NOT NULL")
IMPORTED_COLUMN = SQL("""
    SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.ir_module_module'::regclass
                   AND attname = 'imported' AND NOT attisdropped)
""")
PARAMETERS = SQL("SELECT key, value FROM public.ir_config_parameter WHERE key = ANY(%s)")
# Those in a filestore; a module that keeps attachments in a bucket gives them other names.
ATTACHMENTS = SQL(
    "SELECT DISTINCT store_fname FROM public.ir_attachment WHERE store_fname ~ '^[0-9a-f]{2}/[0-9a-f]{40}$'"
)
LANGUAGES = SQL("SELECT code FROM public.res_lang WHERE active ORDER BY code")
PARAMETERS_TABLE = SQL("SELECT to_regclass('public.ir_config_parameter') IS NOT NULL")
WRITE_PARAMETER = SQL("""
    INSERT INTO public.ir_config_parameter AS parameter (key, value, create_uid, create_date, write_uid, write_date)
    VALUES (%(key)s, %(value)s, 1, now() AT TIME ZONE 'UTC', 1, now() AT TIME ZONE 'UTC')
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, write_uid = 1, write_date = excluded.write_date
    WHERE parameter.value IS DISTINCT FROM excluded.value
""")

# -- roles

ROLE = SQL("SELECT {} FROM pg_roles WHERE rolname = %s").format(SQL(", ").join(map(Identifier, UNSUITABLE)))


def modules(imported: bool) -> Composable:
    """Return the query for the modules; the column `imported` is there once base_import_module is installed."""
    column = SQL("coalesce(imported, false)") if imported else SQL("false")
    return SQL("SELECT name, state, latest_version, {} FROM public.ir_module_module").format(column)


def write_role(role: str, verifier: str, exists: bool) -> Composable:
    """Create a login role or renew its password, given as a SCRAM verifier so that no log shows the password."""
    verb = SQL("ALTER") if exists else SQL("CREATE")
    rights = SQL("LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT")
    # An existing role's rights were checked; altering them takes more rights than altering its password.
    options = SQL("LOGIN") if exists else rights
    return SQL("{} ROLE {} {} PASSWORD {}").format(verb, Identifier(name(role)), options, Literal(verifier))


def has_role(role: str, server: int) -> Composable:
    """Ask whether the session's role has all that membership can give."""
    wanted = ("USAGE", "SET") if server >= SET_OPTION_SINCE else ("USAGE",)
    asked = (SQL("pg_has_role({}, {})").format(Literal(role), Literal(each)) for each in wanted)
    return SQL("SELECT ") + SQL(" AND ").join(asked)


def grant_role(role: str, to: str, server: int) -> Composable:
    """Make `to` a member of `role` that may act for it; from 16 on that has to be asked for."""
    options = SQL(" WITH INHERIT TRUE, SET TRUE") if server >= SET_OPTION_SINCE else SQL("")
    return SQL("GRANT {} TO {}").format(Identifier(role), Identifier(to)) + options


def set_role_at_login(role: str, other: str) -> Composable:
    """Let all that `role` makes belong to `other`."""
    return SQL("ALTER ROLE {} SET role = {}").format(Identifier(role), Literal(other))


# -- databases


def name(value: str) -> str:
    """Return a name fit for PostgreSQL, which would cut a longer one short without an error. Raises Refused."""
    if not NAME.fullmatch(value):
        raise Refused(f"{value!r} is no name for a database or role (up to 63 of a-z, 0-9, _); rename the environment.")
    return value


def create_database(database: str, owner: str) -> Composable:
    """Create as Odoo itself does (C collation), closed until its rights are set."""
    return SQL(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' ALLOW_CONNECTIONS false"
    ).format(Identifier(name(database)), Identifier(owner))


def copy_database(source: str, target: str, owner: str, strategy: str | None) -> Composable:
    """Copy by TEMPLATE; the copy takes no connections."""
    chosen = SQL(" STRATEGY {}").format(SQL(strategy)) if strategy else SQL("")
    return (
        SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} ALLOW_CONNECTIONS false").format(
            Identifier(name(target)), Identifier(source), Identifier(owner)
        )
        + chosen
    )


def choose_strategy(size_bytes: int, server: int) -> str:
    """Return `wal_log`, `file_copy` or `clone`, whichever is quickest for the size on this server version."""
    if server < STRATEGIES_SINCE:
        return "file_copy"
    if size_bytes <= WAL_LOG_BYTES_MAX:
        return "wal_log"
    return "clone" if server >= CLONE_SINCE else "file_copy"


def allow_connections(database: str, allowed: bool) -> Composable:
    """Open or close a database; closing it ends no session."""
    return SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
        Identifier(database), SQL("true" if allowed else "false")
    )


def rename(database: str, new: str) -> Composable:
    """Rename a database."""
    return SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(database), Identifier(name(new)))


def drop(database: str) -> Composable:
    """Drop a database. Raises Refused for the server's own."""
    if database in PROTECTED:
        raise Refused(f"{database} belongs to the server; it is never dropped.")
    return SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name(database)))


# -- rights on a database

ACL = SQL("""
    SELECT coalesce(r.rolname, ''), e.privilege_type, e.is_grantable
    FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) e
    LEFT JOIN pg_roles r ON r.oid = e.grantee
    WHERE d.datname = %s AND (r.oid IS NOT NULL OR e.grantee = 0)
    ORDER BY 1, 2
""")
SETTINGS = SQL("""
    SELECT coalesce(r.rolname, ''), setting
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) setting
    WHERE d.datname = %s AND (r.oid IS NOT NULL OR s.setrole = 0)
""")
CONNECTION_LIMIT = SQL("SELECT datconnlimit FROM pg_database WHERE datname = %s")


def grantee(role: str) -> Composable:
    """Return a role's name; the empty one is PUBLIC."""
    return Identifier(role) if role else SQL("PUBLIC")


def grant(privileges: Sequence[str], database: str, role: str, grantable: bool = False) -> Composable:
    """Grant privileges (PostgreSQL's own keywords, as read from an ACL) on a database."""
    option = SQL(" WITH GRANT OPTION") if grantable else SQL("")
    words = SQL(", ").join(SQL(_keyword(each)) for each in privileges)
    return SQL("GRANT {} ON DATABASE {} TO {}").format(words, Identifier(database), grantee(role)) + option


def revoke(privilege: str, database: str, role: str) -> Composable:
    """Revoke a privilege and what was granted on by it."""
    return SQL("REVOKE {} ON DATABASE {} FROM {} CASCADE").format(
        SQL(_keyword(privilege)), Identifier(database), grantee(role)
    )


def _keyword(privilege: str) -> str:
    if privilege not in {"ALL", "CONNECT", "CREATE", "TEMPORARY"}:
        raise Refused(f"{privilege!r} is no privilege on a database.")
    return privilege


def setting(database: str, role: str, stored: str) -> Composable:
    """Return what gives a database the setting `name=value` as it is stored for another one."""
    key, _, value = stored.partition("=")
    if role:
        head = SQL("ALTER ROLE {} IN DATABASE {} SET ").format(Identifier(role), Identifier(database))
    else:
        head = SQL("ALTER DATABASE {} SET ").format(Identifier(database))
    parts = SQL(".").join(Identifier(part) for part in key.split("."))
    return head + parts + SQL(" TO ") + SQL(", ").join(_setting_values(key, value))


def _setting_values(key: str, value: str) -> list[Composable]:
    if key not in QUOTED_LISTS:
        return [Literal(value)]
    found = re.findall(r'"((?:[^"]|"")*)"|([^,\s]+)', value)
    return [Literal(quoted.replace('""', '"') if quoted else plain) for quoted, plain in found] or [Literal("")]


def connection_limit(database: str, limit: int) -> Composable:
    """Set how many connections a database takes; -1 is no limit."""
    return SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(Identifier(database), Literal(limit))


# -- the comment: whose it is, which token touched it last, who may connect again after the fence


def comment(database: str, text: str | None) -> Composable:
    """Write a database's comment."""
    return SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(database), Literal(text))


def read_comment(text: str | None) -> Mapping[str, Any]:
    """Return what OdooOps keeps in the comment; empty when it is somebody else's."""
    try:
        value = json.loads(text or "{}")
        kept = value.get("odooops", {})
    except (ValueError, AttributeError):
        return {}
    return kept if isinstance(kept, dict) else {}


def write_comment(kept: Mapping[str, Any]) -> str:
    """Return the comment's text."""
    return json.dumps({"odooops": kept}, separators=(",", ":"))


def owner_tag(text: str | None) -> OwnerTag | None:
    """Return the owner tag in a comment."""
    kept = read_comment(text)
    try:
        return OwnerTag(environment_uuid=str(kept["environment"]), token=int(kept["token"]))
    except (KeyError, TypeError, ValueError):
        return None


def set_mark(digest: str | None, since: datetime) -> dict[str, str | None]:
    """Return what a copy's comment tells beside the owner tag."""
    return {"digest": digest, "since": since.astimezone(UTC).isoformat()}


def kept_set(token: int, text: str | None) -> KeptSet:
    """Return a restore set as its database's comment tells it; what somebody's hand broke is told as unknown."""
    kept = read_comment(text)
    digest = kept.get("digest")
    try:
        since: datetime | None = datetime.fromisoformat(kept["since"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        since = None
    return KeptSet(token, digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None, since)


def named(sessions: Iterable[Session]) -> str:
    """Tell sessions to a person: who, with what, from where."""
    return "; ".join(
        f"{each.role} ({each.application or 'unnamed'}, {each.client or 'no address shown'}, pid {each.pid})"
        for each in sessions
    )
