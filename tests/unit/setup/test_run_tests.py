"""How `make test` counts."""

import sys

from scripts.ci import addon_tests, run_tests
from scripts.ci.run_tests import Count

ENDS = {"passed": "", "failed": "<failure/>", "broken": "<error/>", "skipped": "<skipped/>"}


def junit(*cases):
    """Return a JUnit text with cases given as `name outcome`."""
    words = [case.split() for case in cases]
    inner = "".join(f'<testcase classname="a" name="{name}">{ENDS[end]}</testcase>' for name, end in words)
    skipped = sum(end == "skipped" for _name, end in words)
    return f'<testsuites><testsuite tests="{len(words)}" skipped="{skipped}">{inner}</testsuite></testsuites>'


def part(tmp_path, code, text):
    """Return a part that writes a result and ends with a code."""
    result = tmp_path / "junit.xml"
    write = f"pathlib.Path({str(result)!r}).write_text({text!r})" if text else ""
    program = f"import pathlib, sys; {write}; sys.exit({code})" if write else f"raise SystemExit({code})"
    return [sys.executable, "-c", program], result


def test_counts_failures_and_errors_alike():
    assert run_tests.read(junit("a passed", "b failed", "c broken", "d skipped")) == Count(1, 2, 1)


def test_a_test_with_subtests_counts_once_and_by_its_worst():
    assert run_tests.read(junit("a passed", "a passed", "b passed", "b failed")) == Count(1, 1)


def test_says_it_as_ci_reads_it():
    assert str(Count(3, 0)) == "3 passed, 0 failed"
    assert str(Count(3, 1, 2)) == "3 passed, 1 failed, 2 skipped"


def test_a_part_that_crashes_is_a_failure(tmp_path):
    assert run_tests.run(*part(tmp_path, 1, "")) == Count(failed=1)


def test_a_part_that_ends_badly_after_green_tests_is_a_failure(tmp_path):
    assert run_tests.run(*part(tmp_path, 1, junit("a passed"))) == Count(1, 1)


def test_a_part_that_ran_nothing_is_a_failure(tmp_path):
    assert run_tests.run(*part(tmp_path, 0, junit())) == Count(failed=1)


def test_a_result_of_an_earlier_run_does_not_count(tmp_path):
    run_tests.run(*part(tmp_path, 0, junit("a passed")))
    assert run_tests.run(*part(tmp_path, 1, "")) == Count(failed=1)


def test_a_skipped_test_of_the_addon_is_a_failure(tmp_path):
    result = tmp_path / "junit.xml"
    for cases, code in ((["a passed"], 0), (["a passed", "b skipped"], 1), ([], 1)):
        result.write_text(junit(*cases))
        assert addon_tests.verdict(0, result, filtered=False) == code
