"""`preflight tests` where something it needs is missing; what it runs is tested in tests/integration."""

from __future__ import annotations

import pytest

PG = {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGUSER": "odoo", "PGPASSWORD": "x"}


@pytest.fixture
def shop(gate, monkeypatch):
    gate.addon("addons/custom/shop")
    gate.branch()
    gate.write("addons/custom/shop/models.py", "x = 1\n")
    for name, value in PG.items():
        monkeypatch.setenv(name, value)
    return gate


def failure(gate, *arguments: str) -> str:
    report = gate.report("tests", *arguments)
    assert not report.passed
    return " ".join(finding.message for finding in report.errors)


def test_nothing_changed(shop, monkeypatch):
    shop.git("checkout", "--quiet", "--", ".")
    shop.git("clean", "-fdq")
    shop.write("README.md", "words")
    monkeypatch.delenv("PGHOST")
    report = shop.report("tests")
    assert report.passed
    assert "nothing to test" in report.summary


def test_no_server_is_named(shop, monkeypatch):
    monkeypatch.delenv("PGHOST")
    assert "set PGHOST" in failure(shop)


def test_server_does_not_answer(shop):
    odoo = shop.folder / "odoo"
    odoo.write_text("#!/usr/bin/env python3\nprint('Odoo Server 19.0')\n")
    odoo.chmod(0o755)
    assert "PostgreSQL can't be used" in failure(shop, f"--odoo={odoo}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--odoo=/nowhere/odoo"], "There is no program /nowhere/odoo here"),
        (["--odoo=false", "--odoo-python=false"], "--version fails"),
        (["--image=odooops.invalid/none:1"], "There is no image odooops.invalid/none:1 here"),
    ],
)
def test_no_odoo(shop, arguments, sentence):
    assert sentence in failure(shop, *arguments)


def test_image_without_docker(shop, monkeypatch):
    monkeypatch.setattr("odooops_ci.preflight.odoo_process.shutil.which", lambda _name: None)
    assert "needs Docker" in failure(shop, "--image=odoo:19.0")
