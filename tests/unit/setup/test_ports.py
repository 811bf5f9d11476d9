"""Which ports the set-up takes."""

import socket

from scripts.setup import ports

WISHES = {"http": 8080, "registry": 5000}


def test_usual_ports_where_they_are_free():
    assert ports.choose(WISHES, {}, lambda name, port: True) == WISHES
    assert ports.sentences(WISHES, WISHES) == []


def test_next_port_where_one_is_taken_and_says_so():
    chosen = ports.choose(WISHES, {}, lambda name, port: port not in (5000, 5001))
    assert chosen == {"http": 8080, "registry": 5002}
    assert ports.sentences(WISHES, chosen) == ["port 5000 is taken; registry uses 5002"]


def test_last_runs_ports_before_the_usual_ones():
    assert ports.choose(WISHES, {"registry": 5002}, lambda name, port: True)["registry"] == 5002


def test_last_runs_port_is_left_when_somebody_took_it():
    assert ports.choose(WISHES, {"registry": 5002}, lambda name, port: port != 5002)["registry"] == 5000


def test_two_names_never_share_a_port():
    assert ports.choose({"http": 80, "https": 80}, {}, lambda name, port: True) == {"http": 80, "https": 81}


def test_a_listening_port_can_not_be_bound():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not ports.can_bind("127.0.0.1", port)
    assert ports.can_bind("127.0.0.1", port)


def test_a_port_taken_on_all_addresses_can_not_be_bound_on_one():
    with socket.create_server(("", 0)) as server:
        assert not ports.can_bind("127.0.0.1", server.getsockname()[1])
