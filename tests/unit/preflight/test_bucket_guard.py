"""The bucket guard, run as workflows run it; and that the control addon judges the same cases alike."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
from odooops_ci import buckets

from .conftest import ROOT

SCRIPT = ROOT / "scripts/ci/check_supabase_bucket_env.py"
CASES = json.loads((ROOT / "tests/contract/fixtures/bucket_names.json").read_text())


def control_names():
    """Return the addon's module of names; it imports nothing of Odoo."""
    spec = importlib.util.spec_from_file_location("control_names", ROOT / "addons/odooops_control/core/names.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def guard(**variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with these variables and no others."""
    return subprocess.run([sys.executable, str(SCRIPT)], env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['tier']} {case['buckets']}")
def test_shared_cases(case):
    done = guard(DEPLOY_ENV=case["tier"], SUPABASE_STORAGE_BUCKET=case["buckets"])
    assert done.returncode == (1 if case["refused"] else 0)
    for name in case["refused"]:
        assert repr(name) in done.stderr
    assert not (done.stdout and done.stderr)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['tier']} {case['buckets']}")
def test_the_control_addon_judges_alike(case):
    assert bool(control_names().bucket_refusal(case["tier"], case["buckets"])) == bool(case["refused"])
    assert buckets.mismatches(case["tier"], case["buckets"]) == case["refused"]


@pytest.mark.parametrize(("code", "good"), [("stage", "staging-a"), ("prod", "prod-a"), (" production\n", "prod-a")])
def test_every_name_of_an_environment(code, good):
    assert guard(DEPLOY_ENV=code, SUPABASE_STORAGE_BUCKET=good).returncode == 0
    assert guard(DEPLOY_ENV=code, SUPABASE_STORAGE_BUCKET="other").returncode == 1


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({}, ["DEPLOY_ENV", "SUPABASE_STORAGE_BUCKET"]),
        ({"DEPLOY_ENV": "staging"}, ["SUPABASE_STORAGE_BUCKET"]),
        ({"SUPABASE_STORAGE_BUCKET": "prod-a"}, ["DEPLOY_ENV"]),
        ({"DEPLOY_ENV": "", "SUPABASE_STORAGE_BUCKET": "prod-a"}, ["DEPLOY_ENV"]),
        ({"DEPLOY_ENV": "production", "SUPABASE_STORAGE_BUCKET": "  "}, ["SUPABASE_STORAGE_BUCKET"]),
        ({"DEPLOY_ENV": "production", "SUPABASE_STORAGE_BUCKET": " , ,"}, ["SUPABASE_STORAGE_BUCKET"]),
        ({"DEPLOY_ENV": "preview"}, ["SUPABASE_STORAGE_BUCKET"]),
    ],
)
def test_missing_variable_is_2_and_named(variables, missing):
    done = guard(**variables)
    assert done.returncode == 2
    assert not done.stdout
    assert all(name in done.stderr for name in missing)


@pytest.mark.parametrize("code", ["live", "PRODUCTION", "pr-12", "staging production", "production;true", "prod-"])
def test_unknown_environment_is_2(code):
    done = guard(DEPLOY_ENV=code, SUPABASE_STORAGE_BUCKET="prod-a")
    assert done.returncode == 2
    assert repr(code) in done.stderr


def test_one_wrong_bucket_among_many_blocks():
    done = guard(DEPLOY_ENV="production", SUPABASE_STORAGE_BUCKET="prod-a,prod-b,staging-c,prod-d")
    assert done.returncode == 1
    assert "'staging-c'" in done.stderr
    assert "prod-a" not in done.stderr
