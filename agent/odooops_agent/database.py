"""PostgreSQL with the rights that a managed server gives: CREATEDB and CREATEROLE, no superuser, no files.

One short autocommit connection per job. A customer's database is entered as the environment's own upgrade role, to
read (guarded as pg_dump guards itself) and to write: a trigger, cast or operator of the customer's would otherwise run
with the agent's rights over every other database.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from typing import TypeVar

from psycopg2 import errors as pg
from psycopg2.extensions import cursor as Cursor  # noqa: N812 (a class, by its lower-case name)
from psycopg2.extensions import encrypt_password
from psycopg2.sql import SQL

from .commands import copies
from .commands import postgres as build
from .database_business import read_business
from .database_copy import apply_rules, give_objects, obfuscate, prove
from .database_inside import INSTALLED_MANIFEST, Inside, read_inside, read_uuid
from .database_inspect import inspect
from .database_loss import read_loss
from .errors import LeaseLost, Permanent, Refused, Retryable
from .facts import DatabaseFacts, Identity, KeptSet, Session
from .neutralise import Rule
from .postgres import POLL_SECONDS, NotEntered, Postgres, first_line, locked, one, row, rows, server, transaction
from .protocol import Busy, InspectResult, Loss, RestoreCheck

COPY_SECONDS = 3600.0
EVICT_SECONDS = 30.0
# A session appears in pg_stat_activity a moment after its right to connect was checked: so look more than once. Copying
# and renaming refuse by themselves what was missed.
QUIET_LOOKS = 2

Login = tuple[str, str]  # role, password
Value = TypeVar("Value")


class PostgresDatabase:
    """The database port on one cluster; `dsn` is the agent's role at its own maintenance database."""

    def __init__(
        self,
        dsn: str,
        quota_bytes: int | None,
        login_of: Callable[[str], Login | None],
        evict_seconds: float = EVICT_SECONDS,
    ) -> None:
        """`login_of` gives the role and password with which a customer's database is entered.

        For a database that the agent made no role for yet it gives none: that is only looked at, as the agent.
        """
        self._postgres = Postgres(dsn)
        self._quota_bytes = quota_bytes
        self._login_of = login_of
        self._evict_seconds = evict_seconds

    # -- reading

    def facts(self, name: str) -> DatabaseFacts | None:
        """Read all that a plan needs to know of a database."""
        try:
            inside = self._inside(name, read_inside)
        except NotEntered as error:  # absent, closed, full, or PostgreSQL is away: told from outside
            if self.exists(name):  # as if empty it would be installed over
                raise Retryable(f"The database {name} is there and can't be entered: {error.message}") from error
            return None
        # From outside again: what other sessions there are, and whether they can be ended, is for the agent's role.
        with self._postgres.cursor() as cursor:
            return _facts(cursor, name, inside)

    def exists(self, name: str) -> bool:
        """Tell whether there is such a database."""
        with self._postgres.cursor() as cursor:
            return bool(_existing(cursor, name))

    def identity(self, name: str) -> Identity | None:
        """Tell whose a database is."""
        with self._postgres.cursor() as cursor:
            found = row(cursor, build.DATABASE, (name,))
        if found is None:
            return None
        uuid = None
        with suppress(NotEntered):
            uuid = self._inside(name, read_uuid)
        return Identity(uuid=uuid, tag=build.owner_tag(found[2]))

    def _inside(self, name: str, read: Callable[[Cursor], Value]) -> Value:
        """Read within a customer's database. Raises NotEntered."""
        login = self._login_of(name)
        try:
            with self._postgres.reader(name, login) as cursor:
                return read(cursor)
        except NotEntered:
            if login is None or not self._renewed(*login):
                raise
        with self._postgres.reader(name, login) as cursor:
            return read(cursor)

    def _renewed(self, role: str, password: str) -> bool:
        """Give an environment's role the password that the agent knows: somebody may have changed it."""
        with self._postgres.cursor() as cursor, locked(cursor, "roles"):
            if row(cursor, build.ROLE, (role,)) is None:
                return False
            self._ensure_role(cursor, role, password)
            return True

    def attachment_files(self, name: str) -> frozenset[str]:
        """Return the files that the database's attachments are in."""
        return self._inside(name, lambda cursor: frozenset(file for (file,) in rows(cursor, build.ATTACHMENTS)))

    def inspect(self, name: str, since: datetime | None) -> InspectResult:
        """Tell what was configured by hand, reading only."""

        def read(cursor: Cursor) -> InspectResult:
            cursor.execute(build.READ_ONLY)
            return inspect(cursor, since, read_uuid(cursor))

        return self._inside(name, read)

    def business(self, name: str, today: date) -> tuple[Busy, ...]:
        """Tell what people are in the midst of, reading only."""

        def read(cursor: Cursor) -> tuple[Busy, ...]:
            cursor.execute(build.READ_ONLY)
            return read_business(cursor, today)

        return self._inside(name, read)

    def sessions(self, name: str) -> tuple[Session, ...]:
        """List the sessions in a database, the agent's own for this excepted."""
        with self._postgres.cursor() as cursor:
            return _sessions(cursor, name)

    def size(self, name: str) -> int:
        """Tell how large a database is; 0 when nobody may know."""
        with self._postgres.cursor() as cursor:
            found = row(cursor, build.DATABASE, (name,))
            return int(found[3]) if found else 0

    def free_bytes(self) -> int | None:
        """Tell what the quota leaves."""
        if self._quota_bytes is None:
            return None
        with self._postgres.cursor() as cursor:
            return max(0, self._quota_bytes - int(one(cursor, build.SIZES)))

    def version(self) -> str:
        """Return the server's version."""
        with self._postgres.cursor() as cursor:
            return str(one(cursor, SQL("SHOW server_version"))).split()[0]

    # -- roles

    def ensure_roles(self, app: str, app_password: str, upgrade: str, upgrade_password: str) -> None:
        """Have the environment's two roles, and the agent a member of both; see the port."""
        with self._postgres.cursor() as cursor, locked(cursor, "roles"):
            self._ensure_role(cursor, app, app_password)
            self._ensure_role(cursor, upgrade, upgrade_password)
            cursor.execute(build.grant_role(app, upgrade, server(cursor)))
            cursor.execute(build.set_role_at_login(upgrade, app))

    def _ensure_role(self, cursor: Cursor, role: str, password: str) -> None:
        existing = row(cursor, build.ROLE, (role,))
        if existing and any(existing):
            raise Refused(
                f"The role {role} has rights that no environment's role may have; rename it or take them away."
            )
        # Hashed here: a password in a statement would end up in the server's log.
        verifier = encrypt_password(password, role, scope=cursor.connection, algorithm="scram-sha-256")
        cursor.execute(build.write_role(role, verifier, bool(existing)))
        if not one(cursor, build.has_role(role, server(cursor))):
            cursor.execute(build.grant_role(role, _me(cursor), server(cursor)))

    # -- making, naming, dropping

    def create(self, name: str, owner: str) -> None:
        """Create an empty database that only its owner and the agent may enter."""
        with self._postgres.cursor() as cursor, locked(cursor, name):
            found = row(cursor, build.DATABASE, (name,))
            if found and found[0] != owner:
                raise Refused(
                    f"There is a database {name} of {found[0]}'s already; choose another name for the environment's."
                )
            if found is None:
                cursor.execute(build.create_database(name, owner))
            with transaction(cursor):
                cursor.execute(build.revoke("ALL", name, ""))
                cursor.execute(build.grant(["CONNECT"], name, _me(cursor)))
            cursor.execute(build.allow_connections(name, True))

    def write_tag(self, name: str, environment_uuid: str, token: int) -> None:
        """Mark whose the database is. Raises LeaseLost when a newer token has marked it."""
        with self._postgres.cursor() as cursor, locked(cursor, name):
            text = _comment(cursor, name)
            tag = build.owner_tag(text)
            if tag and tag.environment_uuid != environment_uuid:
                raise Refused(
                    f"The database {name} is marked as another environment's; point this one at its own database.",
                    code="identity_mismatch",
                )
            if tag and tag.token > token:
                raise LeaseLost(
                    f"{name} carries the newer token {tag.token}; another worker owns it, so nothing was touched."
                )
            kept = {**build.read_comment(text), "environment": environment_uuid, "token": token}
            cursor.execute(build.comment(name, build.write_comment(kept)))

    def drop(self, name: str) -> None:
        """Drop a database, whoever is in it."""
        statement = build.drop(name)
        with self._postgres.cursor(COPY_SECONDS) as cursor, locked(cursor, name):
            if _existing(cursor, name):
                cursor.execute(build.allow_connections(name, False))
                self._with_nobody_in(cursor, name, lambda: cursor.execute(statement))

    # -- the fence

    def fence(self, name: str, app: str, upgrade: str) -> None:
        """Keep all but the agent and the upgrade role out and end every session; see the port."""
        with self._postgres.cursor() as cursor, locked(cursor, name):
            with transaction(cursor):
                self._shut_out(cursor, name, keep=(_me(cursor), upgrade))
            others = {role for role in _may_connect(cursor, name) if role not in (_me(cursor), upgrade)}
            if others:
                raise Permanent(
                    f"CONNECT on {name} was given to {', '.join(sorted(others))} by another role; revoke it there."
                )
            self._evict(cursor, name)

    def unfence(self, name: str, app: str) -> None:
        """Let the owner and all who might before the fence connect again."""
        with self._postgres.cursor() as cursor, locked(cursor, name), transaction(cursor):
            kept = dict(build.read_comment(_comment(cursor, name)))
            for role in {app, *kept.pop("fenced", ())}:
                if role == app or row(cursor, build.ROLE, (role,)):
                    cursor.execute(build.grant(["CONNECT"], name, role))
            cursor.execute(build.comment(name, build.write_comment(kept) if kept else None))

    def _shut_out(self, cursor: Cursor, name: str, keep: Sequence[str]) -> None:
        out = [role for role in _may_connect(cursor, name) if role not in keep]
        kept = dict(build.read_comment(_comment(cursor, name)))
        kept["fenced"] = sorted({*kept.get("fenced", ()), *(role for role in out if role)})
        for role in keep:
            cursor.execute(build.grant(["CONNECT"], name, role))
        for role in out:
            cursor.execute(build.revoke("CONNECT", name, role))
        # Together with the revocation: whoever dies here leaves behind who has to be let in again.
        cursor.execute(build.comment(name, build.write_comment(kept)))

    def _evict(self, cursor: Cursor, name: str, looks: int = QUIET_LOOKS) -> None:
        """End sessions until there is none. Raises Permanent("database_in_use") that names who holds on."""
        deadline = time.monotonic() + self._evict_seconds
        quiet = 0
        while True:
            sessions = _sessions(cursor, name)
            quiet = 0 if sessions else quiet + 1
            if quiet == looks:
                return
            for each in sessions:
                if each.can_end:
                    cursor.execute(build.END_SESSION, (each.pid,))
            if sessions and time.monotonic() >= deadline:
                raise Permanent(
                    f"{name} is still used after {self._evict_seconds:.0f} s by {build.named(sessions)}; "
                    "end that session there, or make the agent's role a member of its role.",
                    code="database_in_use",
                )
            time.sleep(POLL_SECONDS)

    def _with_nobody_in(self, cursor: Cursor, name: str, act: Callable[[], None]) -> None:
        """Act once the database is empty; again when a client that reconnects without pause was just at the door."""
        deadline = time.monotonic() + self._evict_seconds
        while True:
            self._evict(cursor, name, looks=1)  # the statement itself refuses when somebody is in
            try:
                return act()
            except pg.ObjectInUse as error:
                if time.monotonic() >= deadline:
                    raise Permanent(
                        f"Somebody keeps knocking at {name} ({first_line(error)}); stop what reconnects to it.",
                        code="database_in_use",
                    ) from error

    # -- snapshot and swap

    def snapshot(self, source: str, target: str, owner: str) -> str:
        """Copy a fenced database by TEMPLATE; returns `wal_log`, `file_copy` or `clone`."""
        with self._postgres.cursor(COPY_SECONDS) as cursor, locked(cursor, source):
            found = row(cursor, build.DATABASE, (source,))
            if found is None:
                raise Permanent(f"There is no database {source} to copy.")
            if _existing(cursor, target):
                cursor.execute(build.drop(target))
            strategy = self._clone_or_copy(cursor, source, target, owner, int(found[3]))
            _copy_attributes(cursor, source, target)
            return strategy

    def _clone_or_copy(self, cursor: Cursor, source: str, target: str, owner: str, size_bytes: int) -> str:
        strategy = build.choose_strategy(size_bytes, server(cursor))
        if strategy == "clone":
            return self._clone(cursor, source, target, owner)
        self._copy(cursor, source, target, owner, strategy)
        return strategy

    def _clone(self, cursor: Cursor, source: str, target: str, owner: str) -> str:
        """Copy with copy-on-write files; plainly where the server or its file system has none."""
        try:
            cursor.execute("SET file_copy_method = 'clone'")
            self._copy(cursor, source, target, owner, "file_copy")
        except (pg.InvalidParameterValue, pg.FeatureNotSupported, pg.IoError):
            cursor.execute("SET file_copy_method = 'copy'")
            self._copy(cursor, source, target, owner, "file_copy")
            return "file_copy"
        return "clone"

    def _copy(self, cursor: Cursor, source: str, target: str, owner: str, strategy: str) -> None:
        known = server(cursor) >= build.STRATEGIES_SINCE
        statement = build.copy_database(source, target, owner, strategy if known else None)
        self._with_nobody_in(cursor, source, lambda: cursor.execute(statement))

    def swap(self, live: str, snapshot: str, aside: str) -> None:
        """Put `snapshot` in the place of `live`, which becomes `aside`.

        Both renames are one transaction: there is no moment without a live database, so a crash leaves the old state
        or the new.
        """
        with self._postgres.cursor() as cursor, locked(cursor, live):
            there = _existing(cursor, live, snapshot, aside)
            if there == {live, snapshot}:
                _copy_attributes(cursor, live, snapshot)
                cursor.execute(build.allow_connections(live, False))
                self._with_nobody_in(cursor, live, lambda: _exchange(cursor, live, snapshot, aside))
            elif there == {snapshot, aside}:
                cursor.execute(build.rename(snapshot, live))
            elif there != {live, aside}:
                raise Permanent(
                    f"{live} can't be swapped, because of {live}, {snapshot} and {aside} only "
                    f"{', '.join(sorted(there)) or 'none'} exists; restore it from a backup."
                )
            cursor.execute(build.allow_connections(live, True))

    # -- restore sets

    def sets(self, name: str, environment_uuid: str) -> tuple[KeptSet, ...]:
        """Return the copies whose mark, made last of a copy, says that they are the environment's."""
        found = self._marked(name, "s", environment_uuid)
        return tuple(build.kept_set(token, comment) for token, comment in found)

    def copies(self, name: str, environment_uuid: str) -> tuple[int, ...]:
        """Return the tokens of another environment's data that are marked as on their way to this one."""
        return tuple(token for token, _ in self._marked(name, "c", environment_uuid))

    def _marked(self, name: str, kind: str, environment_uuid: str) -> list[tuple[int, str]]:
        with self._postgres.cursor() as cursor:
            pattern = f"^{build.name(name)}__{kind}([1-9][0-9]*)$"
            found = rows(cursor, build.COPIES, (pattern, pattern))
        tags = {int(token): (build.owner_tag(comment), comment) for token, comment in found}
        return [
            (token, comment)
            for token, (tag, comment) in sorted(tags.items())
            if tag and tag.environment_uuid == environment_uuid
        ]

    def set_files(self, snapshot: str, app: str, upgrade: str) -> frozenset[str]:
        """Read which files a set's attachments are in; see the port."""
        self.fence(snapshot, app, upgrade)
        with self._opened(snapshot):
            return self.attachment_files(snapshot)

    @contextmanager
    def _opened(self, name: str) -> Iterator[None]:
        # Locked until it is closed again: who copies it waits, and finds it closed.
        with self._postgres.cursor() as cursor, locked(cursor, name):
            try:
                cursor.execute(build.allow_connections(name, True))
                yield
            finally:
                if _existing(cursor, name):  # a rollback may have put it in its place meanwhile
                    cursor.execute(build.allow_connections(name, False))
                    self._evict(cursor, name, looks=1)

    def mark_set(self, snapshot: str, digest: str | None, since: datetime | None = None) -> None:
        """Write the copy's image and age into its comment; the age by the cluster's clock, as Odoo's times are."""
        with self._postgres.cursor() as cursor, locked(cursor, snapshot):
            at: datetime = since or one(cursor, build.NOW)
            kept = {**build.read_comment(_comment(cursor, snapshot)), **build.set_mark(digest, at)}
            cursor.execute(build.comment(snapshot, build.write_comment(kept)))

    def count_loss(
        self,
        name: str,
        since: datetime,
        table_seconds: float,
        seconds: float,
        newest: int,
        hurried: Collection[str] = (),
    ) -> Loss:
        """Count, reading only; see the port."""

        def read(cursor: Cursor) -> Loss:
            cursor.execute(build.READ_ONLY)
            return read_loss(cursor, since, table_seconds, seconds, newest, hurried)

        return self._inside(name, read)

    # -- copies for another environment

    def copy_apart(self, source: str, target: str, from_role: str, app: str, upgrade: str) -> str:
        """Copy a closed database for another environment; see the port."""
        with self._postgres.cursor(COPY_SECONDS) as cursor, locked(cursor, source):
            found = row(cursor, build.DATABASE, (source,))
            if found is None:
                raise Permanent(f"The restore set {source} is gone: copy from another one.", code="source_gone")
            if found[1]:
                raise Refused(f"{source} is open to its users, so it is no restore set: copy from one.")
            strategy = self._clone_or_copy(cursor, source, target, _me(cursor), int(found[3]))
            self._open_apart(cursor, target, upgrade)
        with self._postgres.cursor(COPY_SECONDS, dbname=target) as inside:
            inside.execute(build.GUARDS)
            give_objects(inside, from_role, app)
        return strategy

    def create_apart(self, target: str, app: str, upgrade: str) -> None:
        """Make an empty database of the agent's own that `upgrade` alone may enter, and fill for `app`."""
        with self._postgres.cursor() as cursor, locked(cursor, target):
            cursor.execute(build.create_database(target, _me(cursor)))
            self._open_apart(cursor, target, upgrade)
            cursor.execute(build.grant(["CREATE"], target, app))
        with self._postgres.cursor(dbname=target) as inside:
            give_objects(inside, "", app)

    def _open_apart(self, cursor: Cursor, target: str, upgrade: str) -> None:
        with transaction(cursor):
            cursor.execute(build.revoke("ALL", target, ""))
            cursor.execute(build.grant(["CONNECT"], target, upgrade))
        cursor.execute(build.allow_connections(target, True))

    def neutralise(self, name: str, rules: Sequence[Rule], settings: Mapping[str, str]) -> None:
        """Carry out the rules as the environment's upgrade role."""
        with self._writer(name, COPY_SECONDS) as cursor:
            apply_rules(cursor, rules, settings)

    def obfuscate(self, name: str, fields: Sequence[tuple[str, str]]) -> int:
        """Turn personal data into noise; returns in how many columns."""
        with self._writer(name, COPY_SECONDS) as cursor:
            return obfuscate(cursor, fields)

    def prove(self, name: str, rules: Sequence[Rule], settings: Mapping[str, str]) -> tuple[RestoreCheck, ...]:
        """Tell of each rule whether it holds now, reading only."""
        with self._writer(name, COPY_SECONDS) as cursor:
            cursor.execute(build.READ_ONLY)
            return tuple(prove(cursor, rules, settings))

    def hand_over(self, name: str, app: str) -> None:
        """Give a copy that was proven safe to its environment's role."""
        with self._postgres.cursor() as cursor, locked(cursor, name):
            cursor.execute(copies.give_database(name, app))

    def adopt(self, name: str, live: str, app: str) -> None:
        """Give a copy the name that nobody has, and its owner alone the way in; done before is success."""
        with self._postgres.cursor() as cursor, locked(cursor, live):
            there = _existing(cursor, name, live)
            if there == {name}:
                cursor.execute(build.allow_connections(name, False))
                self._with_nobody_in(cursor, name, lambda: cursor.execute(build.rename(name, live)))
            elif there != {live}:
                raise Permanent(f"{name} can't become {live}: {', '.join(sorted(there)) or 'neither'} is there.")
            cursor.execute(build.grant(["CONNECT"], live, app))
            cursor.execute(build.allow_connections(live, True))

    @contextmanager
    def _writer(self, name: str, seconds: float) -> Iterator[Cursor]:
        login = self._login_of(name)
        if login is None:
            raise Permanent(f"The agent has no password for {name}; deploy its environment again to make one.")
        with self._postgres.cursor(seconds, dbname=name, user=login[0], password=login[1]) as cursor:
            yield cursor

    # -- rows in a customer's database

    def record_manifest(self, name: str, digest: str, modules: Mapping[str, Mapping[str, object]]) -> None:
        """Write what was installed from which image."""
        value = json.dumps({"digest": digest, "modules": modules}, sort_keys=True, separators=(",", ":"))
        self.write_parameters(name, {INSTALLED_MANIFEST: value})

    def write_parameters(self, name: str, parameters: Mapping[str, str]) -> None:
        """Write rows of `ir_config_parameter` as the environment's upgrade role."""
        login = self._login_of(name)
        if login is None:
            raise Permanent(f"The agent has no password for {name}; deploy its environment again to make one.")
        with self._postgres.writer(name, *login) as cursor:
            for key, value in sorted(parameters.items()):
                cursor.execute(build.WRITE_PARAMETER, {"key": key, "value": value})


def _facts(cursor: Cursor, name: str, inside: Inside) -> DatabaseFacts | None:
    found = row(cursor, build.DATABASE, (name,))
    if found is None:
        return None
    owner, allows, comment, size = found
    return DatabaseFacts(
        name=name,
        owner=owner,
        bytes=int(size),
        allows_connections=allows,
        tag=build.owner_tag(comment),
        uuid=inside.uuid,
        modules=inside.modules,
        recorded_digest=inside.recorded_digest,
        recorded=inside.recorded,
        languages=inside.languages,
        sessions=_sessions(cursor, name),
        fenced="fenced" in build.read_comment(comment),
        asides=tuple(aside for (aside,) in rows(cursor, build.ASIDES, (f"^{build.name(name)}__x[1-9][0-9]*$",))),
    )


def _me(cursor: Cursor) -> str:
    return str(one(cursor, SQL("SELECT current_user")))


def _existing(cursor: Cursor, *names: str) -> set[str]:
    return {name for (name,) in rows(cursor, build.EXISTING, (list(names),))}


def _sessions(cursor: Cursor, name: str) -> tuple[Session, ...]:
    return tuple(Session(*each) for each in rows(cursor, build.SESSIONS, (name,)))


def _comment(cursor: Cursor, name: str) -> str | None:
    found = row(cursor, build.DATABASE, (name,))
    if found is None:
        raise Permanent(f"There is no database {name}.")
    return str(found[2]) if found[2] else None


def _may_connect(cursor: Cursor, name: str) -> list[str]:
    return [role for role, privilege, _ in rows(cursor, build.ACL, (name,)) if privilege == "CONNECT"]


def _copy_attributes(cursor: Cursor, source: str, target: str) -> None:
    """Give a copy what TEMPLATE leaves behind: rights, settings, limit, and last the comment that makes it complete."""
    with transaction(cursor):
        _copy_rights(cursor, source, target)
        cursor.execute(build.connection_limit(target, int(one(cursor, build.CONNECTION_LIMIT, (source,)))))
        cursor.execute(build.comment(target, _comment(cursor, source)))
    for role, stored in rows(cursor, build.SETTINGS, (source,)):
        # What a superuser set can only be set by one; it is not the environment's.
        with suppress(pg.InsufficientPrivilege):
            cursor.execute(build.setting(target, role, stored))


def _copy_rights(cursor: Cursor, source: str, target: str) -> None:
    for role in {role for role, _, _ in rows(cursor, build.ACL, (target,))}:
        cursor.execute(build.revoke("ALL", target, role))
    for role, privilege, grantable in rows(cursor, build.ACL, (source,)):
        cursor.execute(build.grant([privilege], target, role, grantable))


def _exchange(cursor: Cursor, live: str, snapshot: str, aside: str) -> None:
    with transaction(cursor):
        cursor.execute(build.rename(live, aside))
        cursor.execute(build.rename(snapshot, live))
