"""Where modules come from: Odoo's own by a list, repositories by their address."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

MODULE_LISTS = Path(__file__).parent / "data"
SSH = re.compile(r"(?:ssh://)?(?:[^@/]+@)?([^:/]+)(?::\d+/|[:/])(.+)")


@lru_cache
def odoo_modules(series: str) -> frozenset[str]:
    """Return the names of Odoo's own modules; none for a series whose list is not shipped."""
    path = MODULE_LISTS / f"odoo_modules_{series}.txt"
    if not path.is_file():
        return frozenset()
    return frozenset(line for line in path.read_text().splitlines() if line and not line.startswith("#"))


def normal_url(url: str) -> str:
    """Return host and path of a repository: git@ and https addresses of one place are equal."""
    split = urlsplit(url)
    if split.scheme in ("http", "https") and split.hostname:
        host, path = split.hostname, split.path
    elif split.scheme == "file" or url.startswith(("/", ".")):
        return url.rstrip("/").removesuffix(".git")
    elif found := SSH.fullmatch(url):
        host, path = found[1], found[2]
    else:
        return url
    return f"{host.lower()}/{path.strip('/').removesuffix('.git').lower()}"
