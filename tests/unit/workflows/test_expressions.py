"""The expressions of workflows mean here what they mean on GitHub."""

from __future__ import annotations

import pytest

from tests.actions.expressions import ExpressionError, evaluate, fill_in

CONTEXTS = {
    "inputs": {"tools-ref": "", "environment": "prod", "flag": True},
    "vars": {"URL": "https://c"},
    "github": {"event_name": "push", "event": {"pull_request": {"labels": [{"name": "x"}], "number": 3}}, "sha": "abc"},
    "env": {"REGISTRY": "ghcr.io"},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("vars.URL", "https://c"),
        ("vars.MISSING", None),
        ("inputs.tools-ref || github.sha", "abc"),
        ("inputs['environment']", "prod"),
        ("github.event.pull_request.number == 3", True),
        ("github.event.issue.number", None),
        ("github.event_name == 'PUSH'", True),
        ("github.event_name != 'pull_request' && 'deploy' || 'look'", "deploy"),
        ("(env.REGISTRY == 'ghcr.io' && 'token') || ''", "token"),
        ("env.REGISTRY == 'docker.io' && 'token' || ''", ""),
        ("!inputs.flag", False),
        (
            "contains(fromJSON('[\"prod\", \"production\"]'), inputs.environment) && 'production' || 'staging'",
            "production",
        ),
        ("contains('abc', 'B')", True),
        ("format('{0}/{1}', 'a', github.sha)", "a/abc"),
        ("startsWith(github.sha, 'A')", True),
        ("'it''s'", "it's"),
        ("null == ''", True),
        ("true == 1", True),
    ],
)
def test_values(expression, value):
    assert evaluate(expression, CONTEXTS) == value


@pytest.mark.parametrize(
    "expression", ["nothing.here", "unknown('x')", "github.sha ||", "a b", "'open", "(vars.URL", ""]
)
def test_what_github_would_refuse(expression):
    with pytest.raises(ExpressionError):
        evaluate(expression, CONTEXTS)


def test_filling_in():
    value = {
        "a": "${{ inputs.flag }}",
        "b": "x-${{ vars.MISSING }}-${{ inputs.flag }}",
        "c": ["${{ github.sha }}"],
        "d": 5,
    }
    assert fill_in(value, CONTEXTS) == {"a": True, "b": "x--true", "c": ["abc"], "d": 5}
