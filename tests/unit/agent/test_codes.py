"""Every code with which the agent says why something failed is told in agent/CODES.md, and no other."""

import ast
import re
from pathlib import Path

import odooops_agent

SOURCES = Path(odooops_agent.__file__).parent
TOLD = re.compile(r"^\| `([a-z_]+)` \|", re.M)


def given_codes(tree):
    """Yield the codes in a source: `code="…"` in a call or a class, `"code": "…"`, an AgentError's second argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [word.value for word in node.keywords if word.arg == "code"]
            given += node.args[1:2] if getattr(node.func, "id", "") == "AgentError" else []
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code":
            given = [node.value]
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            given = [value for key, value in pairs if getattr(key, "value", "") == "code"]
        else:
            continue
        for value in given:
            either = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
            yield from (one.value for one in either if isinstance(one, ast.Constant))


def test_every_code_is_told():
    files = [path for path in SOURCES.rglob("*.py") if "testing" not in path.parts]
    codes = {code for path in files for code in given_codes(ast.parse(path.read_text())) if isinstance(code, str)}
    assert {"left_behind", "no_snapshot", "wrong_user", "bad_message", "journal_failed"} <= codes
    told = TOLD.findall((SOURCES.parents[0] / "CODES.md").read_text())
    assert sorted(told) == sorted(codes)
