"""`update.py` in a real image on a real database: what Odoo would call a success, and is none."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_tools import LABEL, Built, docker

from scripts.setup import base_images, engine

MARK = "ODOOOPS_VERDICT "
VIEW = """<odoo><record id="view" model="ir.ui.view"><field name="name">tiny</field>
<field name="model">res.partner</field><field name="type">form</field>
<field name="arch" type="xml"><form><field name="name"/></form></field></record></odoo>"""


class Server:
    """PostgreSQL in a network of its own."""

    def __init__(self) -> None:
        self.name = f"odooops-test-{uuid.uuid4().hex[:8]}"
        docker("network", "create", LABEL, self.name)
        docker(
            "run", "--detach", "--rm", f"--name={self.name}", LABEL, f"--network={self.name}",
            "--env=POSTGRES_PASSWORD=test", base_images.ensure_postgres(print).name,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while docker("exec", self.name, "pg_isready", "--quiet", "--host=127.0.0.1", check=False).returncode:
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.2)

    def sql(self, statement: str, database: str = "postgres") -> str:
        argv = ["psql", "--username=postgres", f"--dbname={database}", "--no-align", "--tuples-only", "--quiet"]
        return docker("exec", self.name, *argv, f"--command={statement}").stdout.strip()

    def create(self, database: str, template: str = "template0") -> str:
        self.sql(f"CREATE DATABASE {database} OWNER app TEMPLATE {template} ENCODING 'UTF8'")
        return database

    def stop(self) -> None:
        docker("rm", "--force", "--volumes", self.name)
        docker("network", "rm", self.name)


class Droplet:
    """Runs one-off containers of an image as the agent does, with an addon `tiny` that a test may change."""

    def __init__(self, image: str, server: Server, folder: Path) -> None:
        self.image = image
        self.server = server
        self.addon = folder / "addons/tiny"
        self.addon.mkdir(parents=True)
        self.data = folder / "data"
        self.data.mkdir()
        self.data.chmod(0o777)
        self.config = folder / "odoo.conf"
        self.config.write_text(
            f"[options]\ndb_host = {server.name}\ndb_user = app\ndb_password = test\ndata_dir = /var/lib/odoo\n"
            "addons_path = /opt/odoo/addons/custom,/mnt/addons\nlogfile = /var/lib/odoo/odoo.log\n"
        )

    def write(self, version: str, *, code: str = "", migration: str = "", **manifest: object) -> None:
        self._file("__manifest__.py", repr({"name": "T", "version": version, "data": ["view.xml"], **manifest}))
        self._file("__init__.py", code)
        self._file("view.xml", VIEW)
        if migration:
            self._file(
                f"migrations/{version}/post-x.py", f"import logging\n\ndef migrate(cr, version):\n    {migration}\n"
            )

    def argv(self, database: str, *options: str) -> list[str]:
        mounts = {
            self.config: "/etc/odoo/odoo.conf:ro",
            self.addon.parent: "/mnt/addons:ro",
            self.data: "/var/lib/odoo",
        }
        volumes = [f"--volume={source}:{target}" for source, target in mounts.items()]
        helper = ["odooops-python", "/usr/local/lib/odooops/update.py", f"--database={database}"]
        return [
            engine.client(), "run", "--rm", LABEL, f"--network={self.server.name}", "--user=10019:10019", *volumes,
            self.image, *helper, *options,
        ]  # fmt: skip

    def update(self, database: str, *options: str) -> tuple[int, dict]:
        done = subprocess.run(self.argv(database, *options), capture_output=True, text=True)
        return done.returncode, verdict_in(done.stdout + done.stderr)

    def _file(self, name: str, text: str) -> None:
        path = self.addon / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def verdict_in(output: str) -> dict:
    line = next((line for line in reversed(output.splitlines()) if line.startswith(MARK)), None)
    assert line, output[-3000:]
    return json.loads(line.removeprefix(MARK))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    started.sql("CREATE ROLE app LOGIN PASSWORD 'test'")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def installed(first: Built, server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A database with `tiny` in it, made by update.py from nothing; its verdict."""
    folder = tmp_path_factory.mktemp("install")
    droplet = Droplet(first.image, server, folder)
    droplet.write("19.0.1.0.0")
    (droplet.data / "password").write_text("correct horse\n")
    server.create("installed")
    code, verdict = droplet.update("installed", "--install=tiny", "--admin-password-file=/var/lib/odoo/password")
    return {"code": code, **verdict}


@pytest.fixture
def droplet(first: Built, server: Server, installed: dict, tmp_path: Path) -> Droplet:
    assert installed["ok"], installed
    return Droplet(first.image, server, tmp_path)


@pytest.fixture
def database(server: Server, installed: dict) -> str:
    return server.create(f"copy_{uuid.uuid4().hex[:8]}", "installed")


def test_new_database(server: Server, installed: dict) -> None:
    assert (installed["code"], installed["errors"], installed["notes"]) == (0, [], [])
    assert "tiny" in installed["updated"]
    assert server.sql("SELECT state FROM ir_module_module WHERE name = 'tiny'", "installed") == "installed"
    assert server.sql("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'", "installed") == "1"
    password = server.sql("SELECT password FROM res_users WHERE login = 'admin'", "installed")
    assert password.startswith("$pbkdf2")


def test_update_changes_what_it_should_and_leaves_no_probe(droplet: Droplet, database: str, server: Server) -> None:
    droplet.write("19.0.1.1.0", migration="cr.execute(\"UPDATE res_company SET name = 'Migrated'\")")
    partners = server.sql("SELECT count(*) FROM res_partner", database)
    code, verdict = droplet.update(database, "--update=tiny")
    assert (code, verdict["ok"], verdict["updated"], verdict["modules_left"]) == (0, True, ["tiny"], [])
    assert server.sql("SELECT name FROM res_company", database) == "Migrated"
    assert server.sql("SELECT latest_version FROM ir_module_module WHERE name = 'tiny'", database) == "19.0.1.1.0"
    assert server.sql("SELECT count(*) FROM res_partner", database) == partners


def test_migration_that_raises_is_named(droplet: Droplet, database: str) -> None:
    droplet.write("19.0.1.2.0", migration="raise ValueError('order 4 has no time')")
    code, verdict = droplet.update(database, "--update=tiny")
    assert code == 1
    assert verdict["errors"] == [
        "The update failed: ValueError: order 4 has no time [tiny/migrations/19.0.1.2.0/post-x.py, line 4]"
    ]


def test_logged_error_fails_unless_it_was_there_before(droplet: Droplet, database: str) -> None:
    droplet.write("19.0.1.2.0", migration="logging.getLogger('tiny').error('4711 records look odd')")
    code, verdict = droplet.update(database, "--update=tiny")
    assert (code, verdict["errors"]) == (1, ["tiny: 4711 records look odd"])
    (droplet.data / "baseline").write_text("\n".join(verdict["log_errors"]))
    droplet.write("19.0.1.3.0", migration="logging.getLogger('tiny').error('4712 records look odd')")
    code, verdict = droplet.update(database, "--update=tiny", "--baseline=/var/lib/odoo/baseline")
    assert (code, verdict["errors"]) == (0, [])


def test_module_that_stays_half_installed(droplet: Droplet, database: str) -> None:
    statement = "UPDATE ir_module_module SET state = 'to install' WHERE name = 'workshop'"
    droplet.write("19.0.1.2.0", migration=f'cr.execute("{statement}")')
    code, verdict = droplet.update(database, "--update=tiny")
    assert (code, verdict["modules_left"]) == (1, ["workshop (to install)"])
    assert verdict["errors"][-1] == "Module workshop (to install) is left unfinished"


def test_modules_that_odoo_only_warns_of(droplet: Droplet, database: str) -> None:
    droplet.write("19.0.1.2.0")
    code, verdict = droplet.update(database, "--update=tiny,workshop", "--install=nonsense")
    assert code == 1
    assert verdict["errors"] == [
        "Module nonsense was to be installed and is unknown to Odoo",
        "Module workshop was to be updated and was not: it is uninstalled",
    ]


def test_custom_view_that_no_longer_fits(droplet: Droplet, database: str, server: Server) -> None:
    arch = json.dumps({"en_US": '<xpath expr="//field[@name=\'gone\']" position="after"/>'}).replace("'", "''")
    server.sql(
        "INSERT INTO ir_ui_view (name, model, type, mode, active, priority, inherit_id, arch_db)"  # noqa: S608
        f" SELECT 'studio', model, type, 'extension', true, 99, id, '{arch}' FROM ir_ui_view WHERE name = 'tiny'",
        database,
    )
    droplet.write("19.0.1.2.0")
    code, verdict = droplet.update(database, "--update=tiny")
    assert code == 1
    (error,) = verdict["errors"]
    assert error.startswith("View tiny.view does not validate: ")


def test_code_that_breaks_every_write(droplet: Droplet, database: str) -> None:
    code = (
        "from odoo import models\n\nclass Partner(models.Model):\n    _inherit = 'res.partner'\n\n"
        "    def create(self, values):\n        return super().create(values.nonsense)\n"
    )
    droplet.write("19.0.1.2.0", code=code)
    exit_code, verdict = droplet.update(database, "--update=tiny")
    assert exit_code == 1
    assert any("A probe transaction fails: AttributeError" in error for error in verdict["errors"])


def test_rule_that_refuses_the_probe_is_a_note(droplet: Droplet, database: str) -> None:
    code = (
        "from odoo import models\nfrom odoo.exceptions import ValidationError\n\n"
        "class Partner(models.Model):\n    _inherit = 'res.partner'\n\n"
        "    def create(self, values):\n        raise ValidationError('no VAT')\n"
    )
    droplet.write("19.0.1.2.0", code=code)
    exit_code, verdict = droplet.update(database, "--update=tiny")
    assert (exit_code, verdict["errors"]) == (0, [])
    assert "no VAT" in verdict["notes"][0]


def test_verify_only_changes_nothing(droplet: Droplet, database: str, server: Server) -> None:
    droplet.write("19.0.1.2.0", migration="raise ValueError('not to be run')")
    code, verdict = droplet.update(database, "--verify-only", "--update=tiny")
    assert (code, verdict["errors"]) == (0, [])
    server.sql("UPDATE ir_module_module SET state = 'to upgrade' WHERE name = 'tiny'", database)
    code, verdict = droplet.update(database, "--verify-only", "--update=tiny")
    assert (code, verdict["modules_left"]) == (1, ["tiny (to upgrade)"])
    assert verdict["errors"] == ["Module tiny (to upgrade) is left unfinished"]


def test_database_that_does_not_answer(droplet: Droplet) -> None:
    droplet.write("19.0.1.2.0")
    code, verdict = droplet.update("no_such_database", "--update=tiny")
    assert code == 1
    assert 'database "no_such_database" does not exist' in verdict["errors"][0]


def test_sigterm_ends_a_long_statement_at_once(droplet: Droplet, database: str, server: Server) -> None:
    droplet.write("19.0.1.2.0", migration="cr.execute('SELECT pg_sleep(120)')")
    name = f"{server.name}-update"
    gate = droplet.data / "gate"
    gate.write_text("tiny\n")
    argv = droplet.argv(database, "--update=tiny", "--gate=/var/lib/odoo/gate")
    argv.insert(2, f"--name={name}")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(120)' AND state = 'active'"
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        until(lambda: docker("exec", name, "cat", "/tmp/odooops-standby", check=False).returncode == 0)
        sessions = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"  # noqa: S608
        assert server.sql(sessions) == "0"
        gate.unlink()
        until(lambda: server.sql(sleeping) == "1")
        began = time.monotonic()
        docker("kill", "--signal=TERM", name)
        output, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == 143
    assert verdict_in(output)["errors"] == ["The update was aborted"]
    until(lambda: server.sql(sleeping) == "0")


def test_an_update_whose_gate_is_gone_has_had_its_turn(droplet: Droplet, database: str) -> None:
    droplet.write("19.0.1.2.0")
    code, verdict = droplet.update(database, "--update=tiny", "--gate=/var/lib/odoo/no-gate")
    assert code == 1
    assert "had its turn already" in verdict["errors"][0]
    assert verdict["updated"] == []


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.2)
