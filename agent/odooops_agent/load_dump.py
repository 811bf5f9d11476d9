"""Load a dump that somebody brought into an empty database; runs in a one-off of the environment's image.

A plain dump is text for psql, which would also run commands of the shell that stand in it. So psql is not asked:
the server alone gets to see the statements, and COPY's data. This file is all that the one-off has, so it needs
nothing but Python and the psycopg2 that Odoo has itself.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

FOLDER = "/odooops"
PLAIN, ARCHIVE, PARTS = "dump.sql", "database.dump", "parts"
STATEMENT_BYTES_MAX = 256 << 20
LINE_BYTES = 1 << 20
# pg_dump's last words: without them the rest was lost on the way.
COMPLETE = b"-- PostgreSQL database dump complete"
HARMLESS_COMMANDS = re.compile(rb"\\(?:un)?restrict [A-Za-z0-9]+\s*")

_TOKEN = re.compile(
    rb"[eE]'|'|\"|\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$|--|/\*|[;()\\]"
    rb"|[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*"
)
_IN_BLOCK = re.compile(rb"/\*|\*/")
_ENDS = {
    b"'": re.compile(rb"''|'"),
    b"e": re.compile(rb"\\.|''|'", re.DOTALL),
    b'"': re.compile(rb'""|"'),
}
_COPY = re.compile(rb"COPY\s", re.IGNORECASE)
_COPY_STDIN = re.compile(rb"COPY\s[^;]*\sFROM\s+stdin\b[^;]*;", re.IGNORECASE)
_OLD_STRINGS = re.compile(rb"SET\s+standard_conforming_strings\s*(?:=|TO)\s*'?(?:off|false|no|0)", re.IGNORECASE)
_SETTING = re.compile(rb"SET\s+\w+\s*(?:=|TO)\s", re.IGNORECASE)
# Owners, rights and what belongs to the whole cluster: as pg_restore --no-owner --no-acl --no-comments leaves out.
_LEFT_OUT = re.compile(
    rb"ALTER\s[^;]*\sOWNER\s+TO\s[^;]*;|GRANT\s|REVOKE\s|ALTER\s+DEFAULT\s+PRIVILEGES\s"
    rb"|COMMENT\s+ON\s+(?:EXTENSION|SCHEMA|DATABASE)\s|CREATE\s+SCHEMA\s+public\s*;|SECURITY\s+LABEL\s"
    rb"|SET\s+(?:SESSION\s+AUTHORIZATION|ROLE)\s|(?:CREATE|ALTER)\s+(?:PUBLICATION|SUBSCRIPTION)\s",
    re.IGNORECASE,
)


class Unloadable(Exception):
    """A dump that can't be loaded; the sentence says where and what to do."""


class Source(Protocol):
    """A file with lines of bytes."""

    def readline(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Statement:
    """What goes to the server as it stands; of a COPY the data follow."""

    line: int
    text: bytes
    data: CopyData | None = None

    @property
    def left_out(self) -> bool:
        return bool(_LEFT_OUT.match(self.text))

    @property
    def is_setting(self) -> bool:
        return bool(_SETTING.match(self.text))


class CopyData:
    """The lines after a COPY up to its `\\.`, as a file."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._rest = b""
        self._line_began = False
        self.ended = False

    def read(self, size: int = LINE_BYTES) -> bytes:
        while len(self._rest) < size and not self.ended:
            self._rest += self._next()
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _next(self) -> bytes:
        line = self._script.next_line(LINE_BYTES)
        if not line:
            raise Unloadable(f"The dump ends in the middle of a COPY (line {self._script.line}): bring all of it.")
        if not self._line_began and line.rstrip(b"\r\n") == b"\\.":
            self.ended = True
            return b""
        self._line_began = not line.endswith(b"\n")
        return line


class Script:
    """A plain dump, cut into what the server is given piece by piece.

    It reads as psql does: strings, quoted names, dollar quotes and comments may hold semicolons and backslashes. A
    backslash anywhere else is a command to psql, and refused.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.line = 0
        self.complete = False
        self._text = bytearray()
        self._began = 0
        self._within = b""  # the quote that is open: ' e " $tag$ or /*
        self._depth = 0  # of comments in comments
        self._parentheses = 0

    def next_line(self, most: int) -> bytes:
        line = self._source.readline(most)
        self.line += line.endswith(b"\n")
        return line

    def statements(self) -> Iterator[Statement]:
        """Yield each statement in turn. Raises Unloadable."""
        while line := self.next_line(STATEMENT_BYTES_MAX):  # whole, so that no token is cut in two
            if not self._within and line.startswith(COMPLETE):
                self.complete = True
            yield from self._feed(line)
        if self._within or self._text.strip():
            raise Unloadable(f"The dump ends in the middle of a statement (line {self._began}): bring all of it.")
        if not self.complete:
            raise Unloadable("The dump does not end as pg_dump ends one: some of it is missing, bring all of it.")

    def _feed(self, line: bytes) -> Iterator[Statement]:
        place = 0
        while place < len(line):
            if self._within:
                place = self._pass_quoted(line, place)
                continue
            found = _TOKEN.search(line, place)
            if not found:
                self._take(line[place:])
                return
            token, before = found.group(), line[place : found.start()]
            self._take(before)
            place = found.end()
            if token == b"--":
                self._take(b"\n")
                return
            if token == b"\\":
                self._refuse_command(line[found.start() :])
                return
            if token == b"/*":
                self._within, self._depth = token, 1
            elif token == b";" and self._parentheses <= 0:
                self._take(token)
                if statement := self._end(line[place:]):
                    yield statement
                    if statement.data:
                        return
            else:
                self._open(token)

    def _open(self, token: bytes) -> None:
        self._take(token)
        if token in (b"e'", b"E'"):
            self._within = b"e"
        elif token in (b"'", b'"') or token.startswith(b"$"):
            self._within = token
        else:
            self._parentheses += (token == b"(") - (token == b")")

    def _pass_quoted(self, line: bytes, place: int) -> int:
        """Go on to where the open quote ends; it may do so on a later line."""
        if self._within == b"/*":
            found = _IN_BLOCK.search(line, place)
            if not found:
                return len(line)
            self._depth += 1 if found.group() == b"/*" else -1
            if not self._depth:
                self._within = b""
                self._take(b" ")
            return found.end()
        if self._within.startswith(b"$"):
            start = line.find(self._within, place)
            end = len(line) if start < 0 else start + len(self._within)
            closed = start >= 0
        else:
            found = _ENDS[self._within].search(line, place)
            end = found.end() if found else len(line)
            closed = found is not None and found.group() in (b"'", b'"')
        self._take(line[place:end])
        if closed:
            self._within = b""
        return end

    def _take(self, text: bytes) -> None:
        if not self._text and not self._within:
            text = text.lstrip()
        if not text:
            return
        if not self._text:
            self._began = self.line
        self._text += text
        if len(self._text) > STATEMENT_BYTES_MAX:
            raise Unloadable(f"The statement at line {self._began} is too large: dump with --format=custom.")

    def _refuse_command(self, rest: bytes) -> None:
        if not self._text.strip() and HARMLESS_COMMANDS.fullmatch(rest):
            return
        shown = rest[:40].decode("utf-8", "replace").strip()
        raise Unloadable(
            f"Line {self.line} of the dump is a command for psql ({shown}), and none is run: make the dump with "
            "pg_dump and without --create."
        )

    def _end(self, rest: bytes) -> Statement | None:
        text, began = bytes(self._text).strip(), self._began
        self._text.clear()
        self._parentheses = 0
        if text == b";":
            return None
        if _OLD_STRINGS.match(text):
            raise Unloadable("The dump switches standard_conforming_strings off: dump with --format=custom.")
        if not _COPY.match(text):
            return Statement(began, text)
        if not _COPY_STDIN.fullmatch(text) or rest.strip():
            raise Unloadable(f"Line {began} of the dump copies from a file or a program, which is refused.")
        return Statement(began, text, CopyData(self))


def load_plain(connection: Any, source: Source, undefined: type[Exception]) -> int:
    """Give a plain dump to the server; returns the number of statements.

    :param connection: one that commits by itself
    :param undefined: what the server raises at a setting that it does not know, as of a newer pg_dump
    """
    count = 0
    with connection.cursor() as cursor:
        for one in Script(source).statements():
            if one.left_out:
                continue
            count += 1
            try:
                if one.data:
                    cursor.copy_expert(one.text, one.data)
                else:
                    cursor.execute(one.text)
            except undefined:
                if not one.is_setting:
                    raise
    return count


def restore_argv(options: dict[str, str], dump: str) -> list[str]:
    """Return how pg_restore loads a dump of its own; nothing in one is a command."""
    left_out = ("owner", "acl", "comments", "publications", "subscriptions", "security-labels", "tablespaces")
    return [
        "pg_restore", *(f"--no-{one}" for one in left_out), "--exit-on-error", "--no-password", "--jobs=2",
        f"--host={FOLDER}", f"--username={options['username']}", f"--dbname={options['dbname']}", dump,
    ]  # fmt: skip


def main() -> int:
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    dumps = [name for name in (f"{FOLDER}/{ARCHIVE}", f"{FOLDER}/{PARTS}") if os.path.exists(name)]
    if dumps:
        argv = restore_argv(options, dumps[0])
        os.execvp(argv[0], argv)  # noqa: S606 a list of words, and no shell
    import psycopg2

    connection = psycopg2.connect(host=FOLDER, user=options["username"], dbname=options["dbname"])
    connection.autocommit = True
    try:
        with open(f"{FOLDER}/{PLAIN}", "rb", 1 << 20) as source:
            count = load_plain(connection, source, psycopg2.errors.UndefinedObject)
    except (Unloadable, psycopg2.Error) as error:
        print(str(error).strip().replace("\n", " "), flush=True)
        return 1
    print(f"{count} statements", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
