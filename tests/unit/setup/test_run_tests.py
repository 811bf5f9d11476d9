"""How `make test` counts."""

import sys

from scripts.ci import addon_tests, run_tests
from scripts.ci.run_tests import Count

JUNIT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


def part(tmp_path, code, junit):
    """Return a part that writes a result and ends with a code."""
    result = tmp_path / "junit.xml"
    write = f"pathlib.Path({str(result)!r}).write_text({junit!r})" if junit else ""
    program = f"import pathlib, sys; {write}; sys.exit({code})" if write else f"raise SystemExit({code})"
    return [sys.executable, "-c", program], result


def test_counts_failures_and_errors_alike():
    assert run_tests.read(JUNIT.format(10, 1, 2, 3)) == Count(4, 3, 3)


def test_says_it_as_ci_reads_it():
    assert str(Count(3, 0)) == "3 passed, 0 failed"
    assert str(Count(3, 1, 2)) == "3 passed, 1 failed, 2 skipped"


def test_a_part_that_crashes_is_a_failure(tmp_path):
    assert run_tests.run(*part(tmp_path, 1, "")) == Count(failed=1)


def test_a_part_that_ends_badly_after_green_tests_is_a_failure(tmp_path):
    assert run_tests.run(*part(tmp_path, 1, JUNIT.format(5, 0, 0, 0))) == Count(5, 1)


def test_a_part_that_ran_nothing_is_a_failure(tmp_path):
    assert run_tests.run(*part(tmp_path, 0, JUNIT.format(0, 0, 0, 0))) == Count(failed=1)


def test_a_result_of_an_earlier_run_does_not_count(tmp_path):
    run_tests.run(*part(tmp_path, 0, JUNIT.format(5, 0, 0, 0)))
    assert run_tests.run(*part(tmp_path, 1, "")) == Count(failed=1)


def test_a_skipped_test_of_the_addon_is_a_failure(tmp_path):
    result = tmp_path / "junit.xml"
    for counts, code in (((5, 0, 0, 0), 0), ((5, 0, 0, 1), 1), ((0, 0, 0, 0), 1)):
        result.write_text(JUNIT.format(*counts))
        assert addon_tests.verdict(0, result, filtered=False) == code
