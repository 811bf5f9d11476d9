"""odoo.conf and the containers, from what the control plane says."""

import configparser
import json

import pytest
from odooops_agent.commands import containers, odoo
from odooops_agent.commands.containers import Blueprint, spec_from
from odooops_agent.commands.odoo_conf import Cluster, OdooSecrets, odoo_config, share_connections
from odooops_agent.errors import Refused
from odooops_agent.names import Names
from odooops_agent.protocol import Environment, convert, plain
from odooops_agent.secrets import Secret
from odooops_agent.testing.droplet import ENVIRONMENT, image

CLUSTER = Cluster("db.internal", 25060, "require")
SECRETS = OdooSecrets(Secret("the-database-password"), Secret("the-master-password"))


def environment(**changes):
    return convert({**ENVIRONMENT, **changes}, Environment)


def config(**changes):
    return odoo_config(environment(**changes), image("19.0.1.0.0", "a"), CLUSTER, "demo_prod")


def options(**changes):
    return config(**changes).options


def test_what_odoo_reads():
    parser = configparser.RawConfigParser()
    parser.read_string(config().render(SECRETS))
    assert dict(parser["options"]) == {
        "addons_path": "/opt/odoo/addons/custom,/usr/lib/python3/dist-packages/odoo/addons",
        "admin_passwd": "the-master-password",
        "data_dir": "/var/lib/odoo",
        "db_host": "db.internal",
        "db_maxconn": "2",
        "db_maxconn_gevent": "2",
        "db_name": "demo_prod",
        "db_password": "the-database-password",
        "db_port": "25060",
        "db_sslmode": "require",
        "db_user": "demo_prod",
        "dbfilter": "^demo_prod$",
        "from_filter": "",
        "gevent_port": "8072",
        "http_port": "8069",
        "limit_memory_hard": "805306368",
        "limit_memory_soft": "671088640",
        "limit_time_cpu": "60",
        "limit_time_real": "120",
        "limit_time_real_cron": "900",
        "list_db": "False",
        "logfile": "",
        "max_cron_threads": "1",
        "proxy_mode": "True",
        "smtp_port": "25",
        "smtp_server": "mail-disabled.invalid",
        "smtp_ssl": "False",
        "workers": "2",
    }


def test_the_hash_knows_no_secret():
    first = config()
    other = OdooSecrets(Secret("x" * 20), Secret("y" * 20))
    assert first.render(SECRETS) != first.render(other)
    assert first.config_hash == config().config_hash
    assert "password" not in json.dumps(dict(first.options))


@pytest.mark.parametrize(
    "change",
    [{"workers": 3, "database_connections_max": 40}, {"cron_workers": 2, "database_connections_max": 30}],
)
def test_the_hash_follows_the_configuration(change):
    assert config(**change).config_hash != config().config_hash


def test_only_production_reaches_a_mail_server():
    mail = {"host": "smtp.example.com", "port": 587, "encryption": "starttls", "from_filter": "example.com"}
    found = options(mail=mail)
    assert (found["smtp_server"], found["smtp_port"], found["smtp_ssl"]) == ("smtp.example.com", "587", "True")
    assert found["from_filter"] == "example.com"
    for tier in ("staging", "preview"):
        found = options(mail=mail, tier=tier)
        assert (found["smtp_server"], found["smtp_port"], found["smtp_ssl"]) == ("odooops-mail", "1025", "False")


@pytest.mark.parametrize(
    ("workers", "cron", "budget", "expected"),
    [
        (2, 1, 16, (2, 2, 3)),
        (2, 1, 40, (8, 2, 3)),
        (2, 1, 41, (8, 3, 3)),
        (4, 1, 64, (7, 2, 3)),
        (1, 1, 11, (2, 2, 3)),
        (8, 2, 90, (5, 2, 3)),
    ],
)
def test_the_connection_budget_holds_two_generations_of_web_and_the_crons(workers, cron, budget, expected):
    given = environment(workers=workers, cron_workers=cron, database_connections_max=budget)
    shares = share_connections(given)
    assert (shares.web, shares.gevent, shares.cron) == expected
    assert 2 * (shares.web * workers + shares.gevent) + shares.cron * cron <= budget


def test_too_small_a_budget_says_how_much_is_needed():
    with pytest.raises(Refused, match="may open 14 database connections and needs 15 for 2 workers"):
        options(database_connections_max=14)


@pytest.mark.parametrize(
    "evil",
    ["a\nlist_db = True", "a\r\nlist_db = True", "a\x00", "a\x1b[0m", "%d", "a\u2028b", "a\x85b", "a\x0bb"],
)
@pytest.mark.parametrize("field", ["from_filter", "host", "db_host", "addons_path"])
def test_nothing_can_end_a_line_or_mean_something_else(evil, field):
    mail = {"host": "smtp.example.com", "from_filter": "example.com"}
    cluster, release = CLUSTER, image("19.0.1.0.0", "a")
    if field in mail:
        mail[field] = evil
    elif field == "db_host":
        cluster = Cluster(evil)
    else:
        release = type(release)("19.0", "b" * 40, 1, 1, (evil,), {})
    with pytest.raises(Refused):
        odoo_config(environment(mail=mail), release, cluster, "demo_prod").render(SECRETS)


def test_a_password_can_t_end_a_line_either():
    with pytest.raises(Refused):
        config().render(OdooSecrets(Secret("a\nlist_db = True"), Secret("x" * 20)))


@pytest.mark.parametrize("name", ["demo_prod\n", "demo.prod", "Demo", "demo|x", "", "1demo", "demo-prod", "d" * 70])
def test_a_database_is_a_plain_name(name):
    with pytest.raises(Refused):
        options(database={"name": name})


def test_without_workers_there_is_no_websocket():
    with pytest.raises(Refused, match="one worker at least"):
        options(workers=0)


# -- what is run

SERVER = ("odooops-python", "/usr/local/lib/odooops/server/odoo")


def test_web_serves_and_runs_no_job():
    assert odoo.web() == (*SERVER, "--", "-c", "/etc/odoo/odoo.conf", "--max-cron-threads=0")


def test_a_server_in_waiting_is_the_same_server_later():
    argv = odoo.standby("standby-17")
    assert argv == (*SERVER, "--gate", "/var/lib/odoo/standby-17", *odoo.web()[2:])


def test_visitors_who_wait_do_not_wait_for_the_websocket_process():
    assert odoo.warm("prod.localhost", 60, websocket=False)[-1] == "--no-websocket"
    assert "--no-websocket" not in odoo.warm("prod.localhost", 120)


def test_cron_runs_jobs_and_serves_nobody():
    argv = odoo.cron(2, 3)
    assert argv[:5] == (*SERVER, "--", "-c", "/etc/odoo/odoo.conf")
    assert set(argv[5:]) == {"--no-http", "--workers=1", "--max-cron-threads=2", "--db_maxconn=3"}


def test_update():
    assert odoo.update("demo_prod", ["a", "b"], ["c"], baseline="log-baseline.txt") == (
        "odooops-python", "/usr/local/lib/odooops/update.py", "--config", "/etc/odoo/odoo.conf",
        "--database", "demo_prod", "--update", "a,b", "--install", "c",
        "--baseline", "/var/lib/odoo/log-baseline.txt",
    )  # fmt: skip


def test_a_first_installation_sets_a_password_and_loads_the_languages():
    argv = odoo.update(
        "demo_prod", [], ["base"], admin_password="admin-password", languages=["en_US", "fr_BE", "de_DE"]
    )
    assert argv[-4:] == ("--admin-password-file", "/var/lib/odoo/admin-password", "--", "--load-language=fr_BE,de_DE")


@pytest.mark.parametrize("module", ["all,base", "a b", "-u", "a;id", "$(id)", "a\n", "../x", ""])
def test_a_module_is_a_plain_name(module):
    with pytest.raises(Refused):
        odoo.update("demo_prod", [module], [])


@pytest.mark.parametrize("host", ["a b", "--x", "a\n", "http://x", "$(id)", "a/b", ""])
def test_a_host_is_a_plain_name(host):
    with pytest.raises(Refused):
        odoo.healthy(host, "demo_prod")


# -- containers


def blueprint(**changes):
    return Blueprint(
        names=Names("odooops", "demo/prod", "demo_prod", 17),
        environment=environment(**changes),
        reference="localhost:5000/demo@sha256:" + "2" * 64,
        digest="sha256:" + "2" * 64,
        config_hash="c" * 64,
        operation_id=41,
        uid=10019,
        gid=10019,
        data_root="/srv/odooops",
    )


def test_a_web_container():
    spec = containers.web(blueprint())
    assert spec.name == "odooops-demo-prod-web-17"
    assert spec.image.endswith("@sha256:" + "2" * 64)
    assert spec.user == "10019:10019"
    assert spec.network == "odooops-demo-prod"
    assert spec.restart
    assert [(one.source, one.target, one.read_only) for one in spec.mounts] == [
        ("/srv/odooops/demo/prod", "/var/lib/odoo", False),
        ("/srv/odooops/demo/prod/odoo-17.conf", "/etc/odoo/odoo.conf", True),
    ]
    assert spec.labels == {
        "odooops.stack": "odooops",
        "odooops.environment": "demo/prod",
        "odooops.role": "web",
        "odooops.token": "17",
        "odooops.operation": "41",
        "odooops.digest": "sha256:" + "2" * 64,
        "odooops.config_hash": "c" * 64,
    }
    assert spec.memory_bytes == 2 << 30
    assert spec.environment == {}, "no secret in a container's environment"


def test_an_update_runs_as_the_upgrade_role_and_never_restarts():
    spec = containers.update(blueprint(), ["workshop"], [], baseline=None, admin_password=None)
    assert not spec.restart
    assert spec.mounts[1].source.endswith("/odoo-17-upgrade.conf")
    assert "-update-" in spec.name


def test_crons_get_no_more_memory_than_they_may_use():
    assert containers.cron(blueprint()).memory_bytes == (768 << 20) + (512 << 20)


def test_a_specification_survives_the_journal():
    spec = containers.web(blueprint())
    assert spec_from(json.loads(json.dumps(plain(spec)))) == spec


@pytest.mark.parametrize(
    "key", ["demo", "demo/", "/prod", "Demo/prod", "demo/prod/x", "demo/../x", "demo/prod\n", "a b/c"]
)
def test_an_environment_s_key_is_a_plain_name(key):
    with pytest.raises(Refused):
        Names("odooops", key, "demo_prod", 1).slug  # noqa: B018


def test_mail_over_tls_from_the_first_byte_is_read_and_refused_in_words():
    with pytest.raises(Refused, match="choose STARTTLS"):
        config(mail={"host": "smtp.example.com", "port": 465, "encryption": "ssl"})
    assert options(tier="staging", mail={"host": "smtp.example.com", "port": 465, "encryption": "ssl"})
