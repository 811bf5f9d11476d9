"""The one-offs that dump, load and prove, as specifications."""

import configparser
from dataclasses import asdict

import pytest
from odooops_agent.commands import dump
from odooops_agent.errors import Refused
from odooops_agent.names import Names
from odooops_agent.protocol import Environment, convert
from odooops_agent.testing.droplet import ENVIRONMENT

NAMES = Names("odooops", "demo/prod", "demo_prod", 17)
FOLDER = "/srv/odooops/demo/prod/work/backup/io"


def tool(**options):
    environment = convert(ENVIRONMENT, Environment)
    argv = dump.dump("demo_prod", "demo_prod")
    return dump.tool(NAMES, environment, "localhost:5000/demo@sha256:x", "10019:10019", FOLDER, "dump", argv, **options)


def test_a_one_off_has_no_network_and_one_folder():
    spec = tool()
    assert spec.network == "none"
    assert [(one.source, one.target) for one in spec.mounts] == [(FOLDER, "/odooops")]
    assert not spec.restart
    assert "odooops.role" not in spec.labels, "it is none of the environment's containers"


def test_a_dump_is_one_uncompressed_file():
    argv = dump.dump("demo_prod", "demo_prod")
    assert {"--format=custom", "--compress=0", "--file=/odooops/database.dump", "--no-password"} <= set(argv)


def test_a_dump_is_loaded_without_its_owners_and_rights_and_stops_at_the_first_error():
    argv = dump.load("demo_prod__t1", "demo_prod")
    assert {"--no-owner", "--no-acl", "--exit-on-error", "--dbname=demo_prod__t1"} <= set(argv)


def test_a_password_is_in_a_file_and_nowhere_else():
    assert dump.pgpass("demo_prod", "a:b\\c") == "*:*:*:demo_prod:a\\:b\\\\c\n"
    assert "secret" not in repr(asdict(tool(config=True)))


@pytest.mark.parametrize("name", ["demo_prod; DROP", "-rf", "postgresql://x", "demo prod", "dbname=x"])
def test_no_name_means_something_else(name):
    with pytest.raises(Refused):
        dump.dump(name, "demo_prod")
    with pytest.raises(Refused):
        dump.load("demo_prod__t1", name)


def test_a_restored_odoo_asks_no_other_database_and_sends_no_mail():
    parser = configparser.RawConfigParser()
    parser.read_string(dump.test_config("demo_prod__t1", "demo_prod", "secret", ("/opt/odoo/addons/custom",)))
    options = dict(parser["options"])
    assert options["db_name"] == "demo_prod__t1"
    assert options["smtp_server"].endswith(".invalid")
    assert "dbfilter" not in options, "with it Odoo lists the cluster's databases"
    assert "_create_empty_database" in dump.SERVE_SCRIPT
    compile(dump.SERVE_SCRIPT, "serve.py", "exec")
    assert "--max-cron-threads=0" in dump.serve()
