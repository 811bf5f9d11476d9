from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..core import conditions, freeze


class OdooopsDeployment(models.Model):
    _inherit = "odooops.deployment"

    scheduled_at = fields.Datetime(
        string="Begins at", readonly=True, copy=False, tracking=True, help="Approved, it waits until then."
    )
    waits_for_time = fields.Boolean(
        readonly=True, copy=False, index="btree_not_null", help="Everybody agreed; it begins when its time has come."
    )

    def _start_conditions(self, now):
        windows = self.env["odooops.freeze.window"]._of_environment(self.environment_id)
        return [
            conditions.window(freeze.closing(windows, now), freeze.opens_at(windows, now)),
            conditions.business(self.environment_id.busy if self._rules()["business_freeze"] else None),
            conditions.schedule(self.scheduled_at or None, now),
            *super()._start_conditions(now),
        ]

    def _enqueue_deploy(self):
        """Wait with what everybody agreed to until its time has come."""
        waiting = self.filtered(lambda one: one._waits_for_its_time())
        for deployment in waiting.filtered(lambda one: not one.waits_for_time):
            deployment.waits_for_time = True
            deployment._say(deployment._waits_for())
        going = self - waiting
        going.filtered("waits_for_time").waits_for_time = False
        return super(OdooopsDeployment, going)._enqueue_deploy()

    def _waits_for_its_time(self):
        return any(one.key in (*conditions.FREEZES, "schedule") for one in self._standing_in_the_way(conditions.START))

    def _on_backup_missing(self, why):
        """Leave alone what does not wait for a backup."""
        return super(OdooopsDeployment, self.filtered(lambda one: not one.waits_for_time))._on_backup_missing(why)

    @api.model
    def _follow_conditions(self):  # pylint: disable=missing-return
        """Begin what waited for a time that has come."""
        super()._follow_conditions()
        waiting = self.sudo().search([("waits_for_time", "=", True), ("state", "=", "approved")])
        for deployment in waiting.try_lock_for_update(allow_referencing=True):
            if not deployment._standing_in_the_way(conditions.REQUEST, conditions.START):
                deployment._enqueue_deploy()

    # Scheduling

    def action_open_schedule(self):
        """Open the wizard in which the time is chosen."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("When: %s", self.name),
            "res_model": "odooops.schedule.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_deployment_id": self.id},
        }

    def action_schedule(self, at):
        """Have it begin at a time, once everybody agreed; at once without one.

        :param at: a moment in UTC as Odoo writes it, or False
        :raises: one sentence for who may not, and for a time that is past, too late or closed
        """
        self.ensure_one()
        self.check_access("read")
        self.project_id._require_role("developer", "release_manager")
        deployment = self.sudo()
        if deployment.state not in ("planned", "awaiting_approval", "approved"):
            raise UserError(
                self.env._(
                    "%(name)s is %(state)s: its time can't be chosen.", name=self.name, state=self._label().lower()
                )
            )
        try:
            moment = fields.Datetime.to_datetime(at or False)
        except (ValueError, TypeError):
            raise UserError(self.env._("Give the time as year-month-day hour:minute:second, in UTC.")) from None
        deployment._refuse(deployment._schedule_refusal(moment))
        deployment.scheduled_at = moment
        self.env["odooops.audit.event"].sudo()._record(deployment, "deployment.scheduled", at=str(moment or ""))
        if deployment.state == "approved":
            deployment._enqueue_deploy()
        return {"type": "ir.actions.act_window_close"}

    def _schedule_refusal(self, moment):
        """Return why it can't begin at that moment, or None."""
        if not moment:
            return None
        now = fields.Datetime.now()
        if moment <= now:
            return self.env._("That time is past: choose a later one, or none.")
        hours = self._approval_hours()
        if hours and moment > now + timedelta(hours=hours):
            return self.env._("Approvals count for %s hours: choose an earlier time, or ask for this later.", hours)
        windows = self.env["odooops.freeze.window"]._of_environment(self.environment_id)
        closed = freeze.closing(windows, moment)
        if closed:
            return conditions.window(closed, freeze.opens_at(windows, moment)).sentence()
        return None
