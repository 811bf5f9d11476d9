"""Which storage buckets an environment may write to: by the prefix of their names.

The control addon has the same rule as a constraint (`core/names.py`); tests/contract/fixtures/bucket_names.json
holds the cases that both must judge alike.
"""

from __future__ import annotations

TIERS = {
    "preview": "preview",
    "stage": "staging", "staging": "staging",
    "prod": "production", "production": "production",
}  # fmt: skip
PREFIX = {"staging": "staging-", "production": "prod-"}


def tier_of(environment: str) -> str | None:
    """Return the tier that a name of an environment stands for, or None."""
    return TIERS.get(environment.strip())


def names_in(buckets: str) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name for part in buckets.split(",") if (name := part.strip())]


def mismatches(tier: str, buckets: str) -> list[str]:
    """Return those of the buckets that environments of `tier` may not write to."""
    prefix = PREFIX.get(tier, "")
    return [name for name in names_in(buckets) if not name.startswith(prefix)]
