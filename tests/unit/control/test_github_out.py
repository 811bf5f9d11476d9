from datetime import timedelta

import pytest
from core import github_out, transitions

DEPLOYMENT = {
    "id": 41,
    "commit_sha": "a" * 40,
    "environment": "demo/prod",
    "code": "prod",
    "tier": "production",
    "tag": "v1.4.1",
    "state": "live",
    "state_label": "Live",
    "error": "",
    "url": "https://prod.example.com",
    "console_url": "https://console.example.com/odoo/odooops.deployment/41",
}
PULL_REQUEST = {
    "project": "demo", "number": 12, "risk": "low", "reason": "", "checks": [], "is_fork": False, "preview": None,
}  # fmt: skip


def with_state(state):
    return {**DEPLOYMENT, "state": state, "state_label": state.capitalize()}


@pytest.mark.parametrize("state", sorted(transitions.DEPLOYMENT))
def test_every_state_has_its_word(state):
    said = github_out.deployment_status("acme/demo", "900", with_state(state)).body
    assert said["state"] in ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
    status = github_out.commit_status("acme/demo", with_state(state))
    assert status is None or status.body["state"] in ("error", "failure", "pending", "success")
    assert github_out.gate_state(state) in ("approved", "rejected", None)


@pytest.mark.parametrize("state", ["draft", "planned", "awaiting_approval"])
def test_the_gate_opens_for_nothing_that_is_not_approved(state):
    assert github_out.gate_state(state) is None
    assert github_out.commit_status("acme/demo", with_state(state)).body["state"] == "pending"


def test_only_what_is_live_is_a_success():
    successes = [
        state
        for state in transitions.DEPLOYMENT
        if github_out.deployment_status("a/b", 1, with_state(state)).body["state"] == "success"
    ]
    assert successes == ["live"]


@pytest.mark.parametrize(
    "name", ["", None, "acme", "acme/demo/../x", "acme/demo?x", "acme/demo\n", "../acme/demo", "a b/c"]
)
def test_nothing_but_a_repository_gets_into_an_address(name):
    with pytest.raises(ValueError, match="names no GitHub repository"):
        github_out.repository_path(name)


@pytest.mark.parametrize(
    ("url", "run"),
    [
        ("https://api.github.com/repos/acme/demo/actions/runs/21/deployment_protection_rule", "21"),
        ("https://api.github.com/repos/Acme/Demo/actions/runs/21/deployment_protection_rule", "21"),
        ("https://api.github.com/repos/acme/other/actions/runs/21/deployment_protection_rule", None),
        ("https://api.github.com.evil.example/repos/acme/demo/actions/runs/21/deployment_protection_rule", None),
        ("https://evil.example/repos/acme/demo/actions/runs/21/deployment_protection_rule", None),
        ("https://api.github.com/repos/acme/demo/actions/runs/21/deployment_protection_rule\n", None),
        ("https://api.github.com/repos/acme/demo/actions/runs/-1/deployment_protection_rule", None),
        ("http://169.254.169.254/latest", None),
        (None, None),
    ],
)
def test_where_the_gate_is_answered(url, run):
    assert github_out.run_of_callback(url, github_out.API, "acme/demo") == run


def test_environments_are_called_as_on_github():
    names = [("staging", "stage"), ("production", "prod"), ("preview", "pr-12"), ("production", "prod-eu")]
    assert [github_out.github_environment(*one) for one in names] == ["staging", "production", "pr-12", "prod-eu"]


def test_long_texts_are_cut():
    long = {**DEPLOYMENT, "error": "x" * 500}
    assert len(github_out.commit_status("acme/demo", long).body["description"]) == 140
    gate = {"run": "21", "environment_name": "production", "state": "approved", "comment": "x" * 5000}
    assert len(github_out.gate_answer("acme/demo", gate).body["comment"]) == github_out.MAX_GATE_COMMENT
    checks = [{"name": "x", "status": "failure", "summary": "y" * 1000}] * 500
    body = github_out.comment_body({**PULL_REQUEST, "checks": checks})
    assert len(body) == github_out.MAX_COMMENT


def test_markdown_of_others_means_nothing():
    hostile = "<script>x</script> @everyone #1 [a](http://x) `id` | *b* \n# c"
    shown = github_out.text(hostile)
    for sign in ("<", ">", "@e", "#1", "\n"):
        assert sign not in shown
    for sign in "[]`|*":
        assert f"\\{sign}" in shown
    body = github_out.comment_body({**PULL_REQUEST, "reason": hostile})
    assert body.startswith("<!-- odooops demo #12 -->\n")


def test_names_in_the_type_of_code():
    assert github_out.code("sale_extra") == "`sale_extra`"
    assert github_out.code("a`b\n<c>") == "`ab<c>`"


def test_a_fork_has_no_preview():
    preview = {"environment": "demo/pr-12", "url": "https://x", "state_label": "Live", "planned": True,
               "modules": [], "migrations": 0}  # fmt: skip
    assert "https://x (live)" in github_out.comment_body({**PULL_REQUEST, "preview": preview})
    assert "no module changes" in github_out.comment_body({**PULL_REQUEST, "preview": preview})
    assert "https://x" not in github_out.comment_body({**PULL_REQUEST, "preview": preview, "is_fork": True})


@pytest.mark.parametrize(
    ("failure", "again", "seconds"),
    [
        ((None, 1), True, 20),
        ((502, 1), True, 20),
        ((502, 2), True, 40),
        ((503, 11), True, 3600),
        ((500, 12), False, 0),
        ((None, 12), False, 0),
        ((429, 1, 600), True, 600),
        ((403, 1, 600), True, 600),
        ((403, 1, None, 0), True, 20),
        ((429, 1, 10**9), True, 7200),
        ((403, 1), False, 0),
        ((401, 1), False, 0),
        ((404, 1), False, 0),
        ((422, 1), False, 0),
        ((302, 1), False, 0),
    ],
)
def test_what_is_tried_again(failure, again, seconds):
    decision = github_out.after_failure(*failure)
    assert (decision.again, decision.pause) == (again, timedelta(seconds=seconds))
