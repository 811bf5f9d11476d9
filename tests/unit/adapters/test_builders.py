"""What the builders say to Caddy, Docker and PostgreSQL: values, made without asking anybody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from odooops_agent.commands import caddy, docker, postgres
from odooops_agent.errors import Permanent, Refused
from odooops_agent.facts import OwnerTag, Session
from odooops_agent.ports import ContainerSpec, Mount, Route
from odooops_agent.runtime import manifest
from odooops_agent.runtime.docker import DockerRuntime
from odooops_agent.runtime.streams import Lines, demultiplexed, follow
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

ROUTE = Route("demo/prod", ("shop.example",), ("www.shop.example",), "demo-prod-r1", 45, tls=True)


def text(statement: Composable) -> str:
    """Render without a server: names in double quotes, values in single ones."""
    if isinstance(statement, Composed):
        return "".join(text(part) for part in statement.seq)
    if isinstance(statement, SQL):
        return statement.string
    if isinstance(statement, Identifier):
        return ".".join('"' + part.replace('"', '""') + '"' for part in statement.strings)
    assert isinstance(statement, Literal)
    return repr(statement.wrapped)


def made(route: Route = ROUTE) -> caddy.Json:
    return caddy.environment_route(route, "demo-prod", lambda part: f"{{file./run/demo-prod/{part}}}")


def proxies(route: caddy.Json) -> list[caddy.Json]:
    routes = route["handle"][0]["routes"]
    return [handler for each in routes for handler in each["handle"] if handler["handler"] == "reverse_proxy"]


def test_a_route_holds_as_long_as_its_limit_and_repeats_nothing_that_arrived() -> None:
    websocket, pages = proxies(made())
    assert websocket["upstreams"] == [{"dial": "{file./run/demo-prod/websocket}"}]
    assert pages["upstreams"] == [{"dial": "{file./run/demo-prod/web}"}]
    for proxy in (websocket, pages):
        assert proxy["load_balancing"]["try_duration"] == "45s"
        assert proxy["load_balancing"]["retry_match"] == [{"method": ["-"]}]
    assert websocket["stream_close_delay"] == "1h"


def test_a_route_replaces_its_former_self_and_nothing_else() -> None:
    console = {"@id": "odooops-console", "match": [{"host": ["console.example"]}]}
    server = {"listen": [":443"], "routes": [console], "logs": {}}
    once = caddy.with_route(server, made(), tls=True)
    assert [each["@id"] for each in once["routes"]] == ["odooops-demo-prod", "odooops-console"]
    assert caddy.with_route(once, made(), tls=True) == once
    assert server["routes"] == [console]
    assert (once["listen"], once["logs"]) == ([":443"], {})


def test_hosts_without_tls_ask_for_no_certificate() -> None:
    server = {"listen": [":443"], "routes": [], "automatic_https": {"skip": ["kept.example"]}}
    plain = caddy.with_route(server, made(), tls=False)
    assert plain["automatic_https"]["skip"] == ["kept.example", "shop.example", "www.shop.example"]
    assert caddy.with_route(plain, made(), tls=True)["automatic_https"]["skip"] == ["kept.example"]
    assert "automatic_https" not in caddy.with_route({"routes": []}, made(), tls=True)
    disabled = {"routes": [], "automatic_https": {"disable": True}}
    assert caddy.with_route(disabled, made(), tls=False)["automatic_https"] == {"disable": True}


def test_an_error_that_no_page_covers_keeps_its_status() -> None:
    *_, last = made()["handle"][0]["errors"]["routes"]
    assert "match" not in last
    assert last["handle"][0]["status_code"] == "{http.error.status_code}"


def spec(**options: object) -> ContainerSpec:
    given = {"name": "n", "image": "i@sha256:1", "argv": ("odoo",), "network": "net", "labels": {}, "user": "1:1"}
    return ContainerSpec(**{**given, **options})  # type: ignore[arg-type]


def test_the_spec_tells_containers_apart() -> None:
    assert docker.spec_hash(spec()) == docker.spec_hash(spec())
    assert docker.spec_hash(spec()) != docker.spec_hash(spec(memory_bytes=1))
    labels = docker.container_arguments(spec(labels={"odooops.stack": "forged"}), "mine")["labels"]
    assert labels["odooops.stack"] == "mine"


def test_a_container_tells_what_it_was_made_from() -> None:
    given = spec(argv=("odoo", "-c", "x"), mounts=(Mount("/srv/a", "/var/lib/odoo", read_only=True),), cpus=1.5)
    labels = docker.container_arguments(given, "mine")["labels"]
    assert docker.made_from(labels) == given
    assert docker.made_from({}) is None


def test_a_containers_schema_has_no_privilege_to_give() -> None:
    host = docker.host_arguments(spec(), Path("/srv"))
    assert host["cap_drop"] == ["ALL"]
    assert host["privileged"] is False
    assert not {"cap_add", "devices", "pid_mode", "ipc_mode", "userns_mode", "binds", "volumes_from"} & set(host)
    assert "mem_limit" not in host
    assert docker.host_arguments(spec(cpus=1.5), Path("/srv"))["nano_cpus"] == 1_500_000_000


def test_strategy_by_size_and_server() -> None:
    small, large = 70 << 20, 1 << 30
    assert postgres.choose_strategy(small, 140000) == "file_copy"
    assert postgres.choose_strategy(small, 150018) == "wal_log"
    assert postgres.choose_strategy(large, 150018) == "file_copy"
    assert postgres.choose_strategy(small, 180006) == "wal_log"
    assert postgres.choose_strategy(large, 180006) == "clone"


HOSTILE = ['a"; DROP DATABASE prod; --', "a'b", "a b", "prod\n", "p" * 64, "Prod", "1st", "pröd", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_gets_into_a_statement_as_text(name: str) -> None:
    for build in (
        lambda: postgres.create_database(name, "owner"),
        lambda: postgres.copy_database("source", name, "owner", None),
        lambda: postgres.rename("old", name),
        lambda: postgres.drop(name),
        lambda: postgres.write_role(name, "SCRAM-SHA-256$…", exists=False),
    ):
        with pytest.raises(Refused):
            build()


def test_settings_go_over_as_they_are_stored() -> None:
    def written(stored: str, role: str = "") -> str:
        return text(postgres.setting("copy", role, stored))

    assert (
        written('search_path="sales dept", public')
        == """ALTER DATABASE "copy" SET "search_path" TO 'sales dept', 'public'"""
    )
    assert written("datestyle=ISO, DMY") == """ALTER DATABASE "copy" SET "datestyle" TO 'ISO, DMY'"""
    assert written("app.tenant=x=y", "bi") == """ALTER ROLE "bi" IN DATABASE "copy" SET "app"."tenant" TO 'x=y'"""
    assert written("search_path=") == """ALTER DATABASE "copy" SET "search_path" TO ''"""
    assert written('search_path="a""b"') == """ALTER DATABASE "copy" SET "search_path" TO 'a"b'"""


def test_membership_is_asked_for_in_full_from_16_on() -> None:
    assert text(postgres.grant_role("app", "agent", 150018)) == 'GRANT "app" TO "agent"'
    assert text(postgres.grant_role("app", "agent", 160000)).endswith("WITH INHERIT TRUE, SET TRUE")
    assert "'SET'" in text(postgres.has_role("app", 160000))
    assert "'SET'" not in text(postgres.has_role("app", 150018))


@pytest.mark.parametrize(
    "comment", [None, "", "somebody's note", "[]", "{}", '{"odooops":1}', '{"odooops":{"token":"x"}}']
)
def test_a_comment_that_is_not_ours_is_no_owner_tag(comment: str | None) -> None:
    assert postgres.owner_tag(comment) is None


def test_the_owner_tag_reads_back() -> None:
    kept = {"environment": "uuid", "token": 7, "fenced": ["bi"]}
    assert postgres.owner_tag(postgres.write_comment(kept)) == OwnerTag("uuid", 7)
    assert postgres.read_comment(postgres.write_comment(kept)) == kept


def test_sessions_are_told_to_a_person() -> None:
    told = postgres.named([Session(12, "bi", "metabase", "10.0.0.7", False), Session(13, "bi", "", "", False)])
    assert told == "bi (metabase, 10.0.0.7, pid 12); bi (unnamed, no address shown, pid 13)"


def test_privileges_are_postgresqls_own_words() -> None:
    with pytest.raises(Refused):
        postgres.revoke("CONNECT ON DATABASE x FROM y; --", "db", "role")
    assert text(postgres.revoke("CONNECT", "db", "")) == 'REVOKE CONNECT ON DATABASE "db" FROM PUBLIC CASCADE'


def test_lines_are_cut_whatever_the_chunks() -> None:
    got: list[str] = []
    lines = Lines(got.append)
    for chunk in (b"fir", b"st\nsecond\r\nthi", b"rd\xff", b"\n", b"x" * 70_000, b"y\n", b"end"):
        lines.feed(chunk)
    lines.end()
    assert got[:3] == ["first", "second", "third\ufffd"]
    assert got[-1] == "end"
    assert sum(len(line) for line in got[3:-1]) == 70_001


def test_what_a_stream_raises_reaches_who_waits_for_it() -> None:
    def chunks() -> object:
        yield from demultiplexed(iter([(b"a\n", None), (b"no end", b"its own line\n")]))
        raise ConnectionError("gone")

    got: list[str] = []
    with pytest.raises(ConnectionError):
        follow(chunks(), got.append, 5, lambda: False)  # type: ignore[arg-type]
    assert got == ["a", "its own line", "no end"]


class LateLog:
    """Docker's API as it is now and then: following a log ends before the last line is written down."""

    def __init__(self, followed: bytes, whole: bytes) -> None:
        self.followed, self.whole, self.waited = followed, whole, False

    def logs(self, _name: str, *, follow: bool, stdout: bool, **_others: object) -> Iterator[bytes]:
        if not stdout:
            return iter(())
        text = self.followed if follow else self.whole if self.waited else b""
        return iter([text[:5], text[5:]])

    def wait(self, _name: str) -> dict[str, int]:
        self.waited = True
        return {"StatusCode": 0}


@pytest.mark.parametrize("followed", [b"", b"fir", b"first\n", b"first\nverd", b"first\nverdict"])
def test_what_following_a_log_missed_is_read_at_the_end(followed: bytes, tmp_path: Path) -> None:
    got: list[str] = []
    client = SimpleNamespace(api=LateLog(followed, b"first\nverdict"))
    runtime = DockerRuntime(client, "stack", tmp_path, SimpleNamespace(), (), tmp_path)  # type: ignore[arg-type]
    assert runtime._to_its_end("one-off", "the-id", 5, got.append, lambda: False) == 0
    assert got == ["first", "verdict"]


@pytest.mark.parametrize(
    "broken", [b"{", b"[]", b'{"schema": 1}', b'{"schema": 2}', b"null", b'{"schema":1,"addons":[]}']
)
def test_a_broken_manifest_says_which_image(broken: bytes) -> None:
    with pytest.raises(Permanent, match=re.escape("demo@sha256:1")):
        manifest.parse(broken, "demo@sha256:1")


def test_an_image_does_not_choose_its_user() -> None:
    text = {"schema": 1, "series": "19.0", "commit_sha": "b" * 40, "addons_paths": [], "addons": {}}
    assert manifest.parse(json.dumps({**text, "uid": 10019, "gid": 10019}).encode(), "demo").uid == 10019
    for uid, gid in ((0, 10019), (10019, 0), (1000, 1000)):
        with pytest.raises(Permanent, match="instead of 10019:10019"):
            manifest.parse(json.dumps({**text, "uid": uid, "gid": gid}).encode(), "demo")
