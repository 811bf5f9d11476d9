import json
from datetime import datetime
from pathlib import Path

import pytest
from core import names

BUCKETS = json.loads((Path(__file__).parents[2] / "contract/fixtures/bucket_names.json").read_text())

HOSTILE = (
    "v1.0.0; rm -rf /",
    "$(id)",
    "`id`",
    "v1.0.0|cat",
    "v1.0.0&&id",
    "v1.0.0\n",
    "\nv1.0.0",
    "-rf",
    "--upload-pack=x",
    "../v1.0.0",
    "v１.0.0",
    "ｖ1.0.0",
    "v1.0.0\x00",
    "%n",
    "'v1'",
    "v" + "1" * 300,
    "",
    None,
    1,
    True,
    [],
    {},
    b"v1.0.0",
)


@pytest.mark.parametrize("tag", ["v1.4.1", "v19.0.1.2.0", "v1.4.1-rc1", "v1", "v0.0.1-beta.2"])
def test_release_tags(tag):
    assert names.parse_ref(tag) == names.parse_ref(f"refs/tags/{tag}") == names.Ref("tag", tag)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_texts_are_no_name_of_anything(value):
    for check in (names.parse_ref, names.parse_image, names.require_commit, names.parse_environment):
        with pytest.raises(names.BadName):
            check(value)


def test_the_main_branch_is_a_ref():
    assert names.parse_ref("refs/heads/main").kind == "branch"
    assert names.parse_ref("refs/heads/19.0", "19.0").name == "19.0"
    with pytest.raises(names.BadName, match="push to main"):
        names.parse_ref("refs/heads/feature")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("demo/prod", ("demo", "prod")),
        ("demo/production", ("demo", "prod")),
        ("staging", (None, "stage")),
        ("demo/pr-12", ("demo", "pr-12")),
    ],
)
def test_environments(text, parsed):
    assert names.parse_environment(text) == parsed


@pytest.mark.parametrize(
    "text", ["/prod", "demo/", "a/b/c", "Demo/prod", "demo/prod\n", "demo prod", "demo/p" + "x" * 30]
)
def test_no_environments(text):
    with pytest.raises(names.BadName, match="<project>/<code>"):
        names.parse_environment(text)


def test_images_carry_a_digest():
    digest = "sha256:" + "a" * 64
    assert names.parse_image(f"localhost:5000/demo@{digest}") == ("localhost:5000/demo", digest)
    assert names.parse_image(f"ghcr.io/acme/shop-web@{digest}")[0] == "ghcr.io/acme/shop-web"
    for image in (
        "demo:latest",
        f"demo:latest@{digest}",
        f"user:pw@host/demo@{digest}",
        f"demo@{digest}\n",
        f"demo@{digest[:-1]}",
    ):
        with pytest.raises(names.BadName, match="by digest"):
            names.parse_image(image)


@pytest.mark.parametrize("host", ["a", "www.example.com", "prod.localhost", "x-1.example.com"])
def test_hosts(host):
    assert names.HOST.fullmatch(host)


@pytest.mark.parametrize(
    "host", ["", "a..b", "-a.b", "a-.b", "A.b", "a b", "*.a", "a/b", "a\n", "x" * 64, "a." * 130 + "b"]
)
def test_no_hosts(host):
    assert not names.HOST.fullmatch(host)


def test_builds_are_named_by_branch_time_and_commit():
    tag = names.build_tag("main", datetime(2026, 1, 2, 3, 4, 5), "abcdef0" + "1" * 33)
    assert tag == "main-20260102030405-abcdef0"
    assert names.BUILD_TAG.fullmatch(tag)
    assert names.BUILD_TAG.fullmatch(names.build_tag("19.0", datetime(2026, 1, 2), "a" * 40))


@pytest.mark.parametrize(
    ("tier", "buckets", "refused"),
    [
        ("staging", "staging-a", False),
        ("staging", "staging-a, staging-b", False),
        ("staging", "staging-a,prod-b", True),
        ("production", "prod-a", False),
        ("production", "production-a", True),
        ("preview", "whatever", False),
        ("production", "", False),
        ("production", None, False),
    ],
)
def test_buckets(tier, buckets, refused):
    assert bool(names.bucket_refusal(tier, buckets)) is refused


@pytest.mark.parametrize("case", BUCKETS, ids=lambda case: f"{case['tier']} {case['buckets']}")
def test_buckets_as_the_guard_and_the_agent_judge_them(case):
    assert bool(names.bucket_refusal(case["tier"], case["buckets"])) is bool(case["refused"])


def test_what_is_shown_is_one_short_printable_line():
    assert names.shown("a\nb\x1b[31m") == "a?b?[31m"
    assert len(names.shown("x" * 500)) == 60


def test_lists():
    assert names.split_list("sale, crm  crm\nstock,,") == ["sale", "crm", "stock"]
    assert names.split_list(None) == []
    assert names.database_name("web-shop", "pr-12") == "web_shop_pr_12"


def test_keys_that_docker_cant_tell_apart():
    assert names.lookalikes("a/b-c") == ["a-b/c"]
    assert names.lookalikes("a-b/c-d") == ["a/b-c-d", "a-b-c/d"]
    assert names.lookalikes("demo/prod") == []
