"""How much of the changed lines the tests ran, from coverage's own data."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .findings import NOTICE, Finding


@dataclass(frozen=True)
class Coverage:
    """Changed lines that hold a statement, and those of them that ran, by file."""

    statements: Mapping[str, frozenset[int]]
    ran: Mapping[str, frozenset[int]]

    @property
    def total(self) -> int:
        return sum(map(len, self.statements.values()))

    @property
    def percent(self) -> float | None:
        """Return the share of changed statements that ran; None where nothing of that kind changed."""
        return 100 * sum(map(len, self.ran.values())) / self.total if self.total else None

    def findings(self) -> list[Finding]:
        """Return a notice for each file with lines that no test runs."""
        found = []
        for file, statements in sorted(self.statements.items()):
            if missed := sorted(statements - self.ran.get(file, frozenset())):
                found.append(
                    Finding(
                        file,
                        f"No test runs the changed lines {ranges(missed)}.",
                        "Write a test that does.",
                        "not-covered",
                        missed[0],
                        NOTICE,
                    )
                )
        return found


def provide(folder: Path) -> None:
    """Put coverage alone into a folder for Odoo's Python, whose other packages are not ours to shadow."""
    import coverage

    shutil.copytree(Path(coverage.__file__).parent, folder / "coverage", dirs_exist_ok=True)


def settings(data: Path, folders: Iterable[str]) -> str:
    """Return coverage's settings file: measure these folders, one data file a process."""
    include = "".join(f"\n    {folder}/*" for folder in folders)
    return f"[run]\ndata_file = {data}/coverage\nparallel = true\ndisable_warnings = no-ctracer\ninclude = {include}\n"


def read(data: Path, root: Path, changed: Mapping[str, frozenset[int]]) -> Coverage:
    """Return what of the changed lines ran.

    :param changed: line numbers by file, relative to `root`.
    """
    import coverage

    measured = coverage.Coverage(data_file=str(data / "coverage"), config_file=False)
    measured.combine([str(data)], keep=True)
    statements, ran = {}, {}
    for file, lines in changed.items():
        path = root / file
        if not path.is_file():
            continue
        try:
            _, all_statements, _, missing, _ = measured.analysis2(str(path.resolve()))
        except (coverage.exceptions.NoSource, coverage.exceptions.NotPython):
            continue
        if mine := lines & frozenset(all_statements):
            statements[file] = mine
            ran[file] = mine - frozenset(missing)
    return Coverage(statements, ran)


def ranges(numbers: list[int]) -> str:
    """Return 3, 4, 5, 9 as "3-5, 9"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] + 1 == number:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
