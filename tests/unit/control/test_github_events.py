import json
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
from core import github_events, github_signature

PAYLOADS = json.loads((Path(__file__).parents[2] / "contract/github/payloads.json").read_text())
KNOWN = [one for one in PAYLOADS if one["kind"] in github_events.KEPT]
REPOSITORY = {"id": 7, "full_name": "acme/shop", "owner": {"id": 3}}
SHA_A, SHA_B, NONE = "a" * 40, "b" * 40, "0" * 40
SECRET = "it's a secret to everybody"


def parsed(kind, **payload):
    payload = {"repository": REPOSITORY, "sender": {"login": "mona"}, **payload}
    return github_events.parse(kind, github_events.pruned(kind, payload))


def push(ref="refs/heads/main", **values):
    return parsed("push", **{"ref": ref, "before": SHA_A, "after": SHA_B, **values})


@pytest.mark.parametrize("one", KNOWN, ids=lambda one: f"{one['kind']}-{one['source']}-{one['number']}")
def test_every_example_of_github(one):
    event = github_events.parse(one["kind"], github_events.pruned(one["kind"], one["payload"]))
    assert event.action == (one["payload"].get("action") or "")
    assert event.sender == one["payload"]["sender"]["login"]
    if "repository" in one["payload"]:
        assert event.repository.full_name == one["payload"]["repository"]["full_name"]
        assert event.repository.id == one["payload"]["repository"]["id"]


def test_examples_of_every_event_are_there():
    found = Counter(one["kind"] for one in KNOWN)
    # GitHub publishes no example of deployment_protection_rule; its own tests are below.
    assert set(found) == set(github_events.KEPT) - {"deployment_protection_rule"}
    assert found["pull_request"] > 20


def test_what_is_kept_is_small_and_has_no_addresses_of_people():
    for one in PAYLOADS:
        kept = json.dumps(github_events.pruned(one["kind"], one["payload"]))
        assert len(kept) < 1500, one["kind"]
        assert "@" not in kept
    assert github_events.pruned("star", PAYLOADS[0]["payload"]) == {}


def test_details_of_examples():
    by_kind = {}
    for one in KNOWN:
        if one["source"] == "api.github.com":
            by_kind.setdefault(one["kind"], github_events.parse(one["kind"], one["payload"]))
    assert (by_kind["push"].kind, by_kind["push"].name, by_kind["push"].created) == ("tag", "simple-tag", True)
    assert (by_kind["pull_request"].number, by_kind["pull_request"].head_ref) == (2, "changes")
    assert not by_kind["pull_request"].is_fork
    assert (by_kind["check_suite"].name, by_kind["check_suite"].conclusion) == ("octocoders-linter", "success")
    assert by_kind["deployment_status"].environment == "prod"
    assert by_kind["deployment_status"].state == "success"
    assert by_kind["release"].tag == "0.0.1"


def test_branch_names_stay_whole():
    assert push("refs/heads/feature/a/b").name == "feature/a/b"
    assert push("refs/heads/refs/heads/main").name == "refs/heads/main"
    assert (push("refs/tags/v1.4.1").kind, push("refs/tags/v1.4.1").name) == ("tag", "v1.4.1")


def test_pushes():
    assert push().moved
    assert not push(before=NONE, created=True).moved
    gone = push(after=NONE, deleted=True)
    assert gone.deleted
    assert not gone.moved
    assert push(forced=True).forced
    assert push("refs/tags/v1", head_commit={"id": SHA_A}).commit_sha == SHA_A
    assert push("refs/tags/v1", head_commit=None).commit_sha == SHA_B


@pytest.mark.parametrize(
    ("head", "is_fork"),
    [({"repo": {"id": 7}}, False), ({"repo": {"id": 8}}, True), ({"repo": None}, True), ({}, True)],
)
def test_forks(head, is_fork):
    request = {
        "title": "x",
        "state": "open",
        "head": {"ref": "a/b", "sha": SHA_A, **head},
        "base": {"ref": "main", "repo": {"id": 7}},
        "labels": [{"name": "risk: high", "id": 1}, "odd", {}],
    }
    found = parsed("pull_request", action="opened", number=12, pull_request=request)
    assert (found.is_fork, found.head_ref, found.labels) == (is_fork, "a/b", ("risk: high",))


@pytest.mark.parametrize("name", ["production", "Production", "prod", " PROD "])
def test_environments_have_one_name(name):
    gate = parsed(
        "deployment_protection_rule",
        action="requested",
        environment=name,
        event="push",
        deployment_callback_url="https://api.github.com/repos/acme/shop/actions/runs/5/deployment_protection_rule",
        deployment={"id": 1, "sha": SHA_A, "ref": "v1.4.1", "environment": name},
    )
    assert (gate.environment, gate.ref) == ("prod", "v1.4.1")


@pytest.mark.parametrize(
    ("kind", "payload", "says"),
    [
        ("push", {"ref": 7, "before": SHA_A, "after": SHA_B}, "ref is not a text"),
        ("push", {"ref": "refs/heads/", "before": SHA_A, "after": SHA_B}, "neither a branch nor a tag"),
        ("push", {"ref": "refs/notes/x", "before": SHA_A, "after": SHA_B}, "neither a branch nor a tag"),
        ("push", {"ref": "refs/heads/main", "before": SHA_A, "after": "b" * 41}, "after is not a commit"),
        ("push", {"ref": "refs/heads/main", "before": SHA_A, "after": SHA_B + "\n"}, "after is not a commit"),
        (
            "push",
            {"repository": None, "ref": "refs/heads/main", "before": SHA_A, "after": SHA_B},
            "repository is missing",
        ),
        (
            "push",
            {"repository": [], "ref": "refs/heads/main", "before": SHA_A, "after": SHA_B},
            "repository is missing",
        ),
        ("push", {"repository": {**REPOSITORY, "full_name": "a/b/c"}}, "full_name is not a repository"),
        ("pull_request", {"number": "12", "pull_request": {}}, "is not a"),
        ("pull_request", {"number": True, "pull_request": {"state": "open"}}, "number is not a number"),
        ("release", {"release": "x"}, "tag_name is not a text"),
        ("workflow_run", {"workflow_run": {"head_sha": None}}, "head_sha is not a commit"),
        ("ping", {"hook_id": None}, "hook_id is not a number"),
    ],
)
def test_what_is_malformed_is_named(kind, payload, says):
    with pytest.raises(github_events.BadEvent, match=says):
        parsed(kind, **payload)


@pytest.mark.parametrize(
    "payload", [{}, {"repository": 7}, {"repository": {"owner": []}}, {"pull_request": {"labels": {}}}]
)
@pytest.mark.parametrize("kind", sorted(github_events.KEPT))
def test_odd_shapes_end_in_a_sentence(kind, payload):
    with pytest.raises(github_events.BadEvent):
        github_events.parse(kind, github_events.pruned(kind, payload))


def test_long_texts_and_lists_are_cut():
    labels = [{"name": "x" * 5000}] * 5000
    kept = github_events.pruned("pull_request", {"pull_request": {"labels": labels}})
    assert len(kept["pull_request"]["labels"]) == github_events.MAX_ITEMS
    assert len(kept["pull_request"]["labels"][0]["name"]) == github_events.MAX_TEXT


def test_field_names_are_those_that_are_kept():
    """A typo in a path would read nothing: every path of the table stands in one of GitHub's examples."""
    for kind in sorted(set(github_events.KEPT) - {"deployment_protection_rule"}):
        payloads = [one["payload"] for one in KNOWN if one["kind"] == kind]
        for path in github_events.KEPT[kind]:
            # Addresses are left out of the examples.
            if not path.endswith("_url"):
                assert any(_holds(payload, path.split(".")) for payload in payloads), (kind, path)


def _holds(value, path):
    if isinstance(value, list):
        return any(_holds(item, path) for item in value)
    if not path:
        return True
    return isinstance(value, dict) and path[0] in value and _holds(value[path[0]], path[1:])


def test_events_are_frozen():
    for event_class in github_events.Event.__subclasses__():
        assert event_class.__dataclass_params__.frozen
        assert {field.name for field in fields(event_class)} >= {"action", "repository", "sender"}


def test_signature_as_github_documents_it():
    """The example of GitHub's page on validating deliveries."""
    wanted = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert github_signature.signature("It's a Secret to Everybody", b"Hello, World!") == wanted


def test_who_signed():
    body = b'{"zen": 1}'
    given = github_signature.signature(SECRET, body)
    pairs = [("", "another secret of 16"), ("shop", SECRET)]
    assert github_signature.signer(pairs, body, given) == "shop"
    assert github_signature.signer([("", SECRET)], body, given) == ""
    assert github_signature.signer(pairs, body + b" ", given) is None
    assert github_signature.signer(pairs[:1], body, given) is None
    assert github_signature.signer([], body, given) is None


@pytest.mark.parametrize(
    "given",
    [None, "", "sha256=", "sha1=" + "a" * 40, "sha256=" + "a" * 63, "sha256=" + "A" * 64, "sha256=" + "é" * 64, 7],
)
def test_what_is_no_signature(given):
    assert not github_signature.is_wellformed(given)
    assert github_signature.signer([("", SECRET)], b"x", given) is None
