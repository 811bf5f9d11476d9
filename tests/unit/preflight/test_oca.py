"""`odooops oca` on real git repositories: what it writes passes the gate, and a failure leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import pytest
from odooops_ci.errors import InvalidInput, Refused
from odooops_ci.oca import golden_path, wheels

from .conftest import ROOT, TODAY

ADA = "ada@example.com"


@pytest.fixture
def shop(gate, monkeypatch):
    """A customer's repository, and OCA's server-tools beside it."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "t")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "t@example.com")
    gate.addon("addons/custom/workshop")
    gate.commit()
    gate.tools = gate.oca(
        "server-tools", auditlog={}, base_log={"license": "LGPL-3"}, log_viewer={"depends": ["auditlog", "base_log"]},
        lost={"depends": ["nowhere"]}, old={"version": "18.0.1.0.0"}, broken={"installable": False},
        closed={"license": "OPL-1"},
    )  # fmt: skip
    gate.tools.git("branch", "19.0")
    gate.url = f"file://{gate.tools.path}"
    gate.path_of = "addons/oca/repos/server-tools"
    return gate


def oca(gate) -> golden_path.GoldenPath:
    return golden_path.GoldenPath(gate.path, ADA, TODAY)


def status(gate) -> str:
    return gate.git("status", "--porcelain")


def passes(gate) -> None:
    report = gate.report("allowlist")
    assert report.passed, [str(finding) for finding in report.findings]
    assert not report.findings


def test_add_performs_the_three_steps(shop):
    outcome = oca(shop).add(shop.url, "auditlog")
    passes(shop)
    staged = shop.git("diff", "--cached", "--name-only").splitlines()
    assert staged == [".gitmodules", "addons/oca/repos/server-tools", "addons/oca/selected/auditlog", "allowlist.yaml"]
    entry = oca(shop).allowlist().entries["auditlog"]
    assert (entry.commit, entry.licence, entry.audited_by) == (shop.tools.git("rev-parse", "HEAD"), "AGPL-3", ADA)
    assert [sheet.name for sheet in outcome.sheets] == ["auditlog"]
    shop.commit()
    passes(shop)


def test_add_brings_the_dependencies(shop):
    outcome = oca(shop).add(shop.url, "log_viewer", tier="high")
    passes(shop)
    entries = oca(shop).allowlist().entries
    assert {name: entry.tier for name, entry in entries.items()} == {
        "auditlog": "low",
        "base_log": "low",
        "log_viewer": "high",
    }
    assert [sheet.name for sheet in outcome.sheets] == ["auditlog", "base_log", "log_viewer"]


def test_second_module_takes_the_submodule_that_is_there(shop):
    oca(shop).add(shop.url, "auditlog")
    shop.commit()
    oca(shop).add("server-tools", "base_log")
    passes(shop)
    assert "audited_on: 2026-11-23" in (shop.path / "allowlist.yaml").read_text()


def test_added_twice_is_added_once(shop):
    oca(shop).add(shop.url, "auditlog")
    shop.commit()
    oca(shop).add(shop.url, "auditlog")
    assert status(shop) == ""


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("gone", "has no module gone; it has auditlog"),
        ("lost", "lost depends on nowhere"),
        ("old", "take the branch 19.0"),
        ("broken", "installable: False"),
        ("closed", "is under OPL-1"),
    ],
)
def test_refused_module_leaves_nothing_behind(shop, module, sentence):
    with pytest.raises(Refused, match=sentence):
        oca(shop).add(shop.url, module)
    assert status(shop) == ""
    assert not (shop.path / "addons/oca/repos/server-tools").exists()
    assert not (shop.path / ".git/modules/addons/oca/repos/server-tools").exists()
    oca(shop).add(shop.url, "auditlog")
    passes(shop)


def test_refused_module_leaves_what_was_there(shop):
    oca(shop).add(shop.url, "auditlog")
    shop.commit()
    with pytest.raises(Refused):
        oca(shop).add(shop.url, "lost")
    assert status(shop) == ""
    passes(shop)


@pytest.mark.parametrize("where", ["file:///nowhere/server-tools", "--upload-pack=x", "../..", "a b"])
def test_repository_that_is_none(shop, where):
    with pytest.raises(Refused):
        oca(shop).add(where, "auditlog")
    assert status(shop) == ""


@pytest.mark.parametrize("module", ["../auditlog", "-x", "", "audit log"])
def test_module_that_is_none(shop, module):
    with pytest.raises(InvalidInput):
        oca(shop).add(shop.url, module)


def test_other_repository_of_the_same_name(shop):
    oca(shop).add(shop.url, "auditlog")
    with pytest.raises(Refused, match="comes from"):
        oca(shop).add("evil/server-tools", "auditlog")


def test_nobody_answers_for_it(shop, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    with pytest.raises(InvalidInput, match="Nobody is named"):
        golden_path.GoldenPath(shop.path, "", TODAY).add(shop.url, "auditlog")


def test_allowlist_that_can_not_be_read_is_left_alone(shop):
    shop.write("allowlist.yaml", "modules: [")
    with pytest.raises(Refused, match=r"allowlist.yaml"):
        oca(shop).add(shop.url, "auditlog")
    assert (shop.path / "allowlist.yaml").read_text() == "modules: ["


def test_comments_of_the_allowlist_stay(shop):
    text = "# Ours.\npolicy:\n  provided: [x]  # Enterprise\n\nmodules: []  # none yet\n"
    shop.write("allowlist.yaml", text)
    oca(shop).add(shop.url, "auditlog")
    written = (shop.path / "allowlist.yaml").read_text()
    assert "# Ours." in written
    assert "# Enterprise" in written
    passes(shop)


def test_remove_takes_the_last_submodule_along(shop):
    oca(shop).add(shop.url, "auditlog")
    oca(shop).add(shop.url, "base_log")
    shop.commit()
    oca(shop).remove("base_log")
    passes(shop)
    assert (shop.path / shop.path_of / "auditlog").is_dir()
    oca(shop).remove("auditlog")
    passes(shop)
    assert not (shop.path / shop.path_of).exists()
    shop.commit()
    oca(shop).add(shop.url, "auditlog")
    passes(shop)


def test_remove_of_what_others_need(shop):
    oca(shop).add(shop.url, "log_viewer")
    with pytest.raises(Refused, match="log_viewer depends on it"):
        oca(shop).remove("auditlog")
    with pytest.raises(Refused, match="is not selected"):
        oca(shop).remove("gone")
    passes(shop)


def newer(shop) -> str:
    shop.tools.git("checkout", "--quiet", "19.0")
    shop.tools.write("auditlog/models.py", "x = 1\n")
    return shop.tools.commit()


def test_update_moves_submodule_and_entries(shop):
    oca(shop).add(shop.url, "auditlog")
    oca(shop).add(shop.url, "base_log")
    shop.commit()
    commit = newer(shop)
    outcome = oca(shop).update("auditlog")
    passes(shop)
    assert {entry.commit for entry in oca(shop).allowlist().entries.values()} == {commit}
    assert any("1 file changed" in line for line in outcome.done)


def test_update_to_a_commit(shop):
    oca(shop).add(shop.url, "auditlog")
    first = shop.tools.git("rev-parse", "HEAD")
    newer(shop)
    oca(shop).update("server-tools")
    oca(shop).update("auditlog", first)
    passes(shop)
    assert oca(shop).allowlist().entries["auditlog"].commit == first


def test_update_follows_a_submodule_moved_by_hand(shop):
    oca(shop).add(shop.url, "auditlog")
    shop.commit()
    commit = newer(shop)
    shop.git("-C", shop.path_of, "fetch", "--quiet", "origin", "19.0")
    shop.git("-C", shop.path_of, "checkout", "--quiet", commit)
    shop.tools.write("auditlog/more.py", "x = 2\n")
    shop.tools.commit()
    oca(shop).update("auditlog")
    passes(shop)
    assert oca(shop).allowlist().entries["auditlog"].commit == commit


def test_update_to_what_git_would_take_for_an_option(shop):
    oca(shop).add(shop.url, "auditlog")
    with pytest.raises(InvalidInput):
        oca(shop).update("auditlog", "--upload-pack=touch evil")


def test_update_of_nothing(shop):
    with pytest.raises(Refused, match="neither selected nor a submodule"):
        oca(shop).update("auditlog")


def test_audit_tells_what_to_read_and_records(shop):
    shop.tools.git("checkout", "--quiet", "19.0")
    shop.tools.write("auditlog/models.py", (
        "import requests\nfrom odoo import http, models\n\n\nclass Move(models.Model):\n"
        "    _inherit = 'account.move'\n\n"
        "    def a(self):\n        self.env.cr.execute('SELECT 1')\n        self.sudo()\n\n"
        "    @http.route('/x', auth='none')\n    def b(self):\n        pass\n"
    ))  # fmt: skip
    shop.tools.commit()
    oca(shop).add(shop.url, "auditlog")
    assert oca(shop).allowlist().entries["auditlog"].tier == "high"
    [sheet] = oca(shop).audit("auditlog", record=False).sheets
    text = sheet.text()
    for point in ("SQL past the ORM: models.py:9", "sudo(): models.py:10", "routes open to anybody: models.py:12",
                  "reaches out of Odoo: models.py:1 (requests)", "changes models of others: account.move"):  # fmt: skip
        assert point in text
    bob = golden_path.GoldenPath(shop.path, "bob@example.com", TODAY)
    bob.audit("auditlog", record=True)
    assert bob.allowlist().entries["auditlog"].audited_by == "bob@example.com"
    passes(shop)


def run(gate, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "scripts/ci/odooops"), "oca", *arguments]
    return subprocess.run(argv, cwd=gate.path, capture_output=True, text=True, check=False)


def test_command(shop):
    assert "No OCA module is selected" in run(shop, "list").stdout
    added = run(shop, "add", shop.url, "auditlog", "--by", ADA)
    assert added.returncode == 0, added.stderr
    assert "Review before you commit" in added.stdout
    assert "auditlog" in run(shop, "list").stdout
    assert run(shop, "audit", "auditlog").returncode == 0
    assert run(shop, "update", "auditlog", "--by", ADA).returncode == 0
    refused = run(shop, "add", shop.url, "gone", "--by", ADA)
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert run(shop, "remove", "auditlog").returncode == 0
    assert run(shop, "remove", "auditlog").returncode == 1
    assert run(shop, "frobnicate").returncode == 2


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "odoo_addon_web_notify-19.0.1.0.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        manifest = {"name": "web_notify", "version": "19.0.1.0.1", "license": "LGPL-3", "depends": ["web"]}
        archive.writestr("odoo/addons/web_notify/__manifest__.py", repr(manifest))
        archive.writestr("odoo/addons/web_notify/models/x.py", "x = 1\n")
        info = "odoo_addon_web_notify-19.0.1.0.1.dist-info"
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: odoo-addon-web-notify\nVersion: 19.0.1.0.1\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(wheel, tmp_path, monkeypatch):
    """pip finds the wheel in a folder, as it would in an index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def test_vendored_module_passes_the_gate(shop, index):
    outcome = oca(shop).add_vendored("web", "web_notify", "19.0.1.0.1")
    passes(shop)
    entry = oca(shop).allowlist().entries["web_notify"]
    assert entry.wheel == "odoo-addon-web-notify==19.0.1.0.1"
    assert entry.repository == "https://github.com/OCA/web"
    assert (shop.path / "addons/oca/repos/web/web_notify/models/x.py").is_file()
    assert outcome.sheets
    shop.commit()
    oca(shop).update("web_notify", "19.0.1.0.1")
    passes(shop)
    oca(shop).remove("web_notify")
    passes(shop)
    assert not (shop.path / "addons/oca/repos/web/web_notify").exists()


def test_wheel_that_is_not_there(shop, index):
    with pytest.raises(Refused, match="pip can't fetch odoo-addon-web-notify==9"):
        oca(shop).add_vendored("web", "web_notify", "9")
    assert status(shop) == ""


def test_wheel_of_another_module(wheel, tmp_path):
    with pytest.raises(Refused, match="holds no addon web_timeline"):
        wheels.unpack(wheel, "web_timeline", tmp_path / "out")


def test_wheel_whose_files_lead_elsewhere(wheel, tmp_path):
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("odoo/addons/web_notify/../../../evil.py", "x")
    with pytest.raises(Refused, match="leads out of the addon"):
        wheels.unpack(wheel, "web_notify", tmp_path / "out")
    assert not list(tmp_path.rglob("evil.py"))
