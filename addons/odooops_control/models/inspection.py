"""What was configured by hand in an environment: listed by its agent, lost with the next copy."""

import base64
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import copies, protocol, redact, transitions

_FRESH = timedelta(minutes=5)
_DEVELOPERS = "odooops_control.group_developer"


class OdooopsEnvironment(models.Model):
    _inherit = "odooops.environment"

    inspection_id = fields.Many2one("odooops.operation", compute="_compute_inspection", string="Listing")
    inspection_state = fields.Selection(
        [("none", "Not listed yet"), ("running", "Being listed"), ("done", "Listed"), ("failed", "Not listed")],
        compute="_compute_inspection",
        string="Changes listed",
    )
    inspected_at = fields.Datetime(compute="_compute_inspection", string="Listed at")
    inspection_error = fields.Char(compute="_compute_inspection")
    listed_count = fields.Integer(compute="_compute_inspection", string="Changes by hand")
    unexported_count = fields.Integer(compute="_compute_inspection", string="Not exported")
    left_out_count = fields.Integer(compute="_compute_inspection", string="Not listed")
    inspection_html = fields.Html(compute="_compute_inspection", string="Changed by hand", groups=_DEVELOPERS)
    inspection_xml = fields.Binary(compute="_compute_inspection_xml", string="Data file", groups=_DEVELOPERS)
    exported_as_of = fields.Datetime(
        string="Exported up to", readonly=True, copy=False, help="What was changed by hand before is in an export."
    )

    @api.depends("operation_ids.state", "clone_ids.state", "exported_as_of")
    def _compute_inspection(self):
        for environment in self:
            last = environment.sudo()._last_inspection()
            found = copies.changes(last.result or {})
            fresh = copies.unexported(found, environment.exported_as_of)
            environment.inspection_id = last
            environment.inspection_state = environment._state_of(last)
            environment.inspected_at = last.finished_at
            environment.inspection_error = last.error_message
            environment.listed_count, environment.unexported_count = len(found), len(fresh)
            left_out = (last.result or {}).get("left_out")
            environment.left_out_count = left_out if isinstance(left_out, int) else 0
            environment.inspection_html = self.env["ir.qweb"]._render(
                "odooops_control.manual_changes",
                {"changes": [{**one, "exported": one not in fresh} for one in found], "kinds": self._kinds()},
            )

    @api.depends("operation_ids.state")
    def _compute_inspection_xml(self):
        for environment in self:
            xml = (environment.sudo()._last_inspection().result or {}).get("xml")
            environment.inspection_xml = base64.b64encode(xml.encode()) if isinstance(xml, str) else False

    @api.model
    def _kinds(self):
        return {
            "view": self.env._("View"),
            "automation": self.env._("Automation rule"),
            "action": self.env._("Action"),
            "parameter": self.env._("Parameter"),
            "menu": self.env._("Menu"),
            "mail_template": self.env._("Mail template"),
        }

    def _last_inspection(self):
        """Return the newest listing of the data that are there now: one made before the last copy is of others."""
        since = self.copy_id.ended_at
        looks = self.operation_ids.filtered(
            lambda one: one.kind == "inspect" and one.state != "cancelled" and not (since and one.queued_at < since)
        )
        return looks.sorted("id")[-1:]

    def _state_of(self, inspection):
        if not inspection:
            return "none"
        if inspection.state in transitions.OPERATION_OPEN:
            return "running"
        return "done" if inspection.state == "succeeded" else "failed"

    def _listed_changes(self):
        return copies.changes(self._last_inspection().result or {})

    def _unexported_changes(self):
        return copies.unexported(self._listed_changes(), self.exported_as_of)

    def _listed_release(self):
        """Return the release that the data go with: a copy may run one that was never deployed here."""
        return self.running_release_id or self.copy_id.release_id

    def _inspect(self):
        """Have the agent list what was configured by hand, when none waits."""
        self.ensure_one()
        last = self._last_inspection()
        if self._listed_release() and last.state not in transitions.OPERATION_OPEN:
            self.env["odooops.operation"].sudo()._enqueue("inspect", self)

    def _inspect_for_wizard(self):
        """Have a list at hand for whoever opens the wizard; one of minutes ago is good enough."""
        last = self._last_inspection()
        fresh = last.finished_at and fields.Datetime.now() - last.finished_at < _FRESH
        refusal = self._clone_refusal(self._clone_source())
        if not fresh and not refusal and self._listed_release() and self._can("inspect"):
            self._inspect()

    def _inspect_payload(self):
        """Return what a listing is about, beside the usual."""
        release = self._listed_release()
        return {
            "release": release._agent_payload(self.running_tag or release.name),
            "inspect": {"since": protocol.show_time(self.copy_id.data_as_of)},
        }

    def _on_operation_ended(self, operation, result, failure):
        """Let what waited for the listing go on."""
        if operation.kind != "inspect":
            super()._on_operation_ended(operation, result, failure)
            return
        why = None
        if operation.state != "succeeded":
            said = redact.masked(failure.message, 500) if failure else operation.state
            why = self.env._("What was changed by hand could not be listed: %s Look yourself, then go on.", said)
        else:
            self.deployment_ids._on_listed()
        self._active_clone()._on_inspected(why)

    def action_inspect(self):
        """Have what was configured by hand listed anew."""
        self._require_developer()
        if not self.sudo()._listed_release():
            raise UserError(self.env._("Nothing was deployed to %s yet: there is nothing to list.", self.key))
        if not self._can("inspect"):
            raise UserError(self.env._("The agent of %s can't list changes yet: update it.", self.key))
        self.sudo()._inspect()
        return True

    def action_export_changes(self):
        """Download what was configured by hand as a data file for the project's own addon, and note that it was."""
        self._require_developer()
        environment = self.sudo()
        last = environment._last_inspection()
        if not environment.inspection_xml:
            raise UserError(self.env._("Nothing is listed for %s: list the changes first.", self.key))
        as_of = _time_of(last.result)
        environment.exported_as_of = max(filter(None, (environment.exported_as_of, as_of or last.finished_at)))
        self.env["odooops.audit.event"]._record(environment, "environment.changes_exported")
        name = f"{self.key.replace('/', '_')}_changes.xml"
        return {
            "type": "ir.actions.act_url",
            "url": f"/web/content/odooops.environment/{self.id}/inspection_xml/{name}?download=1",
            "target": "download",
        }

    def _require_developer(self):
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")


def _time_of(result):
    try:
        return protocol.take_time(result, "as_of", None)
    except protocol.BadMessage:
        return None
