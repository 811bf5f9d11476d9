"""What runs in a container: baseline of errors, health, warm workers."""

from __future__ import annotations

import healthy
import pytest
import verdict
import warm
from local_http import Answer


def test_same_error_with_other_numbers_is_not_new():
    before = ["odoo.sql_db: bad query at 0x7f3a, id 12, 2026-01-05 09:00:00"]
    after = ["odoo.sql_db: bad query at 0x11ff, id 345, 2027-02-06 10:11:12", "odoo.sql_db: another"]
    assert verdict.new_errors(after, before) == ["odoo.sql_db: another"]


def test_new_errors_come_once():
    assert verdict.new_errors(["a 1", "a 2", "b"], []) == ["a 1", "b"]


def test_normalised_lines_serve_as_baseline():
    line = "x 4f2a0c1e-1111-2222-3333-444455556666 " + "long " * 200
    assert verdict.normalise(verdict.normalise(line)) == verdict.normalise(line)
    assert verdict.new_errors([line], [verdict.normalise(line)]) == []


def test_database_of_the_configuration(tmp_path):
    config = tmp_path / "odoo.conf"
    config.write_text("[options]\ndb_name = shop_prod\ndb_password = 50%\n")
    assert healthy.database_problem(config, "shop_prod") is None
    assert "serves database shop_prod, not other" in healthy.database_problem(config, "other")
    assert "(any)" in healthy.database_problem(tmp_path / "none", "other")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(200, 0.1), None),
        (Answer(0, 0.1, problem="refused"), "/p does not answer: refused"),
        (Answer(303, 0.1, location="/web/database/selector"), "/p leads to the database selector"),
        (Answer(500, 0.1), "/p answers 500 instead of 200"),
    ],
)
def test_pages(answer, problem):
    found = healthy.page_problem("/p", answer)
    assert found == problem or (problem and found.startswith(problem))


def process(pid, parent, command, cpu=0.0):
    return warm.Process(pid, parent, command, cpu)


def test_workers_of_a_prefork_server():
    found = warm.http_workers(
        [
            process(1, 0, "/usr/bin/python3 /usr/bin/odoo -c /etc/odoo/odoo.conf"),
            process(7, 1, "/usr/bin/python3 /usr/bin/odoo -c /etc/odoo/odoo.conf"),
            process(8, 1, "odoo: WorkerHTTP 8"),
            process(9, 1, "odoo: WorkerCron 9"),
            process(10, 1, "/usr/bin/python3 /usr/bin/odoo gevent -c /etc/odoo/odoo.conf"),
            process(11, 8, "wkhtmltopdf -"),
            process(12, 0, "/usr/bin/python3 /usr/local/lib/odooops/warm.py"),
        ]
    )
    assert [worker.pid for worker in found] == [7, 8]


def test_workers_below_an_init_and_with_threads():
    below = [
        process(1, 0, "/sbin/docker-init -- odoo"),
        process(7, 1, "python3 /usr/bin/odoo"),
        process(8, 7, "python3 /usr/bin/odoo"),
    ]
    assert [worker.pid for worker in warm.http_workers(below)] == [8]
    threads = [process(1, 0, "/usr/bin/python3 /usr/bin/odoo -c x")]
    assert [worker.pid for worker in warm.http_workers(threads)] == [1]


def test_process_is_read_from_proc(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (odoo: (x) y) S 1 7 7 0 -1 4194560 1 0 0 0 30 20 0 0 20 0 3 0 1 1 1\n")
    (tmp_path / "7/cmdline").write_bytes(b"odoo\0-c\0x\0")
    (tmp_path / "8").mkdir()
    (tmp_path / "net").mkdir()
    (found,) = warm.read_processes(tmp_path)
    assert (found.pid, found.parent, found.command) == (7, 1, "odoo -c x")
    assert found.cpu_seconds == pytest.approx(50 / warm.os.sysconf("SC_CLK_TCK"))


class Server:
    """Two prefork workers, of which the kernel prefers the first; a first page costs 0.3 s."""

    def __init__(self, dead: bool = False) -> None:
        self.cpu = [0.0, 0.0]
        self.asked = 0
        self.now = 0.0
        self.dead = dead

    def ask(self) -> Answer:
        if self.dead:
            return Answer(0, 0.0, problem="refused")
        self.asked += 1
        worker = 1 if self.asked % 5 == 0 else 0
        cost = 0.3 if not self.cpu[worker] else 0.01
        self.cpu[worker] += cost
        return Answer(200, cost * 4)

    def workers(self):
        return [process(pid, 1, "odoo", cpu) for pid, cpu in enumerate(self.cpu, 2)]

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_every_worker_is_warmed_and_the_last_round_is_fast():
    server = Server()
    assert warm.warm(server.ask, server.workers, limit_seconds=60, clock=lambda: server.now, sleep=server.sleep) == (
        2,
        2,
    )
    assert min(server.cpu) >= 0.3
    assert server.asked >= 6


def test_warming_gives_up_after_the_limit():
    server = Server(dead=True)
    assert warm.warm(server.ask, server.workers, limit_seconds=5, clock=lambda: server.now, sleep=server.sleep) == (
        2,
        0,
    )
    assert 5 <= server.now < 6
