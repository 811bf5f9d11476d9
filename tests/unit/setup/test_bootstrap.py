"""What bootstrap.sh decides before there is a Python to decide it."""

import re
import subprocess

import pytest

from scripts.setup import paths

SCRIPT = (paths.ROOT / "scripts/setup/bootstrap.sh").read_text()


@pytest.mark.parametrize(
    ("packages", "newest"),
    [
        ("postgresql-15 postgresql-15-cron postgresql-client-15", "postgresql-15"),
        ("postgresql-16 postgresql-9 postgresql-contrib postgresql-16-pgvector", "postgresql-16"),
        ("postgresql-common", ""),
    ],
    ids=["Debian 12", "Ubuntu 24.04 and an old one", "lists not fetched yet"],
)
def test_the_newest_postgresql_that_the_distribution_packages(tmp_path, packages, newest):
    cache = tmp_path / "apt-cache"
    cache.write_text(f"#!/bin/sh\nprintf '%s\\n' {packages}\n")
    cache.chmod(0o755)
    (function,) = re.findall(r"^packaged_postgresql\(\) \{\n.*?^\}\n", SCRIPT, re.MULTILINE | re.DOTALL)
    argv = ["sh", "-euc", f"{function}packaged_postgresql"]
    done = subprocess.run(argv, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == newest
