from ..core import rollback as core
from .common import DATABASE_UUID, DIGEST_A, DIGEST_B, DIGEST_C, SHA_A, SHA_B, SHA_C, OdooopsCase, fixture

REASON = "orders can't be confirmed"
VERSIONS = (("v1.0.0", SHA_A, DIGEST_A), ("v1.1.0", SHA_B, DIGEST_B), ("v1.2.0", SHA_C, DIGEST_C))
MODES = (*core.MODES, core.FIX_FORWARD)


class RollbackSetup:
    """Releases that ran one after the other on production, each leaving the set of the one before."""

    @classmethod
    def _ran(cls, count):
        """Bring the first ``count`` releases to production and return their deployments."""
        return [cls._bring_to_prod(number) for number in range(count)]

    @classmethod
    def _bring_to_prod(cls, number):
        tag, sha, digest = VERSIONS[number]
        deployment = cls._awaiting(tag=tag, sha=sha, digest=digest, plan_hash=f"{number}" * 64)
        deployment._approve(cls.manager, deployment.plan_hash, "looked")
        operation = cls._lease(("deploy",))
        restore_set = cls._set_of(cls.prod.running_release_id.digest, operation) if number else None
        cls._finish(operation, result=cls._deploy_result(operation, restore_set=restore_set))
        assert deployment.state == "live", deployment.state
        return deployment

    @classmethod
    def _set_of(cls, digest, operation):
        reported = fixture("finish_request_deploy")["result"]["restore_set"]
        token = operation.token
        return {
            **reported,
            "from_digest": digest,
            "database_snapshot": f"demo_prod__s{token}",
            "filestore_snapshot": f"snapshots/{token}/filestore",
            "taken_at": f"2026-11-23T10:00:{token % 60:02d}Z",
        }

    @classmethod
    def _submit(cls, tag="v1.0.0", environment="demo/prod", user=None, reason=REASON):
        Request = cls.env["odooops.rollback.request"].with_user(user or cls.ci)
        answer = Request.submit(environment=environment, previous_tag=tag, reason=reason)
        return cls.env["odooops.rollback.request"].browse(answer["id"])

    # The agent

    @classmethod
    def _way(cls, request, mode, possible, digits="a", minutes=12.0, orders=12, posted=1):
        if not possible or mode == core.FIX_FORWARD:
            return {
                "mode": mode,
                "possible": possible,
                "reason": f"The reason about {mode}.",
                "plan": None,
                "plan_hash": None,
                "hold_seconds": None,
                "loss": None,
                "preview_hash": None,
            }
        letter = {"code": "1", "full": "2", "backup": "3"}[mode]
        return {
            "mode": mode,
            "possible": True,
            "reason": f"The reason about {mode}.",
            "plan": {
                "schema": 1,
                "kind": "rollback",
                "environment": request.environment_id.key,
                "database_uuid": request.environment_id.database_uuid or None,
                "from_digest": request.environment_id.running_release_id.digest,
                "to_digest": request.target_release_id.digest,
                "config_hash": "c" * 64,
                "mode": mode,
                "restore_set_token": None,
                "backup_snapshot": None,
                "policy_version": request.policy_id._reference(),
            },
            "plan_hash": f"{letter}{digits}" * 32,
            "hold_seconds": 4.0,
            "loss": None if mode == "code" else cls._loss(minutes, orders, posted),
            "preview_hash": f"{digits}{letter}" * 32,
        }

    @classmethod
    def _loss(cls, minutes=12.0, orders=12, posted=1):
        return {
            "since": "2026-11-23T10:00:10Z",
            "minutes": minutes,
            "counts": [
                {"model": "account.move", "label": "Journal Entry", "created": 2, "changed": 0, "posted": posted},
                {"model": "sale.order", "label": "Sales Order", "created": orders, "changed": 4, "posted": 0},
                {"model": "mail.message", "label": "Message", "created": 30, "changed": None, "posted": 0},
            ],
            "newest": [{"model": "sale.order", "id": 907, "name": "S00907", "at": "2026-11-23T10:09:40Z"}],
        }

    @classmethod
    def _preview(cls, request, modes=("full",), **values):
        ways = [cls._way(request, mode, mode in (*modes, core.FIX_FORWARD), **values) for mode in MODES]
        return {
            "modes": ways,
            "recommended": (modes or (core.FIX_FORWARD,))[0],
            "running_digest": request.environment_id.running_release_id.digest,
            "database_uuid": request.environment_id.database_uuid or DATABASE_UUID,
            "database_bytes": 73400320,
        }

    @classmethod
    def _look(cls, request, modes=("full",), **values):
        """Have the agent preview the rollback."""
        operation = cls._lease(("plan", "rollback"))
        assert operation.rollback_id == request, operation
        cls._finish(operation, result=cls._preview(request, modes, **values))
        return request

    @classmethod
    def _asked(cls, tag="v1.0.0", modes=("full",), **values):
        """Return a rollback of production that waits for approval."""
        request = cls._look(cls._submit(tag), modes, **values)
        assert request.state == "awaiting_approval", request.state
        return request

    @classmethod
    def _roll_back(cls, request, **values):
        """Have the agent carry the queued rollback out."""
        operation = cls._lease(("rollback",))
        assert operation.rollback_id == request, operation
        cls._finish(operation, result=cls._rolled_back(operation, **values))
        return request

    @classmethod
    def _rolled_back(cls, operation, **values):
        request = operation.rollback_id
        given_up = cls._set_of(request.environment_id.running_release_id.digest, operation)
        full = request.mode == "full"
        return {
            "digest": request.target_release_id.digest,
            "database_uuid": request.environment_id.database_uuid or None,
            "plan_hash": request.plan_hash,
            "mode": request.mode,
            "held_seconds": 4.2,
            "health": "green",
            "restore_set": given_up if full else None,
            "lost": cls._loss() if full else None,
            **values,
        }

    @classmethod
    def _back_to(cls, tag, modes=("full",), **values):
        """Roll production back and return the request."""
        request = cls._asked(tag, modes, **values)
        request._approve(cls.manager, request.preview_hash, "looked")
        return cls._roll_back(request)

    def _messages(self, record):
        return "\n".join(str(message.body) for message in record.message_ids)

    def _audited(self, action):
        self.env.cr.precommit.run()
        return self.env["odooops.audit.event"].search([("action", "=", action)])


class RollbackCase(RollbackSetup, OdooopsCase):
    """Rollbacks inside one transaction."""
