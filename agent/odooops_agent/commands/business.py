"""The statements that ask whether people are in the midst of something that a restart would disturb. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection
from datetime import date

from psycopg2.sql import SQL, Composable, Literal

# Longer than this no look takes: it comes again in a minute.
SECONDS = 2.0
# How many days before a fiscal year's end its closing is about to begin.
CLOSING_DAYS = 3
# Most jobs end within the minute and would only make a release wait; what runs longer is lost when it is stopped.
LONG_JOB_SECONDS = 60

# Tables alone, no views: what those hold is the customer's code.
COLUMNS = SQL("""
    SELECT c.relname, array_agg(a.attname || ':' || a.atttypid::regtype)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname = ANY(%s)
    GROUP BY 1
""")
COMPANIES = SQL("SELECT DISTINCT fiscalyear_last_day, fiscalyear_last_month FROM public.res_company WHERE active")
_RECENTLY = SQL("write_date > (now() AT TIME ZONE 'UTC') - interval '1 day'")


def running_jobs(seconds: int) -> Composable:
    """Return the statement that counts the scheduled jobs that run for longer than so many seconds.

    Odoo holds a lock on a job's row while it runs, in a transaction that begins with the job
    (odoo/addons/base/models/ir_cron.py, _acquire_one_job). Looking at the locks takes none, so that no job is skipped
    by being looked at.
    """
    return SQL("""
        SELECT count(DISTINCT held.pid) FROM pg_locks held JOIN pg_stat_activity session USING (pid)
        WHERE held.locktype = 'relation' AND held.mode = 'RowShareLock' AND held.granted
          AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND held.relation = 'public.ir_cron'::regclass
          AND session.xact_start <= clock_timestamp() - {} * interval '1 second'
    """).format(Literal(seconds))


# By kind: the table, the columns without which it is none of Odoo's, and the statement.
QUESTIONS: dict[str, tuple[str, set[str], Composable]] = {
    "point_of_sale": (
        "pos_session",
        {"state:character varying"},
        SQL("SELECT count(*) FROM public.pos_session WHERE state IN ('opening_control', 'opened', 'closing_control')"),
    ),
    # A batch that nobody touched since yesterday lies there; nobody works on it.
    "payroll": (
        "hr_payslip_run",
        {"state:character varying", "write_date:timestamp without time zone"},
        SQL("""
            SELECT count(*) FROM public.hr_payslip_run
            WHERE state NOT IN ('close', 'paid', '02_close', '03_paid', '04_cancel', 'cancel') AND {}
        """).format(_RECENTLY),
    ),
    # Counted and not applied yet.
    "inventory": (
        "stock_quant",
        {"inventory_quantity_set:boolean", "write_date:timestamp without time zone"},
        SQL("SELECT count(*) FROM public.stock_quant WHERE inventory_quantity_set AND {}").format(_RECENTLY),
    ),
    "cron": (
        "ir_cron",
        {"nextcall:timestamp without time zone"},
        running_jobs(LONG_JOB_SECONDS),
    ),
}
FISCAL = ("res_company", {"active:boolean", "fiscalyear_last_day:integer", "fiscalyear_last_month:character varying"})
TABLES = sorted({FISCAL[0], *(table for table, _columns, _statement in QUESTIONS.values())})


def days_left(ends: Collection[tuple[object, object]], today: date) -> int | None:
    """Return in how many days the next fiscal year ends, None when that is not soon.

    :param ends: last day and month of each company's year, as Odoo keeps them
    """
    found = [days for day, month in ends if (days := _days_until(day, month, today)) is not None]
    soonest = min(found, default=None)
    return soonest if soonest is not None and soonest <= CLOSING_DAYS else None


def _days_until(day: object, month: object, today: date) -> int | None:
    try:
        number, wanted = int(str(month)), int(str(day))
        years = (today.year, today.year + 1)
        dates = [date(year, number, max(1, min(wanted, monthrange(year, number)[1]))) for year in years]
    except ValueError:  # somebody's hand in it
        return None
    return next((one - today).days for one in dates if one >= today)
