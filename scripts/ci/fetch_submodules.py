"""Fetch a checkout's submodules, private ones with a deploy key each or with one token.

    ODOOOPS_SUBMODULE_KEYS='{"acme/secret-addons": "-----BEGIN OPENSSH PRIVATE KEY-----…"}' \\
        python scripts/ci/fetch_submodules.py --source .

GitHub takes a deploy key for one repository only, so the secret ODOOOPS_SUBMODULE_KEYS holds one for each, by
`owner/name` (`host/owner/name` on other servers). ODOOOPS_SUBMODULE_TOKEN, such as a GitHub App's, opens the others
on the same server. It does not matter whether .gitmodules says git@ or https. ODOOOPS_SSH_KNOWN_HOSTS has the host
keys of servers other than github.com. Exit codes: 0 all are here, 1 one can't be fetched, 2 wrong input.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from odooops_ci import git, repositories, submodules
from odooops_ci.errors import Refused


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=Path("."), help="the repository's checkout (default: here)")
    root = parser.parse_args(argv).source.resolve()
    try:
        if not git.is_checkout(root):
            raise Refused(f"{root} is not the root of a git checkout: name the folder that has .git in it.")
        credentials = repositories.read_credentials(os.environ)
        told = submodules.fetch(root, credentials, os.environ.get("ODOOOPS_SSH_KNOWN_HOSTS", ""))
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code
    print("\n".join(told) or "The repository has no submodules.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
