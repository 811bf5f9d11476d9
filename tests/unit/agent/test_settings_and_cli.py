"""Settings, and the commands that a person types."""

import json

import pytest
from odooops_agent import cli
from odooops_agent.errors import Refused
from odooops_agent.settings import read_settings

from .test_plans import CASES, plan_file

DSN = "postgresql://agent:pa%40ss-word@db.internal:25060/defaultdb?sslmode=require"
LEAST = {"ODOOOPS_URL": "https://console.example.com/", "ODOOOPS_PG_DSN": DSN}


def test_defaults():
    settings = read_settings(LEAST)
    assert settings.url == "https://console.example.com"
    assert settings.stack == "odooops"
    assert settings.caddy_container == "odooops-caddy"
    assert settings.attach == ("odooops-caddy",)
    assert str(settings.data_root) == "/srv/odooops"
    assert (settings.cluster.host, settings.cluster.port, settings.cluster.sslmode) == ("db.internal", 25060, "require")
    assert settings.pg_quota_bytes is None
    assert not settings.tls
    assert settings.pg_password.reveal() == "pa@ss-word"


def test_no_setting_prints_the_password():
    assert "pa@ss-word" not in repr(read_settings(LEAST))
    assert "pa%40ss-word" not in repr(read_settings(LEAST))


def test_odoo_s_containers_may_reach_postgresql_elsewhere():
    settings = read_settings({**LEAST, "ODOOOPS_PG_ODOO_HOST": "10.0.0.5", "ODOOOPS_PG_ODOO_PORT": "6432"})
    assert (settings.cluster.host, settings.cluster.port) == ("10.0.0.5", 6432)


def test_the_connection_string_comes_from_a_file(tmp_path):
    file = tmp_path / "pg_dsn"
    file.write_text(f"{DSN}\n")
    settings = read_settings({"ODOOOPS_URL": LEAST["ODOOOPS_URL"], "ODOOOPS_PG_DSN_FILE": str(file)})
    assert settings.pg_dsn.reveal() == DSN
    assert settings.pg_dsn_file == file
    assert settings.cluster.host == "db.internal"
    with pytest.raises(Refused, match="both set"):
        read_settings({**LEAST, "ODOOOPS_PG_DSN_FILE": str(file)})


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"no dsn at all"])
def test_a_file_without_a_connection_string(tmp_path, content):
    file = tmp_path / "pg_dsn"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Refused, match="ODOOOPS_PG_DSN"):
        read_settings({"ODOOOPS_URL": LEAST["ODOOOPS_URL"], "ODOOOPS_PG_DSN_FILE": str(file)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ODOOOPS_URL", ""),
        ("ODOOOPS_URL", "console.example.com"),
        ("ODOOOPS_URL", "ftp://console.example.com"),
        ("ODOOOPS_URL", "https://me:secret@console.example.com"),
        ("ODOOOPS_PG_DSN", ""),
        ("ODOOOPS_PG_DSN", "no dsn at all"),
        ("ODOOOPS_PG_DSN", "dbname=x"),
        ("ODOOOPS_STACK", "Two Words"),
        ("ODOOOPS_STACK", "a\n"),
        ("ODOOOPS_TLS", "maybe"),
        ("ODOOOPS_PG_QUOTA_BYTES", "10 GB"),
        ("ODOOOPS_STATE_DIR", "relative"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(Refused, match=name) as caught:
        read_settings({**LEAST, name: value})
    assert caught.value.message.endswith(".")
    assert "secret" not in caught.value.message


# -- the commands


def test_plan_prints_the_steps_and_does_nothing(tmp_path, capsys):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_file(CASES["custom_addon_changed_with_bump"])))
    assert cli.main(["plan", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("demo/prod: update, plan ")
    assert "snapshot_database   (taken back by drop_snapshot)" in out


def test_a_refused_plan_is_one_sentence_and_exit_code_1(tmp_path, capsys):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_file(CASES["backwards"])))
    assert cli.main(["plan", str(path)]) == 1
    assert capsys.readouterr().err.startswith("odooops-agent: The image would take workshop")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"operation": {}}', "\x00"])
def test_a_file_that_is_no_plan(tmp_path, capsys, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert cli.main(["plan", str(path)]) == 1
    assert "The file holds no operation and facts" in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys):
    assert cli.main(["plan", "/nowhere/plan.json"]) == 1
    assert "can't be read" in capsys.readouterr().err


def test_status(tmp_path, capsys, monkeypatch, deployed):
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ODOOOPS_STATE_DIR", str(tmp_path / "empty"))
    assert cli.main(["status"]) == 0
    assert "has not run yet" in capsys.readouterr().out
    monkeypatch.setenv("ODOOOPS_STATE_DIR", str(deployed.folder))
    assert cli.main(["status"]) == 0
    out = capsys.readouterr().out
    assert "demo/prod: sha256:1111" in out
    assert "deploy demo/prod ended" in out
    assert "Reports wait since operation 41." in out
    deployed.journal.set_aside(deployed.journal.next_report(), "It is too large.")
    assert cli.main(["status"]) == 0
    assert (
        "operation 41: the control plane refused its steps report for good: It is too large." in capsys.readouterr().out
    )


def test_admin_password(capsys, monkeypatch, deployed):
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ODOOOPS_STATE_DIR", str(deployed.folder))
    assert cli.main(["admin-password", "demo/prod"]) == 0
    assert capsys.readouterr().out.strip() == deployed.workshop.passwords.get("demo/prod admin").reveal()
    assert cli.main(["admin-password", "demo/stage"]) == 1
    assert "installed no demo/stage" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert all(command in out for command in ("run", "plan", "doctor", "status"))
