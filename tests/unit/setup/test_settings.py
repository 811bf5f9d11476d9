"""What Compose and Caddy are told."""

import json
import re

import pytest
import yaml

from scripts.setup import paths, settings

FACTS = settings.Facts(
    stack="odooops-3f2a",
    ports={"http": 8081, "https": 8443, "registry": 5001, "customers_db": 15433},
    bind_address="127.0.0.1",
    bridge_address="172.17.0.1",
    postgres_image="postgres:15",
    state="/srv/x/.run",
    data_root="/srv/x/.run/droplet",
    customers_db_password="p-_w",
    disk_bytes=64 << 30,
)
CADDY = (paths.ROOT / "docker/caddy/caddy.json").read_text()
FILES = [paths.ROOT / "docker" / name for name in ("compose.yaml", "compose.demo.yaml")]


def test_addresses_are_those_that_were_chosen():
    values = settings.variables(FACTS)
    assert values["ODOOOPS_PUBLIC_URL"] == "http://localhost:8081"
    assert settings.customers_dsn(FACTS) == "postgresql://odooops_agent:p-_w@172.17.0.1:15433/defaultdb"
    assert values["ODOOOPS_CONTROL_IMAGE"] == "odooops-3f2a/control"


def test_no_password_is_among_the_variables():
    assert FACTS.customers_db_password not in "".join(settings.variables(FACTS).values())


def test_compose_hands_secrets_over_as_files_only():
    for file in FILES:
        for name, service in yaml.safe_load(file.read_text())["services"].items():
            for variable in service.get("environment") or {}:
                secret = re.search("PASSWORD|SECRET|KEY|DSN|TOKEN", variable)
                assert not secret or variable.endswith("_FILE"), f"{file.name}: {name}: {variable}"


def test_every_variable_of_the_compose_files_is_given_or_has_a_default():
    given = set(settings.variables(FACTS))
    for file in FILES:
        text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
        used = re.findall(r"\$\{(ODOOOPS_\w+)(:[-+])?", text)
        assert used
        assert {name for name, default in used if not default} <= given


def test_every_object_of_the_compose_files_carries_the_stacks_label():
    for file in FILES:
        composed = yaml.safe_load(file.read_text())
        for kind in ("services", "networks", "volumes"):
            for name, one in composed[kind].items():
                assert "odooops.stack" in one["labels"], f"{file.name}: {kind} {name}"


def test_env_file_quotes_what_compose_would_expand():
    assert settings.env_file({"A": "x$y#z"}) == "A='x$y#z'\n"


@pytest.mark.parametrize("value", ["two\nlines", "a 'quote'"])
def test_env_file_refuses_what_it_can_not_hold(value):
    with pytest.raises(ValueError, match="A can't hold"):
        settings.env_file({"A": value})


def test_caddy_of_the_demo_is_productions_but_for_names_and_tls():
    demo = json.loads(settings.caddy_json(CADDY, ["localhost", "caddy"]))
    ours, theirs = (config["apps"]["http"]["servers"]["odooops"] for config in (demo, json.loads(CADDY)))
    assert ours["listen"] == [":80"]
    assert theirs["listen"] == [":443"]
    assert ours["routes"][0]["match"] == [{"host": ["localhost", "caddy"]}]
    for server in (ours, theirs):
        del server["listen"], server["routes"][0]["match"]
    assert ours == theirs


def test_caddys_admin_api_listens_on_a_socket_only():
    assert json.loads(CADDY)["admin"]["listen"].startswith("unix//run/caddy/")
