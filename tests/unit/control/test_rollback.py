"""What a rollback may lose, by the preview that people saw."""

import json
from pathlib import Path

import pytest
from core import rollback

FIXTURES = Path(__file__).resolve().parents[3] / "tests/contract/fixtures"
EXPECTED = rollback.Expected("demo/prod", "sha256:" + "1" * 64, "0c2d3c1e-8f3a-11f0-9d4e-0242ac120002")


def result(name="finish_request_rollback_preview"):
    return json.loads((FIXTURES / f"{name}.json").read_text())["result"]


@pytest.fixture
def preview():
    return rollback.checked_preview(result(), EXPECTED)


@pytest.fixture
def loss(preview):
    return rollback.mode_of(preview, "full")["loss"]


def test_the_fixture_is_a_preview(preview):
    assert [one["mode"] for one in preview["modes"]] == ["code", "full", "backup", "fix_forward"]
    assert rollback.possible_modes(preview) == ["full"]
    assert preview["recommended"] == "full"
    assert rollback.mode_of(preview, "code")["reason"].startswith("The image would take workshop")


def test_the_ceiling_is_the_fixtures(loss):
    lease = json.loads((FIXTURES / "lease_response_rollback.json").read_text())
    assert rollback.ceiling(loss) == lease["operation"]["rollback"]["ceiling"]


def test_fix_forward_is_no_way_to_take():
    given = result()
    for one in given["modes"]:
        one["possible"] = one["mode"] == "fix_forward"
    preview = rollback.checked_preview({**given, "recommended": "fix_forward"}, EXPECTED)
    assert rollback.possible_modes(preview) == []
    assert preview["recommended"] == "fix_forward"


def test_what_is_recommended_is_possible():
    assert rollback.checked_preview({**result(), "recommended": "code"}, EXPECTED)["recommended"] == "full"


@pytest.mark.parametrize("junk", [None, True, -1, 10**30, "x", [], [1], {}, {"x": []}, 1.5, float("inf")])
@pytest.mark.parametrize(
    "path",
    [
        ("modes",), ("modes", 1), ("modes", 1, "mode"), ("modes", 1, "possible"), ("modes", 1, "reason"),
        ("modes", 1, "plan"), ("modes", 1, "plan_hash"), ("modes", 1, "hold_seconds"), ("modes", 1, "loss"),
        ("modes", 1, "loss", "minutes"), ("modes", 1, "loss", "counts"), ("modes", 1, "loss", "counts", 0),
        ("modes", 1, "loss", "counts", 0, "model"), ("modes", 1, "loss", "counts", 0, "created"),
        ("modes", 1, "loss", "counts", 0, "changed"), ("modes", 1, "loss", "counts", 0, "posted"),
        ("modes", 1, "loss", "newest"), ("modes", 1, "loss", "newest", 0), ("modes", 1, "preview_hash"),
        ("recommended",), ("database_uuid",), ("database_bytes",),
    ],
)  # fmt: skip
def test_whatever_stands_in_a_field_is_read_or_refused(path, junk):
    """Nothing but a BadPreview comes out, and what is read can be decided on."""
    given = result()
    cursor = given
    for name in path[:-1]:
        cursor = cursor[name]
    cursor[path[-1]] = junk
    try:
        preview = rollback.checked_preview(given, EXPECTED)
    except rollback.BadPreview as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for mode in rollback.possible_modes(preview):
        chosen = rollback.mode_of(preview, mode)
        ceiling = rollback.ceiling(chosen["loss"])
        json.dumps([preview, ceiling, rollback.totals(chosen["loss"])], allow_nan=False)


def test_a_preview_of_something_else():
    for expected in (
        rollback.Expected("demo/stage", EXPECTED.digest, EXPECTED.database_uuid),
        rollback.Expected("demo/prod", "sha256:" + "9" * 64, EXPECTED.database_uuid),
        rollback.Expected("demo/prod", EXPECTED.digest, "another"),
    ):
        with pytest.raises(rollback.BadPreview):
            rollback.checked_preview(result(), expected)


def test_counts_are_rounded_up_and_never_by_chance():
    loss = {"minutes": 1, "counts": [{"model": "a", "created": n, "changed": None, "posted": 0} for n in (1,)]}
    for count, most in ((0, 0), (1, 2), (10, 11), (30, 33), (100, 110), (101, 112)):
        loss["counts"][0]["created"] = count
        assert rollback.ceiling(loss)["counts"]["a"] == {"created": most, "changed": None}


def test_posted_entries_are_those_previewed(loss):
    assert rollback.ceiling(loss)["posted"] == {"account.move": 1, "account.payment": 0}
    raised = rollback.ceiling(loss, rollback.Allowance(invoices=2, payments=1))
    assert raised["posted"] == {"account.move": 3, "account.payment": 1}


def test_nothing_lost_has_no_ceiling():
    assert rollback.ceiling(None) is None
    assert rollback.agreed([]) is None
    assert rollback.agreed([None, False]) is None
    assert rollback.totals(None) == {"created": 0, "changed": 0, "posted": 0}


def test_people_agree_to_the_least(loss):
    strict = rollback.ceiling(loss, rollback.Allowance(percent=0, minutes=60))
    generous = rollback.ceiling(loss, rollback.Allowance(percent=100, minutes=10, invoices=5))
    for both in ([strict, generous], [generous, strict]):
        agreed = rollback.agreed(both)
        assert agreed["minutes"] == 21.5
        assert agreed["counts"] == strict["counts"]
        assert agreed["posted"] == strict["posted"]


@pytest.mark.parametrize(
    ("allowance", "raised"),
    [
        (rollback.Allowance(), False),
        (rollback.Allowance(percent=0, minutes=0), False),
        (rollback.Allowance(percent=11), True),
        (rollback.Allowance(minutes=31), True),
        (rollback.Allowance(invoices=1), True),
        (rollback.Allowance(payments=1), True),
        (rollback.Allowance(percent=0, payments=1), True),
    ],
)
def test_what_needs_a_reason(allowance, raised):
    assert rollback.is_raised(allowance) is raised


def test_what_could_not_be_counted_is_approved_without_being_known():
    row = {"model": "res.partner", "label": "Contact (not counted: permission denied)", "created": None}
    loss = rollback.checked_loss({"minutes": 1, "counts": [{**row, "changed": None, "uncounted": "permission denied"}]})
    assert rollback.ceiling(loss)["counts"]["res.partner"] == {"created": None, "changed": None}
    assert rollback.agreed([rollback.ceiling(loss)])["counts"]["res.partner"] == {"created": None, "changed": None}
    assert rollback.totals(loss) == {"created": 0, "changed": 0, "posted": 0}


def test_a_bound_known_beforehand_is_judged_as_the_agent_does(loss):
    wide = rollback.bound(10_000, 10_000, 10_000)
    counted = {**loss, "counts": [{**row, "changed": row["changed"] or 0} for row in loss["counts"]]}
    assert rollback.above(counted, wide) == []
    assert rollback.above(None, rollback.bound(0, 0, 0)) == []
    assert any("minutes" in one for one in rollback.above(counted, {**wide, "minutes": 1.0}))
    assert any("created" in one for one in rollback.above(counted, rollback.bound(10_000, 1, 10_000)))
    assert any("posted" in one for one in rollback.above(counted, rollback.bound(10_000, 10_000, 0)))
    unknown = {**loss, "counts": [{**loss["counts"][0], "changed": None}]}
    assert any("not counted" in one for one in rollback.above(unknown, wide))
    assert rollback.agreed([wide, rollback.bound(5, 6, 7)]) == rollback.bound(5, 6, 7)
