"""What people are in the midst of, read from tables as Odoo has them; on every PostgreSQL that is tested with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import date

import psycopg2
import pytest
from odooops_agent.commands import business
from parts.postgres import Made

TABLES = """
DROP TABLE IF EXISTS pos_session, hr_payslip_run, stock_quant, ir_cron, res_company CASCADE;
CREATE TABLE pos_session (id int, state varchar);
CREATE TABLE hr_payslip_run (id int, state varchar, write_date timestamp);
CREATE TABLE stock_quant (id int, inventory_quantity_set bool, write_date timestamp);
CREATE TABLE ir_cron (id int PRIMARY KEY, nextcall timestamp);
CREATE TABLE res_company (id int, active bool, fiscalyear_last_day int, fiscalyear_last_month varchar);
INSERT INTO pos_session VALUES (1, 'opened'), (2, 'closed'), (3, 'closing_control');
INSERT INTO hr_payslip_run VALUES (1, 'verify', now() AT TIME ZONE 'UTC'), (2, 'close', now() AT TIME ZONE 'UTC'),
    (3, 'draft', '2020-01-01');
INSERT INTO stock_quant VALUES (1, true, now() AT TIME ZONE 'UTC'), (2, false, now() AT TIME ZONE 'UTC'),
    (3, true, '2020-01-01');
INSERT INTO ir_cron VALUES (1, '2026-01-01'), (2, '2026-01-01');
INSERT INTO res_company VALUES (1, true, 31, '12'), (2, false, 30, '6');
"""
YEAR_END = date(2026, 12, 30)


def test_what_goes_on_is_told_by_kind(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    made = make()
    made.cluster.as_superuser(f"SET ROLE {made.name}", TABLES, database=made.name)

    def seen(today: date = date(2026, 8, 1)) -> dict[str, int]:
        return {one.kind: one.count for one in made.database.business(made.name, today)}

    assert seen() == {"point_of_sale": 2, "payroll": 1, "inventory": 1}
    assert seen(YEAR_END)["fiscal_year"] == 1
    # Odoo's own role runs jobs; since when another's session is at it, the agent does not see.
    with closing(psycopg2.connect(made.app_dsn)) as connection, connection.cursor() as job:
        job.execute("SELECT id FROM ir_cron WHERE id = 1 FOR NO KEY UPDATE SKIP LOCKED")
        assert "cron" not in seen(), "a job that has just begun ends by itself"
        monkeypatch.setitem(business.QUESTIONS, "cron", (*business.QUESTIONS["cron"][:2], business.running_jobs(0)))
        assert seen()["cron"] == 1
        connection.rollback()
    assert "cron" not in seen()


def test_an_app_that_is_not_there_or_is_no_table_of_odoo_s_says_nothing(make: Callable[..., Made]) -> None:
    made = make()
    view = "DROP TABLE IF EXISTS pos_session; CREATE VIEW pos_session AS SELECT 'opened'::varchar AS state"
    other = "DROP TABLE IF EXISTS stock_quant; CREATE TABLE stock_quant (id int, inventory_quantity_set varchar)"
    made.cluster.as_superuser(f"SET ROLE {made.name}", view, other, database=made.name)
    assert made.database.business(made.name, YEAR_END) == ()
