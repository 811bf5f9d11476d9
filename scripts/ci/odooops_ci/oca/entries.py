"""Write entries of allowlist.yaml; comments, order and what else stands there are kept."""

from __future__ import annotations

import datetime
import io
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from ..addons import ALLOWLIST
from ..errors import Refused

HEADER = """\
# Every OCA module that may be installed: where it is from, at which commit, and who audited it.
# `odooops oca add <repository> <module>` writes an entry; `preflight allowlist` holds the repository to them.
modules: []
"""
ORDER = ("name", "repository", "commit", "wheel", "wheel_sha256", "content_sha256", "licence", "tier", "audited_by",
         "audited_on", "note")  # fmt: skip


class Entries:
    """allowlist.yaml, open for writing; nothing is written before `save`."""

    def __init__(self, root: Path) -> None:
        self._path = root / ALLOWLIST
        self._yaml = YAML()
        self._yaml.indent(mapping=2, sequence=4, offset=2)
        self._yaml.width = 120
        self._yaml.preserve_quotes = True
        text = self._path.read_text(encoding="utf-8") if self._path.is_file() else HEADER
        try:
            self._content = self._yaml.load(text)
        except YAMLError as error:
            raise Refused(f"{ALLOWLIST} can't be read ({str(error).splitlines()[0]}): correct it first.") from None
        if not isinstance(self._content, CommentedMap) or not isinstance(self._content.get("modules"), CommentedSeq):
            raise Refused(f"{ALLOWLIST} has to be a mapping with a list 'modules': correct it first.")

    @property
    def _modules(self) -> CommentedSeq:
        modules = self._content["modules"]
        assert isinstance(modules, CommentedSeq)  # noqa: S101 (narrows a type; checked when it was read)
        return modules

    def names(self) -> list[str]:
        return [str(one["name"]) for one in self._modules if isinstance(one, Mapping) and "name" in one]

    def put(self, name: str, **values: object) -> None:
        """Add an entry, or bring one up to date; None takes a key out."""
        found = next((one for one in self._modules if isinstance(one, CommentedMap) and one.get("name") == name), None)
        entry = CommentedMap({"name": name}) if found is None else found
        for key, value in values.items():
            if value is None:
                entry.pop(key, None)
            else:
                entry[key] = datetime.date.fromisoformat(value) if key == "audited_on" else value  # type: ignore[arg-type]
        if found is None:
            self._modules.fa.set_block_style()
            self._modules.append(CommentedMap({key: entry[key] for key in ORDER if key in entry}))

    def remove(self, name: str) -> None:
        """Take an entry out; one that is not there is gone already."""
        for index, one in reversed(list(enumerate(self._modules))):
            if isinstance(one, Mapping) and one.get("name") == name:
                del self._modules[index]

    def save(self) -> None:
        stream = io.StringIO()
        self._yaml.dump(self._content, stream)
        self._path.write_text(stream.getvalue(), encoding="utf-8")
