"""Odoo's log as it was really written, and what is read out of it."""

from __future__ import annotations

from pathlib import Path

from odooops_ci.preflight import odoo_log, odoo_process
from odooops_ci.preflight.check_tests import shares
from odooops_ci.preflight.covered import ranges

ROOT = Path("/src/customer")
AT = "2026-11-23 17:00:00,123 41 "
FAILED = f"""{AT}INFO db odoo.addons.shop.tests.test_thing: Starting TestThing.test_shout ...
{AT}ERROR db odoo.addons.shop.tests.test_thing: FAIL: TestThing.test_shout
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/odoo/tests/common.py", line 10, in run
    call()
  File "/src/customer/addons/custom/shop/tests/test_thing.py", line 7, in test_shout
    self.assertEqual(1, 2)
AssertionError: 1 != 2

{AT}INFO db odoo.tests.stats: shop: 3 tests 0.01s 5 queries
{AT}ERROR db odoo.tests.result: 1 failed, 0 error(s) of 3 tests when loading database 'db'
"""


def test_failed_test_names_file_line_and_why():
    outcome = odoo_log.read(FAILED, ROOT)
    [finding] = outcome.findings
    assert (finding.code, finding.file, finding.line) == ("test-failed", "addons/custom/shop/tests/test_thing.py", 7)
    assert finding.message == "The test TestThing.test_shout fails: AssertionError: 1 != 2"
    assert (outcome.ran, outcome.total) == ({"shop": 3}, 3)


def test_error_in_the_log_counts_though_all_tests_pass():
    log = f"{AT}ERROR db odoo.modules.loading: Some modules are not loaded: ['shop']\n"
    [finding] = odoo_log.read(log, ROOT).findings
    assert (finding.code, finding.file) == ("log-error", ".")
    assert "Some modules are not loaded" in finding.message


def test_critical_with_colours():
    log = f"{AT}\x1b[1;31mCRITICAL\x1b[0m db odoo.service.server: Failed to initialize database `db`.\n"
    assert [finding.code for finding in odoo_log.read(log, ROOT).findings] == ["log-error"]


def test_warnings_and_words_like_error_are_none():
    log = f"{AT}WARNING db odoo.x: ERROR is a word\n{AT}INFO db odoo.x: CRITICAL\nERROR without a time\n"
    assert odoo_log.read(log, ROOT).findings == ()


def test_a_file_that_odoo_itself_lacks_fails_nobody():
    logger = "odoo.addons.base.models.assetsbundle"
    line = f"{{}}ERROR db {logger}: 'Could not get content for {{}}/static/lib/a.js.' in file 'a.js'\n"
    for module, level in (("mail", "warning"), ("shop", "error")):
        [finding] = odoo_log.read(line.format(AT, module), ROOT, ["shop"]).findings
        assert finding.level == level, module
    other = line.replace("Could not get content for", "Invalid syntax in").format(AT, "mail")
    [finding] = odoo_log.read(other, ROOT, ["shop"]).findings
    assert finding.level == "error"


def test_skipped_test_is_told():
    log = f"{AT}INFO db odoo.addons.shop.tests.test_tour: skipped TestTour.test_cart : Chrome executable not found\n"
    [finding] = odoo_log.read(log, ROOT).findings
    assert (finding.code, finding.level) == ("test-skipped", "warning")
    assert "TestTour.test_cart" in finding.message


def test_python_of_a_program():
    assert odoo_process.python_of("#!/usr/bin/env python3.12\n") == "python3.12"
    assert odoo_process.python_of("#!/opt/venv/bin/python3\n") == "/opt/venv/bin/python3"
    assert odoo_process.python_of("#!/bin/sh\n") == "python3"
    assert odoo_process.python_of("") == "python3"


def test_shares_are_whole_and_none_is_empty():
    assert [len(part) for part in shares(list("abcde"), 2)] == [3, 2]
    assert [len(part) for part in shares(list("ab"), 8)] == [1, 1]
    assert [len(part) for part in shares(list("ab"), 0)] == [2]


def test_ranges_as_people_read_them():
    assert ranges([3, 4, 5, 9, 11, 12]) == "3-5, 9, 11-12"
