"""What the adapters say when their part misbehaves; their part is a stand-in here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
from docker.errors import APIError
from odooops_agent import database as database_module
from odooops_agent.database import PostgresDatabase
from odooops_agent.errors import Permanent, Refused, Retryable
from odooops_agent.postgres import NotEntered
from odooops_agent.runtime.docker import DockerRuntime
from odooops_agent.targets import Targets


class Closed:
    """A server whose databases nobody may enter."""

    def __init__(self, answers: list[tuple[object, ...]]) -> None:
        self._cursor = Mock(fetchall=lambda: answers, fetchone=lambda: answers[0] if answers else None)

    @contextmanager
    def cursor(self, *args: float, **overrides: str) -> Iterator[Mock]:
        yield self._cursor

    def reader(self, database: str, login: object) -> None:
        raise NotEntered("too many connections")


def cluster(answers: list[tuple[object, ...]]) -> PostgresDatabase:
    made = PostgresDatabase("", None, lambda name: None)
    made._postgres = Closed(answers)  # type: ignore[assignment]
    return made


def test_a_database_that_cant_be_entered_is_not_told_as_empty() -> None:
    with pytest.raises(Retryable, match="there and can't be entered"):
        cluster([("demo_prod",)]).facts("demo_prod")
    assert cluster([]).facts("demo_prod") is None


def test_the_mark_of_another_environment_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    comment = '{"odooops":{"environment":"theirs","token":1}}'
    monkeypatch.setattr(database_module, "locked", lambda cursor, name: nullcontext())
    made = cluster([("demo_prod", True, comment, 1)])
    with pytest.raises(Refused, match="another environment's"):
        made.write_tag("demo_prod", "ours", 7)


def test_what_ended_an_update_is_told_though_its_container_stays(tmp_path: Path) -> None:
    stuck = APIError("500", Mock(status_code=500), "device or resource busy")
    api = Mock(logs=lambda *args, **options: iter(()), wait=lambda name: {"StatusCode": 3})
    api.remove_container.side_effect = [None, stuck]
    api.inspect_container.return_value = {"Id": "the-id", "Config": {"Labels": {"odooops.stack": "s"}}}
    runtime = DockerRuntime(Mock(api=api), "s", tmp_path, Targets(tmp_path), (), tmp_path)
    runtime._remove = Mock(side_effect=[None, stuck])  # type: ignore[method-assign]
    started: list[str] = []
    assert runtime.run("n", lambda: started.append("n"), 5, lambda line: None, lambda: False) == 3
    assert started == ["n"]
    runtime._remove = Mock(side_effect=[None, stuck])  # type: ignore[method-assign]
    api.logs = lambda *args, **options: iter((b"a\n",))
    api.stop.side_effect = stuck
    api.start.side_effect = None
    runtime._to_its_end = Mock(side_effect=Permanent("It took too long.", code="timed_out"))  # type: ignore[method-assign]
    with pytest.raises(Permanent, match="too long"):
        runtime.run("n", lambda: None, 5, lambda line: None, lambda: False)
