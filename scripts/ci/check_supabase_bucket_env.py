"""Refuse a deploy that would write into another environment's storage bucket.

    DEPLOY_ENV=staging SUPABASE_STORAGE_BUCKET=staging-files python scripts/ci/check_supabase_bucket_env.py

Runs before every deploy that is no preview. A bucket's name must start with `staging-` on staging and with
`prod-` on production; a preview may use any. SUPABASE_STORAGE_BUCKET may be a list with commas: every entry
is checked. Exit codes: 0 OK, 1 a prefix does not match (blocked), 2 a variable is missing or DEPLOY_ENV unknown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from odooops_ci import buckets

OK, BLOCKED, MISSING = 0, 1, 2
ENVIRONMENT = "DEPLOY_ENV"
BUCKET = "SUPABASE_STORAGE_BUCKET"


def judge(environment: Mapping[str, str]) -> tuple[int, str]:
    """Return the exit code and the sentence that says why, from the variables of a process."""
    code, listed = environment.get(ENVIRONMENT, "").strip(), environment.get(BUCKET, "").strip()
    if missing := [name for name, value in ((ENVIRONMENT, code), (BUCKET, listed)) if not value]:
        return MISSING, f"{' and '.join(missing)} must be set: the workflow's environment has it as a variable."
    tier = buckets.tier_of(code)
    if tier is None:
        return MISSING, f"{ENVIRONMENT} is {code!r}, which is no environment: use {', '.join(buckets.TIERS)}."
    if not buckets.names_in(listed):
        return MISSING, f"{BUCKET} names no bucket: the workflow's environment has it as a variable."
    if wrong := buckets.mismatches(tier, listed):
        prefix = buckets.PREFIX[tier]
        return BLOCKED, (
            f"Blocked: {', '.join(map(repr, wrong))} can't serve {tier}, where a bucket's name starts with "
            f"{prefix!r}: correct {BUCKET} of this environment."
        )
    return OK, f"OK: {tier} writes to {', '.join(buckets.names_in(listed))}."


def main() -> int:
    code, sentence = judge(os.environ)
    print(sentence, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
