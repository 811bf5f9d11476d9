"""A project's own rules for copies of its data, as YAML that people write, checked before an agent gets them."""

import re

import yaml

from . import names

MAX_CHARACTERS = 64 * 1024
_MAX_ENTRIES = 200
_LISTS = ("cron_allowlist", "keep_parameters", "network_allowlist")
_RULE = ("name", "reason", "modules", "sql", "unsafe")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_XML_ID = re.compile(r"[a-z][a-z0-9_]*\.[A-Za-z0-9_.-]{1,120}")
_PARAMETER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,200}")
_HOST_PORT = re.compile(r"(?P<host>[a-z0-9.-]{1,253}):(?P<port>[0-9]{1,5})")
_READS = re.compile(r"\s*(?:select|with)\b", re.IGNORECASE)
_SHAPES = {
    "cron_allowlist": ("a scheduled action by its XML id, such as base.autovacuum_job", _XML_ID.fullmatch),
    "keep_parameters": ("a system parameter's key, such as workshop.opening_hours", _PARAMETER.fullmatch),
    "network_allowlist": ("a host with its port, such as pypi.example.com:443", lambda text: _is_host_port(text)),
}


class BadRules(ValueError):
    """The rules are not what they have to be; the text says where and what is expected."""


def read(text):
    """Return the rules in YAML ``text`` as an agent gets them.

    :raises BadRules: with one sentence that says which entry is wrong and how it is written
    """
    document = _document(text)
    unknown = sorted(set(document) - {*_LISTS, "rules"}, key=str)
    if unknown:
        raise BadRules(f"{names.shown(unknown[0])!r} is nothing here: use rules, {', '.join(_LISTS)}.")
    extra = [_rule(entry, number) for number, entry in enumerate(_entries(document, "rules"), 1)]
    found = [rule["name"] for rule in extra]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice:
        raise BadRules(f"Two rules are called {twice!r}: give each a name of its own.")
    return {"extra": extra, **{name: _texts(document, name) for name in _LISTS}}


def _document(text):
    if len(text or "") > MAX_CHARACTERS:
        raise BadRules(f"The rules have more than {MAX_CHARACTERS} characters: shorten them.")
    try:
        _refuse_surprises(yaml.compose(text or "", Loader=yaml.SafeLoader))
        document = yaml.safe_load(text or "")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise BadRules(f"The rules are no YAML{where}: {getattr(error, 'problem', None) or 'mend that'}.") from error
    except (ValueError, RecursionError) as error:
        raise (
            error if isinstance(error, BadRules) else BadRules("The rules hold a value that YAML can't read.")
        ) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise BadRules("Begin each line with what it is about, such as 'cron_allowlist:'.")
    return document


def _refuse_surprises(root):
    """Refuse a key that stands twice, of which YAML keeps the last, and what stands in for something else."""
    waiting, seen = [root] if root else [], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            raise BadRules(f"An alias (*) stands in line {node.start_mark.line + 1} or later: write the value out.")
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice:
                line = node.start_mark.line + 1
                raise BadRules(f"{names.shown(twice)!r} stands twice in what begins in line {line}: join the two.")
            waiting += [value for pair in node.value for value in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _entries(document, name):
    entries = document.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise BadRules(f"{name} is a list: begin each entry with '- '.")
    if len(entries) > _MAX_ENTRIES:
        raise BadRules(f"{name} has more than {_MAX_ENTRIES} entries: shorten it.")
    return entries


def _texts(document, name):
    wanted, fits = _SHAPES[name]
    entries = _entries(document, name)
    for entry in entries:
        if not isinstance(entry, str) or not fits(entry):
            raise BadRules(f"{names.shown(entry)!r} in {name} is not {wanted}.")
    return list(dict.fromkeys(entries))


def _is_host_port(text):
    found = _HOST_PORT.fullmatch(text)
    return bool(found and names.HOST.fullmatch(found["host"]) and 0 < int(found["port"]) < 65536)


def _rule(entry, number):
    if not isinstance(entry, dict):
        raise BadRules(f"Rule {number} needs name, reason, sql and unsafe, each on a line of its own.")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadRules(f"Rule {number} needs a name of lower-case letters, digits and _, such as workshop_gateway.")
    unknown = sorted(set(entry) - set(_RULE), key=str)
    if unknown:
        raise BadRules(f"{names.shown(unknown[0])!r} is nothing in rule {name!r}: use {', '.join(_RULE)}.")
    texts = {key: _text(entry, key, name) for key in ("reason", "sql", "unsafe")}
    if not _READS.match(texts["unsafe"]):
        raise BadRules(f"'unsafe' of rule {name!r} has to be a SELECT that finds what is still dangerous.")
    modules = _entries(entry, "modules")
    for module in modules:
        if not isinstance(module, str) or not names.MODULE.fullmatch(module):
            raise BadRules(f"{names.shown(module)!r} in rule {name!r} is no module's name.")
    return {"name": name, "modules": modules, **texts}


def _text(entry, key, name):
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        what = {
            "reason": "why it is needed",
            "sql": "what makes the copy safe",
            "unsafe": "a SELECT that finds what is still dangerous",
        }
        raise BadRules(f"Rule {name!r} needs {key!r}: {what[key]}.")
    return value.strip()
