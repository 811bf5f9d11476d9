"""Stop a workflow whose secrets or variables are missing, before it does anything.

    python scripts/ci/check_settings.py ODOOOPS_URL ODOOOPS_API_KEY/ODOOOPS_OIDC_AUDIENCE

A slash stands between names of which one is enough. Exit codes: 0 all are set, 2 with one sentence for each that
is not. A job that did nothing for want of a secret must not look like one that did its work.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping

# What GitHub calls the place where each is set; all else is a variable.
SECRETS = frozenset(
    {"ODOOOPS_API_KEY", "ODOOOPS_SUBMODULE_KEYS", "ODOOOPS_SUBMODULE_TOKEN", "REGISTRY_USERNAME", "REGISTRY_PASSWORD"}
)


def missing(wanted: list[str], environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each of the wanted settings that is not there."""
    absent = [names.split("/") for names in wanted if not _is_set(names, environment)]
    return [
        f"The {' or the '.join(map(_named, names))} is not set: add it to the repository or to the job's environment "
        "(Settings → Secrets and variables → Actions); a workflow that calls this one passes it on."
        for names in absent
    ]


def _is_set(names: str, environment: Mapping[str, str]) -> bool:
    return any(environment.get(name, "").strip() for name in names.split("/"))


def _named(name: str) -> str:
    return f"{'secret' if name in SECRETS else 'variable'} {name}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="a name, or several with slashes between them")
    sentences = missing(parser.parse_args(argv).names, os.environ)
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    return 2 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
