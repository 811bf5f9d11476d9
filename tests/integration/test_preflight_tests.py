"""`preflight tests` on the real Odoo image and a real PostgreSQL: what passes, and each way to fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.setup import base_images, engine

ROOT = Path(__file__).resolve().parents[2]
LABEL = "--label=odooops.test=preflight"
MODEL = """from odoo import fields, models


class Thing(models.Model):
    _name = "shop.thing"
    _description = "Thing"

    name = fields.Char()

    def shout(self):
        return (self.name or "").upper()
"""
MORE = """
    def whisper(self):
        if not self.name:
            return "never run"
        return self.name.lower()
"""
TEST = """from odoo.tests import TransactionCase


class TestThing(TransactionCase):
    def test_it(self):
        thing = self.env["shop.thing"].create({"name": "a"})
"""
NOISY = """import logging

from odoo.tests import TransactionCase


class TestNoise(TransactionCase):
    def test_noise(self):
        logging.getLogger(__name__).error("disk is full")
"""


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def addon(root: Path, name: str, files: dict[str, str] | None = None, **manifest: Any) -> None:
    folder = root / "addons/custom" / name
    values = {"name": name, "version": "19.0.1.0.0", "license": "LGPL-3", "depends": ["base"], **manifest}
    for path, text in {"__manifest__.py": repr(values), "__init__.py": "", **(files or {})}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def with_test(test: str, **files: str) -> dict[str, str]:
    return {"tests/__init__.py": "from . import test_it\n", "tests/test_it.py": test, **files}


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """A PostgreSQL in a network of its own: libpq's variables of its superuser (whom Odoo refuses), and the network."""
    engine.ensure_engine()
    base_images.ensure(base_images.DEBIAN, print)
    base_images.ensure(base_images.ODOO, print)
    image = base_images.ensure_postgres(print).name
    name = f"odooops-preflight-{uuid.uuid4().hex[:8]}"
    engine.docker("network", "create", LABEL, name)
    try:
        engine.docker(
            "run", "--detach", f"--name={name}", f"--network={name}", LABEL, "--tmpfs=/var/lib/postgresql/data",
            "--env=POSTGRES_PASSWORD=test", image,
        )  # fmt: skip
        address = engine.docker("inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
        await_server(name)
        yield {"PGHOST": address.strip(), "PGPORT": "5432", "PGUSER": "postgres", "PGPASSWORD": "test", "NETWORK": name}
    finally:
        subprocess.run([engine.client(), "rm", "--force", "--volumes", name], capture_output=True, check=False)
        subprocess.run([engine.client(), "network", "rm", name], capture_output=True, check=False)


def await_server(container: str) -> None:
    ask = [engine.client(), "exec", container, "pg_isready", "--quiet", "--host=127.0.0.1", "--username=postgres"]
    deadline = time.monotonic() + 60
    while subprocess.run(ask, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "PostgreSQL does not answer after 60 s"
        time.sleep(0.3)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository on a branch: `shop`, `shop_more` that depends on it, and `other` that does not."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    test = TEST + '        self.assertEqual(thing.shout(), "A")\n'
    addon(tmp_path, "shop", with_test(test, **{"__init__.py": "from . import models\n", "models.py": MODEL}))
    addon(tmp_path, "shop_more", with_test(TEST), depends=["shop"])
    addon(tmp_path, "other", with_test(TEST))
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=first")
    git(tmp_path, "checkout", "--quiet", "-b", "feature")
    return tmp_path


def preflight(root: Path, server: dict[str, str], *options: str) -> dict[str, Any]:
    argv = [sys.executable, str(ROOT / "scripts/ci/preflight"), "tests", "--source", str(root), "--json=-",
            f"--image={base_images.ODOO}", f"--network={server['NETWORK']}", *options]  # fmt: skip
    done = subprocess.run(argv, env={**os.environ, **server}, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    [report] = json.loads(done.stdout)["checks"]
    assert done.returncode == (0 if report["status"] == "passed" else 1)
    return report


def test_changed_addon_and_what_depends_on_it(shop, server):
    (shop / "addons/custom/shop/models.py").write_text(MODEL + MORE)
    test = TEST + '        self.assertEqual(thing.shout(), "A")\n        self.assertEqual(thing.whisper(), "a")\n'
    (shop / "addons/custom/shop/tests/test_it.py").write_text(test)
    report = preflight(shop, server, "--jobs=2")
    assert report["status"] == "passed", report
    facts = report["facts"]
    assert facts["addons"] == ["shop", "shop_more"]
    assert facts["tests"] == 2
    assert facts["coverage_statements"] == 4
    assert facts["coverage_percent"] == 75.0
    [missed] = [one for one in report["findings"] if one["code"] == "not-covered"]
    assert (missed["file"], missed["line"]) == ("addons/custom/shop/models.py", 15)
    assert "template made" in report["summary"]

    strict = preflight(shop, server, "--minimum-coverage=80", "--jobs=1")
    assert "template kept" in strict["summary"]
    assert [one["code"] for one in strict["findings"] if one["level"] == "error"] == ["coverage-minimum"]


def test_every_way_to_fail(shop, server):
    raising = "def hook(env):\n    raise ValueError('no such warehouse')\n"
    addon(shop, "failing", with_test(TEST.replace("shop.thing", "res.partner") + "        self.assertEqual(1, 2)\n"))
    addon(shop, "noisy", with_test(NOISY))
    addon(shop, "lacking", depends=["base", "no_such_module"])
    addon(shop, "halfway", {"__init__.py": raising}, post_init_hook="hook")
    report = preflight(shop, server, "--jobs=4")
    assert report["status"] == "failed"
    errors = [one for one in report["findings"] if one["level"] == "error"]
    by_code: dict[str, list[dict[str, Any]]] = {}
    for one in errors:
        assert one["mend"]
        by_code.setdefault(one["code"], []).append(one)
    [failed] = by_code["test-failed"]
    assert (failed["file"], failed["line"]) == ("addons/custom/failing/tests/test_it.py", 7)
    assert "1 != 2" in failed["message"]
    assert any("disk is full" in one["message"] for one in by_code["log-error"])
    assert any("no such warehouse" in one["message"] for one in by_code["log-error"])
    not_installed = {one["file"].split("/")[2] for one in by_code["not-installed"]}
    assert not_installed == {"lacking", "halfway"}
    assert {one["file"].split("/")[2] for one in report["findings"] if one["code"] == "no-tests"} >= {"lacking"}


def test_nothing_changed_starts_nothing(shop, server):
    (shop / "README.md").write_text("words\n")
    assert "nothing to test" in preflight(shop, server)["summary"]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PGHOST": ""}, "set PGHOST"),
        ({"PGPASSWORD": "wrong"}, "can't be used"),
    ],
)
def test_server_that_can_not_be_used(shop, server, variables, sentence):
    addon(shop, "more")
    report = preflight(shop, {**server, **variables})
    assert report["status"] == "failed"
    assert sentence in report["findings"][0]["message"]


def test_image_without_odoo(shop, server):
    addon(shop, "more")
    report = preflight(shop, server, f"--image={base_images.DEBIAN}")
    assert report["status"] == "failed"
    assert "has no program odoo" in report["findings"][0]["message"]


def test_no_database_is_left(shop, server):
    listing = engine.docker("exec", server["NETWORK"], "psql", "--username=postgres", "--tuples-only",
                            "--command=SELECT datname FROM pg_database WHERE datname LIKE 'odooops%'")  # fmt: skip
    names = listing.split()
    assert names
    assert all(name.startswith("odooops_preflight_t_") and not name.endswith("_new") for name in names)
