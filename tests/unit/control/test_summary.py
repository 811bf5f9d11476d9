import pytest
from core import rollback, summary


@pytest.mark.parametrize(
    ("held", "on_staging", "before", "said"),
    [
        (False, 9.0, [9.0], "No request waits"),
        (True, None, [], "not known"),
        (True, 8.6, [], "9 s on staging, with this very image"),
        (True, None, [5.0, 7.0, 30.0], "7 s as a rule here, 30 s at most, of the last 3"),
        (True, 180.0, [5.0], "3 minutes on staging, with this very image; 5 s as a rule here"),
    ],
)
def test_how_long_users_wait(held, on_staging, before, said):
    assert said in summary.waiting(held, on_staging, before)


@pytest.mark.parametrize(
    ("held", "installs", "said"),
    [(True, True, "first installation"), (False, False, "loses nothing"), (True, False, "loses what was entered")],
)
def test_what_can_be_undone(held, installs, said):
    assert said in summary.undoing(held, installs)


def test_what_a_failed_watch_means():
    assert "not watched" in summary.watching(0, None, "v1")
    assert "people are told" in summary.watching(15, None, "v1")
    said = summary.watching(15, rollback.bound(30, 100, 0), "v1.0.0")
    assert "goes back to v1.0.0 by itself" in said
    assert "30 minutes of work, 100 records" in said
    assert said.count(". ") == 0, "one sentence"
