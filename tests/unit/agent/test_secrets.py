"""Secrets do not print, and no encoding or chunk border carries one out."""

import base64
import copy
import json
import logging
import pickle
import random
from urllib.parse import quote

import pytest
from odooops_agent.secrets import MASK, PasswordStore, RedactingFilter, Redactor, Secret, disguises
from odooops_agent.testing.droplet import digest

VALUE = 'p4ss/w+rd="x&y ü'
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----"


def test_a_secret_does_not_print():
    secret = Secret(VALUE)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{[secret]}", f"{secret:>30}"]
    assert all(VALUE not in text for text in shown)
    assert secret.reveal() == VALUE
    assert secret == Secret(VALUE)
    assert secret != Secret("other")
    assert secret != VALUE


@pytest.mark.parametrize("take_out", [pickle.dumps, copy.deepcopy, json.dumps, vars])
def test_a_secret_is_not_taken_out_by_accident(take_out):
    with pytest.raises(TypeError):
        take_out(Secret(VALUE))


def encodings(secret):
    raw = secret.encode()
    yield "as it is", secret
    yield "url", quote(secret, safe="")
    yield "json", json.dumps(secret)[1:-1]
    yield "json in utf-8", json.dumps(secret, ensure_ascii=False)[1:-1]
    for shift in range(3):
        before = "abc"[:shift].encode()
        yield f"base64 at {shift}", base64.b64encode(before + raw + b" and more").decode()
        yield f"base64url at {shift}", base64.urlsafe_b64encode(before + raw + b"!").decode()


@pytest.mark.parametrize("secret", [VALUE, "correct-horse-battery", "ÄÖÜ-schlüssel-1"])
def test_every_encoding_is_masked(secret):
    redactor = Redactor([Secret(secret)])
    core = base64.b64encode(secret.encode()).decode()[4:-6]
    for name, text in encodings(secret):
        masked = redactor.mask(f"before {text} after")
        assert MASK in masked, name
        assert secret not in masked, name
        assert core not in masked, name
        assert masked.startswith("before "), name
        assert masked.endswith(" after"), name


def test_lines_of_a_secret_of_several_lines_are_masked():
    redactor = Redactor([Secret(PEM)])
    assert redactor.mask(f"x {PEM} y") == f"x {MASK} y"
    assert redactor.mask("kqhkiG9w0BAQEF") == MASK


def test_a_secret_within_a_longer_one():
    redactor = Redactor([Secret("abcdef"), Secret("abcdef-ghijkl")])
    assert redactor.mask("say abcdef-ghijkl and abcdef") == f"say {MASK} and {MASK}"


def test_what_is_too_short_is_left_alone():
    """A three-letter password would mask half of every log."""
    assert disguises("the") == set()
    assert Redactor([Secret("the")]).mask("the update") == "the update"


@pytest.mark.parametrize("seed", range(40))
def test_chunks_may_cut_anywhere(seed):
    chance = random.Random(seed)
    secret = "s3cret-" + "".join(chance.choices("abc123", k=12))
    texts = [text for _, text in encodings(secret)]
    stream = " ".join(chance.choice([*texts, "harmless", "s3cret", "s3cret-"]) for _ in range(30))
    redactor = Redactor([Secret(secret)])
    shown, rest = "", stream
    while rest:
        cut = chance.randint(1, 9)
        shown += redactor.feed(rest[:cut])
        rest = rest[cut:]
    shown += redactor.flush()
    assert secret not in shown
    assert shown == Redactor([Secret(secret)]).mask(stream)


def test_passwords_are_made_once_and_kept_for_their_owner_only(tmp_path):
    path = tmp_path / "passwords.json"
    store = PasswordStore(path)
    first = store.get("demo_prod")
    assert first == store.get("demo_prod") == PasswordStore(path).get("demo_prod")
    assert first != store.get("demo_prod_upgrade")
    assert len(first.reveal()) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.find("nobody") is None
    assert len(store.all()) == 2


def test_a_password_made_later_is_masked_too(tmp_path):
    store = PasswordStore(tmp_path / "passwords.json")
    made = store.get("demo_prod").reveal()
    assert store.redactor.mask(f"FATAL: {made}") == f"FATAL: {MASK}"


def test_the_agent_s_own_log_is_masked(caplog):
    logger = logging.getLogger("odooops_agent.test")
    with caplog.at_level("INFO"):
        caplog.handler.addFilter(RedactingFilter(Redactor([Secret(VALUE)])))
        logger.info("connecting with %s", VALUE)
        try:
            raise ValueError(VALUE)
        except ValueError:
            logger.exception("failed")
    assert VALUE not in caplog.text
    assert caplog.text.count(MASK) >= 2


def test_no_password_is_in_anything_an_operation_reports(deployed):
    """A migration that prints odoo.conf, and an error that quotes it, are masked on their way out."""
    passwords = deployed.workshop.passwords
    canaries = [secret.reveal() for secret in passwords.all()]
    assert len(canaries) == 4
    encoded = base64.b64encode(canaries[1].encode()).decode()
    deployed.world.images[digest(4)].migration_error = f"db_password = {canaries[0]} {encoded}"
    deployed.deploy(4)
    told = [body.decode() for (body,) in deployed.journal._all("SELECT body FROM outbox")]
    kept = deployed.journal._all("SELECT results, cause, finish FROM operation")
    told = str(told) + str([[str(value) for value in row] for row in kept])
    assert MASK in told
    for canary in canaries:
        assert canary not in told
        assert base64.b64encode(canary.encode()).decode() not in told
