from odoo import api, models

from ..core import protocol
from .mixins import Conflict, says_bad_names

# After how many seconds a caller asks again; what waits for a person, or is over, needs no haste or none.
_ASK_AGAIN = {"inspecting": 2, "queued": 2, "running": 2, "waiting": 30}


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    @api.model
    @says_bad_names
    def clone(self, environment, source=None):
        """Overwrite an environment with a neutralised copy; the same call again returns the one that is under way.

        Where views, actions, parameters and the like were changed by hand since the last copy, it waits for a person
        to export them or to go on, unless the environment says otherwise. How it goes is in ``cloning`` and ``copy`` of
        ``status``.

        :param str environment: ``demo/stage``, or ``stage`` while there is one project; never production
        :param str source: ``demo/prod``; may be left out where the project has one production environment
        :return: id, state, environment, source, the time of the data, and whether it is new
        :raises: 403 without the role, 404 for what the caller can't see, 409 while it becomes another copy or needs
            repair, 422 for what is never copied, or has neither a restore set nor a backup
        """
        target = self._find(environment)
        target.project_id._require_role("ci", "developer", "release_manager")
        origin = self._find(source) if source else target._clone_source()
        if target.indeterminate and not target._direction_refusal(origin):
            raise Conflict(target._clone_refusal(origin))
        one, is_new = self.env["odooops.clone"]._start(target, "ci", origin)
        delivery = f"clone:{target.key}:{one.id}"
        self.env["odooops.event"]._receive("ci", delivery, "environment.clone", target.project_id)
        return {**one._status(), "new": is_new}


class OdooopsClone(models.Model):
    _inherit = "odooops.clone"

    def _status(self):
        self.ensure_one()
        return {
            "id": self.id,
            "environment": self.environment_id.key,
            "source": self.source_id.key,
            "state": self.state,
            "state_label": self._label(),
            "step": self.current_step or None,
            "data_as_of": protocol.show_time(self.data_as_of),
            "made_of": "backup" if self.backup_id else "restore_set",
            "obfuscated": self.obfuscate,
            "message": self.error_message or None,
            "console_url": f"{self.get_base_url()}/odoo/odooops.clone/{self.id}",
            "ask_again_seconds": _ASK_AGAIN.get(self.state, 0),
        }
