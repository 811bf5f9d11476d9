"""What a visitor's wait is: tries that failed belong to it."""

import http.server
import threading

from scripts.bench.visitors import Visitors, longest_wait, summarise
from scripts.demo.load import Answer


def answer(sent_at, seconds, status=200):
    return Answer(sent_at, seconds, status, "" if status == 200 else "refused")


def test_without_failures_the_longest_wait_is_the_slowest_answer():
    assert longest_wait([answer(0, 0.1), answer(1, 2.5), answer(4, 0.2)]) == 2.5


def test_refusals_that_come_at_once_add_up_to_one_wait():
    answers = [answer(0, 0.1), answer(1, 0.01, None), answer(2, 0.01, 502), answer(5, 0.5), answer(6, 0.1)]
    assert longest_wait(answers) == 4.5


def test_a_site_that_never_comes_back_counts_to_the_end():
    assert longest_wait([answer(0, 0.1), answer(1, 0.5, None), answer(9, 1.0, None)]) == 9.0
    assert longest_wait([]) == 0.0


def test_visitors_are_added_up():
    visit = summarise([[answer(0, 0.1), answer(1, 0.1, 502)], [answer(0, 3.0)], []])
    assert (visit.requests, visit.failed, visit.longest_wait_seconds) == (3, 1, 3.0)
    assert visit.first_failure == "502 refused"
    assert "1 of 3 requests failed (502 refused), longest wait 3.00 s" in visit.sentence()


def test_visitors_ask_a_real_server_and_each_has_answers_of_its_own():
    class Fine(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Visitors(server.server_address, "localhost", "/", clients=3) as visitors:
            threading.Event().wait(0.3)
        visit = visitors.visit
    finally:
        server.shutdown()
        server.server_close()
    assert visit.requests >= 3
    assert visit.failed == 0
