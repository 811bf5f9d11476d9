"""The step of the build that installs Python packages: what pip is told and what people are told."""

from __future__ import annotations

import json
from pathlib import Path

import install_python
import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(install_python, "SECRETS", tmp_path / "secrets")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "files.txt").write_text("requirements.txt\naddons/requirements.txt\n")
    (tmp_path / "external.json").write_text(json.dumps({"python": {"slugify": ["shop", "web_shop"]}, "bin": {}}))
    return tmp_path


@pytest.fixture
def pip(monkeypatch) -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = []

    def install(*arguments: str) -> str | None:
        calls.append(arguments)
        return "no such thing" if arguments[-1] == "slugify" else None

    monkeypatch.setattr(install_python, "pip_install", install)
    monkeypatch.setattr(install_python.check_dependencies, "python_problem", lambda requirement: "not there")
    return calls


def test_all_files_go_to_one_call(folder, pip):
    assert install_python.install_requirements(folder) == []
    files = [str(folder / "files" / name) for name in ("requirements.txt", "addons/requirements.txt")]
    assert pip == [("-r", files[0], "-r", files[1])]


def test_missing_package_names_its_addons(folder, pip, capsys):
    assert install_python.main(folder) == 1
    assert pip[-1] == ("--", "slugify")
    assert capsys.readouterr().err == (
        "ODOOOPS_ERROR Addon shop, web_shop: Python package 'slugify' can't be installed: no such thing.\n"
    )


def test_packages_that_break_odoo_fail(folder, pip, capsys, monkeypatch):
    (folder / "external.json").write_text('{"python": {}, "bin": {}}')
    monkeypatch.setattr(install_python, "odoo_problem", lambda: "ImportError: no url_quote")
    assert install_python.main(folder) == 1
    error = capsys.readouterr().err
    assert "ODOOOPS_ERROR Odoo does not start with these requirements: ImportError: no url_quote." in error


def test_only_given_secrets_are_used(folder):
    before = install_python.pip_environment()
    assert before["PIP_BREAK_SYSTEM_PACKAGES"] == "1"
    (folder / "secrets/pip_conf").touch()
    after = install_python.pip_environment()
    assert {name for name in after if after[name] != before.get(name)} == {"PIP_CONFIG_FILE"}


def test_missing_program_names_its_addon(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    (error,) = install_python.check_dependencies.find_errors({"bin": {"pdftotext": ["shop"]}})
    assert error.startswith("Addon shop needs the program 'pdftotext', which is not in the image: ")
