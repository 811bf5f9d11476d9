"""GitHub's expressions: `${{ inputs.tag || github.ref_name }}`, as far as our workflows use them.

What is not known (a context, a function, a sign) is an error: a misspelt name must not pass for an empty value. A
property that a context lacks is null, as on GitHub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_TOKENS = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<sign>\|\||&&|==|!=|[!().,\[\]]))"
)
_WORDS = {"true": True, "false": False, "null": None}


class ExpressionError(Exception):
    """GitHub would refuse this expression."""


def evaluate(
    expression: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]] | None = None
) -> Any:
    """Return the value of an expression, without its `${{ }}`."""
    parser = _Parser(expression, contexts, {**FUNCTIONS, **(functions or {})})
    value = parser.either()
    parser.expect_end()
    return value


def fill_in(value: Any, contexts: Mapping[str, Any]) -> Any:
    """Return what stands in a workflow with its expressions evaluated, lists and mappings too."""
    if isinstance(value, Mapping):
        return {name: fill_in(one, contexts) for name, one in value.items()}
    if isinstance(value, list):
        return [fill_in(one, contexts) for one in value]
    if not isinstance(value, str):
        return value
    whole = EXPRESSION.fullmatch(value.strip())
    if whole and "${{" not in whole[1]:
        return evaluate(whole[1], contexts)
    return EXPRESSION.sub(lambda found: as_text(evaluate(found[1], contexts)), value)


def as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def is_true(value: Any) -> bool:
    return value not in (None, False, 0, "")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    if type(one) is type(other):
        return bool(one == other)
    return _number(one) == _number(other)


def _number(value: Any) -> float:
    if value in (None, False, ""):
        return 0.0
    if value is True:
        return 1.0
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _contains(where: Any, what: Any) -> bool:
    if isinstance(where, list):
        return any(_equal(one, what) for one in where)
    return as_text(what).lower() in as_text(where).lower()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": _contains,
    "startsWith": lambda text, start: as_text(text).lower().startswith(as_text(start).lower()),
    "format": lambda text, *values: text.format(*map(as_text, values)),
    "fromJSON": json.loads,
    "toJSON": lambda value: json.dumps(value, indent=2),
}


class _Parser:
    """Reads from left to right and evaluates as it goes."""

    def __init__(self, text: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> None:
        self._text, self._contexts, self._functions = text, contexts, functions
        self._tokens = self._split(text.strip())

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while at < len(text):
            found = _TOKENS.match(text, at)
            if not found:
                raise ExpressionError(f"{self._text!r}: {text[at:]!r} is no expression.")
            tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()
        return tokens

    def expect_end(self) -> None:
        if self._tokens:
            raise ExpressionError(f"{self._text!r}: {self._tokens[0][1]!r} is too much.")

    def either(self) -> Any:
        value = self._both()
        while self._take("||"):
            other = self._both()
            value = value if is_true(value) else other
        return value

    def _both(self) -> Any:
        value = self._compared()
        while self._take("&&"):
            other = self._compared()
            value = other if is_true(value) else value
        return value

    def _compared(self) -> Any:
        value = self._negated()
        while self._next() in ("==", "!="):
            sign = self._tokens.pop(0)[1]
            same = _equal(value, self._negated())
            value = same if sign == "==" else not same
        return value

    def _negated(self) -> Any:
        if self._take("!"):
            return not is_true(self._negated())
        return self._primary()

    def _primary(self) -> Any:
        if not self._tokens:
            raise ExpressionError(f"{self._text!r} ends too early.")
        kind, token = self._tokens.pop(0)
        if kind == "text":
            return token[1:-1].replace("''", "'")
        if kind == "number":
            return float(token) if "." in token else int(token)
        if token == "(":
            value = self.either()
            self._expect(")")
            return value
        if kind != "name":
            raise ExpressionError(f"{self._text!r}: {token!r} stands where a value has to.")
        if token in _WORDS:
            return _WORDS[token]
        return self._call(token) if self._take("(") else self._property(token)

    def _call(self, name: str) -> Any:
        values = []
        while not self._take(")"):
            values.append(self.either())
            if self._next() != ")":
                self._expect(",")
        if name not in self._functions:
            raise ExpressionError(f"{self._text!r}: there is no function {name}.")
        return self._functions[name](*values)

    def _property(self, name: str) -> Any:
        if name not in self._contexts:
            raise ExpressionError(f"{self._text!r}: there is no context {name} here.")
        value = self._contexts[name]
        while self._next() in (".", "["):
            if self._take("."):
                key: Any = self._tokens.pop(0)[1]
            else:
                self._expect("[")
                key = self.either()
                self._expect("]")
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def _next(self) -> str:
        return self._tokens[0][1] if self._tokens and self._tokens[0][0] == "sign" else ""

    def _take(self, sign: str) -> bool:
        if self._next() != sign:
            return False
        self._tokens.pop(0)
        return True

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise ExpressionError(f"{self._text!r}: {sign!r} is missing.")
