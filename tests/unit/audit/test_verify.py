"""The audit log verified offline: the console's own vectors, and every way to tamper with an export."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from odooops_ci.audit.chain import Head, Link, digest, verify
from odooops_ci.cli import main

VECTORS = json.loads((Path(__file__).parents[2] / "contract/fixtures/audit_chain_vectors.json").read_text("utf-8"))
LINKS = [Link(**one) for one in VECTORS]
HEAD = Head(LINKS[-1].number, LINKS[-1].hash)


def rechained(links):
    """Return the events with hashes as somebody would make them who can write the database."""
    previous, made = "0" * 64, []
    for one in links:
        made.append(replace(one, previous_hash=previous, hash=digest(previous, one.event)))
        previous = made[-1].hash
    return made


def changed(link):
    return replace(link, event={**link.event, "user_id": 99})


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["event"]["action"])
def test_both_sides_hash_alike(vector):
    assert digest(vector["previous_hash"], vector["event"]) == vector["hash"]


def test_a_whole_chain():
    verdict = verify(LINKS, [HEAD, Head(LINKS[1].number, LINKS[1].hash)])
    assert (verdict.fault, verdict.events, verdict.head) == ("", len(LINKS), HEAD)


@pytest.mark.parametrize(
    ("links", "sentence"),
    [
        ([*LINKS[:1], changed(LINKS[1]), *LINKS[2:]], "Event 2 was changed"),
        ([*LINKS[:1], *LINKS[2:]], "after event 1 and before event 5 was taken out"),
        (LINKS[1:], "at the beginning and before event 2 was taken out"),
        ([LINKS[0], LINKS[2], LINKS[1], LINKS[3]], "before event 5 was taken out"),
        ([*LINKS, LINKS[3]], "out of order"),
    ],
)
def test_where_it_breaks(links, sentence):
    assert sentence in verify(links).fault


def test_a_chain_cut_off_or_rewritten_shows_by_a_head_kept_elsewhere():
    assert not verify(LINKS[:-1]).fault, "by itself the rest is whole"
    assert "Event 6 is gone" in verify(LINKS[:-1], [HEAD]).fault
    forged = rechained([*LINKS[:2], changed(LINKS[2]), LINKS[3]])
    assert not verify(forged).fault, "by itself the forgery is whole"
    assert "Event 6 is another one" in verify(forged, [HEAD]).fault


@pytest.fixture
def export(tmp_path):
    def write(rows=VECTORS, end=None, head=({"odooops_audit": 1},)):
        told = {"events": len(rows), "head": {name: rows[-1].get(name) for name in ("number", "hash")}}
        path = tmp_path / "audit.jsonl"
        lines = [*head, *rows, *([told] if end is None else end)]
        path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines), "utf-8")
        return str(path)

    return write


def test_an_export_verifies_offline(export, capsys):
    assert main(["audit", "verify", export(), "--head", f"{HEAD.number}:{HEAD.hash}"]) == 0
    assert capsys.readouterr().out == f"ok: 4 events, an unbroken chain; head 6:{HEAD.hash}\n"


def test_a_broken_export_says_where(export, capsys):
    assert main(["audit", "verify", export([VECTORS[0], *VECTORS[2:]])]) == 1
    assert "BROKEN: Something after event 1 and before event 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"end": ()}, "has no end"),
        ({"rows": VECTORS[:2], "end": [{"events": 4, "head": None}]}, "ends with another event"),
        ({"head": ()}, "is no export"),
        ({"rows": [{"number": 1, "event": {}}], "end": ()}, "has no 'previous_hash'"),
    ],
)
def test_what_is_no_whole_export_is_refused_with_a_sentence(export, capsys, given, sentence):
    assert main(["audit", "verify", export(**given)]) in (1, 2)
    assert sentence in capsys.readouterr().err


def test_bad_arguments(export, capsys):
    assert main(["audit", "verify", "/nowhere"]) == 2
    assert main(["audit", "verify", export(), "--head", "6"]) == 2
    assert "NUMBER:HASH" in capsys.readouterr().err
