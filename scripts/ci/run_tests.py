"""`make test`: every part of the tests, whatever the parts before it said, and one count at the end."""

import argparse
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree
from dataclasses import dataclass

from scripts.ci import addon_tests
from scripts.setup import base_images, engine, paths
from scripts.setup.progress import Progress

RESULTS = paths.STATE / "test-results"


@dataclass(frozen=True)
class Count:
    """How a part ended."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def pytest_part(*folders, files_at_once=1):
    """Return a part that runs pytest on folders of tests/; the folder's name names its result."""
    junit = RESULTS / f"{folders[0]}.xml"
    targets = [f"tests/{folder}" for folder in folders]
    workers = ["--numprocesses", str(files_at_once), "--dist", "loadfile"] if files_at_once > 1 else []
    return [sys.executable, "-m", "pytest", *targets, *workers, f"--junitxml={junit}"], junit


# The addon's tests share one database and the acceptance tests one stack: one at a time.
PARTS = {
    "unit": pytest_part("unit", "contract", files_at_once=2),
    "addon": ([sys.executable, "-m", "scripts.ci.addon_tests"], addon_tests.FOLDER / "results/junit.xml"),
    "integration": pytest_part("integration", files_at_once=2),
    "acceptance": pytest_part("acceptance"),
}


def main():
    """Run the parts and return 0 only when nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="run these parts; may be repeated")
    names = parser.parse_args().only or list(PARTS)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    if set(names) - {"unit"}:
        prepare()
    counts = {}
    for name in names:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        counts[name] = run(*PARTS[name])
        print(f"== {name}: {counts[name]} ({time.monotonic() - began:.0f} s)\n", flush=True)
    total = sum(counts.values(), Count())
    print("\n".join(f"{name:<12} {count}" for name, count in counts.items()))
    print(total, flush=True)
    return 1 if total.failed else 0


def prepare():
    """Bring what all parts stand on, before two files at once would each build it."""
    progress = Progress()
    with progress.step("Docker Engine") as note:
        note(engine.ensure_engine())
    with progress.step("Base images") as note:
        note(base_images.ensure_all(progress.say))


def run(argv, junit):
    """Run one part; a part that ends badly without a failed test (or runs none) counts as one failure."""
    junit.unlink(missing_ok=True)
    code = subprocess.run(argv, cwd=paths.ROOT, stdin=subprocess.DEVNULL).returncode
    count = read(junit.read_text()) if junit.exists() else Count()
    if (code and not count.failed) or not count.passed + count.failed:
        count += Count(failed=1)
    return count


def read(junit):
    """Return the count of a JUnit file's text; a test with subtests stands in it several times and counts once."""
    outcomes = {}
    for case in xml.etree.ElementTree.fromstring(junit).iter("testcase"):  # noqa: S314 (our own file)
        ends = [child.tag for child in case]
        outcome = "failed" if {"failure", "error"} & set(ends) else "skipped" if "skipped" in ends else "passed"
        outcomes.setdefault((case.get("classname"), case.get("name")), set()).add(outcome)
    worst = [next(end for end in ("failed", "skipped", "passed") if end in ends) for ends in outcomes.values()]
    return Count(worst.count("passed"), worst.count("failed"), worst.count("skipped"))


if __name__ == "__main__":
    sys.exit(main())
