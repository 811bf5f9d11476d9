"""The mail catcher with real SMTP, and how what it caught comes to the console: once each, and all of it."""

import asyncio
import base64
import json
import smtplib
from email.message import EmailMessage

import pytest
from odooops_agent import catcher as catching
from odooops_agent.catcher import Catcher, serve
from odooops_agent.mails import RAW_BYTES_MAX, MailRun
from odooops_agent.testing.control import FakeControlPlane

NETWORK = "odooops-demo-stage_closed"
KNOWN = {"demo/stage": {"database": "demo_stage"}}


@pytest.fixture
def send(tmp_path):
    """Return what sends messages to a catcher, one connection each; `of` tells whose container sent them."""

    def _send(*messages, of=lambda address: NETWORK):
        def talk(port):
            for message in messages:
                with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                    client.send_message(message)

        async def both():
            server = await serve(Catcher(tmp_path, of), "127.0.0.1", 0)
            async with server:
                await asyncio.to_thread(talk, server.sockets[0].getsockname()[1])

        asyncio.run(both())

    return _send


def mail(subject, body="Come and fetch it."):
    message = EmailMessage()
    message["From"], message["To"], message["Cc"] = "shop@example.com", "anna@example.org", "bert@example.org"
    message["Subject"] = subject
    message.set_content(body)
    return message


def run(control, folder):
    return MailRun(control, lambda: KNOWN, "odooops", folder)


def test_a_mail_is_kept_and_brought_once(send, tmp_path):
    send(mail("Your bicycle is ready"), mail("And your bell"))
    control = FakeControlPlane()
    run(control, tmp_path).deliver()
    run(control, tmp_path).deliver()
    assert len(control.mail_requests) == 1
    got = list(control.taken.values())
    assert {environment for environment, _ in got} == {"demo/stage"}
    first = next(one for _, one in got if b"Your bicycle is ready" in base64.b64decode(one.raw))
    assert first.envelope_from == "shop@example.com"
    assert first.recipients == ("anna@example.org", "bert@example.org")
    assert not first.cut
    assert list((tmp_path / NETWORK).iterdir()) == []


def test_what_the_console_did_not_take_comes_again(send, tmp_path):
    send(mail("One"))
    control = FakeControlPlane()
    control.away = True
    run(control, tmp_path).deliver()
    assert control.taken == {}
    control.away = False
    run(control, tmp_path).deliver()
    assert len(control.taken) == 1


def test_a_large_mail_is_cut_and_says_so(send, tmp_path):
    send(mail("Large", "A line of a catalogue.\n" * 200_000))
    control = FakeControlPlane()
    run(control, tmp_path).deliver()
    ((_, got),) = control.taken.values()
    assert got.cut
    assert got.size_bytes > RAW_BYTES_MAX == len(base64.b64decode(got.raw))


def test_another_environment_s_folder_is_not_read(send, tmp_path):
    send(mail("Theirs"), of=lambda address: "odooops-demo-pr-1_closed")
    control = FakeControlPlane()
    run(control, tmp_path).deliver()
    assert control.taken == {}


def test_a_sender_whom_nobody_knows_is_turned_away(send, tmp_path):
    with pytest.raises(smtplib.SMTPDataError, match="Nobody knows"):
        send(mail("Lost"), of=lambda address: None)
    assert list(tmp_path.iterdir()) == []


def test_a_loop_of_mails_does_not_fill_the_disk(send, tmp_path, monkeypatch):
    monkeypatch.setattr(catching, "WAITING_MAX", 2)
    with pytest.raises(smtplib.SMTPDataError, match="Too many"):
        send(mail("1"), mail("2"), mail("3"))
    assert len(list((tmp_path / NETWORK).glob("*.json"))) == 2


def test_a_note_that_is_broken_still_brings_its_message(send, tmp_path):
    send(mail("Half"))
    (note,) = (tmp_path / NETWORK).glob("*.json")
    note.write_text(json.dumps({"recipients": 3}))
    control = FakeControlPlane()
    run(control, tmp_path).deliver()
    ((_, got),) = control.taken.values()
    assert got.recipients == ()
    assert b"Half" in base64.b64decode(got.raw)
