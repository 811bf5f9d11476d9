"""The golden path's gate: each way in which it can be wrong, with the file it names and the mend it says."""

from __future__ import annotations

import os
import shutil

import pytest

from .conftest import entry


@pytest.fixture
def golden(gate):
    """A repository with one OCA module that came the golden path; the gate passes."""
    gate.tools = gate.oca("server-tools", auditlog={}, session_db={}, other={})
    gate.submodule(gate.tools)
    gate.select(gate.tools, "auditlog")
    gate.allow(entry(gate.tools, "auditlog"))
    gate.commit()
    return gate


def findings(gate) -> dict[str, object]:
    """Return the errors by code; each has to name a file and a mend."""
    report = gate.report("allowlist")
    for finding in report.findings:
        assert finding.file
        assert finding.mend.endswith((".", "checkout ."))
        assert "Traceback" not in finding.message
    assert report.passed == (not report.errors)
    return {finding.code: finding for finding in report.findings}


def only(gate):
    [finding] = findings(gate).values()
    return finding


def test_golden_path_passes(golden):
    report = golden.report("allowlist")
    assert report.passed
    assert not report.findings
    assert report.facts["selected"] == ["auditlog"]


def test_by_hand_passes_the_same_gate(golden):
    golden.select(golden.tools, "session_db")
    golden.allow(entry(golden.tools, "auditlog"), entry(golden.tools, "session_db"))
    assert golden.report("allowlist").passed


def test_repository_without_oca_modules_passes(gate):
    gate.commit()
    assert gate.report("allowlist").passed


def test_no_entry(golden):
    golden.select(golden.tools, "session_db")
    found = only(golden)
    assert (found.code, found.file) == ("allowlist-missing", "addons/oca/selected/session_db")
    assert "odooops oca add" in found.mend


def test_no_allowlist(golden):
    (golden.path / "allowlist.yaml").unlink()
    found = only(golden)
    assert (found.code, found.file) == ("allowlist-missing", "allowlist.yaml")


def test_entry_without_link_is_an_orphan(golden):
    golden.allow(entry(golden.tools, "auditlog"), entry(golden.tools, "session_db"))
    found = only(golden)
    assert found.code == "allowlist-orphan"
    assert golden.path.joinpath("allowlist.yaml").read_text().splitlines()[found.line - 1].endswith("session_db")


def test_copied_addon_is_no_link(golden):
    golden.repository.addon("addons/oca/selected/session_db")
    found = findings(golden)["selected-not-link"]
    assert found.file == "addons/oca/selected/session_db"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("../../../../outside", "selected-link"),
        ("../../../addons/custom/workshop", "selected-outside"),
        ("session_db", "selected-link"),
        ("../repos/server-tools/gone", "selected-link"),
        ("../repos/server-tools", "selected-no-addon"),
        ("/etc", "selected-absolute"),
    ],
)
def test_link_that_leads_elsewhere(golden, target, code):
    (golden.folder / "outside").mkdir()
    golden.addon("addons/custom/workshop")
    golden.link("addons/oca/selected/session_db", target)
    found = findings(golden)[code]
    assert found.file == "addons/oca/selected/session_db"


def test_links_round_in_circles(golden):
    golden.link("addons/oca/selected/session_db", "other")
    golden.link("addons/oca/selected/other", "session_db")
    report = golden.report("allowlist")
    assert {finding.code for finding in report.errors} == {"selected-link"}
    assert all("circles" in finding.message for finding in report.errors)


def test_link_inside_a_module_leaves_the_tree(golden):
    (golden.tools.path / "auditlog/secrets").symlink_to("/etc")
    golden.tools.commit()
    golden.git("-C", "addons/oca/repos/server-tools", "pull", "--quiet", "origin", "main")
    golden.git("add", "--all")
    golden.allow(entry(golden.tools, "auditlog"))
    found = only(golden)
    assert (found.code, found.file) == ("selected-inner-link", "addons/oca/repos/server-tools/auditlog/secrets")


def test_link_of_another_name(golden):
    golden.link("addons/oca/selected/renamed", "../repos/server-tools/session_db")
    assert findings(golden)["selected-other-name"].file == "addons/oca/selected/renamed"


def test_submodule_that_is_not_initialised_is_told_once(golden):
    golden.git("submodule", "--quiet", "deinit", "--force", "--all")
    golden.select(golden.tools, "session_db")
    golden.allow(entry(golden.tools, "auditlog"), entry(golden.tools, "session_db"))
    found = only(golden)
    assert (found.code, found.file) == ("submodule-absent", "addons/oca/repos/server-tools")
    assert "git submodule update --init" in found.mend


def test_submodule_at_another_commit_than_pinned(golden):
    golden.tools.write("auditlog/new.py")
    golden.tools.commit()
    golden.git("-C", "addons/oca/repos/server-tools", "pull", "--quiet", "origin", "main")
    assert findings(golden)["submodule-moved"].file == "addons/oca/repos/server-tools"


def test_submodule_that_moved_without_a_new_audit(golden):
    golden.tools.write("auditlog/new.py")
    golden.tools.commit()
    golden.git("-C", "addons/oca/repos/server-tools", "pull", "--quiet", "origin", "main")
    golden.git("add", "--all")
    found = only(golden)
    assert (found.code, found.file) == ("allowlist-entry", "allowlist.yaml")
    assert "diff" in found.mend
    assert "odooops oca update auditlog" in found.mend


def test_commit_that_is_not_in_the_repository(golden):
    golden.allow(entry(golden.tools, "auditlog", commit="0123456789" * 4))
    found = only(golden)
    assert "is not in its repository" in found.message


def test_changed_submodule(golden):
    golden.write("addons/oca/repos/server-tools/auditlog/__init__.py", "import os\n")
    assert "submodule-dirty" in findings(golden)


def test_submodule_nobody_selects_from_is_a_warning(golden):
    unused = golden.oca("web", web_notify={})
    golden.submodule(unused)
    report = golden.report("allowlist")
    assert report.passed
    assert [finding.code for finding in report.findings] == ["submodule-unused"]


def test_folder_that_is_no_submodule(golden):
    golden.repository.addon("addons/oca/repos/copied/copied_module", license="AGPL-3", depends=["base"])
    golden.link("addons/oca/selected/copied_module", "../repos/copied/copied_module")
    golden.allow(entry(golden.tools, "auditlog"), entry(golden.tools, "copied_module"))
    assert only(golden).code == "selected-not-submodule"


def test_submodule_from_elsewhere_than_entered(golden):
    golden.allow(entry(golden.tools, "auditlog", repository="https://github.com/evil/server-tools"))
    assert "is not where the submodule comes from" in only(golden).message


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        ({"version": "18.0.1.0.0"}, "selected-series"),
        ({"installable": False}, "selected-not-installable"),
        ({"license": "OPL-1"}, "selected-licence"),
        ({"license": None}, "selected-licence"),
        ({"depends": ["base", "server_environment"]}, "selected-dependency"),
    ],
)
def test_manifest_that_can_not_be_taken(gate, manifest, code):
    tools = gate.oca("server-tools", auditlog=manifest)
    gate.submodule(tools)
    gate.select(tools, "auditlog")
    gate.allow(entry(tools, "auditlog", licence=manifest.get("license") or "AGPL-3"))
    gate.commit()
    found = findings(gate)[code]
    assert found.file == "addons/oca/repos/server-tools/auditlog/__manifest__.py"


@pytest.mark.parametrize("depends", ["auditlog", "mail", "workshop", "enterprise_thing"])
def test_dependency_that_is_met(golden, depends):
    tools = golden.oca("queue", queue_job={"depends": [depends]})
    golden.addon("addons/custom/workshop")
    golden.submodule(tools)
    golden.select(tools, "queue_job")
    policy = "policy:\n  provided: [enterprise_thing]\n"
    golden.allow(entry(golden.tools, "auditlog"), entry(tools, "queue_job"), policy=policy)
    assert golden.report("allowlist").passed


def test_policy_accepts_another_licence_and_series(gate):
    tools = gate.oca("server-tools", auditlog={"license": "OPL-1", "version": "18.0.1.0.0"})
    gate.submodule(tools)
    gate.select(tools, "auditlog")
    gate.allow(entry(tools, "auditlog", licence="OPL-1"), policy='policy:\n  licences: [OPL-1]\n  series: "18.0"\n')
    gate.commit()
    assert "selected-series" not in findings(gate)
    assert "selected-licence" not in findings(gate)


def test_licence_entered_that_the_manifest_does_not_say(golden):
    golden.allow(entry(golden.tools, "auditlog", licence="LGPL-3"))
    assert "its manifest says AGPL-3" in only(golden).message


def test_manifest_that_is_not_a_literal(gate):
    tools = gate.oca("server-tools", auditlog={})
    tools.write("auditlog/__manifest__.py", "import os\n{'name': os.environ}\n")
    tools.commit()
    gate.submodule(tools)
    gate.select(tools, "auditlog")
    gate.allow(entry(tools, "auditlog"))
    gate.commit()
    found = findings(gate)["manifest-not-literal"]
    assert found.file == "addons/oca/repos/server-tools/auditlog/__manifest__.py"
    assert os.environ.get("PATH", "x") not in found.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("commit", "main"), ("commit", None), ("repository", "OCA/server-tools"), ("repository", None),
        ("licence", None), ("tier", "harmless"), ("tier", None), ("audited_by", None), ("audited_by", ""),
        ("audited_on", "yesterday"), ("audited_on", "2031-01-01"), ("audited_on", None),
    ],
)  # fmt: skip
def test_entry_that_says_too_little(golden, key, value):
    golden.allow(entry(golden.tools, "auditlog", **{key: value}))
    found = findings(golden)["allowlist-entry"]
    assert found.file == "allowlist.yaml"
    assert key in found.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("modules: [", "allowlist-yaml"),
        ("modules:\n\t- x", "allowlist-yaml"),
        ("modules: []\nmodules: []", "allowlist-yaml"),
        ("- auditlog", "allowlist-form"),
        ("modules: auditlog", "allowlist-form"),
        ("modules:\n  - auditlog", "allowlist-form"),
        ("modules:\n  - tier: low", "allowlist-form"),
        ("modules: []\nmoduls: []", "allowlist-unknown-key"),
        ("policy:\n  licenses: [AGPL-3]\nmodules: []", "allowlist-unknown-key"),
        ("policy:\n  series: 19.0\nmodules: []", "allowlist-form"),
        ("!!python/object/apply:os.system [id]", "allowlist-yaml"),
        ("", "allowlist-form"),
        ("\0", "allowlist-yaml"),
    ],
)
def test_file_that_can_not_be_read(golden, text, code):
    golden.write("allowlist.yaml", text)
    found = findings(golden)[code]
    assert found.file == "allowlist.yaml"
    assert found.line


def test_key_twice_in_an_entry_names_both_lines(golden):
    golden.allow(entry(golden.tools, "auditlog").rstrip("\n") + "\n    tier: high\n")
    found = findings(golden)["allowlist-yaml"]
    assert "'tier' stands twice" in found.message
    assert found.line == 9


def test_module_twice(golden):
    golden.allow(entry(golden.tools, "auditlog"), entry(golden.tools, "auditlog"))
    assert only(golden).code == "allowlist-duplicate"


def test_unknown_key_in_an_entry(golden):
    golden.allow(entry(golden.tools, "auditlog", auditor="ada"))
    found = only(golden)
    assert (found.code, found.line) == ("allowlist-unknown-key", 9)


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("odoo.conf", "[options]\naddons_path = /opt/odoo/addons,addons/oca/repos/server-tools\n", 2),
        ("etc/odoo.conf", "[options]\naddons_path =\n    addons/custom,\n    addons/oca/repos/web\n", 2),
        ("docker/Dockerfile", "FROM odoo:19.0\nCMD odoo --addons-path=/src/addons/oca/repos/web\n", 2),
        ("compose.yaml", "services:\n  odoo:\n    environment:\n      ADDONS_PATH: /src/addons/oca/repos\n", 4),
        ("start.sh", "odoo --addons-path=a,\\\n  addons/oca/repos/web\n", 1),
    ],
)
def test_addons_path_into_the_repositories(golden, path, text, line):
    golden.write(path, text)
    found = only(golden)
    assert (found.code, found.file, found.line) == ("addons-path", path, line)


@pytest.mark.parametrize("text", ["addons_path = addons/oca/selected\n", "# addons_path = addons/oca/repos\n",
                                  "addons_path = a\nother = addons/oca/repos/web\n"])  # fmt: skip
def test_addons_path_that_is_right(golden, text):
    golden.write("odoo.conf", f"[options]\n{text}")
    assert golden.report("allowlist").passed


def test_vendored_module_is_held_to_its_hash(golden):
    from odooops_ci import vendored

    folder = golden.path / "addons/oca/repos/web/web_notify"
    golden.repository.addon("addons/oca/repos/web/web_notify", license="LGPL-3", depends=["web"])
    golden.link("addons/oca/selected/web_notify", "../repos/web/web_notify")
    values = {
        "licence": "LGPL-3", "commit": None, "wheel": "odoo-addon-web-notify==19.0.1.0.1", "wheel_sha256": "a" * 64,
        "content_sha256": vendored.folder_hash(folder), "repository": "https://github.com/OCA/web",
    }  # fmt: skip
    golden.allow(entry(golden.tools, "auditlog"), entry(golden.tools, "web_notify", **values))
    assert golden.report("allowlist").passed
    (folder / "__init__.py").write_text("print('changed here')\n")
    found = only(golden)
    assert (found.code, found.file) == ("vendored-changed", "addons/oca/repos/web/web_notify")
    shutil.rmtree(folder)
    assert only(golden).code == "selected-link"


def test_vendored_entry_needs_all_of_its_keys(golden):
    wrong = entry(golden.tools, "auditlog", commit=None, wheel="odoo-addon-auditlog==19.0.1.0.0")
    golden.allow(wrong)
    report = golden.report("allowlist")
    missing = [finding.message for finding in report.errors if "is missing" in finding.message]
    assert len(missing) == 2
