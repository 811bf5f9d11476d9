"""The hash chain of the audit log."""

import hashlib
import json

GENESIS = "0" * 64


def link(previous, content):
    """Return the hash of ``content`` (JSON-able) chained to ``previous``."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def first_break(rows, expected=GENESIS):
    """Return the position of the first row that breaks the chain, or None.

    :param rows: ``(previous hash, hash, content)`` in order
    :param expected: the hash of the row before the first one
    """
    for position, (previous, digest, content) in enumerate(rows):
        if previous != expected or link(previous, content) != digest:
            return position
        expected = digest
    return None
