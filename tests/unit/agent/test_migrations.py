"""Odoo's own rules on versions and migration scripts (odoo/modules/migration.py), case by case."""

import pytest
from odooops_agent.plans.migrations import scripts_to_run
from odooops_agent.plans.versions import parse_version


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("19.0.1.0", "19.0.1.0.1"),
        ("19.0.1.9", "19.0.1.10"),
        ("19.0.1.9.9", "19.0.2.0"),
        ("18.0.9.9", "19.0.0.1"),
        ("19.0.1.2", "19.0.1.2.3"),
    ],
)
def test_order_of_versions(older, newer):
    assert parse_version(older) < parse_version(newer)


def test_trailing_zeros_do_not_count():
    assert parse_version("19.0.1.0.0") == parse_version("19.0.1")


@pytest.mark.parametrize(
    ("scripts", "installed", "new", "expected"),
    [
        # installed < script <= new
        (["19.0.1.1/post-a.py"], "19.0.1.0", "19.0.1.1", ["19.0.1.1/post-a.py"]),
        (["19.0.1.0/post-a.py"], "19.0.1.0", "19.0.1.1", []),
        (["19.0.1.2/post-a.py"], "19.0.1.0", "19.0.1.1", []),
        (["19.0.1.1/post-a.py"], "19.0.1.1", "19.0.1.1", []),
        (["19.0.1.1/post-a.py"], "19.0.1.0", "19.0.1.5", ["19.0.1.1/post-a.py"]),
        # a version without the series
        (["1.1/post-a.py"], "19.0.1.0", "19.0.1.1", ["1.1/post-a.py"]),
        (["1.1.0/post-a.py"], "19.0.1.0.0", "19.0.1.1.0", ["1.1.0/post-a.py"]),
        # … is not run again on the way from another series
        (["2.0/post-a.py"], "18.0.2.0", "19.0.2.0", []),
        (["2.1/post-a.py"], "18.0.2.0", "19.0.2.1", ["2.1/post-a.py"]),
        # a script of an older series than the database
        (["18.0.1.1/post-a.py"], "19.0.1.0", "19.0.1.1", []),
        (["18.0.1.1/post-a.py"], "18.0.1.0", "19.0.1.1", ["18.0.1.1/post-a.py"]),
        # 0.0.0: on every change of version, and on none without
        (["0.0.0/end-a.py"], "19.0.1.0", "19.0.1.1", ["0.0.0/end-a.py"]),
        (["0.0.0/end-a.py"], "19.0.1.1", "19.0.1.1", []),
        # both folders
        (
            ["upgrades/19.0.1.1/pre-b.py", "migrations/19.0.1.1/pre-a.py"],
            "19.0.1.0",
            "19.0.1.1",
            ["migrations/19.0.1.1/pre-a.py", "upgrades/19.0.1.1/pre-b.py"],
        ),
    ],
)
def test_which_scripts_run(scripts, installed, new, expected):
    assert list(scripts_to_run(scripts, installed, new, "19.0")) == expected


def test_they_run_pre_then_post_then_end_and_the_special_ones_around():
    scripts = [
        "19.0.1.2/pre-b.py",
        "19.0.1.10/pre-a.py",
        "0.0.0/pre-always.py",
        "0.0.0/post-always.py",
        "19.0.1.2/post-a.py",
        "19.0.1.2/end-a.py",
        "19.0.1.2/pre-a.py",
    ]
    assert list(scripts_to_run(scripts, "19.0.1.0", "19.0.1.10", "19.0")) == [
        "0.0.0/pre-always.py",
        "19.0.1.2/pre-a.py",
        "19.0.1.2/pre-b.py",
        "19.0.1.10/pre-a.py",
        "19.0.1.2/post-a.py",
        "0.0.0/post-always.py",
        "19.0.1.2/end-a.py",
    ]
