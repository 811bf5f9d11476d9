"""The image's own manifest: versions, hashes, scripts, and what fails the build."""

from __future__ import annotations

import json

import pytest
import write_manifest
from addons_scan import (
    InvalidAddonError,
    adapt_version,
    content_hash,
    describe_addon,
    migration_scripts,
    translation_hashes,
)

OWN = {"series": "19.0", "addons_paths": ["/odoo/addons"], "addons": {"base": {}, "mail": {}}}
BUILD = {"commit_sha": "a" * 40, "submodules": {"x": "b" * 40}, "base_image": "odoo:19.0", "base_digest": None}


@pytest.fixture
def addon(tmp_path):
    folder = tmp_path / "custom/workshop"
    for name in ("models", "static", "tests", "i18n", "migrations/19.0.1.1.0", "data"):
        (folder / name).mkdir(parents=True)
    (folder / "__manifest__.py").write_text(
        repr({"name": "W", "version": "1.1", "depends": ["mail"], "data": ["static/a.xml"]})
    )
    (folder / "models/order.py").write_text("x = 1")
    return folder


@pytest.mark.parametrize(
    ("version", "adapted"),
    [("1.2", "19.0.1.2"), ("1.2.3", "19.0.1.2.3"), ("19.0.1.2", "19.0.1.2"), ("19.0.1.2.3", "19.0.1.2.3")],
)
def test_versions_are_adapted_as_odoo_does(version, adapted):
    assert adapt_version(version, "19.0") == adapted


@pytest.mark.parametrize("version", ["1", "18.0.1.0.0", "1.2.3.4", "a.b", "19.0", "1.2.3.4.5.6", "1.2-rc1", ""])
def test_versions_that_odoo_would_not_install(version):
    with pytest.raises(ValueError, match="version"):
        adapt_version(version, "19.0")


def test_description(addon):
    described = describe_addon(addon, "custom", "19.0", with_hashes=True)
    assert described is not None
    assert described["version"] == "19.0.1.1"
    assert described["depends"] == ["mail"]
    assert described["auto_install"] is False
    assert len(described["hash"]) == 64


@pytest.mark.parametrize(("value", "expected"), [(True, True), (["mail"], True), ([], True), (False, False)])
def test_auto_install(addon, value, expected):
    (addon / "__manifest__.py").write_text(repr({"auto_install": value}))
    described = describe_addon(addon, "custom", "19.0", with_hashes=False)
    assert described["auto_install"] is expected
    assert described["depends"] == ["base"]


def test_what_odoo_would_not_install_is_not_described(addon):
    (addon / "__manifest__.py").write_text(repr({"installable": False, "version": "12.0.1"}))
    assert describe_addon(addon, "odoo", "19.0", with_hashes=False) is None


@pytest.mark.parametrize("manifest", [{"version": "18.0.1.0.0"}, {"depends": "mail"}, {"depends": [1]}, []])
def test_addon_that_can_not_be_used(addon, manifest):
    (addon / "__manifest__.py").write_text(repr(manifest))
    with pytest.raises(InvalidAddonError, match="Addon workshop"):
        describe_addon(addon, "custom", "19.0", with_hashes=True)


@pytest.mark.parametrize("name", ["static/x.js", "tests/test_x.py", "i18n/fr.po", "readme/USAGE.md", "README.rst",
                                  "models/__pycache__/order.pyc", "doc/x.py"])  # fmt: skip
def test_hash_ignores_what_an_update_does_not_read(addon, name):
    before = content_hash(addon)
    (addon / name).parent.mkdir(parents=True, exist_ok=True)
    (addon / name).write_text("changed")
    assert content_hash(addon) == before


@pytest.mark.parametrize("name", ["models/order.py", "views/x.xml", "security/ir.model.access.csv", "data/x.sql",
                                  "migrations/19.0.1.1.0/post-x.py", "models/static.py"])  # fmt: skip
def test_hash_covers_what_an_update_reads(addon, name):
    before = content_hash(addon)
    (addon / name).parent.mkdir(parents=True, exist_ok=True)
    (addon / name).write_text("changed")
    assert content_hash(addon) != before


def test_hash_covers_data_files_wherever_they_lie(addon):
    (addon / "static/a.xml").write_text("<odoo/>")
    before = describe_addon(addon, "custom", "19.0", with_hashes=True)["hash"]
    (addon / "static/a.xml").write_text("<odoo><data/></odoo>")
    assert describe_addon(addon, "custom", "19.0", with_hashes=True)["hash"] != before


def test_hash_of_a_renamed_file_differs(addon):
    before = content_hash(addon)
    (addon / "models/order.py").rename(addon / "models/orders.py")
    assert content_hash(addon) != before


def test_translations_have_a_hash_per_language(addon):
    (addon / "i18n/fr.po").write_text("fr")
    (addon / "i18n/workshop.pot").write_text("pot")
    first = translation_hashes(addon)
    (addon / "i18n_extra").mkdir()
    (addon / "i18n_extra/fr.po").write_text("more")
    (addon / "i18n_extra/sr@latin.po").write_text("sr")
    second = translation_hashes(addon)
    assert list(first) == ["fr"]
    assert list(second) == ["fr", "sr@latin"]
    assert first["fr"] != second["fr"]


def test_migration_scripts(addon):
    for name in ("19.0.1.1.0/pre-a.py", "19.0.1.1.0/post-b.py", "19.0.1.1.0/README.md", "19.0.1.1.0/helper.py",
                 "1.2/end-c.py", "0.0.0/post-d.py", "tests/post-e.py", "draft/post-f.py"):  # fmt: skip
        (addon / "migrations" / name).parent.mkdir(parents=True, exist_ok=True)
        (addon / "migrations" / name).touch()
    assert migration_scripts(addon) == [
        "0.0.0/post-d.py",
        "1.2/end-c.py",
        "19.0.1.1.0/post-b.py",
        "19.0.1.1.0/pre-a.py",
    ]


def release(tmp_path, capsys, **build) -> tuple[int, str, dict]:
    (tmp_path / "odoo.json").write_text(json.dumps(OWN))
    (tmp_path / "build.json").write_text(json.dumps({**BUILD, **build}))
    output = tmp_path / "etc/manifest.json"
    code = write_manifest.main(
        ["release", "--odoo", str(tmp_path / "odoo.json"), "--build", str(tmp_path / "build.json"),
         "--output", str(output), "--root", str(tmp_path)]
    )  # fmt: skip
    return code, capsys.readouterr().err, json.loads(output.read_text()) if output.exists() else {}


def test_release_manifest(addon, tmp_path, capsys):
    code, _, manifest = release(tmp_path, capsys)
    assert code == 0
    assert (manifest["schema"], manifest["uid"], manifest["gid"]) == (1, 10019, 10019)
    assert manifest["commit_sha"] == "a" * 40
    assert manifest["addons_paths"] == [str(tmp_path / "custom"), "/odoo/addons"]
    assert set(manifest["addons"]) == {"base", "mail", "workshop"}
    assert manifest["addons"]["workshop"]["path"] == str(addon)


def test_dependency_that_is_nowhere(addon, tmp_path, capsys):
    (addon / "__manifest__.py").write_text(repr({"depends": ["mail", "shop", "partner_ref"]}))
    code, error, manifest = release(tmp_path, capsys, unselected={"partner_ref": "addons/oca/repos/p/partner_ref"})
    assert code == 1
    assert not manifest
    assert "ODOOOPS_ERROR Addon workshop depends on shop, which is neither in the repository nor in odoo:19.0." in error
    assert "depends on partner_ref, which is in addons/oca/repos/p/partner_ref but not selected" in error


def test_name_of_one_of_odoos_own(tmp_path, capsys):
    (tmp_path / "oca/mail").mkdir(parents=True)
    (tmp_path / "oca/mail/__manifest__.py").write_text("{}")
    code, error, _ = release(tmp_path, capsys)
    assert code == 1
    assert "ODOOOPS_ERROR Addon mail (oca) has the name of one of Odoo's own: rename it." in error
