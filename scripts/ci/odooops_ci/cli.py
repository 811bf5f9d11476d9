"""The developer's command `odooops`: the preflight gate, the golden path for OCA's modules, the audit log.

    odooops preflight all
    odooops oca add server-tools auditlog
    odooops audit verify odooops-audit.jsonl

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys

from .audit import command as audit
from .errors import Refused
from .oca import command as oca
from .preflight import cli as preflight


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="odooops", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    preflight.add_arguments(commands.add_parser("preflight", help="lint, tests, allowlist, risk, version, or all"))
    oca.add_arguments(commands.add_parser("oca", help="add, remove, update, list and audit OCA's modules"))
    audit.add_arguments(commands.add_parser("audit", help="verify the console's audit log"))
    options = parser.parse_args(argv)
    if options.command == "preflight":
        return preflight.run(options)
    try:
        return {"oca": oca.run, "audit": audit.run}[options.command](options)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return refused.exit_code


if __name__ == "__main__":
    sys.exit(main())
