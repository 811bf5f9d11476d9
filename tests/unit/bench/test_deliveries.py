"""The clients that send deliveries, on a server of the test's own."""

import itertools
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.bench import deliveries
from scripts.bench.deliveries import Request


@pytest.fixture
def server():
    seen = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(body)
            time.sleep(0.3 if body == b"slow" else 0)
            self.send_response(500 if body == b"bad" else 202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    one = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.daemon_threads = True
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{one.server_port}", seen
    one.shutdown()
    one.server_close()


def requests(*bodies):
    return (Request("POST", "/", {}, body) for body in itertools.chain(bodies, itertools.repeat(b"x")))


def test_every_request_is_sent_once_and_counted(server):
    url, seen = server
    bodies = [str(number).encode() for number in range(10_000)]
    answers = deliveries.send(url, requests(*bodies), clients=4, seconds=0.5)
    assert answers.only(202)
    assert sorted(seen) == sorted(bodies[: len(seen)])
    assert len(answers.seconds) == len(seen) == round(answers.rate * answers.lasted)


def test_other_answers_are_told(server):
    answers = deliveries.send(server[0], requests(b"bad"), clients=1, seconds=0.2)
    assert answers.statuses[500] == 1
    assert not answers.only(202)


def test_a_rate_is_kept_and_waiting_in_line_counts(server):
    answers = deliveries.send(server[0], requests(b"slow"), clients=1, seconds=1, per_second=20)
    assert len(answers.seconds) == 20
    # Due 50 ms after the slow one, it could be sent after 300 only.
    assert answers.seconds[1] > 0.2
    assert answers.seconds[-1] < 0.1


def test_nobody_there():
    answers = deliveries.send("http://127.0.0.1:1", requests(), clients=1, seconds=0.1)
    assert set(answers.statuses) == {0}
