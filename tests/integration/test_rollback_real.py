"""Rollbacks with real Odoo, PostgreSQL and Caddy, under load: rows, their content and the files, before and after.

The tests share one droplet and stand in order: v1.1.0 has left a restore set of v1.0.0, and people have worked since.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from parts.droplet import STATUS, Droplet, Environment, build_images
from parts.engine import Stack, running_stack
from parts.load import Load
from parts.postgres import NEWEST, Cluster, running_cluster

PROD = Environment("demo/prod")
TABLES = ("workshop_order", "res_partner", "res_users", "ir_module_module")
COUNTS = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)  # noqa: S608 constants
# What Odoo itself writes into a row at a login is none of it.
CONTENT = """
    SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
        SELECT 'order ' || id || name || coalesce(duration, '') || create_date FROM workshop_order
        UNION ALL SELECT 'contact ' || id || coalesce(name, '') || coalesce(email, '') FROM res_partner
        UNION ALL SELECT 'module ' || name || state || coalesce(latest_version, '') FROM ir_module_module
    ) rows (line)
"""
ORDERED = """
    INSERT INTO workshop_order (name, state, duration, create_uid, create_date, write_uid, write_date)
    SELECT '{name}/' || n, 'new', n || ' minutes', 1, now() AT TIME ZONE 'UTC', 1, now() AT TIME ZONE 'UTC'
    FROM generate_series(1, {count}) n
"""
CHANGED = "UPDATE res_partner SET email = 'new@example.com', write_date = now() AT TIME ZONE 'UTC' WHERE id = 1"


@dataclass(frozen=True)
class Data:
    """What an environment's people would miss: the numbers of rows, their content, the seeded and all other files."""

    counts: tuple[int, ...]
    content: str
    seeded: dict[str, str]
    files: frozenset[str]


@pytest.fixture(scope="module")
def back_stack() -> Iterator[Stack]:
    with running_stack() as made:
        yield made


@pytest.fixture(scope="module")
def back_cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="odooops-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with running_cluster(NEWEST, Path(folder) / "cluster") as started:
            yield started


@pytest.fixture(scope="module")
def droplet(back_stack: Stack, back_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Droplet:
    """A droplet whose prod serves v1.0.0, with orders and files."""
    images = build_images(back_stack, tmp_path_factory.mktemp("sample"))
    made = Droplet(back_stack, back_cluster, images)
    ended = made.deploy(PROD, "v1.0.0")
    assert ended["outcome"] == "succeeded", ended
    made.sql(PROD, ORDERED.format(name="WO/A", count=40))
    store(made, "before")
    return made


@pytest.fixture(scope="module")
def known() -> dict[str, Data]:
    """What the data were at moments that a later test goes back to."""
    return {}


def filestore(droplet: Droplet) -> Path:
    return droplet.stack.data_root / PROD.key / "filestore" / PROD.database


def store(droplet: Droplet, text: str) -> None:
    """Store a file as Odoo does, under its own checksum."""
    name = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    folder = filestore(droplet) / name[:2]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def data(droplet: Droplet) -> Data:
    ((*counts,),) = droplet.sql(PROD, COUNTS)
    ((content,),) = droplet.sql(PROD, CONTENT)
    files = listed(filestore(droplet))
    seeded = {path: (filestore(droplet) / path).read_text() for path in files if seed(filestore(droplet) / path)}
    return Data(tuple(counts), content, seeded, frozenset(files))


def seed(path: Path) -> bool:
    return path.stat().st_size < 40 and path.read_bytes() in (b"before", b"after", b"later")


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def same(found: Data, wanted: Data) -> None:
    """Nothing is lost and nothing came; Odoo itself may have cached a bundle of its own meanwhile."""
    assert (found.counts, found.content, found.seeded) == (wanted.counts, wanted.content, wanted.seeded)
    assert wanted.files <= found.files


def serves(droplet: Droplet, version: str, release: str) -> None:
    status = droplet.status(PROD)
    assert status
    assert (status["version"], status["release"]) == (version, release)
    assert set(droplet.containers(PROD)) == {"web", "cron"}
    open_to_odoo = f"SELECT has_database_privilege('{PROD.database}', '{PROD.database}', 'CONNECT')"
    assert droplet.sql(PROD, open_to_odoo) == [(True,)]


def sets(droplet: Droplet) -> set[str]:
    """Return the restore sets by their databases; each has its files."""
    found = {name for name in droplet.databases() if "__" in name}
    folder = droplet.stack.data_root / PROD.key / "snapshots"
    assert {f"{PROD.database}__s{path.name}" for path in folder.iterdir()} == found
    assert all((path / "filestore").is_dir() for path in folder.iterdir())
    return found


def load_on(droplet: Droplet) -> Load:
    return Load(droplet.address, PROD.host, clients=8, path=STATUS, posts=False)


def no_failure(load: Load, what: str) -> None:
    print(f"{what}: {len(load.waits)} requests, {len(load.failures)} failed, longest {load.longest_seconds:.2f} s")
    assert load.failures == []


def kept_images(droplet: Droplet) -> set[str]:
    labels = [f"odooops.stack={droplet.stack.name}", f"odooops.keeps={PROD.key}"]
    listed = droplet.stack.client.api.containers(filters={"label": labels})
    return {each["Image"] for each in listed}


def test_code_alone_goes_back_and_nobody_waits(droplet: Droplet) -> None:
    assert droplet.deploy(PROD, "v1.0.1")["outcome"] == "succeeded"
    before = data(droplet)
    with load_on(droplet) as load:
        ended = droplet.go_back(PROD, "v1.0.0", "code")
    assert ended["outcome"] == "succeeded", ended
    assert (ended["result"]["mode"], ended["result"]["lost"], ended["result"]["restore_set"]) == ("code", None, None)
    ways = {one["mode"]: one["possible"] for one in droplet.preview()["modes"]}
    assert ways == {"code": True, "full": False, "backup": False, "fix_forward": True}
    serves(droplet, "19.0.1.0.0", "1.0.0")
    same(data(droplet), before)
    no_failure(load, "code-only rollback")


def test_people_work_on_after_a_release(droplet: Droplet, known: dict[str, Data]) -> None:
    known["v1.0.0"] = data(droplet)
    assert droplet.deploy(PROD, "v1.1.0")["outcome"] == "succeeded"
    droplet.sql(PROD, ORDERED.format(name="WO/B", count=7), CHANGED)
    store(droplet, "after")
    known["v1.1.0"] = data(droplet)
    assert known["v1.1.0"].content != known["v1.0.0"].content
    assert kept_images(droplet) == {droplet.images["v1.0.0"]}


@pytest.mark.parametrize("point", ["rename:2", "after:swap_database", "acted:swap_filestore", "before:warm_web"])
def test_an_agent_killed_in_the_exchange_goes_back(droplet: Droplet, known: dict[str, Data], point: str) -> None:
    before = sets(droplet)
    with load_on(droplet) as load:
        droplet.go_back(PROD, "v1.0.0", "full", kill=point)
        ended = droplet.recover()
    assert ended["outcome"] == "failed", ended
    serves(droplet, "19.0.1.1.0", "1.1.0")
    same(data(droplet), known["v1.1.0"])
    assert sets(droplet) == before
    no_failure(load, f"rollback killed at {point} and started again")


def test_past_the_ceiling_it_stops_and_asks_again(droplet: Droplet, known: dict[str, Data]) -> None:
    before = sets(droplet)
    ceiling = {"minutes": 600, "counts": {"workshop.order": {"created": 6, "changed": 0}}, "posted": {}}
    with load_on(droplet) as load:
        ended = droplet.go_back(PROD, "v1.0.0", "full", ceiling=ceiling)
    assert ended["error"]["code"] == "loss_above_ceiling", ended
    assert "workshop.order 7 created (6 approved)" in ended["error"]["message"]
    shown = {one["mode"]: one for one in ended["result"]["preview"]["modes"]}["full"]
    counted = {one["model"]: (one["created"], one["changed"]) for one in shown["loss"]["counts"]}
    print(counted)
    assert counted["workshop.order"] == (7, 0)
    assert counted["res.partner"] == (0, 1)
    assert "WO/B/7" in [one["name"] for one in shown["loss"]["newest"]]
    assert shown["preview_hash"]
    serves(droplet, "19.0.1.1.0", "1.1.0")
    same(data(droplet), known["v1.1.0"])
    assert sets(droplet) == before
    no_failure(load, "rollback past its ceiling")


def test_a_full_rollback_puts_everything_back(droplet: Droplet, known: dict[str, Data]) -> None:
    with load_on(droplet) as load:
        began = time.monotonic()
        ended = droplet.go_back(PROD, "v1.0.0", "full")
        print(f"preview and full rollback in {time.monotonic() - began:.1f} s: {ended['result']}")
    assert ended["outcome"] == "succeeded", ended
    lost = {one["model"]: one["created"] for one in ended["result"]["lost"]["counts"]}
    assert lost["workshop.order"] == 7
    serves(droplet, "19.0.1.0.0", "1.0.0")
    same(data(droplet), known["v1.0.0"])
    assert sets(droplet) == {ended["result"]["restore_set"]["database_snapshot"]}
    assert kept_images(droplet) == {droplet.images["v1.1.0"]}
    no_failure(load, "full rollback")


def test_a_rollback_is_rolled_back_though_the_agent_dies_before_the_release(
    droplet: Droplet, known: dict[str, Data]
) -> None:
    droplet.sql(PROD, ORDERED.format(name="WO/C", count=3))
    store(droplet, "later")
    with load_on(droplet) as load:
        droplet.go_back(PROD, "v1.1.0", "full", kill="before:release_requests")
        ended = droplet.recover()
    assert ended["outcome"] == "succeeded", ended
    serves(droplet, "19.0.1.1.0", "1.1.0")
    same(data(droplet), known["v1.1.0"])
    assert {one["model"]: one["created"] for one in ended["result"]["lost"]["counts"]}["workshop.order"] == 3
    no_failure(load, "rollback of the rollback, killed before the release and started again")


def test_a_snapshot_that_somebody_dropped_closes_the_way_and_touches_nothing(
    droplet: Droplet, known: dict[str, Data]
) -> None:
    (gone,) = sets(droplet)
    droplet.cluster.as_superuser(f"DROP DATABASE {gone}")
    with pytest.raises(AssertionError):
        droplet.go_back(PROD, "v1.0.0", "full")
    ways = {one["mode"]: one for one in droplet.preview()["modes"]}
    assert not ways["full"]["possible"]
    assert f"{gone} is gone" in ways["full"]["reason"]
    serves(droplet, "19.0.1.1.0", "1.1.0")
    same(data(droplet), known["v1.1.0"])
