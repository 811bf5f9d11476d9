"""How losses are counted where a table is slow or closed, on a cursor that answers from memory."""

from datetime import UTC, datetime

import odooops_agent.database_loss as counting
import psycopg2
import pytest
from odooops_agent.plans.loss import above_ceiling, held_seconds, preview_seconds, unasked
from odooops_agent.protocol import Ceiling, Limit
from psycopg2 import errors as pg

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SINCE = datetime(2026, 11, 22, tzinfo=UTC)
COLUMNS = ["id:integer", "create_date:timestamp without time zone", "write_date:timestamp without time zone"]
TABLES = ("account_move", "sale_order", "account_move_line", "stock_move_line", "mail_message", "res_partner")


class Tables:
    """Tables of which each count takes its seconds of a clock of its own, or fails."""

    def __init__(self, monkeypatch, **costs):
        self.costs, self.at, self.limit, self.failing = costs, 0.0, 0.0, {}
        monkeypatch.setattr(counting.time, "monotonic", lambda: self.at)

    def execute(self, statement, arguments=()):
        text = repr(statement)
        name = next((one for one in TABLES if f"Identifier('{one}')" in text), None)
        if statement is counting.build.NOW:
            self.found = [(NOW,)]
        elif statement is counting.build.TABLES:
            self.found = [(one, one.replace("_", "."), one, 8192, COLUMNS) for one in TABLES]
        elif "statement_timeout" in text:
            self.limit = float(text.split("SQL('")[-1].split("'")[0]) / 1000
        elif name in self.failing:
            raise self.failing[name]
        elif "LIMIT 1" in text:
            self.found = [(1,)]
        elif "last" in arguments:
            self.found = [(0, None, 0)]
        else:
            self._take(self.costs.get(name, 1))

    def _take(self, seconds):
        self.at += min(seconds, self.limit)
        if seconds > self.limit:
            raise pg.QueryCanceled
        self.found = [(0, 1, 0)]

    def fetchone(self):
        return self.found[0]

    def fetchall(self):
        return self.found


@pytest.mark.parametrize("error", [pg.InsufficientPrivilege("permission denied"), pg.QueryCanceled()])
def test_a_table_that_cant_be_counted_is_told_and_the_others_are_counted(monkeypatch, error):
    tables = Tables(monkeypatch)
    tables.failing["res_partner"] = error
    found = {one.model: one for one in counting.read_loss(tables, SINCE, 4, 25, 5).counts}
    assert (found["res.partner"].created, found["res.partner"].changed) == (None, None)
    assert found["res.partner"].uncounted in ("permission denied", "it took too long")
    assert "not counted: " in found["res.partner"].label
    assert found["sale.order"].changed == 1


def test_a_lost_connection_is_no_table_s_fault(monkeypatch):
    tables = Tables(monkeypatch)
    tables.failing["sale_order"] = psycopg2.OperationalError("server closed the connection")
    with pytest.raises(psycopg2.OperationalError):
        counting.read_loss(tables, SINCE, 4, 25, 0)


def test_what_a_preview_counted_can_be_counted_under_the_hold(monkeypatch):
    slow = {"account_move_line": 30, "stock_move_line": 30, "mail_message": 30, "res_partner": 3}
    shown = counting.read_loss(Tables(monkeypatch, **slow), SINCE, 4, preview_seconds(45), 0)
    limits = {one.model: Limit(created=one.created, changed=one.changed) for one in shown.counts}
    assert limits["mail.message"].changed is None
    assert limits["res.partner"].changed == 1
    ceiling = Ceiling(minutes=9999, counts=limits)
    tables = Tables(monkeypatch, **slow)
    held = counting.read_loss(tables, SINCE, 6, held_seconds(45, decides=True), 0, unasked(ceiling))
    assert above_ceiling(held, ceiling) == ()
    assert tables.at < 45
