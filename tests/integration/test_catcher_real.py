"""What the mail catcher relies on, with real Docker: its name on every copy's network, and whose an address is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from odooops_agent.catcher import NETWORK, network_of
from odooops_agent.neutralise import MAIL_HOST, MAIL_PORT
from parts.engine import PYTHON_BASE, Stack

LISTEN = f"import socket; s = socket.create_server(('0.0.0.0', {MAIL_PORT}))\nwhile True: s.accept()[0].close()"
SEND = f"import socket; socket.create_connection(('{MAIL_HOST}', {MAIL_PORT}), 10).close()"
WHOSE = "import socket, sys; print(socket.gethostbyaddr(sys.argv[1])[0])"


@pytest.fixture(scope="module")
def copies(stack: Stack) -> Iterator[dict[str, Any]]:
    """Two copies' containers by their networks, and the catcher on both."""
    catcher = f"{stack.name}-catcher"
    stack.start_proxy()
    labels = {"odooops.stack": stack.name}
    argv, image = ["python3", "-c", LISTEN], stack.image(PYTHON_BASE)
    stack.client.containers.run(image, argv, name=catcher, detach=True, labels=labels, entrypoint="", init=True)
    runtime, made = stack.runtime(stack.proxy_name, catcher), {}
    for slug in ("demo-stage", "demo-pr-1"):
        network = f"{stack.name}-{slug}_closed"
        runtime.ensure_network(network, {"odooops.environment": slug})
        runtime.create(stack.spec(f"{slug}-web-7", "sleep", "600", image=image, network=network))
        runtime.start(f"{stack.name}-{slug}-web-7")
        made[network] = stack.client.containers.get(f"{stack.name}-{slug}-web-7")
    return made


def test_every_copy_finds_the_catcher_and_the_catcher_knows_whose_mail_it_is(
    stack: Stack, copies: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    catcher = stack.client.containers.get(f"{stack.name}-catcher")
    for network, container in copies.items():
        sent = container.exec_run(["python3", "-c", SEND])
        assert sent.exit_code == 0, sent.output
        address = container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
        told = catcher.exec_run(["python3", "-c", WHOSE, address])
        assert told.exit_code == 0, told.output
        monkeypatch.setattr(
            "odooops_agent.catcher.socket.gethostbyaddr", lambda _, told=told: (told.output.decode().strip(),)
        )
        assert network_of(address) == network
        assert NETWORK.fullmatch(network)
