import pytest
from core import checks
from core.names import BadName


@pytest.mark.parametrize(
    ("status", "wanted"),
    [("success", "success"), ("passed", "success"), ("failed", "failure"), ("in_progress", "in_progress")],
)
def test_statuses(status, wanted):
    assert checks.parse("lint", status).status == wanted


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"name": ""}, "is no name of a check"),
        ({"name": None}, "is no name of a check"),
        ({"name": "lint\n"}, "is no name of a check"),
        ({"name": "x" * 81}, "is no name of a check"),
        ({"name": "<b>lint</b>"}, "is no name of a check"),
        ({"status": "green"}, "is no status"),
        ({"status": None}, "is no status"),
        ({"status": ["success"]}, "is no status"),
        ({"summary": 7}, "has to be a text"),
        ({"details": []}, "has to be|have to be"),
        ({"details": {"x": "y" * 600_000}}, "larger than 512 KB"),
        ({"name": "risk"}, "has to say its tier"),
        ({"name": "risk", "details": {"tier": "extreme"}}, "has to say its tier"),
        ({"name": "risk", "details": {"facts": ["tier"]}}, "has to say its tier"),
    ],
)
def test_what_is_malformed(values, says):
    with pytest.raises(BadName, match=says) as refused:
        checks.parse(**{"name": "lint", "status": "success", **values})
    assert "\n" not in str(refused.value)


def test_summaries_are_one_line():
    assert checks.parse("lint", "success", " 3 addons:\n nothing found. ").summary == "3 addons: nothing found."
    assert len(checks.parse("lint", "success", "x" * 5000).summary) == checks.MAX_SUMMARY
    assert checks.parse("lint", "success", None).summary == ""


def test_as_preflight_writes_it():
    given = [
        {"check": "risk", "status": "passed", "summary": "1 rule fired", "facts": {"tier": "high"}, "findings": [{}]},
        {"check": "lint", "status": "failed", "summary": "1 error", "seconds": 1.5, "facts": {}, "findings": []},
    ]
    risk, lint = checks.parse_all(given)
    assert (risk.risk, risk.status, lint.risk, lint.status) == ("high", "success", None, "failure")
    assert lint.details == {"facts": {}, "findings": [], "seconds": 1.5}
    assert checks.parse_all({"checks": given}) == [risk, lint]
    assert checks.parse_all([]) == checks.parse_all(None) == []


@pytest.mark.parametrize("given", ["lint", [7], {"lint": "success"}, [{"name": "lint"}], [["lint", "success"]]])
def test_what_is_no_list_of_checks(given):
    with pytest.raises(BadName):
        checks.parse_all(given)


def test_risks_are_raised_and_never_lowered():
    assert checks.higher("medium", "low") == checks.higher("low", "medium") == "medium"
    assert checks.higher("unknown", "low") == "low"
    assert checks.higher("high", "critical") == "critical"
    assert checks.parse("risk", "failure", details={}).risk is None


def test_risk_labels():
    assert checks.risk_of_labels(["bug", "risk: high", "Risk/Medium"]) == "high"
    assert checks.risk_of_labels(["risk:critical "]) == "critical"
    assert checks.risk_of_labels(["risky: high", "risk", "risk: none", "asterisk: high"]) == "unknown"
    assert checks.risk_of_labels([]) == "unknown"


def test_what_hinders_production():
    assert checks.refusal("v1", []) is None
    assert checks.refusal("v1", [("lint", "success"), ("tests", "neutral"), ("x", "skipped")]) is None
    said = checks.refusal("v1", [("tests", "failure"), ("lint", "timed_out"), ("risk", "in_progress")])
    assert said == "lint, tests of v1 did not pass: mend the commit and release a new one."
    assert checks.refusal("v1", [("risk", "queued")]) == "risk of v1 has not ended: wait for it."


def test_what_is_required_has_to_have_passed():
    passed = dict.fromkeys(checks.REQUIRED, "success")
    assert checks.refusal("v1", passed.items(), checks.REQUIRED) is None
    for status in ("skipped", "neutral"):
        said = checks.refusal("v1", {**passed, "tests": status}.items(), checks.REQUIRED)
        assert said.startswith(f"v1 lacks checks that its approval policy requires: tests ({status}). Let preflight")
    assert "lint (missing), tests (missing), allowlist (missing), risk (missing), version (missing)" in checks.refusal(
        "v1", [], checks.REQUIRED
    )
    assert "did not pass" in checks.refusal("v1", {"lint": "failure"}.items(), checks.REQUIRED)


def test_required_checks_as_people_type_them():
    assert checks.parse_required(" lint,tests , lint,") == ("lint", "tests")
    assert checks.parse_required(False) == checks.parse_required("") == ()
    with pytest.raises(BadName):
        checks.parse_required("lint, tests; risk")


def test_people_overrule_nobody():
    assert checks.is_overruled("failure", "success", same_reporter=False, is_ci=False)
    assert checks.is_overruled("timed_out", "in_progress", same_reporter=False, is_ci=False)
    assert not checks.is_overruled("failure", "success", same_reporter=True, is_ci=False)
    assert not checks.is_overruled("failure", "success", same_reporter=False, is_ci=True)
    assert not checks.is_overruled("success", "failure", same_reporter=False, is_ci=False)
