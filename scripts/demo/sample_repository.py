"""Make the demo's customer repository: real git history, a custom addon, an OCA addon come the golden path.

    python -m scripts.demo.sample_repository FOLDER [--until v1.0.0]

FOLDER gets `customer/` (the repository) and `oca/partner-contact/` (stands in for OCA's repository; its
content is PyPI's wheel). Dates and authors are fixed, so the same call makes the same commits, and an
image that was built for one of them can be used again.

Releases, each a tag on `main`: v1.0.0; v1.1.0 changes the model, with a migration; v1.2.0 has a migration
that raises where an order like BAD_ORDER exists. `change_static` commits what needs a restart only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

TEMPLATES = Path(__file__).parent / "sample"
RELEASES = ("v1.0.0", "v1.1.0", "v1.2.0")
WORKSHOP = "addons/custom/workshop"
# What somebody typed on production only, and v1.2.0 can't convert.
BAD_ORDER = {"name": "WO/004", "customer": "Deco Addict", "duration": "about an hour"}


@dataclass(frozen=True)
class OcaAddon:
    """An addon of the OCA as PyPI has it: the wheel's name, version and SHA-256."""

    module: str
    repository: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"odoo-addon-{self.module.replace('_', '-')}=={self.version} --hash=sha256:{self.sha256}"


PARTNER_FIRSTNAME = OcaAddon(
    module="partner_firstname",
    repository="partner-contact",
    version="19.0.1.0.3",
    sha256="567c2c77c5195663de4f9afa7b4c155c4b7749edfa29e491bc0e45243b1a18e9",
)


@dataclass(frozen=True)
class Commit:
    """A commit of the customer's repository; `tag` is None where nobody tagged it."""

    sha: str
    tag: str | None
    message: str


class SampleRepository:
    """The customer's repository in a folder, made commit by commit."""

    def __init__(self, folder: Path, addon: OcaAddon = PARTNER_FIRSTNAME) -> None:
        self.addon = addon
        self.path = folder / "customer"
        self.oca_path = folder / "oca" / addon.repository
        self._downloads = folder / "downloads"
        self._commits = 0

    def create(self) -> Commit:
        """Make both repositories anew and commit v1.0.0: the custom addon and the OCA's."""
        for path in (self.path, self.oca_path):
            shutil.rmtree(path, ignore_errors=True)
        self._create_oca_repository()
        self._git("init", "--quiet", "--initial-branch=main", str(self.path), cwd=self.path.parent)
        self._add_oca_addon()
        self._overlay("v1.0.0")
        return self.commit("Workshop orders; contacts with first and last name", "v1.0.0")

    def change_model(self) -> Commit:
        """Commit v1.1.0: a new field, shown in the views and filled by a migration."""
        self._overlay("v1.1.0")
        return self.commit("Minutes of an order, to add them up", "v1.1.0")

    def change_static(self, release: str = "v1.1.1") -> Commit:
        """Commit a change that no database needs to know of: a restart is enough."""
        (self.path / WORKSHOP / "static/release.txt").write_text(f"{release.removeprefix('v')}\n")
        return self.commit("Tell the release in the status page", release)

    def break_on_production(self) -> Commit:
        """Commit v1.2.0: its migration raises where an order like BAD_ORDER exists."""
        self._overlay("v1.2.0")
        return self.commit("Every order has its minutes", "v1.2.0")

    def until(self, last: str) -> list[Commit]:
        """Make the repository with the releases up to `last` (one of RELEASES)."""
        makers = dict(zip(RELEASES, (self.create, self.change_model, self.break_on_production), strict=True))
        return [makers[tag]() for tag in RELEASES[: RELEASES.index(last) + 1]]

    def check_out(self, reference: str) -> None:
        """Check out a tag or commit, with the submodule at the commit it belongs to."""
        self._git("checkout", "--quiet", "--detach", reference)
        self._git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive")

    def commit(self, message: str, tag: str | None = None) -> Commit:
        """Commit the working tree as it is, and tag it."""
        sha = self._commit(message, self.path)
        if tag:
            self._git("tag", "--force", tag)
        return Commit(sha, tag, message)

    def _overlay(self, release: str) -> None:
        # Fresh file times: with the templates' own, git takes a file of equal size for unchanged.
        shutil.copytree(TEMPLATES / release, self.path, copy_function=shutil.copyfile, dirs_exist_ok=True)

    def _create_oca_repository(self) -> None:
        wheel = download(self.addon, self._downloads)
        self.oca_path.mkdir(parents=True)
        prefix = f"odoo/addons/{self.addon.module}/"
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(prefix) and not name.endswith("/"):
                    target = self.oca_path / name.removeprefix("odoo/addons/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))
        self._git("init", "--quiet", "--initial-branch=19.0", ".", cwd=self.oca_path)
        self._commit(f"[ADD] {self.addon.module} {self.addon.version}", self.oca_path)

    def _add_oca_addon(self) -> None:
        repos = Path("addons/oca/repos") / self.addon.repository
        # git has local submodules off by default since 2.38.1; this one is our own.
        self._git(
            "-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
            f"../oca/{self.addon.repository}", str(repos),
        )  # fmt: skip
        selected = self.path / "addons/oca/selected" / self.addon.module
        selected.parent.mkdir(parents=True)
        selected.symlink_to(f"../repos/{self.addon.repository}/{self.addon.module}")
        commit = self._git("rev-parse", "HEAD", cwd=self.oca_path)
        (self.path / "allowlist.yaml").write_text(allowlist(self.addon, commit))

    def _commit(self, message: str, cwd: Path) -> str:
        self._git("add", "--all", cwd=cwd)
        self._git("commit", "--quiet", "--allow-empty", "--message", message, cwd=cwd)
        self._commits += 1
        return self._git("rev-parse", "HEAD", cwd=cwd)

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.path, env=self._environment(),
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def _environment(self) -> dict[str, str]:
        date = f"2026-01-05T09:{self._commits:02}:00+00:00"
        identity = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "OdooOps demo"), ("EMAIL", "demo@example.com"), ("DATE", date))
        }
        # The machine's own git settings (signing, hooks, line ends) stay out of it.
        return {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def allowlist(addon: OcaAddon, commit: str) -> str:
    """Return the repository's allowlist.yaml."""
    return f"""\
# Every OCA module that may be installed. Who adds one names where it came from and who read it.
modules:
  - name: {addon.module}
    repository: https://github.com/OCA/{addon.repository}
    commit: {commit}
    licence: AGPL-3
    tier: low
    audited_by: demo@example.com
    audited_on: 2026-01-05
"""


def download(addon: OcaAddon, folder: Path) -> Path:
    """Return the addon's wheel, from PyPI if it is not in `folder` yet; pip checks its hash."""
    pattern = f"odoo_addon_{addon.module}-{addon.version}-*.whl"
    found = sorted(folder.glob(pattern))
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        requirements = folder / f"{addon.module}.txt"
        requirements.write_text(f"{addon.requirement}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes",
             "--dest", str(folder), "--requirement", str(requirements)],
            check=True,
        )  # fmt: skip
        found = sorted(folder.glob(pattern))
    return found[-1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--until", choices=RELEASES, default=RELEASES[-1])
    options = parser.parse_args(argv)
    commits = SampleRepository(options.folder).until(options.until)
    print(json.dumps([asdict(commit) for commit in commits], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
