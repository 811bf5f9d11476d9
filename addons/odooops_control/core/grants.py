"""What the console signs before an agent changes a production environment.

The agent verifies the very text that was signed, so nothing depends on how either side writes JSON.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from datetime import timedelta

from . import protocol

SCHEMA = 1
# What a signature is for stands before the text: one made for anything else proves nothing to an agent.
DOMAIN = b"odooops-grant\n"
# Enough to travel; what waits longer in the queue is signed again when it is leased, after its approvals were asked.
LIFETIME = timedelta(hours=1)


def document(grant_id, agent_id, payload, now, *, approvers, loss_bound=None, break_glass=False):
    """Return what is signed for an operation.

    :param payload: the operation as its agent gets it
    :param now: naive UTC
    :param approvers: ``[{"id", "name", "login"}]``
    :param loss_bound: up to which loss a rollback may go, for a deployment the one after a failed soak
    """
    backup, rollback = payload.get("backup") or {}, payload.get("rollback") or {}
    said = {
        "schema": SCHEMA,
        "id": grant_id,
        "audience": agent_id,
        "environment": payload["environment"]["key"],
        "kind": payload["kind"],
        "digest": payload["release"]["digest"],
        "plan_hash": payload["plan_hash"],
        "backup_snapshot": backup.get("snapshot") if payload["kind"] == "restore" else None,
        "approvers": approvers,
        "policy_version": payload["policy_version"],
        "issued_at": protocol.show_time(now),
        "expires_at": protocol.show_time(now + LIFETIME),
        "includes_revert": True,
        "loss_bound": rollback.get("ceiling") if rollback else loss_bound,
        "break_glass": bool(rollback.get("break_glass") or break_glass),
    }
    # Which of the files in the droplet's folder: another one there would be other people's data.
    return {**said, "import": payload["import"]} if payload["kind"] == "import" else said


def canonical(said):
    """Return a document as text: keys sorted, no spaces."""
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def signed(said, key):
    """Return a document as the agent gets it.

    :param key: a ``nacl.signing.SigningKey``
    """
    text = canonical(said)
    return {"document": text, "signature": b64encode(key.sign(DOMAIN + text.encode()).signature).decode()}


def pin(agent_id, key):
    """Return what tells an agent whom to obey: the public key, and the number under which it is known here."""
    return f"odooops_console_{agent_id}_{urlsafe_b64encode(bytes(key.verify_key)).decode().rstrip('=')}"
