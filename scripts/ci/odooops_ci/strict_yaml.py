"""Read YAML that people wrote: no key twice, and the line of every entry at hand for a finding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

LINES = "__lines__"


class BadYaml(ValueError):
    """The text is no YAML, or has a key twice; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys without a word; this one refuses."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    lines: dict[Any, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool)) and key is not None:
            raise BadYaml("A key has to be a plain word", line)
        if key in found:
            raise BadYaml(f"The key {key!r} stands twice (before in line {lines[key]})", line)
        found[key] = loader.construct_object(value_node, deep=True)
        lines[key] = line
    if lines:
        found[LINES] = lines
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(text: str) -> Any:
    """Return the content; each mapping has the lines of its keys under LINES.

    :raise BadYaml: it is none.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadYaml(f"It is no YAML: {error.problem or error.context}", mark.line + 1 if mark else 1) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadYaml(f"It is no YAML: {str(error).splitlines()[0]}", 1) from None


def load_file(path: Path) -> Any:
    return load(path.read_text(encoding="utf-8", errors="replace"))


def line_of(mapping: Mapping[str, Any], key: str | None = None) -> int:
    """Return the line of a key, or the first of the mapping."""
    lines = mapping.get(LINES) or {}
    return lines.get(key) or min(lines.values(), default=1)


def keys_of(mapping: Mapping[str, Any]) -> set[Any]:
    return set(mapping) - {LINES}
