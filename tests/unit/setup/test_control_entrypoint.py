"""The console's entrypoint: who may read GitHub's secrets once Odoo runs."""

import importlib.util
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

ENTRYPOINT = Path(__file__).resolve().parents[3] / "docker/control/entrypoint.py"


@pytest.fixture
def entrypoint(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("control_entrypoint", ENTRYPOINT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    me = SimpleNamespace(pw_uid=os.getuid(), pw_gid=os.getgid())
    monkeypatch.setattr(module.pwd, "getpwnam", lambda name: {"odoo": me}[name])
    monkeypatch.setattr(module, "GITHUB", tmp_path / "run/github")
    monkeypatch.setattr(module, "SETTINGS", {"ODOOOPS_GITHUB_MOUNT": str(tmp_path / "mount")})
    monkeypatch.setenv("ODOOOPS_GITHUB_DIR", "")
    return module


def test_secrets_are_handed_over_to_odoos_user_alone(entrypoint, tmp_path):
    mount = tmp_path / "mount"
    (mount / "folder").mkdir(parents=True)
    (mount / "webhook_secret").write_text("first")
    entrypoint.hand_over_github_secrets()
    copy = entrypoint.GITHUB / "webhook_secret"
    assert copy.read_text() == "first"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o400
    assert stat.S_IMODE(entrypoint.GITHUB.stat().st_mode) == 0o700
    assert os.environ["ODOOOPS_GITHUB_DIR"] == str(entrypoint.GITHUB)
    assert [path.name for path in entrypoint.GITHUB.iterdir()] == ["webhook_secret"]


def test_a_restart_takes_changes_over(entrypoint, tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "token").write_text("old")
    entrypoint.hand_over_github_secrets()
    (mount / "token").unlink()
    (mount / "webhook_secret").write_text("new")
    entrypoint.hand_over_github_secrets()
    assert [path.name for path in entrypoint.GITHUB.iterdir()] == ["webhook_secret"]


@pytest.mark.parametrize("mount", [None, "", "/nowhere/at/all"])
def test_without_secrets_the_console_starts_all_the_same(entrypoint, mount):
    entrypoint.SETTINGS["ODOOOPS_GITHUB_MOUNT"] = mount
    entrypoint.hand_over_github_secrets()
    assert list(entrypoint.GITHUB.iterdir()) == []
