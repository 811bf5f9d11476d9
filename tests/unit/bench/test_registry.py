"""The rows, their goals, and that nothing goes missing in silence."""

import json

import pytest

from scripts.bench import __main__ as command
from scripts.bench import registry, table
from scripts.bench.registry import Goal, Row, failed_row, row
from scripts.setup.errors import SetupError

KEYS = ["name", "ours", "theirs", "peer", "unit", "ratio", "goal", "met"]


def quiet(_text):
    pass


@pytest.mark.parametrize(
    ("ours", "theirs", "goal", "ratio", "met"),
    [
        (0.1, 4.4, Goal(times=40), 44.0, True),
        (0.2, 4.4, Goal(times=40), 22.0, False),
        (0.5, None, Goal(times=40), None, False),
        (0, 97, Goal(at_most=0), None, True),
        (1, 97, Goal(at_most=0), 97.0, False),
        (59.9, None, Goal(at_most=60), None, True),
        (3.0, 1.5, Goal(at_most=4, times=1), 0.5, False),
        (3.0, 1.5, Goal(), 0.5, True),
    ],
)
def test_a_row_is_judged_by_its_own_figure_and_by_the_ratio(ours, theirs, goal, ratio, met):
    judged = row("what", ours, "s", goal, theirs, "peer")
    assert (judged.ratio, judged.met) == (ratio, met)


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (Goal(at_most=0.15), "at most 0.15 s"),
        (Goal(times=15), "at least 15 times less"),
        (Goal(at_most=1, times=2), "at most 1 s and at least 2 times less"),
        (Goal(), "none"),
    ],
)
def test_a_goal_is_told_in_words(goal, text):
    assert goal.text("s") == text


def test_a_bench_that_fails_is_a_row_that_says_why_and_the_others_still_run():
    def broken(_site):
        raise SetupError("PostgreSQL is away.\nmore")

    def empty(_site):
        return []

    rows = list(registry.run({"a": broken, "b": empty, "c": lambda _site: [row("c", 1, "s", Goal())]}, None, quiet))
    assert [(one.name, one.goal, one.met) for one in rows] == [
        ("a", "could not be measured: PostgreSQL is away.", False),
        ("b", "could not be measured: it returned no rows", False),
        ("c", "none", True),
    ]


def test_every_bench_of_the_issue_is_registered():
    assert set(registry.discover()) >= {"deploys", "idle_agent", "no_op", "pick_up", "snapshot"}


def test_two_benches_of_one_name_are_refused():
    registry.discover()
    with pytest.raises(ValueError, match="snapshot"):
        registry.bench("snapshot")(lambda _site: [])


def test_only_chooses_by_name_and_refuses_an_unknown_one():
    benches = {"a": None, "b": None}
    assert list(command.choose(benches, "")) == ["a", "b"]
    assert list(command.choose(benches, " b ")) == ["b"]
    with pytest.raises(SetupError, match="no bench c; there are a, b"):
        command.choose(benches, "a,c")


def test_the_file_has_the_rows_with_their_keys_in_order(tmp_path):
    command.write(tmp_path / "bench.json", [row("what", 0.12345, "s", Goal(times=2), 1), failed_row("x", "why")])
    first, second = json.loads((tmp_path / "bench.json").read_text())
    assert list(first) == list(second) == KEYS
    assert (first["ours"], first["theirs"], second["ours"], second["met"]) == (0.1235, 1.0, None, False)


def test_the_table_shows_every_row_and_wraps_long_texts():
    peer = "a sentence about what the peer does that is longer than one column of the table can be"
    rows = [row("fast", 0.1, "s", Goal(times=40), 4.4, peer), Row("x", None, None, "", "", None, "no", False)]
    text = table.render(rows)
    lines = text.splitlines()
    assert lines[2].startswith("ok  fast")
    assert "44×" in lines[2]
    assert lines[-1].startswith("NO  x")
    assert "column of the table can be" in text
    assert max(map(len, lines)) < 230
