"""The hash chain of the audit log."""

import hashlib
import json

GENESIS = "0" * 64
# One encoder for all: json.dumps makes a new one at every call with options.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def link(previous, content):
    """Return the hash of ``content`` (JSON-able) chained to ``previous``."""
    return hashlib.sha256(f"{previous}\n{_encode(content)}".encode()).hexdigest()


def fault(previous, digest, content, expected):
    """Return why a row does not extend the chain, or None when it does.

    :param expected: the hash of the row before it
    :return: ``missing``, something before it was taken out or put in, or ``changed``
    """
    if previous != expected:
        return "missing"
    return None if link(previous, content) == digest else "changed"
