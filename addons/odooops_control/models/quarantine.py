from odoo import api, fields, models
from odoo.exceptions import UserError

_MAX_REASON = 500


class OdooopsQuarantine(models.Model):
    _name = "odooops.quarantine"
    _description = "Quarantine"
    _inherit = ["odooops.project.mixin", "mail.thread", "mail.activity.mixin"]
    _order = "id desc"
    _rec_name = "tag"
    _mail_post_access = "read"

    release_id = fields.Many2one("odooops.release", required=True, readonly=True, ondelete="restrict", index=True)
    project_id = fields.Many2one(related="release_id.project_id", store=True, index=True, precompute=True)
    tag = fields.Char(string="Release barred", required=True, readonly=True)
    rollback_id = fields.Many2one(
        "odooops.rollback.request", required=True, readonly=True, ondelete="restrict", index=True
    )
    environment_id = fields.Many2one(related="rollback_id.environment_id", string="Rolled back on", store=True)
    reason = fields.Char(readonly=True)
    state = fields.Selection(
        [("barred", "Barred"), ("fixed", "Fixed"), ("lifted", "Lifted")],
        default="barred",
        required=True,
        readonly=True,
        index=True,
        tracking=True,
        help="Fixed: what contains the fix may go to production, what lacks it stays barred.",
    )
    fix_release_id = fields.Many2one("odooops.release", string="Fixed by", readonly=True, tracking=True)
    ended_by_id = fields.Many2one("res.users", string="Decided by", readonly=True)
    ended_at = fields.Datetime(string="Decided at", readonly=True)
    ended_reason = fields.Char(string="Why", readonly=True)
    carrier_ids = fields.Many2many("odooops.release", compute="_compute_carriers", string="Barred with it")

    def _compute_carriers(self):
        for bar in self:
            bar.carrier_ids = bar.sudo()._barred_releases()

    @api.ondelete(at_uninstall=False)
    def _unlink_never(self):
        raise UserError(self.env._("A quarantine stays in the ledger: lift it with a reason instead."))

    @api.model
    def _bar(self, request):
        """Bar the release that a rollback left from production, and with it all that contains its commit.

        Whoever takes a rollback back goes on to what contains the release that is left: nothing is wrong with that.
        """
        release = request.left_id.release_id
        if request.tier == "preview" or not release or request.target_release_id in release._carriers():
            return self.browse()
        known = self.sudo().search([("release_id", "=", release.id), ("state", "=", "barred")], limit=1)
        if known:
            return known
        bar = self.sudo().create(
            {
                "release_id": release.id,
                "tag": request.left_id.tag,
                "rollback_id": request.id,
                "reason": request.reason,
            }
        )
        self.env["odooops.audit.event"]._record(bar, "quarantine.barred", tag=bar.tag, reason=bar.reason)
        bar._tell_what_waits()
        return bar

    def _tell_what_waits(self):
        """Say it on what is barred and under way: it will be refused when it is approved or begins."""
        for release in self._barred_releases():
            release.message_post(body=self._sentence())

    def _sentence(self):
        """Return the sentence that people read as long as it is barred."""
        self.ensure_one()
        return self.env._(
            "%(tag)s was rolled back on %(environment)s: %(reason)s. Neither it nor a release that contains its commit "
            "goes to production until a release manager links the fix or lifts the bar.",
            tag=self.tag,
            environment=self.environment_id.key,
            reason=(self.reason or "").rstrip("."),
        )

    def _barred_releases(self):
        """Return the releases that may not go to production on account of this."""
        self.ensure_one()
        if self.state == "lifted":
            return self.env["odooops.release"]
        release, fix = self.release_id, self.fix_release_id
        return (release | release._carriers()) - fix - fix._containing()

    # Letting it go

    def action_open_link_fix(self):
        """Open the wizard in which the release with the fix is named."""
        return self._open_wizard(self.env._("Link the fix of %s", self.tag), "fix")

    def action_open_lift(self):
        """Open the wizard in which the bar is lifted with a reason."""
        return self._open_wizard(self.env._("Lift the bar on %s", self.tag), "lift")

    def _open_wizard(self, name, kind):
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": name,
            "res_model": "odooops.quarantine.wizard",
            "view_mode": "form",
            "target": "new",
            "context": {"default_quarantine_id": self.id, "default_kind": kind},
        }

    def action_link_fix(self, release_id, reason):
        """Let releases that contain the fix go to production again.

        :param int release_id: the release with the fix
        :param str reason: what was mended
        """
        self.ensure_one()
        reason = self._require_right(reason)
        release = self.env["odooops.release"].search(
            [("id", "=", release_id), ("project_id", "=", self.project_id.id)], limit=1
        )
        if not release:
            raise self._sentence_of_missing(self.env._("release"), release_id)
        if release == self.release_id or release in self.sudo().release_id._ancestors_of():
            raise UserError(self.env._("%(fix)s can't mend %(tag)s: it is part of it.", fix=release.name, tag=self.tag))
        return self.sudo()._end("fixed", reason, fix_release_id=release.id)

    def action_lift(self, reason):
        """Let the release and all that contains it go to production again.

        :param str reason: why that is right
        """
        self.ensure_one()
        reason = self._require_right(reason)
        return self.sudo()._end("lifted", reason)

    def _require_right(self, reason):
        self.check_access("read")
        self.project_id._require_role("release_manager")
        if self.state == "lifted":
            raise UserError(self.env._("The bar on %s is lifted already.", self.tag))
        text = " ".join(reason.split()) if isinstance(reason, str) else ""
        if not text:
            raise UserError(self.env._("Say why: the reason stands in the audit."))
        return text[:_MAX_REASON]

    def _end(self, state, reason, **values):
        user = self.env.user
        self.write(
            {
                "state": state,
                "ended_by_id": user.id,
                "ended_at": fields.Datetime.now(),
                "ended_reason": reason,
                **values,
            }
        )
        self.message_post(body=self.env._("%(user)s: %(reason)s", user=user.name, reason=reason))
        self.env["odooops.audit.event"]._record(
            self, f"quarantine.{state}", tag=self.tag, reason=reason, fix=self.fix_release_id.name or None
        )
        return {"type": "ir.actions.act_window_close"}
