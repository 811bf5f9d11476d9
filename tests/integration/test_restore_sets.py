"""Restore sets and losses on real PostgreSQL: the exchange by rename, the marks, and counting what came since."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from odooops_agent.errors import Permanent
from odooops_agent.protocol import Loss, LossCount
from parts.postgres import Made, execute

UUID = "6f1f2f0e-7c55-4f0c-9a43-0d8a6c3b1f10"
DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
MODELS = """
    CREATE TABLE ir_model (id serial PRIMARY KEY, model varchar, name jsonb, transient boolean);
    INSERT INTO ir_model (model, name, transient) VALUES
        ('account.move', '{"en_US": "Journal Entry"}', false), ('sale.order', '{"en_US": "Sales Order"}', false),
        ('ir.attachment', '{"en_US": "Attachment"}', false), ('ir.cron', '{"en_US": "Cron"}', false),
        ('sale.wizard', '{"en_US": "A wizard"}', true), ('res.partner', '{}', null);
"""
TIMES = "create_date timestamp, write_date timestamp"
TABLES = f"""
    CREATE TABLE account_move (id serial PRIMARY KEY, name varchar, state varchar, {TIMES});
    CREATE TABLE sale_order (id serial PRIMARY KEY, name varchar, {TIMES});
    CREATE TABLE res_partner (id serial PRIMARY KEY, name varchar, {TIMES});
    CREATE TABLE ir_attachment (id serial PRIMARY KEY, name varchar, res_model varchar, {TIMES});
    CREATE TABLE ir_cron (id serial PRIMARY KEY, {TIMES});
    CREATE TABLE sale_wizard (id serial PRIMARY KEY, {TIMES});
    CREATE TABLE customers_own (id bigserial PRIMARY KEY, {TIMES});
    CREATE TABLE sale_order_tag_rel (sale_order_id int, tag_id int);
    CREATE VIEW sale_report AS SELECT * FROM sale_order
"""  # noqa: S608 constants
UTC_NOW = "now() AT TIME ZONE 'UTC'"
LONG_AGO = "'2020-01-01'"


@pytest.fixture
def shop(made: Made) -> Made:
    """A database with an order, an entry and a contact of long ago."""
    made.as_app(MODELS, TABLES)
    for table, columns, values in (
        ("account_move", "name, state", "'INV/1', 'posted'"),
        ("sale_order", "name", "'S1'"),
        ("res_partner", "name", "'Deco Addict'"),
    ):
        insert(made, table, columns, values, LONG_AGO)
    made.database.write_tag(made.name, UUID, 12)
    return made


def insert(made: Made, table: str, columns: str, values: str, at: str = UTC_NOW) -> None:
    made.as_app(f"INSERT INTO {table} ({columns}, create_date, write_date) VALUES ({values}, {at}, {at})")  # noqa: S608


def touch(made: Made, table: str) -> None:
    made.as_app(f"UPDATE {table} SET write_date = {UTC_NOW} WHERE id = 1")  # noqa: S608


def lost(made: Made, since: datetime, newest: int = 50, table_seconds: float = 5, seconds: float = 30) -> Loss:
    return made.database.count_loss(made.name, since, table_seconds, seconds, newest)


def counted(loss: Loss) -> dict[str, tuple[int, int | None, int]]:
    return {one.model: (one.created, one.changed, one.posted) for one in loss.counts}


# -- what came since


def test_what_came_and_what_changed_since_is_counted_apart_invoices_first(shop: Made) -> None:
    since = datetime.now(UTC) - timedelta(minutes=3)
    for name, state in (("INV/2", "posted"), ("/", "draft")):
        insert(shop, "account_move", "name, state", f"'{name}', '{state}'")
    touch(shop, "account_move")
    insert(shop, "sale_order", "name", "'S2'")
    touch(shop, "res_partner")
    insert(shop, "customers_own", "id", "7")
    loss = lost(shop, since)
    assert counted(loss) == {
        "account.move": (2, 1, 2),
        "sale.order": (1, 0, 0),
        "customers_own": (1, 0, 0),
        "res.partner": (0, 1, 0),
    }
    assert next(iter(counted(loss))) == "account.move"
    assert loss.counts[0].label == "Journal Entry"
    assert 2.9 <= loss.minutes <= 3.5
    assert [(one.model, one.name) for one in loss.newest] == [
        ("account.move", "#3"),
        ("account.move", "INV/2"),
        ("sale.order", "S2"),
        ("customers_own", "#7"),
    ]
    assert lost(shop, since, newest=1).newest == loss.newest[:1]


def test_what_nobody_would_miss_is_not_counted(shop: Made) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    for table in ("ir_cron", "sale_wizard"):
        insert(shop, table, "id", "7")
    insert(shop, "ir_attachment", "name, res_model", "'web.assets.min.js', 'ir.ui.view'")
    insert(shop, "ir_attachment", "name, res_model", "'bundle', NULL")
    assert counted(lost(shop, since)) == {}
    insert(shop, "ir_attachment", "name, res_model", "'scan.pdf', 'sale.order'")
    assert counted(lost(shop, since)) == {"ir.attachment": (1, 0, 0)}


def test_a_table_too_large_to_be_read_in_time_is_told_without_its_changes(shop: Made) -> None:
    """No index leads to what changed; what came is found by the primary key from its end."""
    shop.as_app(
        f"INSERT INTO sale_order (name, create_date, write_date) SELECT 'old', {LONG_AGO}, {LONG_AGO}"  # noqa: S608
        " FROM generate_series(1, 1500000)",
        "ANALYZE sale_order",
    )
    since = datetime.now(UTC) - timedelta(minutes=1)
    for number in range(3):
        insert(shop, "sale_order", "name", f"'new {number}'")
    touch(shop, "sale_order")
    assert counted(lost(shop, since)) == {"sale.order": (3, 1, 0)}
    began = time.monotonic()
    hurried = lost(shop, since, table_seconds=0.02)
    print(f"1.5 million rows, hurried: {time.monotonic() - began:.2f} s")
    assert counted(hurried) == {"sale.order": (3, None, 0)}
    assert time.monotonic() - began < 2
    assert counted(lost(shop, since, seconds=0)) == {"sale.order": (3, None, 0)} | {
        one.model: (0, None, 0) for one in lost(shop, since, seconds=0).counts if one.model != "sale.order"
    }


def test_counting_changes_nothing_and_waits_for_nobody(shop: Made) -> None:
    """Read-only, and a table that somebody locks is given up in time."""
    since = datetime.now(UTC) - timedelta(minutes=1)
    insert(shop, "sale_order", "name", "'S2'")
    shop.as_app(
        "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''written''; END'",
        "CREATE TRIGGER spy BEFORE INSERT OR UPDATE OR DELETE ON sale_order EXECUTE FUNCTION spy()",
    )
    assert counted(lost(shop, since)) == {"sale.order": (1, 0, 0)}


def test_a_customers_own_type_is_not_compared(shop: Made) -> None:
    """Comparing it would run the customer's code with the right to read the count."""
    shop.as_app(
        "CREATE DOMAIN odd AS timestamp",
        "CREATE TABLE trap (id serial PRIMARY KEY, create_date odd, write_date odd)",
        f"INSERT INTO trap (create_date, write_date) VALUES ({UTC_NOW}, {UTC_NOW})",  # noqa: S608
    )
    assert counted(lost(shop, datetime.now(UTC) - timedelta(minutes=1))) == {}


def test_names_that_quote_are_names(shop: Made) -> None:
    shop.as_app(f'CREATE TABLE "it\'s ""odd""; --" (id serial PRIMARY KEY, name varchar, {TIMES})')
    insert(shop, '"it\'s ""odd""; --"', "name", "'100 %s'")
    loss = lost(shop, datetime.now(UTC) - timedelta(minutes=1))
    assert [(one.model, one.created) for one in loss.counts] == [('it\'s "odd"; --', 1)]
    assert loss.newest[0].name == "100 %s"


# -- sets


def take_set(made: Made, token: int) -> str:
    name = f"{made.name}__s{token}"
    made.database.fence(made.name, made.name, made.upgrade)
    made.database.snapshot(made.name, name, made.name)
    made.database.mark_set(name, DIGEST)
    made.database.unfence(made.name, made.name)
    return name


def test_a_sets_mark_tells_its_image_and_its_age_by_the_clusters_clock(shop: Made) -> None:
    name = take_set(shop, 12)
    ((now,),) = shop.cluster.as_superuser("SELECT now()")
    (kept,) = shop.database.sets(shop.name, UUID)
    assert (kept.token, kept.digest) == (12, DIGEST)
    assert kept.since
    assert timedelta() <= now - kept.since < timedelta(seconds=30)
    at = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    shop.database.mark_set(name, None, at)
    (kept,) = shop.database.sets(shop.name, UUID)
    assert (kept.digest, kept.since) == (None, at)
    shop.cluster.as_superuser(
        f'COMMENT ON DATABASE {name} IS \'{{"odooops": {{"environment": "{UUID}", "token": 12, "since": "soon"}}}}\''
    )
    (kept,) = shop.database.sets(shop.name, UUID)
    assert (kept.digest, kept.since) == (None, None)
    shop.database.drop(name)


def test_a_sets_files_are_read_without_letting_its_users_in(shop: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened to the upgrade role for that moment, closed again; also one that somebody killed has left open."""
    file = f"ab/{'ab' * 20}"
    shop.as_app("ALTER TABLE ir_attachment ADD store_fname varchar")
    insert(shop, "ir_attachment", "name, store_fname", f"'A', '{file}'")
    name = take_set(shop, 12)
    database = shop.cluster.database(login_of=lambda name: (shop.upgrade, shop.upgrade_password))
    read, seen = database.attachment_files, []

    def look(name: str) -> frozenset[str]:
        with pytest.raises(psycopg2.OperationalError):
            execute(shop.cluster.dsn(shop.name, shop.app_password, name), "SELECT 1")
        seen.append(name)
        return read(name)

    monkeypatch.setattr(database, "attachment_files", look)
    closed = f"SELECT datallowconn FROM pg_database WHERE datname = '{name}'"  # noqa: S608
    for left_open in (False, True):
        shop.cluster.as_superuser(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {left_open}")
        assert database.set_files(name, shop.name, shop.upgrade) == {file}
        assert shop.cluster.as_superuser(closed) == [(False,)]
    assert seen == [name, name]
    (kept,) = shop.database.sets(shop.name, UUID)
    assert kept.digest == DIGEST
    shop.database.drop(name)
    with pytest.raises(Permanent, match="There is no database"):
        database.set_files(name, shop.name, shop.upgrade)


def test_present_and_set_change_places_with_rights_and_marks_and_back(shop: Made) -> None:
    database, name = shop.database, shop.name
    old = take_set(shop, 12)
    insert(shop, "sale_order", "name", "'S2'")
    shop.as_app("CREATE INDEX later ON sale_order (name)")
    shop.cluster.as_superuser(
        f"ALTER DATABASE {name} SET work_mem = '7MB'", f"ALTER DATABASE {name} CONNECTION LIMIT 9"
    )
    database.write_tag(name, UUID, 20)
    database.fence(name, shop.name, shop.upgrade)
    present = f"{name}__s20"
    began = time.monotonic()
    for _ in range(2):
        database.swap(name, old, present)
    print(f"exchanged in {time.monotonic() - began:.3f} s")
    database.mark_set(present, OTHER)
    with pytest.raises(psycopg2.OperationalError):  # still fenced, so Odoo can't write before the files are there too
        shop.as_app("SELECT 1")
    database.unfence(name, shop.name)
    assert shop.as_app("SELECT name FROM sale_order") == [("S1",)]
    assert shop.as_app("SHOW work_mem") == [("7MB",)]
    assert [(one.token, one.digest) for one in database.sets(name, UUID)] == [(20, OTHER)]
    identity = database.identity(name)
    assert identity
    assert identity.tag
    assert identity.tag.token == 20
    closed = f"SELECT datallowconn FROM pg_database WHERE datname = '{present}'"  # noqa: S608
    assert shop.cluster.as_superuser(closed) == [(False,)]
    database.fence(name, shop.name, shop.upgrade)
    for _ in range(2):
        database.swap(name, present, old)
    database.mark_set(old, DIGEST, datetime(2026, 11, 23, tzinfo=UTC))
    database.unfence(name, shop.name)
    assert shop.as_app("SELECT name FROM sale_order ORDER BY name") == [("S1",), ("S2",)]
    assert [(one.token, one.digest) for one in database.sets(name, UUID)] == [(12, DIGEST)]
    database.drop(old)


def test_a_set_that_is_gone_is_told_and_nothing_is_renamed(shop: Made) -> None:
    with pytest.raises(Permanent, match="can't be swapped"):
        shop.database.swap(shop.name, f"{shop.name}__s12", f"{shop.name}__s20")
    assert shop.as_app("SELECT name FROM sale_order") == [("S1",)]


def test_the_count_is_the_same_for_whoever_asks(shop: Made) -> None:
    """Without a password of its own role the agent reads as itself, guarded."""
    insert(shop, "sale_order", "name", "'S2'")
    since = datetime.now(UTC) - timedelta(minutes=1)
    as_agent = shop.cluster.database(login_of=lambda name: None)
    assert as_agent.count_loss(shop.name, since, 5, 30, 50).counts == lost(shop, since).counts
    assert lost(shop, since).counts == (LossCount(model="sale.order", label="Sales Order", created=1, changed=0),)


def test_what_a_fence_keeps_out_does_not_keep_the_count_out(shop: Made) -> None:
    insert(shop, "sale_order", "name", "'S2'")
    shop.database.fence(shop.name, shop.name, shop.upgrade)
    assert counted(lost(shop, datetime.now(UTC) - timedelta(minutes=1))) == {"sale.order": (1, 0, 0)}
    execute(shop.upgrade_dsn, "SELECT 1")
    shop.database.unfence(shop.name, shop.name)
