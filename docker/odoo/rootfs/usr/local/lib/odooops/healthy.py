"""Tell whether this web container serves its database: exit 0, or 1 and one sentence.

`healthy.py --host shop.example.com [--database shop_prod]`. /web/health answers 200 even where no page
can be rendered, so /web/login is asked too.
"""

from __future__ import annotations

import argparse
import configparser
import sys
from pathlib import Path

from local_http import HTTP_PORT, Answer, ask


def database_problem(config: Path, database: str) -> str | None:
    """Return what is wrong if this Odoo may serve another database than `database`."""
    parser = configparser.RawConfigParser()
    parser.read(config, encoding="utf-8")
    served = parser.get("options", "db_name", fallback="").strip()
    if served != database:
        return f"{config} serves database {served or '(any)'}, not {database}"
    return None


def page_problem(path: str, answer: Answer) -> str | None:
    if answer.status == 200:
        return None
    if answer.status == 0:
        return f"{path} does not answer: {answer.problem}"
    if "/web/database/" in answer.location:
        return f"{path} leads to the database selector: no database fits the host name"
    return f"{path} answers {answer.status} instead of 200"


def find_problem(options: argparse.Namespace) -> str | None:
    if options.database and (problem := database_problem(options.config, options.database)):
        return problem
    for path in ("/web/health", "/web/login"):
        answer = ask(path, host=options.host, port=options.port, timeout=options.timeout)
        if problem := page_problem(path, answer):
            return problem
    return None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="localhost", help="the Host header to send")
    parser.add_argument("--database", help="the only database that may be served")
    parser.add_argument("--config", type=Path, default=Path("/etc/odoo/odoo.conf"))
    parser.add_argument("--port", type=int, default=HTTP_PORT)
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for a page")
    problem = find_problem(parser.parse_args(argv))
    if problem:
        print(f"{problem}.", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
