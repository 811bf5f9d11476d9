"""The distribution's PostgreSQL and 18, with an agent role that is no superuser, and clients that do not keep still."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from odooops_agent.database import PostgresDatabase
from odooops_agent.database_inside import INSTALLED_MANIFEST
from odooops_agent.errors import LeaseLost, Permanent, Refused, Retryable
from odooops_agent.facts import OwnerTag
from odooops_agent.postgres import locked
from parts.postgres import AGENT, Cluster, Knocking, Made, execute

UUID = "6f1f2f0e-7c55-4f0c-9a43-0d8a6c3b1f10"
Make = Callable[..., Made]


def test_facts_of_a_database(made: Made) -> None:
    made.database.write_tag(made.name, UUID, 7)
    made.database.record_manifest(
        made.name, "sha256:1", {"workshop": {"version": "19.0.1.0.0", "hash": "h", "i18n": {"fr": "f"}}}
    )
    with closing(psycopg2.connect(made.app_dsn + " application_name=odoo-1")):
        facts = made.database.facts(made.name)
    assert facts
    assert (facts.owner, facts.tag, facts.allows_connections) == (made.name, OwnerTag(UUID, 7), True)
    assert facts.uuid == "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002"
    assert facts.bytes > 1_000_000
    assert facts.modules["workshop"].state == "installed"
    assert facts.modules["sale"].version is None
    assert facts.recorded["workshop"].i18n == {"fr": "f"}
    assert facts.recorded_digest == "sha256:1"
    assert facts.languages == ("en_US", "fr_FR")
    assert [(each.role, each.application, each.can_end) for each in facts.sessions] == [(made.name, "odoo-1", True)]


def test_facts_where_there_is_little_to_read(make: Make, cluster: Cluster) -> None:
    made = make()
    made.as_app("DROP TABLE ir_module_module, ir_config_parameter, res_lang")
    empty = made.database.facts(made.name)
    assert empty
    assert (empty.uuid, dict(empty.modules), empty.recorded_digest) == (None, {}, None)
    cluster.as_superuser(f"ALTER DATABASE {made.name} ALLOW_CONNECTIONS false")
    with pytest.raises(Retryable, match="can't be entered"):  # as if it were empty, it would be installed over
        made.database.facts(made.name)
    identity = made.database.identity(made.name)
    assert identity
    assert identity.uuid is None
    assert made.database.facts("nothing_here") is None
    assert made.database.identity("nothing_here") is None


def test_a_database_is_closed_to_every_other_role(make: Make) -> None:
    one, other = make(), make()
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        execute(one.cluster.dsn(other.name, other.app_password, one.name))
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        execute(one.cluster.dsn(other.upgrade, other.upgrade_password, one.name))
    assert one.as_app("SELECT 1") == [(1,)]


def test_what_the_upgrade_role_makes_belongs_to_the_app(made: Made) -> None:
    execute(made.upgrade_dsn, "CREATE TABLE from_migration (id int)")
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'from_migration'"
    assert made.as_app(owner) == [(made.name,)]
    made.as_app("ALTER TABLE from_migration ADD COLUMN name text")


def test_everything_can_be_asked_for_twice(made: Made) -> None:
    database = made.database
    for _ in range(2):
        database.ensure_roles(made.name, made.app_password, made.upgrade, made.upgrade_password)
        database.create(made.name, made.name)
        database.write_tag(made.name, UUID, 3)
        database.fence(made.name, made.name, made.upgrade)
        database.snapshot(made.name, f"{made.name}__s3", made.name)
    for _ in range(2):
        database.unfence(made.name, made.name)
    for _ in range(2):
        database.drop(f"{made.name}__s3")
    assert made.as_app("SELECT 1") == [(1,)]


def test_the_copies_of_an_environment_are_found_by_name_and_mark(made: Made) -> None:
    made.database.write_tag(made.name, UUID, 12)
    made.database.fence(made.name, made.name, made.upgrade)
    for token in (3, 12):
        made.database.snapshot(made.name, f"{made.name}__s{token}", made.name)
    made.database.create(f"{made.name}__s9", made.name)  # nobody's mark
    made.database.create(f"{made.name}__x7", made.name)
    for token, uuid in ((4, UUID), (5, "another")):
        made.database.create(f"{made.name}__c{token}", made.name)
        made.database.write_tag(f"{made.name}__c{token}", uuid, token)
    facts = made.database.facts(made.name)
    assert facts
    assert (facts.fenced, facts.asides) == (True, (f"{made.name}__x7",))
    assert tuple(one.token for one in made.database.sets(made.name, UUID)) == (3, 12)
    assert made.database.sets(made.name, "another") == ()
    assert made.database.copies(made.name, UUID) == (4,)
    for copy in ("__s3", "__s9", "__s12", "__x7", "__c4", "__c5"):
        made.database.drop(made.name + copy)
    made.database.unfence(made.name, made.name)
    facts = made.database.facts(made.name)
    assert facts
    assert (facts.fenced, facts.asides) == (False, ())


def test_no_password_reaches_the_servers_log(made: Made) -> None:
    log = made.cluster.log.read_text()
    assert f'ALTER ROLE "{made.name}"' in log or f'CREATE ROLE "{made.name}"' in log
    assert made.app_password not in log
    assert made.upgrade_password not in log
    assert "SCRAM-SHA-256" in log


def test_a_role_with_more_rights_is_not_taken_for_an_environments(cluster: Cluster) -> None:
    cluster.as_superuser("DROP ROLE IF EXISTS mighty", "CREATE ROLE mighty LOGIN CREATEDB")
    with pytest.raises(Refused, match="mighty has rights"):
        cluster.database().ensure_roles("mighty", "a" * 12, "mighty_upgrade", "b" * 12)


def test_the_fence_holds_against_clients_that_reconnect_without_pause(made: Made) -> None:
    with Knocking(made.app_dsn, clients=6) as clients:
        began = time.monotonic()
        made.database.fence(made.name, made.name, made.upgrade)
        fenced = time.monotonic() - began
        assert made.database.sessions(made.name) == ()
        connected, refused = clients.connected, clients.refused
        time.sleep(0.5)
        assert clients.connected == connected
        assert clients.refused > refused
        execute(made.upgrade_dsn, "SELECT 1")
        made.database.unfence(made.name, made.name)
        time.sleep(0.5)
        assert clients.connected > connected
    print(f"PostgreSQL {made.cluster.version}: fenced in {fenced * 1000:.0f} ms against 6 clients")


def test_who_might_connect_before_the_fence_may_again_after_it(made: Made) -> None:
    made.cluster.as_superuser(
        "DROP ROLE IF EXISTS bi", "CREATE ROLE bi LOGIN PASSWORD 'bi'", f"GRANT CONNECT ON DATABASE {made.name} TO bi"
    )
    bi = made.cluster.dsn("bi", "bi", made.name)
    made.database.fence(made.name, made.name, made.upgrade)
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        execute(bi)
    made.database.fence(made.name, made.name, made.upgrade)  # as after a crash
    made.database.unfence(made.name, made.name)
    execute(bi, "SELECT 1")
    made.cluster.as_superuser(f"REVOKE CONNECT ON DATABASE {made.name} FROM bi", "DROP ROLE bi")


def test_a_session_that_cannot_be_ended_is_named(make: Make) -> None:
    made = make(evict_seconds=1.0)
    made.cluster.as_superuser(
        "DROP ROLE IF EXISTS bi", "CREATE ROLE bi LOGIN PASSWORD 'bi'", f"GRANT CONNECT ON DATABASE {made.name} TO bi"
    )
    with closing(psycopg2.connect(made.cluster.dsn("bi", "bi", made.name) + " application_name=metabase")):
        facts = made.database.facts(made.name)
        assert facts
        assert [(each.role, each.application, each.can_end) for each in facts.sessions] == [("bi", "metabase", False)]
        with pytest.raises(Permanent, match=r"bi \(metabase") as raised:
            made.database.fence(made.name, made.name, made.upgrade)
        assert raised.value.code == "database_in_use"
        made.database.unfence(made.name, made.name)
        assert made.as_app("SELECT 1") == [(1,)]
    made.cluster.as_superuser(f"REVOKE CONNECT ON DATABASE {made.name} FROM bi", "DROP ROLE bi")


def test_a_vacuum_of_the_servers_own_is_nobodys_session(made: Made) -> None:
    """It gives way to whoever copies or renames; its kind is hidden from the agent's role."""
    made.as_app(
        "CREATE TABLE churned AS SELECT generate_series(1, 50000) AS id",
        "ALTER TABLE churned SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, "
        "autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_cost_delay = 100)",
        "DELETE FROM churned WHERE id % 2 = 0",
    )
    working = "SELECT datname FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
    cluster = made.cluster
    cluster.as_superuser("ALTER SYSTEM SET autovacuum_naptime = 1", "SELECT pg_reload_conf()")
    try:
        deadline = time.monotonic() + 60
        while (made.name,) not in cluster.as_superuser(working):
            assert time.monotonic() < deadline, "no autovacuum came"
            time.sleep(0.05)
        assert made.database.sessions(made.name) == ()
        assert (made.name,) in cluster.as_superuser(working), "it had gone before it could be looked for"
        made.database.fence(made.name, made.name, made.upgrade)
        made.database.snapshot(made.name, f"{made.name}__s1", made.name)
    finally:
        cluster.as_superuser("ALTER SYSTEM RESET autovacuum_naptime", "SELECT pg_reload_conf()")


def test_a_snapshot_is_complete_and_closed(made: Made) -> None:
    name, target = made.name, f"{made.name}__s4"
    made.database.write_tag(name, UUID, 4)
    made.cluster.as_superuser(
        f"ALTER DATABASE {name} SET search_path TO 'sales dept', public",
        f"ALTER DATABASE {name} SET datestyle TO 'ISO, DMY'",
        f"ALTER ROLE {name} IN DATABASE {name} SET statement_timeout TO '7min'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 40",
    )
    made.database.fence(name, name, made.upgrade)
    began = time.monotonic()
    strategy = made.database.snapshot(name, target, name)
    print(f"PostgreSQL {made.cluster.version}: empty snapshot by {strategy} in {time.monotonic() - began:.2f} s")
    described = """
        SELECT datallowconn, datconnlimit, datacl, shobj_description(d.oid, 'pg_database'), pg_get_userbyid(datdba),
               (SELECT array_agg(setrole || ':' || setconfig::text ORDER BY setrole) FROM pg_db_role_setting
                WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = '{}'
    """
    source = made.cluster.as_superuser(described.format(name))[0]
    copy = made.cluster.as_superuser(described.format(target))[0]
    assert copy[0] is False
    assert copy[1] == source[1] == 40
    assert copy[3:] == source[3:]
    assert sorted(copy[2].strip("{}").split(",")) == sorted(source[2].strip("{}").split(","))
    with pytest.raises(psycopg2.OperationalError, match="not currently accepting connections"):
        execute(made.cluster.dsn(made.upgrade, made.upgrade_password, target))
    made.database.unfence(name, name)
    made.database.drop(target)


def fail_a_migration(made: Made, token: int) -> None:
    made.database.write_tag(made.name, UUID, token)
    made.database.fence(made.name, made.name, made.upgrade)
    made.database.snapshot(made.name, f"{made.name}__s{token}", made.name)
    execute(made.upgrade_dsn, "UPDATE ir_module_module SET state = 'to upgrade'", "CREATE TABLE half_done (id int)")


def test_a_swap_brings_back_what_was_under_clients_that_reconnect(made: Made) -> None:
    with Knocking(made.app_dsn) as clients:
        fail_a_migration(made, 5)
        began = time.monotonic()
        made.database.swap(made.name, f"{made.name}__s5", f"{made.name}__x5")
        swapped = time.monotonic() - began
        made.database.unfence(made.name, made.name)
        connected = clients.connected
        time.sleep(0.5)
        assert clients.connected > connected
    print(f"PostgreSQL {made.cluster.version}: swapped in {swapped * 1000:.0f} ms")
    assert made.as_app("SELECT DISTINCT state FROM ir_module_module ORDER BY 1") == [("installed",), ("uninstalled",)]
    identity = made.database.identity(made.name)
    assert identity
    assert identity.tag == OwnerTag(UUID, 5)
    made.database.swap(made.name, f"{made.name}__s5", f"{made.name}__x5")  # again, as after a crash: all is so already
    made.database.drop(f"{made.name}__x5")
    assert made.as_app("SELECT to_regclass('half_done')") == [(None,)]
    assert execute(made.cluster.dsn(AGENT, made.cluster.agent_password, made.name), "SELECT 1") == [(1,)]


def test_a_crash_in_the_swap_leaves_the_old_state_or_the_new(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_a_migration(made, 6)
    live, snapshot, aside = made.name, f"{made.name}__s6", f"{made.name}__x6"

    class Killed(BaseException):
        pass

    from odooops_agent.commands import postgres as build

    rename = build.rename
    renames: list[str] = []

    def die_at_the_second(database: str, new: str) -> object:
        renames.append(database)
        if len(renames) == 2:
            raise Killed
        return rename(database, new)

    monkeypatch.setattr(build, "rename", die_at_the_second)
    with pytest.raises(Killed):
        made.database.swap(live, snapshot, aside)
    assert made.database.exists(live)
    assert not made.database.exists(aside)
    monkeypatch.undo()
    made.database.swap(live, snapshot, aside)
    made.database.unfence(live, live)
    assert made.as_app("SELECT to_regclass('half_done')") == [(None,)]


def test_a_swap_that_was_left_between_two_renames_is_ended(made: Made) -> None:
    fail_a_migration(made, 8)
    live, snapshot, aside = made.name, f"{made.name}__s8", f"{made.name}__x8"
    execute(made.cluster.agent_dsn, f"ALTER DATABASE {live} RENAME TO {aside}")
    made.database.swap(live, snapshot, aside)
    made.database.unfence(live, live)
    assert made.as_app("SELECT to_regclass('half_done')") == [(None,)]
    with pytest.raises(Permanent, match="can't be swapped"):
        made.database.swap(live, "not_there__s1", "not_there__x1")


def test_a_database_of_another_environments_is_not_marked(made: Made) -> None:
    made.database.write_tag(made.name, UUID, 1)
    with pytest.raises(Refused, match="another environment's"):
        made.database.write_tag(made.name, UUID.replace("6", "7"), 2)


def test_a_newer_token_stops_a_worker_that_came_back(made: Made) -> None:
    made.database.write_tag(made.name, UUID, 9)
    with pytest.raises(LeaseLost, match="newer token 9"):
        made.database.write_tag(made.name, UUID, 8)
    identity = made.database.identity(made.name)
    assert identity
    assert identity.tag == OwnerTag(UUID, 9)


def test_rows_are_written_as_the_environments_role_so_that_no_trigger_gets_the_agents_rights(made: Made) -> None:
    made.as_app(
        "CREATE TABLE caught (who text, session text)",
        """CREATE FUNCTION catch() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN RESET ROLE; INSERT INTO public.caught VALUES (current_user, session_user); RETURN NEW; END$$""",
        "CREATE TRIGGER catch BEFORE INSERT OR UPDATE ON ir_config_parameter FOR EACH ROW EXECUTE FUNCTION catch()",
    )
    made.database.write_parameters(made.name, {"web.base.url": "https://shop.example"})
    assert made.parameter("web.base.url") == "https://shop.example"
    assert made.as_app("SELECT * FROM caught") == [(made.name, made.upgrade)]  # RESET ROLE leads no further


def test_reading_runs_nothing_that_a_customer_put_into_the_database(made: Made) -> None:
    made.as_app(
        "CREATE TABLE caught (who text)",
        """CREATE FUNCTION catch() RETURNS text LANGUAGE plpgsql AS
           $$BEGIN INSERT INTO public.caught VALUES (session_user); RETURN 'x'; END$$""",
        "ALTER TABLE ir_config_parameter RENAME TO real_parameter",
        "CREATE VIEW ir_config_parameter AS SELECT key, catch() AS value FROM real_parameter",
    )
    with pytest.raises(Permanent):
        made.database.facts(made.name)
    assert made.as_app("SELECT * FROM caught") == []


def test_what_runs_all_the_same_has_no_more_than_the_environments_rights(made: Made) -> None:
    made.as_app(
        "CREATE TABLE caught (session text)",
        "CREATE TYPE disguise AS (text text)",
        """CREATE FUNCTION catch(disguise) RETURNS text LANGUAGE plpgsql AS
           $$BEGIN RESET ROLE; INSERT INTO public.caught VALUES (session_user); RETURN $1.text; END$$""",
        "CREATE CAST (disguise AS text) WITH FUNCTION catch(disguise) AS IMPLICIT",
        "GRANT INSERT ON caught TO PUBLIC",
        "ALTER TABLE ir_config_parameter ALTER COLUMN key TYPE disguise USING ROW(key)::disguise",
    )
    made.database.facts(made.name)
    made.database.identity(made.name)
    assert set(made.as_app("SELECT * FROM caught")) == {(made.upgrade,)}


def test_a_password_that_somebody_changed_is_set_again(made: Made) -> None:
    made.cluster.as_superuser(f"ALTER ROLE {made.upgrade} PASSWORD 'another'")
    facts = made.database.facts(made.name)
    assert facts
    assert facts.uuid
    assert made.database.identity(made.name)


def test_parameters_are_written_once(made: Made) -> None:
    made.database.write_parameters(made.name, {"web.base.url": "https://a.example"})
    first = made.as_app("SELECT xmin FROM ir_config_parameter WHERE key = 'web.base.url'")
    made.database.write_parameters(made.name, {"web.base.url": "https://a.example"})
    assert made.as_app("SELECT xmin FROM ir_config_parameter WHERE key = 'web.base.url'") == first
    made.database.write_parameters(made.name, {"web.base.url": "https://b.example"})
    assert made.parameter("web.base.url") == "https://b.example"


def test_a_record_that_somebody_broke_counts_as_none(made: Made) -> None:
    made.database.write_parameters(made.name, {INSTALLED_MANIFEST: "{broken"})
    facts = made.database.facts(made.name)
    assert facts
    assert facts.recorded == {}


def test_dropping_ends_who_is_in_it(made: Made) -> None:
    with Knocking(made.app_dsn):
        made.database.drop(made.name)
    assert not made.database.exists(made.name)
    for name in ("postgres", "template1"):
        with pytest.raises(Refused):
            made.database.drop(name)


@pytest.mark.parametrize("name", ["x" * 64, 'a"; DROP DATABASE postgres; --', "prod\n", "Größe", ""])
def test_names_that_are_none_are_refused(cluster: Cluster, name: str) -> None:
    with pytest.raises(Refused):
        cluster.database().create(name, AGENT)


def test_another_owners_database_is_not_taken_over(make: Make) -> None:
    one, other = make(), make()
    with pytest.raises(Refused, match="already"):
        one.database.create(one.name, other.name)


def test_the_quota_leaves_what_the_databases_do_not_take(cluster: Cluster) -> None:
    free = cluster.database(quota_bytes=10 << 30).free_bytes()
    assert free
    assert 0 < free < 10 << 30
    assert cluster.database().free_bytes() is None


def test_two_jobs_on_one_database_come_one_after_the_other(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odooops_agent.postgres.LOCK_WAIT_SECONDS", 0.3)
    with (
        made.database._postgres.cursor() as cursor,
        locked(cursor, made.name),
        pytest.raises(Retryable, match="still works"),
    ):
        made.database.write_tag(made.name, UUID, 1)
    made.database.write_tag(made.name, UUID, 1)


def test_a_server_that_is_away_is_worth_another_try(made: Made) -> None:
    with pytest.raises(Retryable, match="PostgreSQL does not answer"):
        PostgresDatabase("host=127.0.0.1 port=1 user=x dbname=x", None, lambda _: None).exists("x")
    execute_dsn = made.cluster.agent_dsn
    with made.database._postgres.cursor() as cursor:
        execute(execute_dsn, f"SELECT pg_terminate_backend({cursor.connection.info.backend_pid})")
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")


def test_a_missing_right_is_said_so(cluster: Cluster) -> None:
    cluster.as_superuser("DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN PASSWORD 'weak'")
    weak = PostgresDatabase(cluster.dsn("weak", "weak"), None, lambda _: None)
    with pytest.raises(Permanent, match="doctor") as raised:
        weak.ensure_roles("a_role", "a" * 12, "a_role_upgrade", "b" * 12)
    assert raised.value.code == "missing_right"
