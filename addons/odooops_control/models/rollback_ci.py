from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import names, rollback
from .deployment_ci import _AGENT_AWAY_SECONDS
from .mixins import Conflict, says_bad_names

# After how many seconds a caller asks again; what is over needs no asking.
_ASK_AGAIN = {"draft": 1, "previewing": 1, "approved": 1, "queued": 1, "running": 1, "awaiting_approval": 15}
_MAX_REASON = 500


class OdooopsRollbackRequest(models.Model):
    _inherit = "odooops.rollback.request"

    @api.model
    @says_bad_names
    def submit(self, environment, previous_tag, reason):
        """Ask for a rollback; the same call again returns the one that is under way.

        Staging is rolled back at once. Production waits for an approval, which is given in the web client.

        :param str environment: ``demo/prod``, or ``prod`` while there is one project
        :param str previous_tag: the tag of a release that ran there, such as ``v1.4.0``; never ``previous``
        :param str reason: why, in a few words
        :return: id, state, environment, tag, and whether it is new
        :raises: 403 without the role, 404 for what the caller can't see, 409 while another one is under way,
            422 for what can't be gone back to
        """
        where = self.env["odooops.environment"]._find(environment)
        where.project_id._require_role("ci", "developer", "release_manager")
        request, is_new = self._request(where, previous_tag, reason)
        delivery = f"rollback:{where.key}:{previous_tag}:{request.id}"
        self.env["odooops.event"]._receive("ci", delivery, "rollback.request", where.project_id)
        return {**request._status(), "new": is_new}

    @api.model
    def _request(self, environment, tag, reason):
        """Return the rollback of ``environment`` to ``tag`` and whether it is new."""
        reason = self._checked_reason(reason)
        target = self._find_target(environment, tag)
        under_way = environment._active_rollback()
        if under_way.target_release_id == target.release_id:
            return under_way, False
        self._refuse_request(environment, target, tag, under_way)
        # Of two that ask at once the second runs into this row and is tried again, so that it finds the first.
        environment.asked_at = fields.Datetime.now()
        environment.flush_recordset()
        request = self.sudo().create(
            {
                "environment_id": environment.id,
                "tier": environment.tier,
                "target_id": target.id,
                "tag": tag,
                "reason": reason,
                "requested_by_id": self.env.uid,
            }
        )
        request._say(
            self.env._(
                "%(user)s asked to go back to %(tag)s: %(reason)s", user=self.env.user.name, tag=tag, reason=reason
            )
        )
        self.env["odooops.audit.event"]._record(
            request, "rollback.requested", tag=tag, digest=target.release_id.digest, reason=reason
        )
        request._start_preview()
        return request, True

    @api.model
    def _checked_reason(self, reason):
        text = " ".join(reason.split()) if isinstance(reason, str) else ""
        if not text:
            raise UserError(self.env._("Say in a few words why: whoever approves reads it, and so does the audit."))
        return text[:_MAX_REASON]

    @api.model
    def _find_target(self, environment, tag):
        """Return the newest deployment of ``tag`` in the environment's ledger that ran there.

        :raises BadName: for what is no tag
        :raises MissingError: for a tag that nobody registered
        :raises UserError: for one that never ran there, or runs there now
        """
        if not isinstance(tag, str) or not (names.RELEASE_TAG.fullmatch(tag) or names.BUILD_TAG.fullmatch(tag)):
            raise names.BadName(
                f"{names.shown(tag)!r} is no release's tag: name the one to go back to, such as v1.4.0, as the "
                "environment's deployments list it."
            )
        project = environment.project_id
        release = self.env["odooops.release"]._find_tag(project, tag).release_id
        if not release:
            raise self._sentence_of_missing(self.env._("release"), tag)
        if release == environment.running_release_id:
            raise UserError(
                self.env._(
                    "%(environment)s runs %(tag)s already: name the release to go back to.",
                    environment=environment.key,
                    tag=tag,
                )
            )
        target = environment._deployments_that_ran().filtered(lambda one: one.release_id == release)[:1]
        if not target:
            raise UserError(self._sentence_of_never_ran(environment, tag))
        return target

    @api.model
    def _sentence_of_never_ran(self, environment, tag):
        tags = list(dict.fromkeys(environment._rollback_targets().mapped("tag")))[:5]
        if not tags:
            return self.env._(
                "%(tag)s never ran on %(environment)s, and nothing else did before: there is nothing to go back to.",
                tag=tag,
                environment=environment.key,
            )
        return self.env._(
            "%(tag)s never ran on %(environment)s, so nothing of it is kept there: go back to %(tags)s.",
            tag=tag,
            environment=environment.key,
            tags=self.env._(" or ").join(tags),
        )

    @api.model
    def _refuse_request(self, environment, target, tag, under_way):
        if under_way:
            raise Conflict(
                self.env._(
                    "%(environment)s is going back to %(tag)s already (%(state)s): decide on that or cancel it first.",
                    environment=environment.key,
                    tag=under_way.tag,
                    state=under_way._label().lower(),
                )
            )
        self.env["odooops.deployment"]._refuse_work(environment)
        abilities = environment.agent_id.capabilities
        if abilities and "rollback" not in abilities:
            raise UserError(self.env._("The agent %s can't roll back yet: update it.", environment.agent_id.name))
        if environment.tier == "production":
            self._refuse(target.release_id._bar_sentence(tag))

    @api.model
    @api.readonly
    def status(self, id):  # noqa: A002  the name is part of the protocol  pylint: disable=redefined-builtin
        """Return how a rollback is, and after how many seconds to ask again.

        :param int id: the rollback's id, as ``submit`` returned it
        :raises: 404 for one that the caller may not see
        """
        if not isinstance(id, int) or isinstance(id, bool):
            raise UserError(self.env._("Give the rollback's id as a number."))
        found = self.search([("id", "=", id)])
        if not found:
            raise self._sentence_of_missing(self.env._("rollback"), id)
        return found.sudo()._status()

    def _status(self):
        self.ensure_one()
        environment = self.environment_id
        chosen = rollback.mode_of(self.preview, self.mode)
        return {
            "id": self.id,
            "environment": environment.key,
            "tag": self.tag,
            "from_tag": self.left_id.tag or None,
            "state": self.state,
            "state_label": self._label(),
            "step": self.current_step or None,
            "mode": self.mode or None,
            "modes": [
                {name: one[name] for name in ("mode", "possible", "reason")}
                for one in (self.preview or {}).get("modes") or []
            ],
            "loss": self._status_loss(chosen.get("loss")),
            "plan_hash": self.plan_hash or None,
            "preview_hash": self.preview_hash or None,
            "approvals": {"needed": self.approvals_needed, "given": self.approvals_given},
            "break_glass": self.break_glass,
            "downtime_seconds": self.held_seconds,
            "health": environment.health,
            "url": environment.url or None,
            "console_url": f"{self.get_base_url()}/odoo/odooops.rollback.request/{self.id}",
            "error": self._status_error(),
            "agent": self._agent_sentence(),
            "ask_again_seconds": self._ask_again_seconds(),
        }

    def _status_loss(self, loss):
        return {"since": loss["since"], "minutes": loss["minutes"], **rollback.totals(loss)} if loss else None

    def _ask_again_seconds(self):
        seconds = _ASK_AGAIN.get(self.state, 0)
        return max(seconds, _AGENT_AWAY_SECONDS) if seconds and self._agent_sentence() else seconds

    def _status_error(self):
        if not self.failure_code:
            return None
        return {"code": self.failure_code, "step": self.failure_step or None, "message": self.failure_message}
